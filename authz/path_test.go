package authz

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestReadPath(t *testing.T) {
	strict, slash, params := PathPolicy{}, PathPolicy{EncodedSlash: AllowAmbiguous}, PathPolicy{Parameters: AllowAmbiguous}
	for _, c := range []struct {
		raw    string
		policy PathPolicy
		want   string // normal form; "" = refused
		others string // further readings, joined by blanks
	}{
		{"/", strict, "/", ""},
		{"/rest/api/content/?limit=1", strict, "/rest/api/content/", "/rest/api/content"},
		{"/a?x=/../b", strict, "/a", ""},
		{"/admin%3Fx=1", strict, "/admin?x=1", ""},
		{"/%61dmin", strict, "/admin", ""},
		{"/a%20b", strict, "/a b", ""},
		{"/.well-known/x", strict, "/.well-known/x", ""},
		{"/a/...", strict, "/a/...", ""},
		{"/caf%C3%A9", strict, "/café", ""},
		{"/café", strict, "/café", ""},
		{"/100%25", strict, "/100%", ""},
		{"//admin", strict, "/admin", ""},
		{"/a//b/", strict, "/a/b/", "/a/b"},
		// more than one meaning
		{"", strict, "", ""},
		{"admin", strict, "", ""},
		{"*", strict, "", ""},
		{"http://h/admin", strict, "", ""},
		{"/./admin", strict, "", ""},
		{"/a/../admin", strict, "", ""},
		{"/public/%2e%2e/admin", strict, "", ""},
		{"/public/.%2E/admin", strict, "", ""},
		{"/public/%252e%252e/admin", strict, "", ""},
		{"/public/%25%32%65/admin", strict, "", ""},
		{"/public/..%2fadmin", strict, "", ""},
		{"/public/..;/admin", strict, "", ""},
		{"/public;/../admin", strict, "", ""},
		{"/admin;jsessionid=1", strict, "", ""},
		{"/admin%3Bx", strict, "", ""},
		{"/admin%2F", strict, "", ""},
		{"/admin%5C..", strict, "", ""},
		{`/\admin`, strict, "", ""},
		{"/admin%00", strict, "", ""},
		{"/admin\x00", strict, "", ""},
		{"/admin%0d%0aSet-Cookie:x", strict, "", ""},
		{"/admin#x", strict, "", ""},
		{"/%", strict, "", ""},
		{"/%4", strict, "", ""},
		{"/%zz", strict, "", ""},
		{"/%ff", strict, "", ""},
		{"/%c0%af", strict, "", ""},
		{"/\xff", strict, "", ""},
		// admitted by setting
		{"/a%2Fb", slash, "/a/b", "/a%2Fb"},
		{"/a%5cb", slash, "/a/b", "/a%5Cb"},
		{"/public/..%2fadmin", slash, "", ""},
		{"/a;v=1/b", params, "/a;v=1/b", "/a/b /a"},
		{"/public/..;/admin", params, "", ""},
		{"/a%2Fb;x", slash, "", ""},
	} {
		got, ok := readPath(c.raw, c.policy)
		if !ok {
			got.path = ""
		}
		if got.path != c.want || strings.Join(got.others, " ") != c.others {
			t.Errorf("%q: got %q and %q, want %q and %q", c.raw, got.path, got.others, c.want, c.others)
		}
	}
}

// trickyPaths try to be judged as /public while an upstream reads /admin.
var trickyPaths = []string{
	"//admin", "/./admin", "/a/../admin", "/public/../admin", "/public/..%2fadmin", "/public/%2e%2e/admin",
	"/public/%252e%252e/admin", "/public/..;/admin", "/public;/../admin", "/admin;jsessionid=1", "/admin/", "/admin/.",
	"/ADMIN", "/%61dmin", "/admin%2F", "/admin%5C..", `/\admin`, "/admin%00", "/admin%3F", "/admin%23", "/admin?",
	"/admin?/public", "/public?/../admin/x", "//public/../admin", "http://h/admin", "*", "", "admin", "/admin\x00",
	"/public%2f..%2fadmin", "/publicx", "/public%20", "//public/admin", "/public//../admin", "/public/a;/../../admin",
	"/public\\..\\admin", "/public%5c..%5cadmin", "/%2e/public", "/public%u002f..", "/;/public/x", "/public/x%2f..%2f..%2fadmin",
}

