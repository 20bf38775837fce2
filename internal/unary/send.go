package unary

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/status"
)

// maxOut is how much may wait to be written before nothing more is read.
const maxOut = 1 << 20

// finish sends what a method has come to. It reports whether who ran it still reads
// the connection; what is to be written is then, before the next wait.
func (c *conn) finish(k *call, message []byte, err error) (reads bool) {
	c.mu.Lock()
	k.running = false
	switch {
	case c.closed || k.gone:
		c.under--
	case err != nil:
		c.sendError(k, err)
		c.sent(k)
	default:
		c.appendHeaders(k, goodHeaders, 0)
		c.sendMessage(k, message)
	}
	k.free() // not before: the answer may be made of it
	if c.reader == k {
		c.reader = nil
		c.mu.Unlock()
		return true
	}
	if c.unlock() {
		c.flush(true)
	}
	return false
}

// handOver has somebody else read on, if the reader is at work on a call.
func (c *conn) handOver(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reader == k {
		c.readByAnother()
	}
}

// readByAnother lets the reader be who is at work on a call. mu is held.
func (c *conn) readByAnother() {
	c.reader = nil
	c.server.readOn(c)
}

// sent forgets a call that has its answer.
func (c *conn) sent(k *call) {
	delete(c.calls, k.id)
	c.under--
}

// sendMessage sends an answer, or as much of it as the windows are open for.
func (c *conn) sendMessage(k *call, message []byte) {
	n := prefix + len(message)
	if n <= frameSize && int64(n) <= min(c.sendWindow, k.sendWindow) {
		c.out = appendFrame(c.out, n, http2.FrameData, 0, k.id)
		c.out = binary.BigEndian.AppendUint32(append(c.out, 0), uint32(len(message)))
		c.out = append(c.out, message...)
		c.sendWindow -= int64(n)
		c.sendTrailers(k)
		return
	}
	k.rest = make([]byte, 0, n)
	k.rest = binary.BigEndian.AppendUint32(append(k.rest, 0), uint32(len(message)))
	k.rest = append(k.rest, message...)
	k.born = c.seen.looks
	if !c.sendRest(k) {
		c.blocked[k] = true
	}
}

func (c *conn) sendTrailers(k *call) {
	c.appendHeaders(k, goodTrailers, http2.FlagHeadersEndStream)
	c.sent(k)
}

// sendRest sends more of an answer, and reports whether that was the end.
func (c *conn) sendRest(k *call) bool {
	for len(k.rest) > 0 {
		n := min(int64(len(k.rest)), frameSize, c.sendWindow, k.sendWindow)
		if n <= 0 {
			return false
		}
		c.out = append(appendFrame(c.out, int(n), http2.FrameData, 0, k.id), k.rest[:n]...)
		c.sendWindow -= n
		k.sendWindow -= n
		k.rest = k.rest[n:]
	}
	c.sendTrailers(k)
	return true
}

// sendBlocked sends what a window has opened for.
func (c *conn) sendBlocked() {
	for k := range c.blocked {
		if c.sendWindow <= 0 {
			return
		}
		if c.sendRest(k) {
			delete(c.blocked, k)
		}
	}
}

// sendError ends a call without a message.
func (c *conn) sendError(k *call, err error) {
	if f, ok := err.(httpFault); ok {
		c.appendHeaders(k, block(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(int(f))}), http2.FlagHeadersEndStream)
		return
	}
	s := status.Convert(err)
	text := s.Message()
	text = text[:min(len(text), maxErrorText)]
	c.appendHeaders(k, block(
		hpack.HeaderField{Name: ":status", Value: "200"},
		hpack.HeaderField{Name: "content-type", Value: "application/grpc"},
		hpack.HeaderField{Name: "grpc-status", Value: strconv.Itoa(int(s.Code()))},
		hpack.HeaderField{Name: "grpc-message", Value: percentEncode(text)}), http2.FlagHeadersEndStream)
}

// maxErrorText keeps the headers of an error far within a frame.
const maxErrorText = 1 << 10

// percentEncode writes a message as gRPC does: all but printable ASCII as %XX.
func percentEncode(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
		} else {
			b.WriteString(string([]byte{'%', digits[c>>4], digits[c&15]}))
		}
	}
	return b.String()
}

// unlock gives mu back. It reports whether there is something to be written that
// nobody is about to: the caller has to flush then.
func (c *conn) unlock() (flush bool) {
	if c.final && c.under == 0 {
		c.dying = true // all that was begun before the last GOAWAY is answered
	}
	if c.shut {
		c.out = nil
	} else if (len(c.out) > 0 || c.dying) && !c.writing {
		c.writing, flush = true, true
	}
	c.mu.Unlock()
	return flush
}

