package authz

import (
	"fmt"
	"math/rand/v2"
	"slices"
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
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	path := func(last ...string) string {
		var b strings.Builder
		for range 1 + r.IntN(3) {
			b.WriteString("/" + pick(words))
		}
		return b.String() + pick(last)
	}
	hosts := []string{"x.example.com", "y.example.com", "*.example.com", "z.org"}
	for range 300 {
		var p Policy
		for range r.IntN(12) {
			m := Match{Paths: []string{path("", "/**", "/*", "/")}}
			if r.IntN(2) == 0 {
				m.Hosts = []string{pick(hosts)}
			}
			if r.IntN(3) == 0 {
				m.Methods = []string{"POST"}
			}
			if r.IntN(5) == 0 {
				m.Paths = nil
			}
			p.Rules = append(p.Rules, Rule{Match: m})
		}
		e := newEngine(t, p)
		for range 30 {
			q := get(strings.ReplaceAll(path("", "/"), "*", "d"))
			host := strings.ReplaceAll(pick(hosts), "*", "w")
			want := -1
			for i, rule := range p.Rules {
				m := rule.Match
				if (len(m.Methods) == 0 || slices.Contains(m.Methods, q.Method)) &&
					(len(m.Hosts) == 0 || matchHost(m.Hosts[0], host)) &&
					(len(m.Paths) == 0 || matchPath(m.Paths[0], q.Path)) {
					want = i
					break
				}
			}
			got := -1
			if c, _ := e.rules.first(&q, host, q.Path); c != nil {
				got = c.index
			}
			if got != want {
				t.Fatalf("%s%s: tree %d, linear %d\n%v", host, q.Path, got, want, fmt.Sprint(p.Rules))
			}
		}
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
