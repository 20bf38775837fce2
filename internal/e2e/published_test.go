package e2e

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// published is the variant that examples/envoy/envoy.yaml is.
var published = variant{name: "front", raw: true, normalize: true}

// TestPublishedConfiguration runs examples/envoy as it is given to everybody,
// with only the addresses exchanged.
func TestPublishedConfiguration(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	g := serve(t, example(t, "envoy/config.yaml",
		"listen:\n  grpc: 0.0.0.0:9191\n  admin: 127.0.0.1:9192\n", "",
		"https://sso.example.com", i.url, "https://api.example.com", audience))
	g.awaitReady(t)
	u := newUpstream(t)
	f := &front{upstream: u, envoy: realtest.Envoy(t, example(t, "envoy/envoy.yaml",
		"address: 0.0.0.0, port_value: 10000", "address: 127.0.0.1, port_value: 0",
		"address: 127.0.0.1, port_value: 9901", "address: 127.0.0.1, port_value: 0",
		"address: gatelodge, port_value: 9191", endpoint(g.grpc),
		"address: api, port_value: 8080", endpoint(u.address)))}
	good := bearer(i.token("alice"))
	spoof := field{"x-forwarded-user", "admin"}
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			q := request{target: "/rest/pages", headers: []field{good, spoof}}
			r, seen := f.send(t, p, published, q)
			passes(t, q, r, seen, "alice")
			q = request{target: "/status", headers: []field{spoof}}
			r, seen = f.send(t, p, published, q)
			passes(t, q, r, seen, "")
			for status, q := range map[int]request{
				401: {target: "/rest/pages", headers: []field{spoof}},
				403: {target: "/admin", headers: []field{good}},
				400: {target: "/rest/pages", headers: []field{good, {"x_forwarded_user", "admin"}}}, // by Envoy
			} {
				r, seen := f.send(t, p, published, q)
				if p.name == "h2" && status == 400 {
					status = r.status // Envoy resets the stream
				}
				refused(t, q, r, seen, status)
			}
			publishedPaths(t, f, p, good)
		})
	}

	g.Kill()
	for _, p := range protocols {
		for _, q := range []request{{target: "/rest/pages", headers: []field{good}}, {target: "/status"}, {target: "/nowhere"}} {
			r, seen := f.send(t, p, published, q)
			refused(t, q, r, seen, 503)
		}
	}
	g.start(t)
	g.awaitReady(t)
	alice := issues(i.token("alice"), "alice")
	eventually(t, 10*time.Second, "requests pass again", func() bool {
		r, seen := f.send(t, protocols[0], published, alice.request)
		return alice.right(r, seen)
	})
}

// publishedPaths sends every target: under /admin nobody passes who is not an
// administrator, and nobody passes unknown but to /status.
func publishedPaths(t *testing.T, f *front, p protocol, good field) {
	t.Helper()
	passed := 0
	for _, target := range targets {
		q := request{target: strings.ReplaceAll(target, "/public", "/status")}
		r, seen := f.send(t, p, published, q)
		checkStatus(t, q, r, seen)
		if seen != nil && seen.target != "/status" && !strings.HasPrefix(seen.target, "/status?") {
			t.Errorf("%s: reached the upstream as %q without a credential", brief(q), seen.target)
		}
		q.headers = []field{good}
		r, seen = f.send(t, p, published, q)
		checkStatus(t, q, r, seen)
		if seen == nil {
			continue
		}
		passed++
		if path, _, _ := strings.Cut(seen.target, "?"); path == "/admin" || strings.HasPrefix(path, "/admin/") {
			t.Errorf("%s: passed the rule for /admin as %q", brief(q), seen.target)
		}
	}
	if passed < 20 {
		t.Errorf("only %d targets passed: too few for this test to say anything", passed)
	}
}

// example reads a file of examples and exchanges what is given in pairs,
// each of which must be there.
func example(t testing.TB, name string, pairs ...string) string {
	t.Helper()
	b, err := os.ReadFile("../../examples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for n := 0; n < len(pairs); n += 2 {
		if !strings.Contains(text, pairs[n]) {
			t.Fatalf("%s does not have %q any more", name, pairs[n])
		}
		text = strings.ReplaceAll(text, pairs[n], pairs[n+1])
	}
	return text
}

// endpoint writes host:port as a socket_address has it.
func endpoint(address string) string {
	host, port, _ := net.SplitHostPort(address)
	return "address: " + host + ", port_value: " + port
}
