// Package unary serves gRPC methods that take one message and give one, over
// HTTP/2. It is what is left of a gRPC server when nothing else is asked of it:
// no streams, no compression, no metadata, no interceptors. A check then costs a
// fraction of what it costs in grpc-go, which has to be ready for all of these.
//
// Frames are taken apart by golang.org/x/net/http2, headers by its hpack; what
// is here is the order of frames (RFC 9113), the gRPC mapping for one message
// each way, and the bounds. A connection's way through the files:
//
//	server.go   accepts, finds somebody to read, stops in order
//	conn.go     reads frames and obeys them
//	stream.go   what a call's frames do
//	head.go     a request's headers: which method, until when
//	known.go    headers that came before, and need not be decoded again
//	call.go     a request's message, and the context that it is answered in
//	send.go     answers, flow control, one write for many answers
//	end.go      how a connection ends
//	watch.go    what is waited for too long, and what there is too much of
//
// Who reads a connection also answers its calls, one after the other, and writes
// the answers before the next read that may have to wait: no call passes from one
// goroutine to another. A method that takes its time says so, and somebody else
// reads on.
//
// What a peer may make us hold or do is bounded, whatever it sends:
//
//	4096        calls under way, those it has reset but that still run too
//	4 MiB       a message
//	64 MiB      messages of one connection; for one more the answer is that of Busy
//	16 KiB      headers of a call, decoded; 32 KiB and 8 frames on the wire
//	1 MiB       answers not yet written; while there are more nothing is read,
//	            and only those of the calls under way still come
//	10,000      frames that are no call, at once; 200 a second (RFC 9113 §10.5)
//	10 s        TLS and the preface; half a frame; half a call; a write
//	70 s        silence: after 60 a ping, which has 10 to be answered
//
// Beyond a bound a call is reset, or the connection is ended by GOAWAY with
// ENHANCE_YOUR_CALM.
package unary
