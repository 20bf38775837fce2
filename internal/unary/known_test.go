package unary

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// What Envoy 1.40 sends with its first check on a connection, and with each after it.
const (
	envoyFirst = "83049f60b5773fa5d05b3b98855c76a675fbb2bc36a673d86f63498f5317a7293aff410268318640027465864d833505b11f40899acac8b24d494f6a7f846c00053f5f8b1d75d0620d263d4c4d6564408cf2b16aee7f4b1aa496ca8747834d9697408bf2b4a7b3c0ec90b22d29ec870be25c0b89717f4096f2b16aee7f4b17cd65224b22d6765926a4a7b52b528f836c0007"
	envoyNext  = "83049f60b5773fa5d05b3b98855c76a675fbb2bc36a673d86f63498f5317a7293affc486c3c2c1c0bfbe"
)

// The block that Envoy repeats is not decoded again.
func TestKnownBlock(t *testing.T) {
	t.Parallel()
	c := &conn{}
	c.hpack = newDecoder(&c.head)
	for n, text := range []string{envoyFirst, envoyNext, envoyNext, envoyNext} {
		block := unhex(t, text)
		known := len(c.known.block) > 0
		c.head.begin(uint32(2*n+1), false, false)
		c.head.fragments = 1
		if err := c.decode(block, true); err != nil {
			t.Fatal(err)
		}
		h := &c.head
		if h.method != "POST" || h.path != "/envoy.service.auth.v3.Authorization/Check" || h.wait.String() != "5s" || h.malformed() || h.fault() != nil || h.id != uint32(2*n+1) {
			t.Errorf("block %d says %+v", n, *h)
		}
		if want := n >= 2; known != want {
			t.Errorf("block %d is known: %t, want %t", n, known, want)
		}
	}
}

// The same bytes do not say the same once something was put into the table.
func TestKnownBlockUntilTheTableChanges(t *testing.T) {
	t.Parallel()
	p := connect(t, listen(t, newEcho()))
	base := []byte{0x80 | 3, 0x80 | 6} // POST and http, which are in every table
	for _, f := range [][2]string{{":path", echoPath}, {":authority", "x"}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
		base = literal(base, 0, f[0], f[1])
	}
	good := outcome{status: "200", grpc: "0", text: "hello"}
	bad := outcome{grpc: "13"}
	put := func(wait string) []byte { return literal(base, 0x40, "grpc-timeout", wait) }
	newest := append(bytes.Clone(base), 0x80|62)
	older := append(bytes.Clone(base), 0x80|63)
	trailer := literal(nil, 0x40, "grpc-timeout", "never")
	for n, step := range []struct {
		first, block, trailers []byte
		want                   outcome
	}{
		{block: put("9S"), want: good},
		{block: newest, want: good},
		{block: newest, want: good},
		{block: put("9 hours"), want: bad},
		{block: newest, want: bad},
		{block: newest, want: bad},
		{block: put("8S"), want: good},
		{block: put("8S"), want: good},
		{block: older, want: good},
		{block: newest, want: good},
		{block: newest, want: good},
		{block: literal(base, 0, "grpc-timeout", "no"), want: bad},
		{block: literal(base, 0x10, "grpc-timeout", "no"), want: bad},
		{block: newest, want: good},
		{block: newest, trailers: trailer, want: good},
		{block: newest, want: bad},
		{block: newest, want: bad},
		{block: append([]byte{0x20, 0x3f, 0xe1, 0x1f}, put("7S")...), want: good}, // the table emptied, and filled again
		{block: newest, want: good},
		{block: newest, want: good},
		{block: newest, trailers: newest, want: outcome{reset: http2.ErrCodeProtocol}},
		{first: literal(nil, 0, "x", "y"), block: newest, want: outcome{reset: http2.ErrCodeProtocol}}, // after what is no pseudo-header
		{first: trailer, block: newest, want: outcome{reset: http2.ErrCodeProtocol}},
		{block: newest, want: bad},
	} {
		id := p.next
		p.next += 2
		kind := http2.FrameHeaders
		if step.first != nil {
			p.must(p.WriteRawFrame(kind, 0, id, step.first))
			kind = http2.FrameContinuation
		}
		p.must(p.WriteRawFrame(kind, http2.FlagHeadersEndHeaders, id, step.block))
		p.must(p.WriteData(id, step.trailers == nil, message("hello")))
		if step.trailers != nil {
			p.must(p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, id, step.trailers))
		}
		got := p.outcome(id)
		if got.grpc != "0" { // why is told elsewhere
			got.text, got.status = "", ""
		}
		if got != step.want {
			t.Errorf("step %d: %+v, want %+v", n, got, step.want)
		}
	}
}

// Only what certainly leaves the table alone is said to.
func TestKeepsTable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		envoyFirst: false, envoyNext: true, "": true,
		"82": true, "fe": true, "ff00": false, "ff8000": false, "ff82": false,
		"0001780179": true, "1001780179": true, "4001780179": false, "5001780179": false, "7e0179": false,
		"040178": true, "140178": true, "0e0178": true, "440178": false,
		"0f0178": false, "1f0178": false, "047f" + strings.Repeat("78", 127): false,
		"20": false, "210178": false, "3fe11f": false, "8220": false, "824001780179": false,
		"00": false, "0001": false, "000178": false, "00017801": false, "04": false, "0402": false, "040278": false,
		"0400": true, "00000179": true, "007f00": false, "04ff00": false, "048178": true,
	} {
		if got := keepsTable(unhex(t, text)); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}

// literal appends a field to a block, with the first byte that says whether it is
// put into the table.
func literal(block []byte, kind byte, name, value string) []byte {
	b := append(bytes.Clone(block), kind, byte(len(name)))
	b = append(append(b, name...), byte(len(value)))
	return append(b, value...)
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzKnownBlock sends blocks, each twice, with another between: what they say is
// what a decoder makes of them that knows nothing.
func FuzzKnownBlock(f *testing.F) {
	first, next := unhex(f, envoyFirst), unhex(f, envoyNext)
	f.Add(first, next, next)
	f.Add(first, next, literal(nil, 0x40, "te", "no"))
	f.Add(next, next, []byte{0x3f, 0xe1, 0x1f})
	f.Add(first, next, literal(nil, 0x10, "x", "y"))
	f.Add(first, append(bytes.Clone(next), 0x0f, 0x10, 0x01, 'x'), literal(next, 0x40, "grpc-timeout", "1S"))
	f.Fuzz(func(t *testing.T, first, block, between []byte) {
		one, other := &conn{}, &conn{}
		one.hpack, other.hpack = newDecoder(&one.head), newDecoder(&other.head)
		for n, b := range [][]byte{first, block, block, between, block, between, between, block, block} {
			for _, c := range []*conn{one, other} {
				c.head.begin(uint32(2*n+1), false, n%2 == 0)
				c.head.fragments, c.head.wire = 1, len(b)
				c.hpack.SetEmitEnabled(true)
			}
			other.known.forget()
			got, want := one.decode(b, true), other.decode(b, true)
			if got != want {
				t.Fatalf("block %d: %v, want %v", n, got, want)
			}
			if got != nil {
				return
			}
			if a, b := sayings(one), sayings(other); a != b {
				t.Fatalf("block %d:\n%+v, want\n%+v", n, a, b)
			}
		}
	})
}

// sayings is a head without its error, and with that in words.
func sayings(c *conn) (s struct {
	head
	wrong string
},
) {
	s.head = c.head
	if s.badWait != nil {
		s.wrong, s.badWait = s.badWait.Error(), nil
	}
	return s
}
