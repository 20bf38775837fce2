package unary

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// call is one call. Its connection's mu is held for all of it, but what is above
// the line may be read without while the method runs.
type call struct {
	conn   *conn
	id     uint32
	method Method
	fault  error // why it is not answered by its method; nil: it is
	body   *buffer
	life   life

	// --

	born       int // the connection's looks, when it was opened or had to wait for a window
	length     int64
	received   int64 // of that
	complete   bool  // no more is to come
	running    bool  // its method runs, or is about to
	gone       bool  // nobody waits for the answer
	recvWindow int
	sendWindow int64
	rest       []byte // of the answer, that waits for a window
}

// buffer is a request's message as it comes. It is used again.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// prefix is what goes before a message: whether it is compressed, and its length.
const prefix = 5

// add takes more of the message, until there is no use for it.
func (k *call) add(data []byte) {
	switch {
	case k.fault != nil || len(data) == 0:
		return
	case k.conn.held+len(data) > maxHeld:
		k.fault = errBusy
		k.free()
		return
	case k.body == nil:
		k.body = buffers.Get().(*buffer)
	}
	k.body.b = append(k.body.b, data...)
	k.conn.held += len(data)
	if b := k.body.b; len(b) >= prefix {
		n := int64(binary.BigEndian.Uint32(b[1:]))
		switch {
		case b[0] != 0:
			k.fault = errMarked
		case n > maxMessage:
			k.fault = errTooLarge
		case int64(len(b)) > prefix+n:
			k.fault = errMoreThanOne
		default:
			return
		}
		k.free()
	}
}

var (
	errCompressed  = status.Error(codes.Unimplemented, "compressed messages are not taken")
	errMarked      = status.Error(codes.Internal, "the message is marked as compressed, and grpc-encoding does not say how")
	errTooLarge    = status.Errorf(codes.ResourceExhausted, "the message is larger than %d bytes", maxMessage)
	errMoreThanOne = status.Error(codes.Internal, "more than one message")
	errIncomplete  = status.Error(codes.Internal, "the message is not complete")
	errBusy        = status.Error(codes.ResourceExhausted, "too many messages at once")
	errUnknown     = status.Error(codes.Unimplemented, "there is no such method")
	errNoAnswer    = status.Error(codes.Internal, "no answer")
)

// free gives up the message.
func (k *call) free() {
	if k.body == nil {
		return
	}
	k.conn.held -= len(k.body.b)
	if cap(k.body.b) <= keepBuffer {
		k.body.b = k.body.b[:0]
		buffers.Put(k.body)
	}
	k.body = nil
}

// message returns the message, all of which has come.
func (k *call) message() ([]byte, error) {
	if k.fault != nil {
		return nil, k.fault
	}
	// Nothing was added that goes on after the message: it is whole, or short.
	if k.body == nil || len(k.body.b) < prefix {
		return nil, errIncomplete
	}
	b := k.body.b
	if int64(len(b)-prefix) != int64(binary.BigEndian.Uint32(b[1:])) {
		return nil, errIncomplete
	}
	return b[prefix:], nil
}

// run runs the method, and sends what it says. It reports whether who called it,
// the reader of the connection, still is that.
func (k *call) run() (reads bool) {
	c := k.conn
	out := c.answer[:0]
	c.answer = nil
	in, err := k.message()
	c.mu.Lock()
	c.reader = k // from here on somebody else may read: nothing of the reader's is touched
	c.mu.Unlock()
	method := k.method
	if err == errBusy && c.server.busy != nil {
		method, err = c.server.busy, nil
	}
	if err == nil {
		if out, err = method(&k.life, in, out); err == nil && len(out) == 0 {
			// To Envoy an empty message says yes: what nobody has said.
			err = errNoAnswer
		}
	}
	k.life.end()
	if !c.finish(k, out, err) {
		return false
	}
	if cap(out) <= keepBuffer {
		c.answer = out
	}
	return true
}

// life is the context of a call. Most calls are answered without anybody asking
// for it: what a context is made of, a timer among them, is made when it is. The
// caller's time counts from then, so that no clock is read for the others; one who
// has given up sooner resets the call, which ends it too.
type life struct {
	call *call
	wait time.Duration // below 0: no deadline

	mu     sync.Mutex
	inner  context.Context
	cancel context.CancelFunc
	ended  bool
}

func (l *life) real() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inner == nil {
		if l.wait < 0 {
			l.inner, l.cancel = context.WithCancel(context.Background())
		} else {
			l.inner, l.cancel = context.WithTimeout(context.Background(), l.wait)
		}
		if l.ended {
			l.cancel()
		}
	}
	return l.inner
}

// Slow says that the answer takes its time: somebody else reads the connection
// meanwhile.
func (l *life) Slow() { l.call.conn.handOver(l.call) }

// Deadline implements context.Context.
func (l *life) Deadline() (time.Time, bool) { return l.real().Deadline() }

// Done implements context.Context.
func (l *life) Done() <-chan struct{} { return l.real().Done() }

// Err implements context.Context.
func (l *life) Err() error { return l.real().Err() }

// Value implements context.Context. There are no values but the one by which
// package context finds its own kind, so that a context derived from this one
// needs no goroutine.
func (l *life) Value(key any) any { return l.real().Value(key) }

// end says that the call is over.
func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.cancel != nil {
		l.cancel()
	}
}
