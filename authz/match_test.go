package authz

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

func TestPathPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"/a", "/a", true},
		{"/a", "/a/", false},
		{"/a", "/a/b", false},
		{"/a", "/ab", false},
		{"/a", "/", false},
		{"/", "/", true},
		{"/", "/a", false},
		{"/a/*", "/a/b", true},
		{"/a/*", "/a", false},
		{"/a/*", "/a/", false},
		{"/a/*", "/a/b/c", false},
		{"/a/*/c", "/a/b/c", true},
		{"/a/*/c", "/a/b/d", false},
		{"/a/**", "/a", true},
		{"/a/**", "/a/", true},
		{"/a/**", "/a/b/c/d", true},
		{"/a/**", "/ab", false},
		{"/**", "/", true},
		{"/**", "/x/y", true},
		{"/a/*/**", "/a/b", true},
		{"/a/*/**", "/a", false},
		{"/a/*/**", "/a/b/c", true},
	} {
		if got := matchPath(c.pattern, c.path); got != c.want {
			t.Errorf("matchPath(%q, %q) = %v", c.pattern, c.path, got)
		}
		e := newEngine(t, Policy{Rules: []Rule{{Match: Match{Paths: []string{c.pattern}}}}})
		q := get(c.path)
		if r, _ := e.rules.first(&q, "h", c.path); (r != nil) != c.want {
			t.Errorf("tree: %q on %q = %v", c.pattern, c.path, r != nil)
		}
	}
}

func TestHostPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"api.example.com", "API.example.com:443", true},
		{"api.example.com", "api.example.com.", true},
		{"API.example.com", "api.example.com", true},
		{"api.example.com", "xapi.example.com", false},
		{"*.example.com", "a.b.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", "evilexample.com", false},
		{"api.example.com", "api.example.com,evil.com", false},
	} {
		e := newEngine(t, Policy{Rules: []Rule{{Match: Match{Hosts: []string{c.pattern}}}}})
		q := get("/x")
		if r, _ := e.rules.first(&q, hostName(c.host), "/x"); (r != nil) != c.want {
			t.Errorf("tree: %q on %q = %v", c.pattern, c.host, r != nil)
		}
		if got := matchHost(c.pattern, hostName(c.host)); got != c.want {
			t.Errorf("matchHost: %q on %q = %v", c.pattern, c.host, got)
		}
	}
}

// The tree finds what looking at one rule after the other finds.
func TestTreeAgreesWithLinearSearch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{"a", "b", "c", "rest", "*"}
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	path := func(last ...string) string {
		var b strings.Builder
		for range 1 + r.IntN(3) {
			b.WriteString("/" + pick(words...))
		}
		return b.String() + pick(last...)
	}
	hosts := []string{"x.example.com", "y.example.com", "*.example.com", "z.org"}
	networks := []string{"10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "2001:db8::/32", "0.0.0.0/0", "::/0"}
	match := func(paths []string) Match {
		m := Match{Paths: []string{pick(paths...)}}
		some := func(n int) bool { return r.IntN(n) == 0 }
		if some(2) {
			m.Hosts = []string{pick(hosts...)}
		}
		if some(3) {
			m.Methods = []string{pick("GET", "POST", "PUT"), "POST"}
		}
		if some(3) {
			m.Paths = nil
		}
		if some(3) {
			m.Headers = map[string][]string{pick("x-a", "x-b"): {pick("1", "2"), "3"}}
		}
		if some(6) {
			m.Headers = map[string][]string{pick("x-a", "x-b"): nil, "x-c": {pick("1", "2")}}
		}
		if some(4) {
			m.Context = map[string][]string{"app": {pick("1", "2", "3")}}
		}
		if some(4) {
			m.Sources = []netip.Prefix{netip.MustParsePrefix(pick(networks...)), netip.MustParsePrefix(pick(networks...))}
		}
		return m
	}
	request := func(path string) Request {
		q := get(path)
		q.Method = pick("GET", "POST", "DELETE")
		for _, name := range []string{"x-a", "x-b", "x-c"} {
			if value := pick("", "1", "2", "3", "1,2", "2, 3", "1,9", "9"); value != "" {
				q.Headers = append(q.Headers, Header{name, value})
			}
		}
		q.Context = append(q.Context, Header{"app", pick("1", "2", "3", "4")})
		q.Source = netip.MustParseAddr(pick("10.1.2.3", "10.1.2.4", "10.9.9.9", "192.0.2.1", "2001:db8::1", "::ffff:10.1.2.3"))
		return q
	}
	keyed, found := 0, 0
	for round := range 400 {
		var p Policy
		paths := []string{path("", "/**", "/*", "/"), path("", "/**"), "/a/**", "/*/**"}
		for range r.IntN(1 + round%120) {
			if r.IntN(3) == 0 {
				paths = append(paths, path("", "/**", "/*", "/"))
			}
			p.Rules = append(p.Rules, Rule{Match: match(paths)})
		}
		e := newEngine(t, p)
		if e.rules.any != nil && e.rules.any.deep.keys != nil {
			keyed++
		}
		for range 60 {
			q := request(strings.ReplaceAll(path("", "/"), "*", "d"))
			host := strings.ReplaceAll(pick(hosts...), "*", "w")
			want, wantUnclear := -1, false
			for i, c := range e.rules.list {
				m := c.Match
				if len(m.Hosts) > 0 && !matchHost(m.Hosts[0], host) || len(m.Paths) > 0 && !matchPath(m.Paths[0], q.Path) {
					continue
				}
				if yes, unclear := c.holds(&q); yes || unclear {
					want, wantUnclear = i, unclear
					break
				}
			}
			got := -1
			c, unclear := e.rules.first(&q, host, q.Path)
			if c != nil {
				got = c.index
				found++
			}
			if got != want || unclear != wantUnclear {
				t.Fatalf("%s%s: tree %d (unclear: %t), linear %d (%t)\n%+v\n%v", host, q.Path, got, unclear, want, wantUnclear, q, fmt.Sprint(p.Rules))
			}
		}
	}
	if keyed < 50 || found < 5000 {
		t.Errorf("only %d sets of rules were kept by keys, and %d rules found", keyed, found)
	}
}

