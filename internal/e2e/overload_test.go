package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// TestOverload sends three times what may be under way at once, while the
// provider answers nobody: what is too much is told to come back, at once and
// by a decision, and nothing passes that was not proven.
func TestOverload(t *testing.T) {
	onBothTransports(t, func(t *testing.T, serve starter) {
		const places = 8
		asked, hold := make(chan struct{}, 10*places), make(chan struct{})
		idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			<-hold
			answer(w, claims{"active": true, "username": "user-of-" + r.PostFormValue("token"), "client_id": "svc", "aud": audience, "exp": time.Now().Unix() + 600})
		}))
		t.Cleanup(idp.Close)
		release := sync.OnceFunc(func() { close(hold) })
		t.Cleanup(release)
		g := serve(t, fmt.Sprintf("limits: {max_in_flight: %d}\n"+`
providers:
  - {name: slow, type: oauth2, client_id: svc, client_secret: secret, audiences: [%q], timeout: 10s, endpoints: {introspection: %q}}
rules:
`, places, audience, idp.URL)+publicRule)
		f := newFront(t, g.grpc)
		ask := func(n int) error {
			token := fmt.Sprintf("opaque-%d", n)
			r, seen := f.send(t, protocols[n%2], variants[n%4], request{target: "/issues", headers: []field{bearer(token)}})
			switch {
			case r.status == 200 && seen != nil && strings.Join(seen.values("x-forwarded-user"), ",") == "user-of-"+token:
				return nil
			case r.status == 503 && seen == nil && r.header.Get("Retry-After") != "" && r.header.Get("X-Gatelodge-Decision") != "":
				return errTooMuch
			}
			return fmt.Errorf("status %d %s, reached the upstream: %t", r.status, r.body, seen != nil)
		}
		var first sync.WaitGroup
		for n := range places {
			first.Go(func() {
				if err := ask(n); err != nil {
					t.Errorf("one of the first: %v", err)
				}
			})
		}
		for range places {
			<-asked
		}
		for n := range 2 * places {
			began := time.Now()
			if err := ask(100 + n); !errors.Is(err, errTooMuch) {
				t.Errorf("one too many: %v", err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("told only after %v", took)
			}
		}
		if r, seen := f.send(t, protocols[0], variants[0], request{target: "/public/page"}); r.status != 503 || seen != nil {
			t.Errorf("a public page, without a place for it: status %d", r.status)
		}
		if s := statusOf("http://" + g.admin + "/healthz"); s != http.StatusOK {
			t.Errorf("/healthz answers %d", s)
		}
		if n := g.metric(t, `gatelodge_decisions_total{outcome="unavailable",provider="",reason="overload"}`); n != 2*places+1 {
			t.Errorf("%v checks are counted as shed, want %d", n, 2*places+1)
		}
		release()
		first.Wait()
		for n := range 2 * places {
			if err := ask(200 + n); err != nil {
				t.Errorf("once there is room again: %v", err)
			}
		}
	})
}

var errTooMuch = errors.New("told to come back")

// TestHostilePeers lets connections come to the gRPC listener that Envoy would
// never make. Whatever they do, Envoy's checks go on, and what they took is
// given back.
func TestHostilePeers(t *testing.T) {
	onBothTransports(t, func(t *testing.T, serve starter) {
		i := newIssuer(t)
		g := serve(t, fmt.Sprintf(runningConfig, i.url, audience)+publicRule)
		g.awaitReady(t)
		f := newFront(t, g.grpc)
		files := g.metric(t, "process_open_fds")
		many := realtest.Scale(100, 5000)
		all := startTraffic(t, f, issues(i.token("alice"), "alice"), intruder(request{target: "/issues"}))
		says := func(text string) func(*testing.T, net.Conn) {
			return func(_ *testing.T, c net.Conn) { _, _ = io.WriteString(c, text) }
		}
		floods := func(make func() func(*http2.Framer, int) error) func(*testing.T, net.Conn) {
			return func(t *testing.T, c net.Conn) { h2Flood(t, c, make()) }
		}
		const some = 4 // of the connections, where one alone keeps a processor busy
		for name, attack := range map[string]struct {
			by int // how many of the connections do it; the others are only there
			do func(*testing.T, net.Conn)
		}{
			"says nothing":      {0, nil},
			"slow preface":      {many, says(http2.ClientPreface[:10])},
			"not HTTP/2":        {many, says("GET / HTTP/1.1\r\nhost: x\r\n\r\n")},
			"preface alone":     {many, says(http2.ClientPreface)},
			"half a frame":      {many, says(http2.ClientPreface + "\x00\x40\x00\x00\x00\x00\x00\x00\x01x")},
			"garbage":           {many, says(http2.ClientPreface + strings.Repeat("\xff", 9000))},
			"pings":             {some, floods(pings)},
			"settings":          {some, floods(settingsAgain)},
			"rapid reset":       {some, floods(rapidReset)},
			"never reads":       {some, floods(checkAgain)},
			"endless headers":   {some, floods(endlessHeaders)},
			"window of a byte":  {some, floods(windows)},
			"window of nothing": {some, floods(noWindow)},
			"half a check":      {some, floods(halfACheck)},
		} {
			t.Run(name, func(t *testing.T) {
				var open []net.Conn
				for n := range many {
					c, err := net.DialTimeout("tcp", g.grpc, 10*time.Second)
					if err != nil {
						t.Fatalf("connection %d: %v", n, err)
					}
					open = append(open, c)
					if n < attack.by {
						_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second))
						attack.do(t, c)
					}
				}
				began := time.Now()
				q := request{target: "/issues", headers: []field{bearer(i.token("alice"))}}
				r, seen := f.send(t, protocols[0], variants[0], q)
				passes(t, q, r, seen, "alice")
				if took := time.Since(began); took > 8*time.Second {
					t.Errorf("a good request meanwhile took %v", took)
				}
				for _, c := range open {
					_ = c.Close()
				}
			})
		}
		all.finish(t)
		eventually(t, 20*time.Second, "the connections are given back", func() bool { return g.metric(t, "process_open_fds") <= files+20 })
	})
}

