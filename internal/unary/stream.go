package unary

import (
	"net"
	"slices"

	"golang.org/x/net/http2"
)

// takeHeaders begins a call, or ends its message: gRPC requests have no
// trailers, but HTTP allows for them.
func (c *conn) takeHeaders(f *http2.HeadersFrame) error {
	id := f.StreamID
	c.mu.Lock()
	k, more := c.calls[id], id <= c.last
	crossed := k == nil && c.wasReset(id)
	c.last = max(c.last, id)
	c.mu.Unlock()
	switch {
	case id%2 == 0:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case more && !crossed && (k == nil || k.complete):
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	case more && !f.StreamEnded():
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case f.Flags.Has(http2.FlagHeadersPriority) && f.Priority.StreamDep == id:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.head.begin(id, more, f.StreamEnded())
	c.hpack.SetEmitEnabled(true)
	return c.takeFragment(f.HeaderBlockFragment(), f.HeadersEnded())
}

// Bounds of a header block on the wire. What it says is bounded by maxHeaders.
const (
	maxBlock     = 2 * maxHeaders
	maxFragments = 8
)

// takeFragment decodes a piece of a header block. All are, also those of calls
// that are refused: what follows is encoded by them.
func (c *conn) takeFragment(b []byte, end bool) error {
	h := &c.head
	h.wire += len(b)
	if h.fragments++; h.wire > maxBlock || h.fragments > maxFragments {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	if err := c.decode(b, end); err != nil || !end {
		return err
	}
	id := h.id
	h.id = 0
	c.mu.Lock()
	defer c.readOn()
	if c.closed {
		return net.ErrClosed
	}
	if !h.trailers {
		return c.open(id)
	}
	k := c.calls[id]
	switch {
	case k == nil: // reset before they came
		return nil
	case h.malformed():
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	return c.complete(k)
}

// decode sets what a piece of a header block says.
func (c *conn) decode(b []byte, end bool) error {
	h := &c.head
	whole := end && h.fragments == 1 && !h.trailers
	if whole && c.known.says(h, b) {
		return nil
	}
	if _, err := c.hpack.Write(b); err != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	if end && c.hpack.Close() != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	c.known.forget()
	if whole && keepsTable(b) {
		c.known.keep(h, b)
	}
	return nil
}

// open begins the call that the headers are of. mu is held.
func (c *conn) open(id uint32) error {
	h := &c.head
	switch {
	case id > c.refuse:
		return nil // the peer was told, and asks somebody else
	case c.under >= maxCalls:
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	case h.size > maxHeaders:
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeEnhanceYourCalm}
	case h.malformed():
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	k := &call{
		conn: c, id: id, born: c.seen.looks, length: h.length, fault: h.fault(),
		method: c.server.methods[h.path], recvWindow: streamWindow, sendWindow: c.peerWindow,
	}
	k.life.call, k.life.wait = k, h.wait
	if k.method == nil && k.fault == nil {
		k.fault = errUnknown
	}
	c.calls[id] = k
	c.under++
	if h.ended {
		return c.complete(k)
	}
	return nil
}

// takeData takes a piece of a message. mu is held.
func (c *conn) takeData(f *http2.DataFrame) error {
	n, id, data := int(f.Length), f.StreamID, f.Data()
	if id > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if c.recvWindow -= n; c.recvWindow < 0 {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	// The connection's window is given back at once, so that no message waits for
	// another. What is kept is bounded by maxHeld.
	if c.credit += n; c.credit >= connWindow/4 {
		c.out = appendWindowUpdate(c.out, 0, uint32(c.credit))
		c.recvWindow += c.credit
		c.credit = 0
	}
	if len(data) < crumb && !f.StreamEnded() {
		if c.patience--; c.patience < 0 {
			return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
		}
	}
	k := c.calls[id]
	switch {
	case k == nil && (id > c.refuse || c.wasReset(id)):
		return nil // it crossed with what we have said
	case k == nil || k.complete:
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
	}
	if k.recvWindow -= n; k.recvWindow < 0 {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeFlowControl}
	}
	k.received += int64(len(data))
	k.add(data)
	if f.StreamEnded() {
		return c.complete(k)
	}
	if k.recvWindow < streamWindow/2 {
		c.out = appendWindowUpdate(c.out, id, uint32(streamWindow-k.recvWindow))
		k.recvWindow = streamWindow
	}
	return nil
}

// complete has the reader answer a call, all of whose request is there. mu is
// held.
func (c *conn) complete(k *call) error {
	k.complete = true
	if k.length >= 0 && k.length != k.received {
		return http2.StreamError{StreamID: k.id, Code: http2.ErrCodeProtocol} // RFC 9113 §8.1.1
	}
	k.running = true
	c.patience = min(c.patience+patienceOfCall, maxPatience)
	c.whole = k
	return nil
}

// drop forgets a call that one side has given up. mu is held.
func (c *conn) drop(k *call) {
	delete(c.calls, k.id)
	delete(c.blocked, k)
	k.gone = true
	k.life.end()
	if !k.running {
		c.under--
		k.free()
	}
}

// reset tells the peer that a call is not gone on with. It reports false where
// the peer has caused too many.
func (c *conn) reset(id uint32, code http2.ErrCode) bool {
	c.mu.Lock()
	defer c.readOn()
	if k := c.calls[id]; k != nil {
		c.drop(k)
	}
	c.sendReset(id, code)
	c.patience--
	return c.patience >= 0
}

// wasReset reports whether we have reset a stream a moment ago: the peer may have
// sent more on it before it knew (RFC 9113 §5.1). mu is held.
func (c *conn) wasReset(id uint32) bool { return slices.Contains(c.resets[:], id) }
