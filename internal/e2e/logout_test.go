package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// TestLogoutsThroughEnvoy runs examples/logouts/envoy.yaml as it is given to
// everybody, before one of two servers that pass on to each other what a provider
// tells: the session that has ended is refused by both at once.
func TestLogoutsThroughEnvoy(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	var servers [2]*gatelodge
	ports := [2]int{realtest.FreePort(t), realtest.FreePort(t)}
	for n := range servers {
		g := newGatelodge(t, "")
		g.listen = fmt.Sprintf(", events: %q, event_peers: [%q, %q]", loopback(ports[n]), "http://"+loopback(ports[0]), "http://"+loopback(ports[1]))
		g.write(t, fmt.Sprintf("providers:\n  - {name: sso, type: oidc, issuer: %q, audiences: %q}\n", i.url, audience))
		g.start(t)
		g.awaitReady(t)
		servers[n] = g
	}
	u := newUpstream(t)
	var fronts [2]*front
	for n, g := range servers {
		fronts[n] = &front{upstream: u, envoy: realtest.Envoy(t, example(t, "logouts/envoy.yaml",
			"address: 127.0.0.1, port_value: 8080", "address: 127.0.0.1, port_value: 0",
			"address: 127.0.0.1, port_value: 9191", endpoint(g.grpc),
			"address: 127.0.0.1, port_value: 9193", endpoint(loopback(ports[0])), // both tell the first
			"address: 127.0.0.1, port_value: 8081", endpoint(u.address)))}
	}
	public := variant{name: "public", raw: true, normalize: true}
	past := time.Now().Unix() - 10
	alice := i.sign(i.claims("alice").with(claims{"sid": "s1", "iat": past}))
	other := i.sign(i.claims("alice").with(claims{"sid": "s2", "iat": past}))
	ask := func(f *front, token, target string) (reply, *received) {
		return f.send(t, protocols[0], public, request{target: target, headers: []field{bearer(token), {"x-forwarded-user", "admin"}}})
	}
	for _, f := range fronts {
		for _, token := range []string{alice, other} {
			for range 2 {
				r, seen := ask(f, token, "/rest")
				passes(t, request{target: "/rest"}, r, seen, "alice")
			}
		}
	}
	logout := func(f *front, token string) int {
		resp, err := http.PostForm("http://"+f.envoy.Address("public")+"/backchannel-logout/sso", url.Values{"logout_token": {token}})
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	now := time.Now().Unix()
	told := i.signWith(i.signingKey(), claims{"typ": "logout+jwt"}, claims{
		"iss": i.url, "aud": audience, "iat": now, "exp": now + 120, "jti": "1", "sub": "id-of-alice", "sid": "s1",
		"events": claims{"http://schemas.openid.net/event/backchannel-logout": claims{}},
	})
	if s := logout(fronts[1], forge(told)); s != 400 {
		t.Errorf("forged: %d", s)
	}
	if s := logout(fronts[1], alice); s != 400 {
		t.Errorf("an access token: %d", s)
	}
	if s := logout(fronts[1], told); s != 200 {
		t.Fatalf("logout: %d", s)
	}
	for n, f := range fronts {
		for range 2 {
			if r, seen := ask(f, alice, "/rest"); r.status != 401 || seen != nil {
				t.Errorf("server %d: %d after the logout", n, r.status)
			}
			r, seen := ask(f, other, "/rest")
			passes(t, request{target: "/rest"}, r, seen, "alice")
		}
		// What does not pass the filter leads nowhere else.
		for _, target := range []string{"/backchannel-logout/../rest", "/ssf/../rest", "/ssf/", "/ssf/sso/../../rest", "/backchannel-logout/sso", "/ssf/%2e%2e/rest"} {
			if r, seen := ask(f, alice, target); r.status == 200 || seen != nil {
				t.Errorf("%s: %d, and the API saw %v", target, r.status, seen)
			}
		}
	}
	for n, g := range servers {
		if got := g.metric(t, `gatelodge_revocations_total{kind="logout",provider="sso",result="obeyed"}`); got != 1 {
			t.Errorf("server %d obeyed %v times", n, got)
		}
		if log := g.Output(); strings.Contains(log, told[len(told)-20:]) || strings.Contains(log, alice[len(alice)-20:]) {
			t.Errorf("server %d: a token stands in the log", n)
		}
	}
}