func TestTrickyPathsAreNeverPublic(t *testing.T) {
	for name, paths := range map[string]PathPolicy{
		"strict":   {},
		"admitted": {EncodedSlash: AllowAmbiguous, Parameters: AllowAmbiguous},
	} {
		e := newEngine(t, Policy{
			Paths: paths,
			Rules: []Rule{{Match: Match{Paths: []string{"/public/**"}}, Access: Public}},
		})
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "CONNECT", "TRACE", "POST"} {
			for _, raw := range trickyPaths {
				q := get(raw)
				q.Method = method
				d := e.Decide(t.Context(), q)
				// The one whose normal form is /public itself; its query is no path.
				if raw == "/public?/../admin/x" {
					if d.Outcome != Allowed {
						t.Errorf("%s: %s %q: %v", name, method, raw, d.Outcome)
					}
					continue
				}
				if d.Outcome == Allowed {
					t.Errorf("%s: %s %q was judged public", name, method, raw)
				}
			}
		}
	}
}

// Under a deny rule no reading of a path may slip past it.
func TestDenyHoldsForEveryReading(t *testing.T) {
	a := bookOf("a-", "alice")
	e := newEngine(t, Policy{
		Paths:     PathPolicy{EncodedSlash: AllowAmbiguous, Parameters: AllowAmbiguous},
		Providers: []NamedProvider{{Name: "a", Provider: a}},
		Rules:     []Rule{{Match: Match{Paths: []string{"/admin", "/admin/x"}}, Access: DenyAll}},
	})
	for _, raw := range []string{"/admin", "/admin/", "//admin", "/%61dmin", "/admin;a=b", "/admin%2Fx", "/admin/x;y", "/admin%5cx", "/admin?x"} {
		if d := e.Decide(t.Context(), get(raw, "authorization: Bearer a-alice")); d.Outcome == Allowed {
			t.Errorf("%q slipped past the deny rule", raw)
		}
	}
}

// What hangs on the path beside the rules holds for every reading too.
func TestLimitsHoldForEveryReading(t *testing.T) {
	b := bookOf("l-")
	b.known["l-one"] = Identity{User: "bob", Limits: &Limits{Paths: []string{"/a/b"}}}
	b.known["l-all"] = Identity{User: "bob", Limits: &Limits{Paths: []string{"/**"}}}
	b.known["l-read"] = Identity{User: "bob", Limits: &Limits{ReadOnly: true}}
	e := newEngine(t, Policy{
		Paths:     PathPolicy{EncodedSlash: AllowAmbiguous, Parameters: AllowAmbiguous},
		Providers: []NamedProvider{{Name: "local", Provider: b}},
		Rules:     []Rule{{Match: Match{Paths: []string{"/**"}}, Preset: "jira"}},
	})
	for _, c := range []struct {
		token, method, path string
		want                Outcome
	}{
		{"l-one", "GET", "/a/b", Allowed},
		{"l-one", "GET", "/a%2Fb", Forbidden},
		{"l-one", "GET", "/a/b;x=y", Forbidden},
		{"l-all", "GET", "/a%2Fb", Allowed},
		{"l-all", "GET", "/a/b;x=y", Allowed},
		{"l-read", "POST", "/rest/api/2/search", Allowed},
		{"l-read", "POST", "/rest/api/2%2Fsearch", Forbidden},
		{"l-read", "GET", "/rest;x/plugins/1.0", Forbidden},
		{"l-read", "GET", "/rest/plugins;x/1.0", Forbidden},
		{"l-read", "GET", "/rest/api;x/2/search", Allowed},
	} {
		q := get(c.path, "authorization: Bearer "+c.token)
		q.Method = c.method
		if d := e.Decide(t.Context(), q); d.Outcome != c.want {
			t.Errorf("%s: %s %s: %v/%v, want %v", c.token, c.method, c.path, d.Outcome, d.Reason, c.want)
		}
	}
}

func TestHostName(t *testing.T) {
	for in, want := range map[string]string{
		"api.example.com": "api.example.com", "API.Example.COM:8443": "api.example.com", "api.example.com.": "api.example.com",
		"api.example.com.:443": "api.example.com", "[::1]:80": "[::1]", "[::1": "", "": "", "a,b": "", "user@host": "", "a b": "", "127.0.0.1": "127.0.0.1",
	} {
		if got := hostName(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzReadPath(f *testing.F) {
	for _, p := range trickyPaths {
		f.Add(p, true, true)
	}
	f.Fuzz(func(t *testing.T, raw string, slashes, params bool) {
		var p PathPolicy
		if slashes {
			p.EncodedSlash = AllowAmbiguous
		}
		if params {
			p.Parameters = AllowAmbiguous
		}
		got, ok := readPath(raw, p)
		if !ok {
			return
		}
		for _, path := range append(got.others, got.path) {
			if !strings.HasPrefix(path, "/") || !utf8.ValidString(path) || hasDotSegment(path) ||
				strings.Contains(path, "//") || strings.ContainsAny(path, "\\\x00\r\n\x7f") {
				t.Errorf("%q was read as %q", raw, path)
			}
			if !slashes && !params && strings.Contains(path, ";") {
				t.Errorf("%q: parameters were let in: %q", raw, path)
			}
		}
	})
}
