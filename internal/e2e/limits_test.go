package e2e

import (
	"testing"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// TestLimitsOfEachCaller runs examples/rate-limits as it is given to everybody.
// Only its addresses are exchanged, and the time after which a bucket is filled
// again, so that it does not happen while the requests are counted.
func TestLimitsOfEachCaller(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	g := serve(t, example(t, "rate-limits/config.yaml",
		"listen:\n  grpc: 127.0.0.1:9191\n  admin: 127.0.0.1:9192\n", "",
		"https://sso.example.com", i.url, "https://api.example.com", audience))
	g.awaitReady(t)
	u := newUpstream(t)
	f := &front{upstream: u, envoy: realtest.Envoy(t, example(t, "rate-limits/envoy.yaml",
		"address: 127.0.0.1, port_value: 8080", "address: 127.0.0.1, port_value: 0",
		"address: 127.0.0.1, port_value: 9191", endpoint(g.grpc),
		"address: 127.0.0.1, port_value: 8081", endpoint(u.address),
		"fill_interval: 1s", "fill_interval: 3600s"))}
	limited := variant{name: "public", normalize: true}
	// take sends n requests and returns how many passed, one kept back by one.
	take := func(user string, n int, more ...field) (passed, held int) {
		for k := range n {
			q := request{target: "/rest/issues", headers: append([]field{bearer(i.token(user))}, more...)}
			r, seen := f.send(t, protocols[k%2], limited, q)
			switch {
			case r.status == 200 && seen != nil:
				passed++
			case r.status == 429 && seen == nil:
				held++
			default:
				t.Errorf("%s: status %d %s", user, r.status, r.body)
			}
		}
		return passed, held
	}
	for _, c := range []struct {
		user         string
		send, passes int
		more         []field
	}{
		{"alice", 25, 20, nil}, // each with another token: the user counts
		{"bob", 25, 20, nil},   // not touched by what alice sent
		{"ci-robot", 205, 200, nil},
		{"alice", 3, 0, []field{{"x-forwarded-user", "carol"}}}, // nobody counts as somebody else
		{"carol", 20, 20, nil},
	} {
		if passed, held := take(c.user, c.send, c.more...); passed != c.passes || held != c.send-c.passes {
			t.Errorf("%s: %d of %d passed and %d were held back, want %d", c.user, passed, c.send, held, c.passes)
		}
	}
	// Who is not let in counts against nobody.
	for range 30 {
		q := request{target: "/rest/issues", headers: []field{bearer(forge(i.token("dave")))}}
		r, seen := f.send(t, protocols[0], limited, q)
		refused(t, q, r, seen, 401)
	}
	if passed, _ := take("dave", 20); passed != 20 {
		t.Errorf("dave: %d of 20 passed after a flood of forged tokens in his name", passed)
	}
}
