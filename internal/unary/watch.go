package unary

import (
	"time"

	"golang.org/x/net/http2"
)

// Connections are looked at once a second, and time is counted in such looks:
// no call has to ask a clock for it.
const (
	lookEvery = time.Second

	partialLooks = 10 // for a frame or a call that has begun; for a write
	blockedLooks = 30 // for a window to open
	quietLooks   = 60 // without a frame, before we ask whether somebody is there
	pingLooks    = 10 // for the answer
	drainLooks   = 5  // for a sign that our first GOAWAY was read
)

// patience is for frames that a peer sends beside its calls. There is cause for
// some; who sends them without end keeps us busy for nothing (RFC 9113 §10.5).
const (
	maxPatience    = 10_000
	patienceOfLook = 200
	patienceOfCall = 8
	crumb          = 64 // bytes of a message that are not worth a frame
)

// quietPing asks whether somebody is there.
var quietPing = [8]byte{'q', 'u', 'i', 'e', 't'}

// seen is what look has seen.
type seen struct {
	looks  int // so far
	frames uint64
	wrote  int
	reader *call

	// Looks in a row at which it was so.
	quiet, partial, stuck, drained int
}

// look ends what takes too long. It waits for nobody.
func (c *conn) look() {
	frames, idle := c.frames.Load(), c.waiting.Load()
	c.mu.Lock()
	s := &c.seen
	s.looks++
	c.patience = min(c.patience+patienceOfLook, maxPatience)

	moved := frames != s.frames
	s.quiet = next(s.quiet, !moved)
	s.partial = next(s.partial, !moved && !idle && c.spoken)
	s.stuck = next(s.stuck, c.writing && c.wrote == s.wrote)
	s.drained = next(s.drained, c.draining)
	s.frames, s.wrote = frames, c.wrote
	if c.reader != nil && c.reader == s.reader { // its method should have said that it is slow
		c.readByAnother()
	}
	s.reader = c.reader
	if s.partial >= partialLooks || s.stuck >= partialLooks || s.quiet >= quietLooks+pingLooks {
		c.mu.Unlock()
		c.close()
		return
	}
	if s.quiet == quietLooks {
		c.out = appendPing(c.out, false, quietPing)
	}
	if s.drained >= drainLooks {
		c.finalGoAway()
	}
	for _, k := range c.calls {
		age := s.looks - k.born
		if !k.complete && age > partialLooks || c.blocked[k] && age > blockedLooks {
			c.drop(k)
			c.sendReset(k.id, http2.ErrCodeCancel)
		}
	}
	c.leave() // not leaveAndWait: who would end the write that it waits for?
}

// next counts looks at which something was so, without a break.
func next(n int, so bool) int {
	if so {
		return n + 1
	}
	return 0
}