// flood is how many times h2Flood writes at most.
const flood = 20_000

// h2Flood opens HTTP/2 and writes as fast as the peer takes it, for a moment,
// reading nothing. A peer that hangs up has defended itself.
func h2Flood(t *testing.T, c net.Conn, write func(*http2.Framer, int) error) {
	t.Helper()
	f := http2.NewFramer(c, c)
	f.AllowIllegalWrites = true
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return
	}
	if err := f.WriteSettings(); err != nil {
		return
	}
	_ = c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	for n := range flood {
		if err := write(f, n); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) && !isReset(err) && !strings.Contains(err.Error(), "broken pipe") {
				t.Logf("hung up: %v", err)
			}
			return
		}
	}
}

func pings() func(*http2.Framer, int) error {
	return func(f *http2.Framer, n int) error { return f.WritePing(false, [8]byte{byte(n)}) }
}

func settingsAgain() func(*http2.Framer, int) error {
	return func(f *http2.Framer, _ int) error { return f.WriteSettings() }
}

func windows() func(*http2.Framer, int) error {
	return func(f *http2.Framer, _ int) error { return f.WriteWindowUpdate(0, 1) }
}

func checkHeaders() []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, h := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "x"},
		{Name: ":path", Value: authv3.Authorization_Check_FullMethodName},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
	} {
		h.Sensitive = true // nothing goes into the table, so that the block can be sent again
		_ = e.WriteField(h)
	}
	return b.Bytes()
}

// calls opens so many streams at most, and does the same with each.
func calls(most int, do func(f *http2.Framer, stream uint32) error) func(*http2.Framer, int) error {
	block := checkHeaders()
	return func(f *http2.Framer, n int) error {
		if n >= most {
			return nil
		}
		stream := uint32(2*n + 1)
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndHeaders: true}); err != nil {
			return err
		}
		return do(f, stream)
	}
}

// rapidReset opens a stream and resets it at once, again and again (CVE-2023-44487).
func rapidReset() func(*http2.Framer, int) error {
	return calls(flood, func(f *http2.Framer, stream uint32) error { return f.WriteRSTStream(stream, http2.ErrCodeCancel) })
}

func emptyCheck(f *http2.Framer, stream uint32) error {
	return f.WriteData(stream, true, make([]byte, 5))
}

// checkAgain makes checks and takes no answer.
func checkAgain() func(*http2.Framer, int) error { return calls(flood, emptyCheck) }

// held is how many calls may be left open without being hung up on.
const held = 4000

// noWindow makes checks whose answers may not be sent.
func noWindow() func(*http2.Framer, int) error {
	check := calls(held, emptyCheck)
	return func(f *http2.Framer, n int) error {
		if n == 0 {
			if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize}); err != nil {
				return err
			}
		}
		return check(f, n)
	}
}

// halfACheck begins checks and ends none.
func halfACheck() func(*http2.Framer, int) error {
	return calls(held, func(f *http2.Framer, stream uint32) error {
		return f.WriteData(stream, false, []byte("\x00\x00\x00\x00\x09half"))
	})
}

// endlessHeaders never ends the headers of its stream.
func endlessHeaders() func(*http2.Framer, int) error {
	filler := bytes.Repeat([]byte{0x40, 1, 'a', 1, 'b'}, 2000)
	return func(f *http2.Framer, n int) error {
		if n == 0 {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: checkHeaders()})
		}
		return f.WriteContinuation(1, false, filler)
	}
}

