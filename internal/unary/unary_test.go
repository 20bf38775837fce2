package unary

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// dialGRPC is grpc-go's client.
func dialGRPC(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(8<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Messages of any size come and go whole, many at once, and each caller has its
// own: whatever they have to wait for.
func TestEverybodyHasTheirAnswer(t *testing.T) {
	t.Parallel()
	s := newEcho()
	conn := dialGRPC(t, listen(t, s))
	sizes := []int{1, 100, frameSize - 10, frameSize, frameSize + 1, firstWindow - 8, firstWindow, streamWindow, streamWindow + 1, 1 << 20, maxMessage - 8}
	var callers sync.WaitGroup
	for n := range 24 {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(n)))
			for round := range 30 {
				size := random.IntN(3000)
				if round%10 == 0 {
					size = sizes[random.IntN(len(sizes))]
				}
				want := strings.Repeat(string(rune('a'+n)), size) + fmt.Sprint(n, round)
				want = want[max(0, len(want)-maxMessage+8):]
				var got wrapperspb.StringValue
				if err := conn.Invoke(t.Context(), echoPath, wrapperspb.String(want), &got); err != nil {
					t.Errorf("%d bytes: %v", size, err)
				} else if got.Value != want {
					t.Errorf("%d bytes came back as %d others", len(want), len(got.Value))
				}
			}
		})
	}
	callers.Wait()
	s.of(t).settled(t)
}

// What is not a good call ends as it does in grpc-go: by the same gRPC status,
// HTTP status or reset.
func TestAgreesWithGRPC(t *testing.T) {
	t.Parallel()
	other := grpc.NewServer()
	other.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Echo", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Echo",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			m := new(wrapperspb.StringValue)
			return m, decode(m)
		},
	}}}, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = other.Serve(l) }()
	t.Cleanup(other.Stop)
	ours := listen(t, newEcho())

	hello := "\x0a\x05hello" // a StringValue
	two := append(message(hello), message(hello)...)
	zipped := message(hello)
	zipped[0] = 1
	huge := message("")
	huge[1] = 1 // 16 MiB are to follow
	for name, c := range map[string]struct {
		changes []string
		body    []byte
		want    outcome
	}{
		"good":                {nil, message(hello), outcome{status: "200", grpc: "0", text: hello}},
		"with a subtype":      {[]string{"content-type", "application/grpc+proto"}, message(hello), outcome{status: "200", grpc: "0", text: hello}},
		"with a parameter":    {[]string{"content-type", "application/grpc;x=y"}, message(hello), outcome{status: "200", grpc: "0", text: hello}},
		"with time":           {[]string{"grpc-timeout", "99999999n"}, message(hello), outcome{status: "200", grpc: "0", text: hello}},
		"identity":            {[]string{"grpc-encoding", "identity"}, message(hello), outcome{status: "200", grpc: "0", text: hello}},
		"more headers":        {[]string{"traceparent", "00-1-2-03", "x-y", "1", "x-y", "2"}, message(hello), outcome{status: "200", grpc: "0", text: hello}},
		"length":              {[]string{"content-length", "12"}, message(hello), outcome{status: "200", grpc: "0", text: hello}},
		"other method":        {[]string{":path", "/test.Echo/Other"}, message(hello), outcome{status: "200", grpc: "12"}},
		"other service":       {[]string{":path", "/test.Other/Echo"}, message(hello), outcome{status: "200", grpc: "12"}},
		"no leading slash":    {[]string{":path", echoPath[1:]}, message(hello), outcome{status: "200", grpc: "12"}},
		"a query":             {[]string{":path", echoPath + "?x"}, message(hello), outcome{status: "200", grpc: "12"}},
		"long path":           {[]string{":path", strings.Repeat("/x", 5000)}, message(hello), outcome{status: "200", grpc: "12"}},
		"upper case":          {[]string{":path", strings.ToUpper(echoPath)}, message(hello), outcome{status: "200", grpc: "12"}},
		"unknown encoding":    {[]string{"grpc-encoding", "gzip"}, zipped, outcome{status: "200", grpc: "12"}},
		"GET":                 {[]string{":method", "GET"}, message(hello), outcome{status: "405"}},
		"JSON":                {[]string{"content-type", "application/json"}, message(hello), outcome{status: "415"}},
		"another grpc":        {[]string{"content-type", "application/grpcx"}, message(hello), outcome{status: "415"}},
		"no type":             {[]string{"content-type", "-"}, message(hello), outcome{status: "415"}},
		"not compressed":      {nil, zipped, outcome{status: "200", grpc: "13"}},
		"too large":           {nil, huge, outcome{status: "200", grpc: "8"}},
		"no message":          {nil, nil, outcome{status: "200", grpc: "13"}},
		"short":               {nil, message(hello)[:9], outcome{status: "200", grpc: "13"}},
		"half a prefix":       {nil, message(hello)[:3], outcome{status: "200", grpc: "13"}},
		"two messages":        {nil, two, outcome{status: "200", grpc: "13"}},
		"a connection header": {[]string{"connection", "close"}, message(hello), outcome{reset: http2.ErrCodeProtocol}},
	} {
		t.Run(name, func(t *testing.T) {
			for server, address := range map[string]string{"unary": ours, "grpc-go": l.Addr().String()} {
				p := connect(t, address)
				id := p.open(false, headers(c.changes...))
				p.send(id, c.body)
				got := p.outcome(id)
				if got.status != "200" {
					got.grpc = "" // grpc-go says more there, to nobody
				}
				if got != c.want {
					t.Errorf("%s: %+v, want %+v", server, got, c.want)
				}
			}
		})
	}
}

