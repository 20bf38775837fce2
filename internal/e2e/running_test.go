package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// runningConfig trusts one issuer; what follows are rules.
const runningConfig = `
providers:
  - {name: lab, type: oidc, issuer: %q, audiences: [%q]}
rules:
`

const publicRule = "  - {name: public, match: {paths: [/public/**]}, access: public}\n"

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
}

// TestRollingRestart stops and starts one of two servers at a time, under
// traffic, as a rolling update does. Nobody is refused.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	config := fmt.Sprintf(runningConfig, i.url, audience) + publicRule
	servers := []*gatelodge{serve(t, config), serve(t, config)}
	for _, g := range servers {
		g.awaitReady(t)
	}
	f := newFront(t, servers[0].grpc, servers[1].grpc)
	alice := startTraffic(t, f, issues(i.token("alice"), "alice"))
	for round := range 4 {
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
	alice.finish(t)
}

// TestKilled takes the only server away without a warning: nothing passes, and
// as soon as it is back everything goes on.
func TestKilled(t *testing.T) {
	t.Parallel()
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
}

// TestManyHeaders sends more than anybody needs.
func TestManyHeaders(t *testing.T) {
	t.Parallel()
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
}