func TestRuleFaults(t *testing.T) {
	for key, r := range map[string]Rule{
		"match.paths[0]":   {Match: Match{Paths: []string{"rest"}}},
		"match.paths[1]":   {Match: Match{Paths: []string{"/ok", "/a/**/b"}}},
		"match.hosts[0]":   {Match: Match{Hosts: []string{"https://x/"}}},
		"match.methods[0]": {Match: Match{Methods: []string{"get"}}},
		"match.headers":    {Match: Match{Headers: map[string][]string{"X-Tier": nil}}},
		"allow.groups":     {Access: Public, Allow: Allow{Groups: []string{"x"}}},
		"providers":        {Access: DenyAll, Providers: []string{"x"}},
	} {
		faults := r.Faults()
		if len(faults) != 1 || faults[0].Key != key || faults[0].Problem == "" {
			t.Errorf("%s: got %v", key, faults)
		}
	}
	for _, p := range []string{"/a/*b", "/a*", "/a?x", "/a%2f", "/a/../b", "/a//b", "/a;b", "", "*"} {
		if (&Rule{Match: Match{Paths: []string{p}}}).Faults() == nil {
			t.Errorf("pattern %q is taken", p)
		}
	}
}

// A rule may be for routes that say so of themselves, whatever the path.
func TestRulesOfRoutes(t *testing.T) {
	e := newEngine(t, Policy{Rules: []Rule{
		{Name: "status", Match: Match{Context: map[string][]string{"gatelodge": {"status", "health"}}}, Access: Public},
		{Name: "team", Match: Match{Paths: []string{"/x/**"}, Context: map[string][]string{"team": {}}}, Access: Public},
		{Name: "rest"},
	}})
	for _, c := range []struct {
		path    string
		context []Header
		want    string
	}{
		{"/x", nil, "rest"},
		{"/x", []Header{{"gatelodge", "status"}}, "status"},
		{"/x", []Header{{"other", "1"}, {"gatelodge", "health"}}, "status"},
		{"/x", []Header{{"gatelodge", "Status"}}, "rest"},
		{"/x", []Header{{"Gatelodge", "status"}}, "rest"},
		{"/x/y", []Header{{"team", ""}}, "team"},
		{"/y", []Header{{"team", "blue"}}, "rest"},
	} {
		q := get(c.path, "gatelodge: status", "team: blue") // headers say nothing here
		q.Context = c.context
		if d := e.Decide(t.Context(), q); d.Rule == nil || d.Rule.Name != c.want {
			t.Errorf("%s, %v: %v, want %s", c.path, c.context, d.Rule, c.want)
		}
	}
}