// TestCallsThatAreNoCheck makes calls that Envoy does not make: each is an
// error or a denial, and never a yes. Of the server's health it says what is so.
func TestCallsThatAreNoCheck(t *testing.T) {
	onBothTransports(t, func(t *testing.T, serve starter) {
		g := serve(t, fmt.Sprintf(runningConfig, newIssuer(t).url, audience)+publicRule)
		conn, err := grpc.NewClient(g.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		const check = authv3.Authorization_Check_FullMethodName
		public := func(headers map[string]string) *authv3.CheckRequest {
			return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
				Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Path: "/public/x", Headers: headers},
			}}}
		}
		for name, c := range map[string]struct {
			method string
			m      *authv3.CheckRequest
			want   codes.Code
		}{
			"no leading slash": {strings.TrimPrefix(check, "/"), &authv3.CheckRequest{}, codes.Unimplemented},
			"other service":    {"/envoy.service.auth.v2.Authorization/Check", &authv3.CheckRequest{}, codes.Unimplemented},
			"other method":     {"/envoy.service.auth.v3.Authorization/check", &authv3.CheckRequest{}, codes.Unimplemented},
			"5 MiB":            {check, public(map[string]string{"x": strings.Repeat("a", 5<<20)}), codes.ResourceExhausted},
			"nothing in it":    {check, &authv3.CheckRequest{}, codes.OK},
			"no HTTP in it":    {check, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{}}, codes.OK},
		} {
			t.Run(name, func(t *testing.T) {
				var m authv3.CheckResponse
				err := conn.Invoke(t.Context(), c.method, c.m, &m)
				if status.Code(err) != c.want {
					t.Errorf("%v, want %v", err, c.want)
				}
				if err == nil && (m.GetStatus().GetCode() == int32(codes.OK) || m.GetDeniedResponse().GetStatus().GetCode() != 400) {
					t.Errorf("answered %v", &m)
				}
			})
		}
		t.Run("compressed", func(t *testing.T) {
			err := conn.Invoke(t.Context(), check, public(nil), &authv3.CheckResponse{}, grpc.UseCompressor(gzip.Name))
			if status.Code(err) != codes.Unimplemented {
				t.Errorf("%v, want %v", err, codes.Unimplemented)
			}
		})
		t.Run("no message", func(t *testing.T) {
			s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, check)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.CloseSend(); err != nil { // DATA without a byte
				t.Fatal(err)
			}
			if err := s.RecvMsg(&authv3.CheckResponse{}); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("taken for a check: %v", err)
			}
		})
		t.Run("HTTP/1.1", func(t *testing.T) {
			c, err := dial(g.grpc)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\ncontent-length: 5\r\n\r\n\x00\x00\x00\x00\x00", check)
			if got, err := io.ReadAll(c); err != nil && !isReset(err) || bytes.Contains(got, []byte("HTTP")) {
				t.Errorf("%v after %q, want to be hung up on", err, got)
			}
		})
		for service, want := range map[string]codes.Code{"": codes.OK, authv3.Authorization_ServiceDesc.ServiceName: codes.OK, "nobody": codes.NotFound} {
			t.Run(fmt.Sprintf("health of %q", service), func(t *testing.T) {
				m, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
				if status.Code(err) != want || err == nil && m.GetStatus() != healthv1.HealthCheckResponse_SERVING {
					t.Errorf("%v, %v, want %v", m, err, want)
				}
			})
		}
	})
}

// TestSlowProviderHoldsNobodyElseUp asks, with more callers than there are
// places, a provider that answers nobody: the tokens of another are decided as
// if nothing were, and the slow one is not asked more than it is allowed to be.
func TestSlowProviderHoldsNobodyElseUp(t *testing.T) {
	onBothTransports(t, func(t *testing.T, serve starter) {
		var under, most atomic.Int64
		hold := make(chan struct{})
		idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := under.Add(1)
			defer under.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			select {
			case <-hold:
			case <-r.Context().Done():
			}
			answer(w, claims{"active": false})
		}))
		t.Cleanup(idp.Close)
		t.Cleanup(sync.OnceFunc(func() { close(hold) }))
		i := newIssuer(t)
		g := serve(t, fmt.Sprintf(`
providers:
  - {name: lab, type: oidc, issuer: %q, audiences: [%q]}
  - {name: slow, type: oauth2, client_id: svc, client_secret: secret, audiences: [%[2]q], timeout: 3s, endpoints: {introspection: %q}}
rules:
`, i.url, audience, idp.URL)+publicRule)
		g.awaitReady(t)
		f := newFront(t, g.grpc)
		var callers sync.WaitGroup
		for n := range 300 {
			callers.Go(func() {
				q := request{target: "/issues", headers: []field{bearer(fmt.Sprintf("opaque-%d", n))}}
				r, seen := f.send(t, protocols[n%2], variants[n%4], q)
				refused(t, q, r, seen, 503)
			})
		}
		eventually(t, 10*time.Second, "the slow provider is asked", func() bool { return under.Load() > 0 })
		for n := range 40 {
			token := i.sign(i.claims("alice").with(claims{"jti": fmt.Sprint(n)})) // never seen before
			q := request{target: "/issues", headers: []field{bearer(token)}}
			began := time.Now()
			r, seen := f.send(t, protocols[n%2], variants[n%4], q)
			passes(t, q, r, seen, "alice")
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("a token of the other provider took %v", took)
			}
		}
		callers.Wait()
		// 64, and some that were given up a moment before and do not know it yet.
		if n := most.Load(); n > 100 {
			t.Errorf("the slow provider was asked %d times at once", n)
		}
	})
}
