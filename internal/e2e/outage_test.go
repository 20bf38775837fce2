package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// keycloakConfig trusts one realm of a real Keycloak.
const keycloakConfig = `
providers:
  - name: sso
    type: keycloak
    base_url: %q
    realm: %s
    client_id: svc
    audiences: [%q]
    leeway: 1s
    groups: [groups]
    service_accounts: {svc: build-robot}
rules:
  - {name: public, match: {paths: [/public/**]}, access: public}
  - {name: engineers, match: {paths: [/eng/**]}, allow: {groups: [eng]}}
`

// TestKeycloak follows one Keycloak through its life: it issues tokens, rotates
// its keys, is stopped and comes back. The steps build on each other.
func TestKeycloak(t *testing.T) {
	t.Parallel()
	k := realtest.NewKeycloak(t)
	r := k.Realm(t)
	config := fmt.Sprintf(keycloakConfig, k.URL, r.Name, realtest.RealmAudience)
	g := serve(t, config)
	g.awaitReady(t)
	f := newFront(t, g.grpc)

	t.Run("decides", func(t *testing.T) { keycloakDecides(t, f, r) })
	t.Run("refuses once expired", func(t *testing.T) { keycloakExpires(t, f, r) })

	// Whatever happens to Keycloak from here on, nobody is taken for another.
	good := startTraffic(t, f, issues(r.UserToken(t, "web", "alice"), "alice"), issues(r.UserToken(t, "web", "bob"), "bob"),
		intruder(request{target: "/issues", headers: []field{bearer(forge(r.UserToken(t, "web", "bob")))}}))
	t.Run("rotates keys", func(t *testing.T) { keycloakRotates(t, f, r) })
	t.Run("stops and comes back", func(t *testing.T) { keycloakStops(t, f, r, config) })
	good.finish(t)
}

func keycloakDecides(t *testing.T, f *front, r *realtest.Realm) {
	alice, bob := r.UserToken(t, "web", "alice"), r.UserToken(t, "web", "bob")
	elsewhere := r.Keycloak.Realm(t)
	cases := []struct {
		name, target, token, user string
		status                    int
	}{
		{"valid", "/issues", alice, "alice", 0},
		{"valid, another user", "/issues", bob, "bob", 0},
		{"in the group", "/eng/board", alice, "alice", 0},
		{"not in the group", "/eng/board", bob, "", 403},
		{"service account", "/issues", r.ClientToken(t, "svc"), "build-robot", 0},
		{"none", "/issues", "", "", 401},
		{"forged", "/issues", forge(alice), "", 401},
		{"for another API", "/issues", r.UserToken(t, "foreign", "alice"), "", 401},
		{"of another realm", "/issues", elsewhere.UserToken(t, "web", "alice"), "", 401},
		{"signature cut off", "/issues", alice[:strings.LastIndexByte(alice, '.')+1], "", 401},
		{"not a token", "/issues", "alice", "", 401},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, p protocol, v variant) {
				q := request{target: c.target, headers: []field{{"x-forwarded-user", "admin"}}}
				if c.token != "" {
					q.headers = append(q.headers, bearer(c.token))
				}
				got, seen := f.send(t, p, v, q)
				if c.user != "" {
					passes(t, q, got, seen, c.user)
				} else {
					refused(t, q, got, seen, c.status)
				}
			})
		})
	}
}

// forge exchanges the payload of a token and keeps its signature.
func forge(token string) string {
	parts := strings.Split(token, ".")
	parts[1] = encodeJSON(claims{
		"iss": "x", "aud": realtest.RealmAudience, "preferred_username": "admin", "exp": time.Now().Add(time.Hour).Unix(),
	})
	return strings.Join(parts, ".")
}

// keycloakExpires uses a token until it ends: being remembered must not make
// it live longer.
func keycloakExpires(t *testing.T, f *front, r *realtest.Realm) {
	r.SetTokenLife(t, 2*time.Second)
	q := request{target: "/issues", headers: []field{bearer(r.UserToken(t, "web", "alice"))}}
	r.SetTokenLife(t, 10*time.Minute)
	got, seen := f.send(t, protocols[0], variants[0], q)
	passes(t, q, got, seen, "alice")
	eventually(t, 20*time.Second, "the expired token is refused", func() bool {
		got, seen = f.send(t, protocols[0], variants[0], q)
		return got.status == 401 && seen == nil
	})
}

// keycloakRotates replaces the signing key while requests go on: neither the
// old key's tokens nor the new one's may be refused, not even once. Once only:
// a second one within half a minute would find the look for unknown keys
// paused, as it must be under a flood of them.
func keycloakRotates(t *testing.T, f *front, r *realtest.Realm) {
	tokens := []string{r.UserToken(t, "web", "alice")}
	r.RotateKeys(t)
	tokens = append(tokens, r.UserToken(t, "web", "alice"), r.ClientToken(t, "svc"))
	for _, token := range tokens {
		everyWay(t, func(t *testing.T, p protocol, v variant) {
			q := request{target: "/issues", headers: []field{bearer(token)}}
			got, seen := f.send(t, p, v, q)
			if got.status != 200 || seen == nil {
				t.Errorf("status %d %s after a rotation", got.status, got.body)
			}
		})
	}
}

func keycloakStops(t *testing.T, f *front, r *realtest.Realm, config string) {
	known := request{target: "/issues", headers: []field{bearer(r.UserToken(t, "web", "alice"))}}
	fresh := request{target: "/issues", headers: []field{bearer(r.UserToken(t, "web", "bob"))}}
	got, seen := f.send(t, protocols[0], variants[0], known)
	passes(t, known, got, seen, "alice")

	r.Keycloak.Stop()

	got, seen = f.send(t, protocols[0], variants[0], known)
	passes(t, known, got, seen, "alice")
	got, seen = f.send(t, protocols[0], variants[0], fresh) // never seen, but its key is known
	passes(t, fresh, got, seen, "bob")
	forged := request{target: "/issues", headers: []field{bearer(forge(strings.TrimPrefix(known.headers[0].value, "Bearer ")))}}
	got, seen = f.send(t, protocols[0], variants[0], forged)
	refused(t, forged, got, seen, 401)

	cold := serve(t, config)
	g := newFront(t, cold.grpc)
	everyWay(t, func(t *testing.T, p protocol, v variant) {
		got, seen := g.send(t, p, v, fresh)
		refused(t, fresh, got, seen, 503)
		if got.header.Get("retry-after") == "" {
			t.Error("503 without Retry-After")
		}
		none := request{target: "/issues"}
		got, seen = g.send(t, p, v, none)
		refused(t, none, got, seen, 401)
		public := request{target: "/public/page"}
		got, seen = g.send(t, p, v, public)
		passes(t, public, got, seen, "")
	})
	if status := statusOf("http://" + cold.admin + "/readyz"); status != 503 {
		t.Errorf("/readyz says %d while the only provider has never been reached", status)
	}

	r.Keycloak.Start(t)
	began := time.Now()
	eventually(t, 15*time.Second, "the cold server recovers", func() bool {
		got, seen := g.send(t, protocols[0], variants[0], fresh)
		return got.status == 200 && seen != nil
	})
	t.Logf("recovered %.1f s after the provider was back", time.Since(began).Seconds())
	got, seen = g.send(t, protocols[1], variants[1], known)
	passes(t, known, got, seen, "alice")
}

// eventually waits until something holds.
func eventually(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not within %v: %s", limit, what)
		case <-tick.C:
		}
	}
}
