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

// answer is the wire form of a CheckResponse. It goes to gRPC as it is and
// comes back once it is sent, without a copy.
type answer []byte

// answerSize is what nearly every answer fits into. gRPC does not give back
// buffers of 1 KiB or less.
const answerSize = 2 << 10

var answers = sync.Pool{New: func() any {
	a := make(answer, 0, answerSize)
	return &a
}}

// answerPool is where gRPC puts an answer that is sent.
type answerPool struct{}

// Get implements mem.BufferPool.
func (answerPool) Get(length int) *[]byte {
	b := make([]byte, length)
	return &b
}

// Put implements mem.BufferPool.
func (answerPool) Put(b *[]byte) {
	if cap(*b) <= 4*answerSize {
		answers.Put((*answer)(b))
	}
}

// Name implements encoding.CodecV2: on the wire it is plain protobuf.
func (codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	a, ok := v.(*answer)
	if !ok {
		return c.proto.Marshal(v)
	}
	if a == nil || len(*a) == 0 {
		// An empty CheckResponse is a yes to Envoy. An error is not; that it
		// cannot come to this is what the tests of answer are for.
		return nil, fmt.Errorf("empty answer")
	}
	return mem.BufferSlice{mem.NewBuffer((*[]byte)(a), answerPool{})}, nil
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
