package unary

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// An answer never takes more of a window than is open, whatever the windows are,
// and comes whole once they are.
func TestAnswersKeepToTheWindows(t *testing.T) {
	t.Parallel()
	s := newEcho()
	address := listen(t, s)
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(3, seed))
		initial := []int{0, 1, 5, 6, 100, firstWindow, 1 << 20}[random.IntN(7)]
		size := []int{1, 2, 90, frameSize, 100_000, 300_000}[random.IntN(6)]
		t.Run(fmt.Sprintf("%d of %d", size, initial), func(t *testing.T) {
			p := connect(t, address, http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(initial)})
			want := strings.Repeat("x", size)
			id := p.call(want)
			var body []byte
			open, all := initial, firstWindow
			for ended := false; !ended; {
				// What is open is used up before the next step of a window; a
				// message that ends before it needs none.
				f, err := p.ReadFrame()
				p.must(err)
				switch f := f.(type) {
				case *http2.DataFrame:
					body = append(body, f.Data()...)
					open -= len(f.Data())
					all -= len(f.Data())
					if open < 0 || all < 0 {
						t.Fatalf("%d bytes too many for the stream, %d for the connection", -open, -all)
					}
				case *http2.HeadersFrame:
					ended = f.StreamEnded()
				}
				if left := size + prefix - len(body); left > 0 && (open == 0 || all == 0) && !ended {
					more := 1 + random.IntN(left+10)
					if all == 0 {
						p.must(p.WriteWindowUpdate(0, uint32(more)))
						all += more
					}
					if open == 0 && random.IntN(2) == 0 {
						p.must(p.WriteWindowUpdate(id, uint32(more)))
						open += more
					} else if open == 0 {
						p.must(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(initial + more)}))
						open += more
						initial += more
					}
				}
			}
			if len(body) != size+prefix || string(body[prefix:]) != want {
				t.Errorf("%d bytes came back as %d", size, len(body)-prefix)
			}
		})
	}
}

// A window that shrinks below nothing has to be opened again first (RFC 9113
// §6.9.2).
func TestWindowBelowZero(t *testing.T) {
	t.Parallel()
	p := connect(t, listen(t, newEcho()), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 8})
	id := p.call("0123456789")
	p.until(func(f http2.Frame) bool { d, ok := f.(*http2.DataFrame); return ok && len(d.Data()) == 8 })
	p.must(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})) // -8 now
	p.must(p.WriteWindowUpdate(id, 8))                                                 // nothing
	p.must(p.WritePing(false, [8]byte{1}))
	p.until(func(f http2.Frame) bool {
		if d, ok := f.(*http2.DataFrame); ok {
			t.Errorf("%d bytes without a window", len(d.Data()))
		}
		_, ok := f.(*http2.PingFrame)
		return ok
	})
	p.must(p.WriteWindowUpdate(id, 7))
	p.until(func(f http2.Frame) bool { d, ok := f.(*http2.DataFrame); return ok && len(d.Data()) == 7 })
}

// until reads frames until one is the right one.
func (p *peer) until(right func(http2.Frame) bool) {
	p.t.Helper()
	for {
		f, err := p.ReadFrame()
		p.must(err)
		p.note(f)
		if right(f) {
			return
		}
	}
}

// Whatever becomes of messages, the window that they took is given back: a
// connection does not run dry.
func TestTheWindowComesBack(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s := NewServer(Options{Methods: map[string]Method{
		echoPath: echo,
		"/hold": func(ctx context.Context, in, out []byte) ([]byte, error) {
			slow(ctx)
			<-hold
			return append(out, 1), nil
		},
	}})
	p := connect(t, listen(t, s), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	p.must(p.WriteWindowUpdate(0, 1<<20))
	big := strings.Repeat("x", 100_000)
	broken := append(message(big), 1)
	var held []uint32
	for round := range 500 {
		switch round % 6 {
		case 0:
			if got := p.outcome(p.call(big)); len(got.text) != len(big) {
				t.Fatalf("%+v", got)
			}
			p.must(p.WriteWindowUpdate(0, uint32(len(big)+prefix)))
		case 1: // more than one message
			id := p.open(false, headers())
			p.send(id, broken)
			if got := p.outcome(id); got.grpc != "13" {
				t.Fatalf("%+v", got)
			}
		case 2: // given up half-way
			id := p.open(false, headers())
			p.must(p.WriteData(id, false, message(big)[:frameSize]))
			p.must(p.WriteRSTStream(id, http2.ErrCodeCancel))
			p.must(p.WriteData(id, false, message(big)[:frameSize])) // too late
		case 3: // given up while it is answered
			id := p.call(big[:frameSize-prefix], ":path", "/hold")
			held = append(held, id)
			p.must(p.WriteRSTStream(id, http2.ErrCodeCancel))
		case 4: // nobody there, and padded
			id := p.open(false, headers(":path", "/nobody"))
			p.must(p.WriteDataPadded(id, true, message(big)[:1000], make([]byte, 255)))
			if got := p.outcome(id); got.grpc != "12" {
				t.Fatalf("%+v", got)
			}
		case 5: // malformed
			id := p.open(false, headers("te", "gzip"))
			p.must(p.WriteData(id, true, message(big)[:frameSize]))
			if got := p.outcome(id); got.reset != http2.ErrCodeProtocol {
				t.Fatalf("%+v", got)
			}
		}
	}
	close(hold)
	c := s.of(t)
	for c.atWork() > 0 {
		if got := p.outcome(p.call("x")); got.text != "x" {
			t.Fatalf("%+v", got)
		}
	}
	c.settled(t)
	if len(held) == 0 || c.credit >= connWindow/4 {
		t.Errorf("%d bytes are ours, and the peer was not told", c.credit)
	}
}

func (c *conn) atWork() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.under
}

// A peer that keeps to the windows that it is told of is never stopped for good:
// eight times the window of a connection, in bodies of many frames, goes through.
func TestLongConnection(t *testing.T) {
	t.Parallel()
	s := NewServer(Options{Methods: map[string]Method{
		echoPath: func(_ context.Context, in, out []byte) ([]byte, error) { return append(out, in[:1]...), nil },
	}})
	p := connect(t, listen(t, s))
	conn, stream, sent := firstWindow, 0, 0
	text := strings.Repeat("y", 1<<20)
	obey := func(f http2.Frame, id uint32) {
		if w, ok := f.(*http2.WindowUpdateFrame); ok {
			switch w.StreamID {
			case 0:
				conn += int(w.Increment)
			case id:
				stream += int(w.Increment)
			}
		}
	}
	for sent < 8*connWindow {
		id := p.open(false, headers())
		stream = streamWindow
		for body := message(text); len(body) > 0; {
			n := min(len(body), frameSize, conn, stream)
			if n == 0 {
				p.until(func(f http2.Frame) bool { obey(f, id); return conn > 0 && stream > 0 })
				continue
			}
			p.must(p.WriteData(id, n == len(body), body[:n]))
			conn, stream, sent, body = conn-n, stream-n, sent+n, body[n:]
		}
		p.until(func(f http2.Frame) bool {
			obey(f, id)
			h, ok := f.(*http2.HeadersFrame)
			return ok && h.StreamID == id && h.StreamEnded()
		})
	}
}
