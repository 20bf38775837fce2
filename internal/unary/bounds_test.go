package unary

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A peer that does without end what is no call is sent away; one that does it
// beside its calls is not.
func TestFloods(t *testing.T) {
	t.Parallel()
	address := listen(t, newEcho())
	for name, write := range map[string]func(p *peer, n int) error{
		"pings":          func(p *peer, n int) error { return p.WritePing(false, [8]byte{byte(n)}) },
		"settings":       func(p *peer, _ int) error { return p.WriteSettings() },
		"acknowledged":   func(p *peer, _ int) error { return p.WriteSettingsAck() },
		"windows":        func(p *peer, _ int) error { return p.WriteWindowUpdate(0, 1) },
		"unknown frames": func(p *peer, _ int) error { return p.WriteRawFrame(0x77, 0, 0, []byte("x")) },
		"priorities": func(p *peer, n int) error {
			return p.WritePriority(uint32(2*n+1), http2.PriorityParam{StreamDep: 0, Weight: 1})
		},
		"rapid reset": func(p *peer, _ int) error { return p.WriteRSTStream(p.open(false, headers()), http2.ErrCodeCancel) },
		"malformed":   func(p *peer, _ int) error { p.open(true, headers("te", "gzip")); return nil },
		"empty data": func(p *peer, n int) error {
			if n == 0 {
				p.open(false, headers())
			}
			return p.WriteData(1, false, nil)
		},
		"data of nobody": func(p *peer, n int) error {
			if n == 0 {
				p.must(p.WriteRSTStream(p.open(false, headers()), http2.ErrCodeCancel))
			}
			return p.WriteData(1, false, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := connect(t, address)
			quiet := *p
			quiet.t = new(quietly)
			go func() {
				for n := range 4 * maxPatience {
					if write(&quiet, n) != nil {
						return
					}
				}
			}()
			if got := p.outcome(0); got.code != http2.ErrCodeEnhanceYourCalm {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("beside calls", func(t *testing.T) {
		s := newEcho()
		p := connect(t, listen(t, s))
		p.answered(t, "first")
		c := s.of(t)
		c.mu.Lock()
		c.patience = 10
		c.mu.Unlock()
		for n := range 1000 {
			p.must(p.WritePing(false, [8]byte{byte(n)}))
			p.must(p.WriteRSTStream(p.call("given up"), http2.ErrCodeCancel))
			if got := p.outcome(p.call("x")); got.text != "x" {
				t.Fatalf("after %d: %+v", n, got)
			}
		}
	})
}

// quietly is a test that does not mind that the other side has hung up.
type quietly struct{ testing.TB }

func (*quietly) Helper()      {}
func (*quietly) Fatal(...any) {}

// Headers are bounded before they are decoded, and as they are.
func TestHeaderBounds(t *testing.T) {
	t.Parallel()
	address := listen(t, newEcho())
	long := strings.Repeat("x", maxHeaders)
	for name, c := range map[string]struct {
		write func(p *peer)
		want  outcome
	}{
		"one too large": {func(p *peer) { p.open(true, headers("x", long[:maxHeaders-100])) }, outcome{reset: http2.ErrCodeEnhanceYourCalm}},
		"too many": {func(p *peer) {
			var more []string
			for n := range maxHeaders / 32 {
				more = append(more, fmt.Sprint("x", n), "")
			}
			p.open(true, headers(more...))
		}, outcome{reset: http2.ErrCodeEnhanceYourCalm}},
		"a value that repeats itself": {func(p *peer) {
			// Two bytes on the wire are 4,000 in the table.
			p.block.Reset()
			p.must(p.encoder.WriteField(hpack.HeaderField{Name: "x", Value: long[:4000]}))
			block := append(bytes.Clone(p.block.Bytes()), bytes.Repeat([]byte{0x80 | 62}, 10_000)...)
			p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true}))
		}, outcome{reset: http2.ErrCodeEnhanceYourCalm}},
		"without end": {func(p *peer) {
			filler := bytes.Repeat([]byte{0x10, 1, 'a', 1, 'b'}, 100)
			p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: filler}))
			for range maxFragments {
				p.must(p.WriteContinuation(1, false, filler))
			}
		}, outcome{goAway: true, code: http2.ErrCodeEnhanceYourCalm}},
		"empty fragments": {func(p *peer) {
			p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1}))
			for range maxFragments {
				p.must(p.WriteContinuation(1, false, nil))
			}
		}, outcome{goAway: true, code: http2.ErrCodeEnhanceYourCalm}},
		"too long to be decoded": {func(p *peer) {
			value := append([]byte{0x10, 1, 'a', 0x7f}, 0x81, 0xff, 0x01) // 128+127*... bytes are to follow
			block := append(value, long[:frameSize-len(value)]...)
			p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block}))
			p.must(p.WriteContinuation(1, true, []byte(long)))
		}, outcome{goAway: true, code: http2.ErrCodeCompression}},
		"a table of 1 MiB": {func(p *peer) {
			p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x3f, 0xe1, 0xff, 0x3f}, EndHeaders: true}))
		}, outcome{goAway: true, code: http2.ErrCodeCompression}},
	} {
		t.Run(name, func(t *testing.T) {
			p := connect(t, address)
			c.write(p)
			if got := p.outcome(1); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// A connection has so many calls under way and no more, however they are given
// up; and has them again once they have ended.
func TestCallsAtOnce(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s := NewServer(Options{Methods: map[string]Method{
		echoPath: func(ctx context.Context, in, out []byte) ([]byte, error) {
			slow(ctx)
			<-hold
			return append(out, in...), nil
		},
	}})
	p := connect(t, listen(t, s))
	for n := range maxCalls {
		if id := p.call("x"); n%2 == 0 {
			p.must(p.WriteRSTStream(id, http2.ErrCodeCancel))
		}
	}
	if got := p.outcome(p.call("too many")); got.reset != http2.ErrCodeRefusedStream {
		t.Errorf("%+v", got)
	}
	close(hold)
	for s.of(t).atWork() > 0 {
		p.must(p.WritePing(false, [8]byte{}))
		p.until(func(f http2.Frame) bool { _, ok := f.(*http2.PingFrame); return ok })
	}
	if got := p.outcome(p.call("again")); got.text != "again" {
		t.Errorf("%+v", got)
	}
	s.of(t).settled(t)
}

// What is waited for too long is given up: time is counted in looks.
func TestLook(t *testing.T) {
	t.Parallel()
	looks := func(c *conn, n int, idle bool) {
		for c.waiting.Load() != idle { // the reader is on its way there
			time.Sleep(time.Millisecond)
		}
		for range n {
			c.look()
		}
	}
	for name, c := range map[string]struct {
		idle  bool          // the reader expects nothing
		do    func(p *peer) // then nothing more comes
		looks int           // that it may take
		want  func(p *peer) bool
	}{
		"half a frame": {false, func(p *peer) { _, _ = p.Write([]byte{0, 0, 8, 6}) }, partialLooks, (*peer).gone},
		"half a block": {false, func(p *peer) {
			p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte{0x82}}))
		}, partialLooks, (*peer).gone},
		"half a call": {true, func(p *peer) {
			p.must(p.WriteData(p.open(false, headers()), false, message("x")[:2]))
		}, partialLooks, func(p *peer) bool { return p.outcome(3).reset == http2.ErrCodeCancel }},
		"a window that stays closed": {true, func(p *peer) {
			p.must(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
			p.call("x")
		}, blockedLooks, func(p *peer) bool { return p.outcome(3).reset == http2.ErrCodeCancel }},
		"silence": {true, func(*peer) {}, quietLooks + pingLooks, (*peer).gone},
		"no SETTINGS": {false, func(p *peer) {
			_ = p.Close()
			c, err := net.Dial("tcp", p.RemoteAddr().String())
			p.must(err)
			_, err = io.WriteString(c, http2.ClientPreface)
			p.must(err)
			p.Conn, p.Framer = c, http2.NewFramer(c, c)
			p.until(func(f http2.Frame) bool { _, ok := f.(*http2.WindowUpdateFrame); return ok })
		}, partialLooks, (*peer).gone},
	} {
		t.Run(name, func(t *testing.T) {
			s := newEcho()
			p := connect(t, listen(t, s))
			p.answered(t, "first")
			c.do(p)
			for len(s.list()) != 1 {
				time.Sleep(time.Millisecond)
			}
			p.settle(t, s.of(t))
			looks(s.of(t), c.looks+2, c.idle)
			if !c.want(p) {
				t.Errorf("nothing happened")
			}
		})
	}
	t.Run("who answers stays", func(t *testing.T) {
		s := newEcho()
		p := connect(t, listen(t, s))
		p.answered(t, "first")
		for range 3 {
			before := s.of(t).frames.Load()
			looks(s.of(t), quietLooks, true)
			p.until(func(f http2.Frame) bool {
				ping, ok := f.(*http2.PingFrame)
				if ok {
					p.must(p.WritePing(true, ping.Data))
				}
				return ok
			})
			for s.of(t).frames.Load() == before {
				time.Sleep(time.Millisecond)
			}
		}
		p.answered(t, "last")
	})
}

func (p *peer) answered(t *testing.T, text string) {
	t.Helper()
	if got := p.outcome(p.call(text)); got.text != text {
		t.Fatalf("%+v", got)
	}
}

// gone reports whether the other side hangs up.
func (p *peer) gone() bool { return p.outcome(0).goAway }

// settle waits until the server has read what was sent.
func (p *peer) settle(t *testing.T, c *conn) {
	t.Helper()
	for n, before := 0, uint64(0); n < 20; n++ {
		if now := c.frames.Load(); now != before {
			n, before = 0, now
		}
		time.Sleep(time.Millisecond)
	}
}

// Who asks and does not read is not read either, and let go in the end; its
// answers do not pile up. So it is whether the reader waits for it, or others do.
func TestNeverReads(t *testing.T) {
	t.Parallel()
	answer := bytes.Repeat([]byte("x"), 8<<10)
	for _, c := range []struct {
		others bool // answer, and the reader goes on
		calls  []int
	}{
		{false, []int{maxCalls - 1}},
		{true, []int{maxOut / len(answer) / 2}},
		{true, []int{maxCalls - 1, maxCalls - 1}}, // the second time nobody reads them
	} {
		neverReads(t, answer, c.others, c.calls)
	}
}

func neverReads(t *testing.T, answer []byte, others bool, calls []int) {
	t.Helper()
	s := NewServer(Options{Methods: map[string]Method{
		echoPath: func(ctx context.Context, _, out []byte) ([]byte, error) {
			if others {
				slow(ctx)
			}
			return append(out, answer...), nil
		},
	}})
	address, served := serve(t, s)
	p := connect(t, address, http2.Setting{ID: http2.SettingInitialWindowSize, Val: mostWindow})
	p.must(p.WriteWindowUpdate(0, mostWindow-firstWindow))
	_ = p.SetWriteDeadline(time.Now().Add(time.Second))
	p.answered(t, string(answer))
	c := s.of(t)
	p.must(p.Conn.(*net.TCPConn).SetReadBuffer(4 << 10))
	p.must(c.raw.(*net.TCPConn).SetWriteBuffer(4 << 10))
	quiet := *p
	quiet.t = new(quietly)
	for _, n := range calls {
		_ = p.SetWriteDeadline(time.Now().Add(time.Second))
		for range n {
			quiet.call("x")
		}
		p.settle(t, c)
	}
	c.mu.Lock()
	if n := len(c.out) + c.taken; n < len(answer) || n > maxOut+(maxCalls+10)*(len(answer)+100) {
		t.Errorf("%d bytes wait to be written", n)
	}
	c.mu.Unlock()
	for range partialLooks + 1 {
		c.look()
	}
	s.GracefulStop() // it has nobody to wait for
	if err := <-served; err != nil {
		t.Error(err)
	}
}
