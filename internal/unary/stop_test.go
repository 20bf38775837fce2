package unary

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// waiting is a server whose method answers once it is let to.
func waiting() (s *Server, begun chan context.Context, hold chan struct{}) {
	begun, hold = make(chan context.Context, 100), make(chan struct{})
	return NewServer(Options{Methods: map[string]Method{
		echoPath: func(ctx context.Context, in, out []byte) ([]byte, error) {
			slow(ctx)
			begun <- ctx
			<-hold
			return append(out, in...), nil
		},
	}}), begun, hold
}

// serve serves on loopback; stopped is told what Serve returns.
func serve(t *testing.T, s *Server) (address string, stopped chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stopped = make(chan error, 1)
	go func() { stopped <- s.Serve(l) }()
	return l.Addr().String(), stopped
}

// drainedFor is at how many looks the connection was asked to end.
func (c *conn) drainedFor() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen.drained
}

// goAways reads the next two GOAWAYs and answers the ping between them, if it is
// to.
func (p *peer) goAways(answer bool) (last []uint32) {
	p.t.Helper()
	p.until(func(f http2.Frame) bool {
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			last = append(last, f.LastStreamID)
		case *http2.PingFrame:
			if answer {
				p.must(p.WritePing(true, f.Data))
			} else {
				return true
			}
		}
		return len(last) == 2
	})
	return last
}

// GracefulStop answers what it has, says which was the last, passes the rest over
// and hangs up; nothing goes on after it.
func TestGracefulStop(t *testing.T) {
	realtest.NothingLeft(t)
	s, begun, hold := waiting()
	address, served := serve(t, s)
	p, idle := connect(t, address), connect(t, address)
	idle.must(idle.WritePing(false, [8]byte{1}))
	idle.until(func(f http2.Frame) bool { _, ok := f.(*http2.PingFrame); return ok })
	silent, err := net.Dial("tcp", address) // says nothing, and keeps nobody
	p.must(err)
	defer silent.Close()
	first := p.call("first")
	<-begun
	stopped := make(chan struct{})
	go func() { s.GracefulStop(); close(stopped) }()
	p.until(func(f http2.Frame) bool { g, ok := f.(*http2.GoAwayFrame); return ok && g.LastStreamID == mostWindow })
	second := p.call("second") // before the peer could know
	<-begun
	p.until(func(f http2.Frame) bool {
		ping, ok := f.(*http2.PingFrame)
		if ok {
			p.must(p.WritePing(true, ping.Data))
		}
		return ok
	})
	p.until(func(f http2.Frame) bool { g, ok := f.(*http2.GoAwayFrame); return ok && g.LastStreamID == second })
	for _, c := range s.list() {
		if n := c.drainedFor(); n >= drainLooks {
			t.Errorf("told only after %d looks", n)
		}
	}
	third := p.call("third")
	if last := idle.goAways(true); !slices.Equal(last, []uint32{mostWindow, 0}) || !idle.gone() {
		t.Errorf("the idle one: %v", last)
	}
	close(hold)
	if got := p.outcome(first); got.text != "first" {
		t.Errorf("the first: %+v", got)
	}
	if got := p.outcome(second); got.text != "second" {
		t.Errorf("the second: %+v", got)
	}
	if got := p.outcome(third); !got.goAway {
		t.Errorf("the third: %+v", got)
	}
	_, _ = p.Close(), idle.Close()
	<-stopped
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := s.Serve(&net.TCPListener{}); err != errStopped {
		t.Errorf("Serve after it: %v", err)
	}
	select {
	case <-begun:
		t.Error("the third was looked at")
	default:
	}
}

