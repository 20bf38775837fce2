package envoy

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec for everything but Check
	"google.golang.org/grpc/mem"
)

// codec hands the bytes of a Check through as they are, and leaves every other
// message to gRPC's own codec.
type codec struct{ proto encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// frame is the wire form of a CheckRequest.
type frame struct{ data mem.BufferSlice }

// answer is the wire form of a CheckResponse.
type answer struct{ bytes []byte }

var answers = sync.Pool{New: func() any { return &answer{make([]byte, 0, 1024)} }}

// Name implements encoding.CodecV2: on the wire it is plain protobuf.
func (codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	a, ok := v.(*answer)
	if !ok {
		return c.proto.Marshal(v)
	}
	if a == nil || len(a.bytes) == 0 {
		// An empty CheckResponse is a yes to Envoy. An error is not; that it
		// cannot come to this is what the tests of answer are for.
		return nil, fmt.Errorf("empty answer")
	}
	buffer := mem.Copy(a.bytes, mem.DefaultBufferPool())
	answers.Put(a)
	return mem.BufferSlice{buffer}, nil
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return c.proto.Unmarshal(data, v)
	}
	data.Ref() // until check has read it
	f.data = data
	return nil
}