// leave is unlock for those who have more to do than to write.
func (c *conn) leave() {
	if c.unlock() {
		go c.flush(true)
	}
}

// readOn is unlock for the reader, who writes before it waits for more. A peer
// that does not read what it has asked for is not read from either.
func (c *conn) readOn() {
	for len(c.out)+c.taken > maxOut && !c.shut {
		if c.writing {
			c.room.Wait()
			continue
		}
		c.writing = true
		c.mu.Unlock()
		c.flush(false)
		c.mu.Lock()
	}
	c.mu.Unlock()
}

// flush writes what there is, and what comes meanwhile. Who calls it has set
// writing. With gather it lets others who are about to answer do so first: one
// write for all of them.
func (c *conn) flush(gather bool) {
	for {
		if gather {
			runtime.Gosched()
		}
		c.mu.Lock()
		if len(c.out) == 0 || c.shut {
			break
		}
		b := c.out
		c.out, c.spare, c.taken = c.spare[:0], nil, len(b)
		c.mu.Unlock()
		_, err := c.net.Write(b)
		c.mu.Lock()
		c.taken = 0
		if c.wrote++; cap(b) <= 4*keepBuffer {
			c.spare = b
		}
		c.room.Broadcast()
		c.mu.Unlock()
		if err != nil {
			c.close()
		}
	}
	ends := c.dying && !c.shut
	c.shut = c.shut || c.dying
	c.writing = false
	c.room.Broadcast()
	c.mu.Unlock()
	if ends {
		c.linger()
	}
}

// The header blocks of answers are always the same bytes: they do not use the
// table that HPACK has for what repeats (RFC 7541 §2.3.2), so that nothing can get
// out of step.
var (
	goodHeaders = block(
		hpack.HeaderField{Name: ":status", Value: "200"},
		hpack.HeaderField{Name: "content-type", Value: "application/grpc"})
	goodTrailers = block(hpack.HeaderField{Name: "grpc-status", Value: "0"})
)

// noTable begins the first block of a connection: our table's size is 0 (RFC 7541
// §6.3), whatever the peer would have it be.
const noTable = 0x20

func block(fields ...hpack.HeaderField) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range fields {
		f.Sensitive = true // not for the table
		_ = e.WriteField(f)
	}
	return b.Bytes()
}

// appendHeaders appends a HEADERS frame.
func (c *conn) appendHeaders(k *call, block []byte, flags http2.Flags) {
	n := len(block)
	if !c.greeted {
		n++
	}
	c.out = appendFrame(c.out, n, http2.FrameHeaders, http2.FlagHeadersEndHeaders|flags, k.id)
	if !c.greeted {
		c.greeted = true
		c.out = append(c.out, noTable)
	}
	c.out = append(c.out, block...)
}

// appendFrame appends what every frame begins with (RFC 9113 §4.1).
func appendFrame(b []byte, length int, kind http2.FrameType, flags http2.Flags, stream uint32) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags))
	return binary.BigEndian.AppendUint32(b, stream)
}

func appendSettings(b []byte) []byte {
	settings := []http2.Setting{
		{ID: http2.SettingMaxConcurrentStreams, Val: maxCalls},
		{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		{ID: http2.SettingMaxHeaderListSize, Val: maxHeaders},
	}
	b = appendFrame(b, 6*len(settings), http2.FrameSettings, 0, 0)
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, uint16(s.ID))
		b = binary.BigEndian.AppendUint32(b, s.Val)
	}
	return b
}

func appendWindowUpdate(b []byte, stream, more uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, http2.FrameWindowUpdate, 0, stream), more)
}

// sendReset resets a stream. What the peer sends on it before it knows is passed
// over.
func (c *conn) sendReset(id uint32, code http2.ErrCode) {
	c.resets[c.nextReset%len(c.resets)] = id
	c.nextReset++
	c.out = appendReset(c.out, id, code)
}

func appendReset(b []byte, stream uint32, code http2.ErrCode) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, http2.FrameRSTStream, 0, stream), uint32(code))
}

func appendPing(b []byte, ack bool, data [8]byte) []byte {
	var flags http2.Flags
	if ack {
		flags = http2.FlagPingAck
	}
	return append(appendFrame(b, len(data), http2.FramePing, flags, 0), data[:]...)
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode) []byte {
	b = appendFrame(b, 8, http2.FrameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}