// What grpc-go does not look at is refused: HTTP/2 says so (RFC 9113 §8).
func TestMalformed(t *testing.T) {
	t.Parallel()
	address := listen(t, newEcho())
	for name, changes := range map[string][]string{
		"upper case name":     {"X-Y", "1"},
		"space in a name":     {"x y", "1"},
		"unknown pseudo":      {":other", "1"},
		"pseudo comes late":   {"x", "1", ":protocol", "x"},
		"no path":             {":path", "-"},
		"empty path":          {":path", ""},
		"no method":           {":method", "-"},
		"no scheme":           {":scheme", "-"},
		"transfer-encoding":   {"transfer-encoding", "chunked"},
		"te":                  {"te", "gzip"},
		"wrong length":        {"content-length", "11"},
		"length is no number": {"content-length", "-12"},
	} {
		t.Run(name, func(t *testing.T) {
			p := connect(t, address)
			if got := p.outcome(p.call("\x0a\x05hello", changes...)); got.reset != http2.ErrCodeProtocol {
				t.Errorf("%+v", got)
			}
			if got := p.outcome(p.call("again")); got.text != "again" {
				t.Errorf("the next call: %+v", got)
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"1n": 1, "20u": 20 * time.Microsecond, "99999999m": 99999999 * time.Millisecond, "5S": 5 * time.Second,
		"2M": 2 * time.Minute, "3H": 3 * time.Hour, "99999999H": longest, "0n": 0,
		"": -1, "1": -1, "n": -1, "123456789n": -1, "-1S": -1, "+1S": -1, "1s": -1, "1Sm": -1, " 1S": -1, "1.5S": -1,
	} {
		got, err := timeout(s)
		if got != want || (err != nil) != (want < 0) {
			t.Errorf("%q is %v, %v; want %v", s, got, err, want)
		}
		if err != nil && status.Code(err) != codes.Internal {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// An error of a method goes to its caller, whatever is in its text.
func TestErrorOfAMethod(t *testing.T) {
	t.Parallel()
	const text = "100 % wrong:\r\n \x00 naïve"
	conn := dialGRPC(t, listen(t, NewServer(Options{Methods: map[string]Method{
		echoPath: func(context.Context, []byte, []byte) ([]byte, error) { return nil, status.Error(codes.NotFound, text) },
		"/x/y":   func(context.Context, []byte, []byte) ([]byte, error) { return nil, fmt.Errorf("plain") },
		"/x/z":   func(context.Context, []byte, []byte) ([]byte, error) { return nil, nil },
		"/x/l":   func(context.Context, []byte, []byte) ([]byte, error) { return nil, fmt.Errorf("%20000d", 1) },
	}})))
	for path, want := range map[string]error{
		echoPath: status.Error(codes.NotFound, text), "/x/y": status.Error(codes.Unknown, "plain"), "/x/z": errNoAnswer,
		"/x/l": fmt.Errorf("%1024s", ""),
	} {
		err := conn.Invoke(t.Context(), path, wrapperspb.String(""), new(wrapperspb.StringValue))
		if status.Code(err) != status.Code(want) || status.Convert(err).Message() != status.Convert(want).Message() {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

// A method's context ends with the caller's patience, by the clock, by a reset
// or by the end of the connection; and with the call.
func TestContext(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan context.Context, 1), make(chan error, 1)
	s := NewServer(Options{Methods: map[string]Method{
		echoPath: func(ctx context.Context, in, out []byte) ([]byte, error) {
			slow(ctx)
			inner, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			begun <- ctx
			if string(in) != "at once" {
				<-inner.Done()
				ended <- inner.Err()
			}
			return append(out, in...), nil
		},
	}})
	address := listen(t, s)
	for name, c := range map[string]struct {
		do   func(p *peer, id uint32)
		wait string
		want error
	}{
		"clock":      {func(*peer, uint32) {}, "10m", context.DeadlineExceeded},
		"reset":      {func(p *peer, id uint32) { p.must(p.WriteRSTStream(id, http2.ErrCodeCancel)) }, "1H", context.Canceled},
		"connection": {func(p *peer, _ uint32) { _ = p.Close() }, "1H", context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			p := connect(t, address)
			id := p.call("wait", "grpc-timeout", c.wait)
			ctx := <-begun
			if _, ok := ctx.Deadline(); !ok {
				t.Error("no deadline")
			}
			c.do(p, id)
			if err := <-ended; err != c.want {
				t.Errorf("it ended with %v, want %v", err, c.want)
			}
		})
	}
	t.Run("call", func(t *testing.T) {
		p := connect(t, address)
		id := p.call("at once")
		ctx := <-begun
		if got := p.outcome(id); got.text != "at once" {
			t.Errorf("%+v", got)
		}
		if _, ok := ctx.Deadline(); ok {
			t.Error("a deadline, where none was given")
		}
		<-ctx.Done()
		if ctx.Err() != context.Canceled {
			t.Errorf("it ended with %v", ctx.Err())
		}
	})
}

// A method that waits holds up nobody who comes by the same connection: if it says
// so at once, and if it does not, soon.
func TestSlow(t *testing.T) {
	t.Parallel()
	hold, begun := make(chan struct{}), make(chan string, 10)
	s := NewServer(Options{Methods: map[string]Method{
		echoPath: func(ctx context.Context, in, out []byte) ([]byte, error) {
			switch string(in) {
			case "says so":
				slow(ctx)
				slow(ctx)
			case "does not":
			default:
				return append(out, in...), nil
			}
			begun <- string(in)
			<-hold
			return append(out, in...), nil
		},
	}})
	p := connect(t, listen(t, s))
	var waiting []uint32
	for range 3 {
		for _, text := range []string{"says so", "does not"} {
			waiting = append(waiting, p.call(text))
			if got := <-begun; got != text {
				t.Errorf("%q began, not %q", got, text)
			}
			if text == "does not" {
				c := s.of(t)
				c.look()
				c.look()
			}
			p.answered(t, "meanwhile")
		}
	}
	close(hold)
	for n, id := range waiting {
		if got := p.outcome(id); got.text != []string{"says so", "does not"}[n%2] {
			t.Errorf("%d: %+v", n, got)
		}
	}
	s.of(t).settled(t)
}

// A reader that waits for its peer to take an answer, with the next call read, is no
// reader at work: nobody takes its place, and each call runs once.
func TestOneReader(t *testing.T) {
	t.Parallel()
	for _, looks := range []int{2, partialLooks - 1} {
		var ran atomic.Int64
		hold := make(chan struct{})
		s := NewServer(Options{Methods: map[string]Method{
			echoPath: func(_ context.Context, in, out []byte) ([]byte, error) {
				if ran.Add(1) > 1 && looks > 2 {
					<-hold // without a word
				}
				return append(out, in...), nil
			},
			"/big": func(_ context.Context, _, out []byte) ([]byte, error) {
				return append(out, make([]byte, 12<<20)...), nil
			},
		}})
		address, served := serve(t, s)
		p := connect(t, address, http2.Setting{ID: http2.SettingInitialWindowSize, Val: mostWindow})
		p.must(p.WriteWindowUpdate(0, mostWindow-firstWindow))
		p.answered(t, "first")
		second := p.open(false, headers())
		var both bytes.Buffer // in one piece, so that the reader has both
		at := *p
		at.Framer = http2.NewFramer(&both, nil)
		at.call("x", ":path", "/big")
		at.send(second, message("second"))
		if _, err := p.Write(both.Bytes()); err != nil {
			t.Fatal(err)
		}
		c := s.of(t)
		for whole := false; !whole; {
			c.mu.Lock()
			whole = c.calls[second] != nil && c.calls[second].complete && c.taken > 0
			c.mu.Unlock()
		}
		for range looks {
			c.look()
		}
		if looks == 2 {
			if got := p.outcome(second); got.text != "second" || ran.Load() != 2 {
				t.Errorf("%+v after %d runs", got, ran.Load())
			}
			c.settled(t)
		} else {
			// It reads on now, and comes to the method that does not say that it is
			// slow, at the end of our patience.
			for ran.Load() < 2 {
				f, err := p.ReadFrame()
				p.must(err)
				p.note(f)
			}
			c.look()
			c.look()
		}
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		close(hold)
	}
}
