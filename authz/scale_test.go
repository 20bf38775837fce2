package authz

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// ruleShapes are ways in which rules become many: the rule of number i of n, and the
// request that is under it. Each rule names its provider, so that a request that
// came under another one would be refused.
var ruleShapes = []struct {
	name    string
	rule    func(i int) Match
	request func(i int) Request
}{
	{"a path each", func(i int) Match {
		return Match{Paths: []string{fmt.Sprintf("/team%d/rest/**", i)}}
	}, func(i int) Request { return get(fmt.Sprintf("/team%d/rest/api/content", i)) }},
	{"a path each, deep under one prefix", func(i int) Match {
		return Match{Paths: []string{fmt.Sprintf("/rest/api/2/project/%d", i)}}
	}, func(i int) Request { return get(fmt.Sprintf("/rest/api/2/project/%d", i)) }},
	{"a host each", func(i int) Match {
		return Match{Hosts: []string{fmt.Sprintf("h%d.example.com", i)}, Paths: []string{"/rest/**"}}
	}, func(i int) Request {
		q := get("/rest/api/content")
		q.Host = fmt.Sprintf("h%d.example.com", i)
		return q
	}},
	{"a domain each", func(i int) Match {
		return Match{Hosts: []string{fmt.Sprintf("*.d%d.example.com", i)}}
	}, func(i int) Request {
		q := get("/rest/api/content")
		q.Host = fmt.Sprintf("a.b.d%d.example.com", i)
		return q
	}},
	{"a name behind *", func(i int) Match {
		return Match{Paths: []string{fmt.Sprintf("/a/*/b/*/c%d", i)}}
	}, func(i int) Request { return get(fmt.Sprintf("/a/x/b/y/c%d", i)) }},
	{"names and * mixed", func(i int) Match {
		return Match{Paths: []string{mixed(i)}}
	}, func(int) Request { return get("/a/a/a/a/a/a/a/a/a/a") }},
	{"a method each", func(i int) Match {
		return Match{Paths: []string{"/rest/**"}, Methods: []string{fmt.Sprintf("M%d", i)}}
	}, func(i int) Request {
		q := get("/rest/api/content")
		q.Method = fmt.Sprintf("M%d", i)
		return q
	}},
	{"a header's value each", func(i int) Match {
		return Match{Headers: map[string][]string{"x-env": {"prod"}, "x-tenant": {fmt.Sprintf("t%d", i)}}}
	}, func(i int) Request { return get("/rest/api/content", "x-env: prod", fmt.Sprintf("x-tenant: t%d", i)) }},
	{"a header each", func(i int) Match {
		return Match{Headers: map[string][]string{fmt.Sprintf("x-tenant-%d", i): nil}}
	}, func(i int) Request { return get("/rest/api/content", fmt.Sprintf("x-tenant-%d: 1", i)) }},
	{"a route each", func(i int) Match {
		return Match{Context: map[string][]string{"app": {fmt.Sprintf("app%d", i)}}}
	}, func(i int) Request {
		q := get("/rest/api/content")
		q.Context = []Header{{"app", fmt.Sprintf("app%d", i)}}
		return q
	}},
	{"a network each", func(i int) Match {
		return Match{Sources: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)}}
	}, func(i int) Request {
		q := get("/rest/api/content")
		q.Source = netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 7})
		return q
	}},
}

// mixed writes the bits of i as names and *: all of these match one path, and
// the first of them wins.
func mixed(i int) string {
	var b strings.Builder
	for bit := range 10 {
		b.WriteString([]string{"/a", "/*"}[(i>>bit)&1])
	}
	return b.String()
}

// scaled is an engine with n rules of a shape, and the request that is under
// the one in the middle.
func scaled(t testing.TB, shape, n int) (*Engine, Request) {
	t.Helper()
	secret := strings.Repeat("x", 1200)
	a, other := bookOf("a-", secret), bookOf("a-", secret)
	p := Policy{Providers: []NamedProvider{{Name: "a", Provider: a}, {Name: "other", Provider: other}}}
	s := &ruleShapes[shape]
	for i := range n {
		by := "other"
		if i == n/2 || s.name == "names and * mixed" {
			by = "a"
		}
		p.Rules = append(p.Rules, Rule{Match: s.rule(i), Providers: []string{by}})
	}
	q := s.request(n / 2)
	for i := range 12 {
		q.Headers = append(q.Headers, Header{fmt.Sprintf("x-other-%d", i), "some value"})
	}
	q.Headers = append(q.Headers, Header{"authorization", "Bearer a-" + secret})
	q.Room = new(Room)
	e := newEngine(t, p)
	if d := e.Decide(t.Context(), q); d.Outcome != Allowed || d.Provider != "a" || d.Rule == nil {
		t.Fatalf("%s: %v/%v by %s", s.name, d.Outcome, d.Reason, d.Provider)
	}
	if d := e.Decide(t.Context(), q); !d.Cached {
		t.Fatal("the credential is not remembered")
	}
	return e, q
}

// TestManyRulesCostNoMore compares cached decisions under 10 and 1,000 rules. The
// two take turns, and the quickest of many short turns counts: whatever else the
// machine does only makes some slower.
func TestManyRulesCostNoMore(t *testing.T) {
	const most, turns = 1.3, 60
	for i, s := range ruleShapes {
		t.Run(s.name, func(t *testing.T) {
			few, under := scaled(t, i, 10)
			many, underMany := scaled(t, i, 1000)
			if n := testing.AllocsPerRun(1000, func() { many.Decide(t.Context(), underMany) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
			ratio := math.Inf(1)
			for attempt := 0; attempt < 5 && ratio > most; attempt++ {
				best := [2]time.Duration{math.MaxInt64, math.MaxInt64}
				for range turns {
					best[0] = min(best[0], turn(t, few, under))
					best[1] = min(best[1], turn(t, many, underMany))
				}
				ratio = float64(best[1]) / float64(best[0])
				t.Logf("10 rules %v, 1,000 rules %v: %.2f times as much", best[0]/decisions, best[1]/decisions, ratio)
			}
			if ratio > most {
				t.Errorf("1,000 rules cost %.2f times as much as 10; %v is the most", ratio, most)
			}
		})
	}
}

// decisions is how many a turn takes.
const decisions = 200

func turn(t *testing.T, e *Engine, q Request) time.Duration {
	ctx := t.Context()
	began := time.Now()
	for range decisions {
		e.Decide(ctx, q)
	}
	return time.Since(began)
}

func BenchmarkDecideCached(b *testing.B) {
	for i, s := range ruleShapes {
		for _, n := range []int{10, 1000} {
			b.Run(fmt.Sprintf("%s/rules=%d", strings.ReplaceAll(s.name, " ", "-"), n), func(b *testing.B) {
				e, q := scaled(b, i, n)
				b.ReportAllocs()
				for b.Loop() {
					e.Decide(b.Context(), q)
				}
			})
		}
	}
}
