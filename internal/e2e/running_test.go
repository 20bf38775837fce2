package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// runningConfig trusts one issuer; what follows are rules.
const runningConfig = `
providers:
  - {name: lab, type: oidc, issuer: %q, audiences: [%q]}
rules:
`

const publicRule = "  - {name: public, match: {paths: [/public/**]}, access: public}\n"

// TestRollingRestart stops and starts one of two servers at a time, under
// traffic, as a rolling update does. Nobody is refused.
func TestRollingRestart(t *testing.T) {
	onBothTransports(t, func(t *testing.T, serve starter) {
		i := newIssuer(t)
		config := "limits: {drain_delay: 1s}\n" + fmt.Sprintf(runningConfig, i.url, audience) + publicRule
		servers := []*gatelodge{serve(t, config), serve(t, config)}
		for _, g := range servers {
			g.awaitReady(t)
		}
		f := newFront(t, servers[0].grpc, servers[1].grpc)
		all := startTraffic(t, f, issues(i.token("alice"), "alice"), intruder(request{target: "/issues"}))
		rounds := realtest.Scale(8, 100)
		for round := range rounds {
			g := servers[round%2]
			if err := g.Stop(); err != nil {
				t.Errorf("SIGTERM: the server ended with %v, want exit status 0", err)
			}
			g.start(t)
			g.awaitReady(t)
			healthy := fmt.Sprintf("gatelodge::%s::health_flags::healthy", g.grpc)
			eventually(t, 10*time.Second, "Envoy takes the server back", func() bool {
				return strings.Contains(f.envoy.Get(t, "/clusters"), healthy)
			})
		}
		all.finish(t)
		realtest.Measured(t, "%d restarts under %d requests: %d answered wrongly", rounds, all.sent.Load(), all.bad.Load())
	})
}

// TestStopAnswersWhatItBegan stops the only server while a check waits for an
// identity provider: that check is still answered.
func TestStopAnswersWhatItBegan(t *testing.T) {
	onBothTransports(t, func(t *testing.T, serve starter) {
		asked, answer := make(chan struct{}, 1), make(chan struct{})
		idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked <- struct{}{}
			<-answer
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"active": true, "username": "alice", "client_id": "svc", "aud": %q, "exp": %d}`, audience, time.Now().Unix()+600)
		}))
		t.Cleanup(idp.Close)
		release := sync.OnceFunc(func() { close(answer) })
		t.Cleanup(release)
		g := serve(t, fmt.Sprintf(`
limits: {drain_delay: 0.1s}
providers:
  - {name: slow, type: oauth2, client_id: svc, client_secret: secret, audiences: [%q], timeout: 10s, endpoints: {introspection: %q}}
`, audience, idp.URL))
		f := newFront(t, g.grpc)
		alice := issues("opaque", "alice")
		under := make(chan error, 1)
		go func() {
			r, seen := f.send(t, protocols[1], variants[1], alice.request)
			if !alice.right(r, seen) {
				under <- fmt.Errorf("status %d %s", r.status, r.body)
			}
			close(under)
		}()
		<-asked
		ended := make(chan error, 1)
		go func() { ended <- g.Stop() }()
		eventually(t, 10*time.Second, "the server takes no more connections", func() bool {
			c, err := net.Dial("tcp", g.grpc)
			if err == nil {
				_ = c.Close()
			}
			return err != nil
		})
		release()
		if err := <-under; err != nil {
			t.Errorf("the check that was under way: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("SIGTERM: the server ended with %v, want exit status 0", err)
		}
	})
}

// TestKilled takes the only server away without a warning: nothing passes, and
// as soon as it is back everything goes on.
func TestKilled(t *testing.T) {
	onBothTransports(t, func(t *testing.T, serve starter) {
		i := newIssuer(t)
		g := serve(t, fmt.Sprintf(runningConfig, i.url, audience)+publicRule)
		g.awaitReady(t)
		f := newFront(t, g.grpc)
		q := request{target: "/issues", headers: []field{bearer(i.token("alice"))}}
		r, seen := f.send(t, protocols[0], variants[0], q)
		passes(t, q, r, seen, "alice")
		g.Kill()
		everyWay(t, func(t *testing.T, p protocol, v variant) {
			for _, q := range []request{q, {target: "/public/page"}} {
				r, seen := f.send(t, p, v, q)
				refused(t, q, r, seen, notAsked)
			}
		})
		g.start(t)
		g.awaitReady(t)
		eventually(t, 10*time.Second, "requests pass again", func() bool {
			r, seen := f.send(t, protocols[0], variants[0], q)
			return r.status == 200 && seen != nil
		})
	})
}

// TestManyHeaders sends more than anybody needs.
func TestManyHeaders(t *testing.T) {
	onBothTransports(t, func(t *testing.T, serve starter) {
		i := newIssuer(t)
		g := serve(t, fmt.Sprintf(runningConfig, i.url, audience)+publicRule)
		g.awaitReady(t)
		f := newFront(t, g.grpc)
		var many []field
		for n := range 10000 {
			many = append(many, field{fmt.Sprintf("x-%d", n), "1"})
		}
		long := []field{{"x-long", strings.Repeat("a", 100<<10)}}
		everyWay(t, func(t *testing.T, p protocol, v variant) {
			for _, headers := range [][]field{many, long} {
				q := request{target: "/issues", headers: headers}
				r, seen := f.send(t, p, v, q)
				refused(t, q, r, seen, 0, 400, 401, 431)
			}
		})
		if status := statusOf("http://" + g.admin + "/healthz"); status != http.StatusOK {
			t.Errorf("/healthz answers %d afterwards", status)
		}
	})
}