// A peer that does not answer is waited for so long and no longer; whatever it
// has used of its numbers.
func TestGracefulStopWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for _, number := range []uint32{1, mostWindow} {
		s := newEcho()
		address, served := serve(t, s)
		p := connect(t, address)
		p.next = number
		p.answered(t, "x")
		go s.GracefulStop()
		p.goAways(false)
		c := s.of(t)
		for range drainLooks {
			c.look()
		}
		p.until(func(f http2.Frame) bool { g, ok := f.(*http2.GoAwayFrame); return ok && g.LastStreamID == number })
		if !p.gone() {
			t.Errorf("after %d it goes on", number)
		}
		_ = p.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// Stop waits for nobody, not even for a method that did not say that it is slow:
// the methods are told, and the peers hang.
func TestStop(t *testing.T) {
	realtest.NothingLeft(t)
	begun, hold := make(chan context.Context), make(chan struct{})
	s := NewServer(Options{Methods: map[string]Method{
		echoPath: func(ctx context.Context, in, out []byte) ([]byte, error) {
			begun <- ctx
			<-hold
			return append(out, in...), nil
		},
	}})
	address, served := serve(t, s)
	p := connect(t, address)
	p.call("x")
	ctx := <-begun
	before := time.Now()
	s.Stop()
	if took := time.Since(before); took > 3*lookEvery/2 {
		t.Errorf("Stop took %v", took)
	}
	s.Stop()
	<-ctx.Done()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if !p.gone() {
		t.Error("the connection goes on")
	}
	close(hold)
	_ = p.Close()
}

// A connection that is closed begins nothing more, whatever it has read already.
func TestNothingBeginsAfterTheEnd(t *testing.T) {
	t.Parallel()
	var began, told atomic.Int64
	s := NewServer(Options{Methods: map[string]Method{
		echoPath: func(ctx context.Context, in, out []byte) ([]byte, error) {
			slow(ctx)
			began.Add(1)
			<-ctx.Done()
			told.Add(1)
			return append(out, in...), nil
		},
	}})
	p := connect(t, listen(t, s))
	for range 500 {
		p.call("x")
	}
	for len(s.list()) == 0 || s.list()[0].atWork() == 0 {
	}
	s.list()[0].close()
	s.Stop()
	for told.Load() < began.Load() {
	}
}

// What there is no room for is answered by Busy, and the others go on: nobody
// waits for a window that others hold.
func TestBusy(t *testing.T) {
	t.Parallel()
	const callers, size = 200, 1 << 20
	hold := make(chan struct{})
	var busy, done atomic.Int64
	s := NewServer(Options{
		Methods: map[string]Method{echoPath: func(ctx context.Context, in, out []byte) ([]byte, error) {
			slow(ctx)
			<-hold
			return append(out, in[:1]...), nil
		}},
		Busy: func(_ context.Context, in, out []byte) ([]byte, error) {
			if busy.Add(1) == callers-maxHeld/size {
				close(hold)
			}
			return append(out, "busy"...), nil
		},
	})
	address := listen(t, s)
	p := connect(t, address)
	text := string(make([]byte, size))
	conn, windows := firstWindow, map[uint32]int{}
	obey := func(f http2.Frame) {
		if w, ok := f.(*http2.WindowUpdateFrame); ok && w.StreamID == 0 {
			conn += int(w.Increment)
		} else if ok {
			windows[w.StreamID] += int(w.Increment)
		} else if d, ok := f.(*http2.DataFrame); ok && len(d.Data()) > 0 {
			done.Add(1)
		}
	}
	var ids []uint32
	rest := map[uint32][]byte{}
	for range callers {
		id := p.open(false, headers())
		ids, rest[id], windows[id] = append(ids, id), message(text), streamWindow
	}
	for len(rest) > 0 { // a piece of each in turn
		sent := false
		for _, id := range ids {
			body := rest[id]
			if n := min(len(body), frameSize, conn, windows[id]); n > 0 {
				p.must(p.WriteData(id, n == len(body), body[:n]))
				conn, windows[id], rest[id], sent = conn-n, windows[id]-n, body[n:], true
				if n == len(body) {
					delete(rest, id)
				}
			}
		}
		if !sent {
			f, err := p.ReadFrame()
			p.must(err)
			obey(f)
		}
	}
	for done.Load() < callers {
		f, err := p.ReadFrame()
		p.must(err)
		obey(f)
	}
	if n := busy.Load(); n < callers-maxHeld/size || n == callers {
		t.Errorf("%d of %d were answered by Busy", n, callers)
	}
	s.of(t).settled(t)
}

// What crosses with a reset of ours is passed over.
func TestWhatCrossesWithAReset(t *testing.T) {
	t.Parallel()
	p := connect(t, listen(t, newEcho()))
	id := p.open(false, headers("te", "gzip"))
	p.must(p.WriteData(id, false, message("x")))
	p.block.Reset()
	p.must(p.encoder.WriteField(headers("x-trailer", "1")[6]))
	p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block.Bytes(), EndHeaders: true, EndStream: true}))
	if got := p.outcome(id); got.reset != http2.ErrCodeProtocol {
		t.Errorf("%+v", got)
	}
	p.answered(t, "next")
}

// Trailers end a message; they may say nothing that is for headers.
func TestTrailers(t *testing.T) {
	t.Parallel()
	p := connect(t, listen(t, newEcho()))
	for field, want := range map[string]outcome{
		"x-trailer": {status: "200", grpc: "0", text: "x"},
		":path":     {reset: http2.ErrCodeProtocol},
	} {
		id := p.open(false, headers())
		p.must(p.WriteData(id, false, message("x")))
		p.block.Reset()
		f := headers()[0]
		f.Name = field
		p.must(p.encoder.WriteField(f))
		p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block.Bytes(), EndHeaders: true, EndStream: true}))
		if got := p.outcome(id); got != want {
			t.Errorf("%s: %+v", field, got)
		}
	}
}

// TLS is spoken where it is set, whether its settings name HTTP/2 or not; nothing
// else is.
func TestTLS(t *testing.T) {
	t.Parallel()
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	s := NewServer(Options{Methods: map[string]Method{echoPath: echo}, TLS: &tls.Config{Certificates: web.TLS.Certificates}})
	address := listen(t, s)
	for _, offer := range [][]string{{"h2"}, {"h2", "http/1.1"}, {"http/1.1"}, nil} {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: offer})
		if err != nil {
			if slices.Contains(offer, "h2") {
				t.Errorf("%v: %v", offer, err)
			}
			continue
		}
		defer c.Close()
		p := greet(t, c)
		if !slices.Contains(offer, "h2") {
			if !p.gone() {
				t.Errorf("%v is taken", offer)
			}
			continue
		}
		p.answered(t, "by TLS")
	}
	if p := connect(t, address); !p.gone() {
		t.Error("plain text is taken")
	}
}

// However many calls of Serve there were, there is one watch.
func TestServeAgain(t *testing.T) {
	t.Parallel()
	s := newEcho()
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		if s.Serve(l) == nil {
			t.Error("a closed listener is served")
		}
	}
	var all sync.WaitGroup
	for range 3 {
		address := listen(t, s)
		all.Go(func() { connect(t, address).answered(t, "x") })
	}
	all.Wait()
}
