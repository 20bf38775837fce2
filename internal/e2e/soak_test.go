package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// TestSoak runs everything that goes wrong at once, for minutes, through Envoy:
// the provider comes and goes, answers with errors or late, rotates its keys,
// the configuration changes, sometimes to one that cannot be served by, and
// every fifth request is an attack. Nobody is let in who may not, and nobody
// whose key is known is kept out.
func TestSoak(t *testing.T) {
	realtest.Proof(t)
	i := newIssuer(t)
	var mood atomic.Int32 // 0: well, 1: down, 2: errors, 3: late
	var asked atomic.Int64
	faulty := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := asked.Add(1)
			switch mood.Load() {
			case 1:
				panic(http.ErrAbortHandler)
			case 2:
				if n%2 == 0 {
					w.WriteHeader(http.StatusInternalServerError)
					return
				}
			case 3:
				select {
				case <-time.After(2 * time.Second):
				case <-r.Context().Done():
				}
			}
			next.ServeHTTP(w, r)
		})
	}
	front := httptest.NewServer(faulty(i.handler()))
	t.Cleanup(front.Close)
	i.url = front.URL

	base := fmt.Sprintf(runningConfig, i.url, audience)
	g := serve(t, base+publicRule)
	g.awaitReady(t)
	f := newFront(t, g.grpc)
	files, memory := g.metric(t, "process_open_fds"), g.metric(t, "process_resident_memory_bytes")

	good := i.claims("alice").with(claims{"exp": time.Now().Unix() + 3600})
	known := i.sign(good)
	callers := []caller{issues(known, "alice"), issues(i.sign(good.with(claims{"jti": "2"})), "alice")}
	for _, bad := range []request{
		{target: "/issues"},
		{target: "/issues", headers: []field{bearer(known + "A")}},
		{target: "/issues", headers: []field{bearer(i.signWith(newKey(t), claims{}, good))}},
		{target: "/issues", headers: []field{bearer(i.sign(good.with(claims{"exp": 1})))}},
		{target: "/issues", headers: []field{bearer(i.sign(good.with(claims{"aud": "other"}))), {"x-forwarded-user", "admin"}}},
	} {
		callers = append(callers, issues(known, "alice"), issues(known, "alice"), issues(known, "alice"), intruder(bad))
	}
	// A key that nobody knows, while the provider is out of reach, cannot be told.
	unknown := request{target: "/issues", headers: []field{bearer(i.signWith(newKey(t), claims{"kid": "made-up"}, good))}}
	callers = append(callers, caller{unknown, func(r reply, seen *received) bool {
		return seen == nil && (r.status == 401 || r.status == 503)
	}})
	all := startTraffic(t, f, callers...)

	const length = 150 * time.Second
	end := time.Now().Add(length)
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for n := 0; time.Now().Before(end); n++ {
		<-tick.C
		mood.Store(int32(n % 4))
		switch n % 6 {
		case 1:
			g.write(t, base+publicRule+"  - {name: more, match: {paths: [/more]}, access: deny}\n")
		case 3:
			g.write(t, base[:len(base)-20])
		case 5:
			g.write(t, base+publicRule)
		}
		if n%12 == 11 {
			i.rotate(t) // the old key stays published
		}
	}
	mood.Store(0)
	all.finish(t)
	eventually(t, 40*time.Second, "a token of the newest key is taken", func() bool {
		q := request{target: "/issues", headers: []field{bearer(i.sign(good.with(claims{"jti": "last"})))}}
		r, seen := f.send(t, protocols[0], variants[0], q)
		return r.status == 200 && seen != nil && strings.Join(seen.values("x-forwarded-user"), ",") == "alice"
	})
	grown := g.metric(t, "process_resident_memory_bytes") - memory
	realtest.Measured(t, "%v: %d requests, none answered wrongly; the provider was asked %d times; memory %+.0f KiB, open files %+.0f",
		length, all.sent.Load(), asked.Load(), grown/1024, g.metric(t, "process_open_fds")-files)
	if grown > 64<<20 || g.metric(t, "process_open_fds") > files+20 {
		t.Errorf("memory grew by %.0f bytes; %.0f files were open and are %.0f", grown, files, g.metric(t, "process_open_fds"))
	}
}
