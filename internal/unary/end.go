package unary

import (
	"io"
	"time"

	"golang.org/x/net/http2"
)

// goAway ends the connection because of what the peer did. Only the reader calls
// it.
func (c *conn) goAway(code http2.ErrCode) {
	c.mu.Lock()
	c.out = appendGoAway(c.out, min(c.last, c.refuse), code)
	c.dying = true
	_ = c.raw.SetWriteDeadline(time.Now().Add(lingerTime))
	c.leave()
	c.mu.Lock()
	for c.writing {
		c.room.Wait()
	}
	c.mu.Unlock()
	_, _ = io.Copy(io.Discard, c.raw) // until the peer has read it; see linger
}

// lingerTime is how long the peer has for our last words. They would be taken back
// if the connection were closed while it still sends.
const lingerTime = time.Second

// linger writes nothing more, and has the reader end soon.
func (c *conn) linger() {
	half, ok := c.raw.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.raw.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		c.close()
	}
}

// drainPing is the ping whose answer says that the peer has read our first
// GOAWAY: what it opened before has come by then.
var drainPing = [8]byte{'g', 'o', 'a', 'w', 'a', 'y'}

// drain asks the peer to open no more; once all is answered the connection ends
// (RFC 9113 §6.8).
func (c *conn) drain() {
	c.mu.Lock()
	if c.draining {
		c.mu.Unlock()
		return
	}
	c.draining = true
	if !c.spoken { // nothing was asked
		c.mu.Unlock()
		c.close()
		return
	}
	c.out = appendGoAway(c.out, mostWindow, http2.ErrCodeNo)
	c.out = appendPing(c.out, false, drainPing)
	c.leave()
}

// finalGoAway says which call was the last that is answered. mu is held.
func (c *conn) finalGoAway() {
	if !c.final {
		c.final, c.refuse = true, c.last
		c.out = appendGoAway(c.out, c.refuse, http2.ErrCodeNo)
	}
}

// close ends the connection, and every call of it. It waits for nobody, as TLS
// would for the peer to take its last words.
func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed, c.shut = true, true
	_ = c.raw.Close()
	for _, k := range c.calls {
		c.drop(k)
	}
	if c.reader != nil { // who is at work on a call need not be waited for
		c.readByAnother()
	}
	c.out = nil
	c.room.Broadcast()
}
