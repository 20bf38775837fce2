package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestReload changes the configuration under traffic: a good file takes effect,
// a bad one changes nothing, and no request of a known caller is lost.
func TestReload(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	base := fmt.Sprintf(runningConfig, i.url, audience)
	g := serve(t, base+publicRule)
	g.awaitReady(t)
	f := newFront(t, g.grpc)
	alice := startTraffic(t, f, issues(i.token("alice"), "alice"))

	page := request{target: "/public/page"}
	open := func() bool { _, seen := f.send(t, protocols[0], variants[0], page); return seen != nil }
	if !open() {
		t.Fatal("the public page is closed")
	}
	g.write(t, base+"  []\n")
	eventually(t, 10*time.Second, "the page is closed once its rule is gone", func() bool { return !open() })
	g.write(t, base+publicRule)
	eventually(t, 10*time.Second, "the page is open again", open)
	for name, broken := range map[string]string{
		"not YAML":        "rules: [",
		"half a file":     base[:len(base)/2],
		"unknown key":     base + "  []\nacess: public\n",
		"no audience":     strings.Replace(base, "audiences", "client_id: x\n    audience", 1) + "  []\n",
		"empty":           "",
		"provider unsure": strings.Replace(base, "type: oidc", "type: nobody-knows", 1) + "  []\n",
	} {
		failed := g.metric(t, failedReloads)
		g.write(t, broken)
		eventually(t, 10*time.Second, name+": the fault is counted", func() bool { return g.metric(t, failedReloads) > failed })
		if !open() {
			t.Errorf("%s: a broken file took effect", name)
		}
	}
	alice.finish(t)

	// What was proven under a provider that is gone is not remembered.
	g.write(t, fmt.Sprintf(runningConfig, newIssuer(t).url, audience)+publicRule)
	known := issues(i.token("alice"), "alice")
	if r, seen := f.send(t, protocols[0], variants[0], known.request); !known.right(r, seen) {
		t.Errorf("status %d before the change is seen", r.status)
	}
	eventually(t, 10*time.Second, "the replaced provider's tokens are refused", func() bool {
		r, seen := f.send(t, protocols[0], variants[0], known.request)
		return r.status == 401 && seen == nil
	})
}

// TestReloadIsWhole changes all settings at once, over and over and under
// traffic, with broken files between: each request is decided under one
// configuration, never by parts of two.
func TestReloadIsWhole(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	configs := make([]string, 2)
	for n, username := range []string{"preferred_username", "email"} {
		configs[n] = fmt.Sprintf(`
headers: {user: x-user-%d, email: "", groups: ""}
providers:
  - {name: lab, type: oidc, issuer: %q, audiences: [%q], username: [%s]}
rules:
  - {name: old-public, match: {paths: [/public-%[1]d/**]}, access: public}
`, n, i.url, audience, username)
	}
	g := serve(t, configs[0])
	g.awaitReady(t)
	f := newFront(t, g.grpc)
	alice := issues(i.token("alice"), "alice")
	alice.right = func(r reply, seen *received) bool {
		if r.status != 200 || seen == nil {
			return false
		}
		users := [2]string{strings.Join(seen.values("x-user-0"), ","), strings.Join(seen.values("x-user-1"), ",")}
		return users == [2]string{"alice", ""} || users == [2]string{"", "alice@example.test"}
	}
	all := startTraffic(t, f, alice, intruder(request{target: "/issues"}),
		intruder(request{target: "/public-2/x", headers: []field{bearer(i.token("alice") + "x")}}))
	for n := range 8 {
		text, series := configs[(n+1)%2], takenReloads
		if n%4 == 3 {
			text, series = text[:len(text)-20], failedReloads
		}
		before := g.metric(t, series)
		g.write(t, text)
		eventually(t, 10*time.Second, "the change is seen", func() bool { return g.metric(t, series) > before })
	}
	all.finish(t)
}
