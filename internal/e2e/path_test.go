package e2e

import (
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// targets are request targets that a proxy, a policy and an upstream have been
// seen to read differently. /public is public, everything else is not.
var targets = append(strings.Fields(`
/admin //admin /./admin /a/../admin /public/../admin /public/..%2fadmin /public/..%2Fadmin /public/%2e%2e/admin /public/%2E%2E/admin
/public/%252e%252e/admin /public/..;/admin /public/.;/../admin /public;/../admin /public/;/../../admin /admin;jsessionid=1 /admin/ /admin/. /ADMIN
/%61dmin /admin%2F /admin%5C.. /\admin /public\..\admin /public/..\admin /public%5c..%5cadmin /admin%00 /public%00/../admin /admin%3F /admin%23
/admin? /admin?/public /admin?x=/public/ /public?/../admin //public/../admin /public%2f..%2fadmin /publicx /public%20 /public%09 /PUBLIC /Public
/public. /public../admin /public/.../admin /public/%c0%ae%c0%ae/admin /public/%e0%80%ae%e0%80%ae/admin /public/%u002e%u002e/admin /public/%ff
/public/..%252fadmin /public/..%c0%afadmin /public/..%ef%bc%8fadmin /public/%2e%2e%2fadmin /public/%2e./admin /public/.%2e/admin /public//../admin
/public/..//admin /public/../../admin /public/x/../../admin /..//public /../public /.public /;/public /%2fpublic %2fpublic /public%2F /public/%2F
//evil.example.test/public ///public /http://api.example.test/public /public@evil /public:80 /public/%
/public/%4 /public/%zz /public/%%32%65 /public/%25%32%65%25%32%65/admin /public&x /public=/ /public,/admin /public!/../admin
/public/..%00/admin /public/..%0d%0a/admin /public/%0d%0ax-forwarded-user:admin /public%3f/../admin /public%23/../admin /public;x=/../admin /public;%2f..%2fadmin
/nobody/../public /nobody/%2e%2e/public /public/../nobody /public/..%2fnobody /second/../public /ops/..;/public
/api/v1/../../public /x/public /x?/public /x%3f/public /x;/public /x/..;/public
/public/%2e%2e%5cadmin /public/..%5cadmin /public/~/../admin /public/%7e/ /public/+ /%70ublic /%70ublic/../admin /p%75blic/x public admin * /* /public/*
http://api.example.test/admin http://evil.example.test/public/../admin http://api.example.test//public/../admin https://api.example.test/admin
http:///admin http:/admin /http:/public /admin\u0000 \u002fpublic /public\u002f..\u002fadmin api.example.test:443 api.example.test
`), "", "/admin\x00", "/public\x00/../admin", "/public\x7f/../admin", "/\xc0\xaepublic", "/public/\xc0\xae\xc0\xae/admin", "/public#/../admin", "/admin#/public")

// methods are the kinds of request that each target is sent with.
var methods = map[string]request{
	"GET": {}, "HEAD": {method: "HEAD"}, "OPTIONS": {method: "OPTIONS"}, "TRACE": {method: "TRACE"}, "CONNECT": {method: "CONNECT"},
	"POST": {method: "POST", body: "{}"},
	"preflight": {method: "OPTIONS", headers: []field{
		{"origin", "https://evil.example.test"}, {"access-control-request-method", "GET"},
	}},
	"websocket": {headers: []field{
		{"connection", "Upgrade"}, {"upgrade", "websocket"}, {"sec-websocket-version", "13"}, {"sec-websocket-key", "MDEyMzQ1Njc4OWFiY2RlZg=="},
	}},
	// Over HTTP/1.1 it comes as a plain CONNECT.
	"websocket by CONNECT": {method: "CONNECT", extended: "websocket", headers: []field{{"sec-websocket-version", "13"}}},
	"h2c":                  {headers: []field{{"connection", "Upgrade, HTTP2-Settings"}, {"upgrade", "h2c"}, {"http2-settings", "AAMAAABkAAQAAP__"}}},
	"gRPC":                 {method: "POST", headers: []field{{"content-type", "application/grpc"}, {"te", "trailers"}}, body: "\x00\x00\x00\x00\x00"},
	"forged original path": {headers: []field{
		{"x-envoy-original-path", "/public"},
		{"x-original-url", "/public"},
		{"x-rewrite-url", "/public"},
		{"x-forwarded-uri", "/public"},
		{"x-forwarded-prefix", "/public"},
		{"x-forwarded-host", "open.example.test"},
		{"x-http-method-override", "OPTIONS"},
	}},
}

// TestPaths sends every target with every method, with and without a
// credential. What reaches the upstream without one must be public however the
// upstream reads it; what reaches it with one carries the user.
func TestPaths(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	token := l.issuer.token("alice")
	var cases, open, known atomic.Int64
	for name, method := range methods {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			public, alice := 0, 0
			everyWay(t, func(t *testing.T, p protocol, v variant) {
				for _, target := range targets {
					cases.Add(2)
					q := method
					q.target = target
					r, seen := l.send(t, p, v, q)
					checkAnonymous(t, q, r, seen)
					if seen != nil {
						public++
					}
					q.headers = append([]field{bearer(token)}, q.headers...)
					r, seen = l.send(t, p, v, q)
					checkAlice(t, q, r, seen)
					if seen != nil {
						alice++
					}
				}
			})
			t.Logf("reached the upstream: %d without a credential, %d with one", public, alice)
			open.Add(int64(public))
			known.Add(int64(alice))
			switch {
			case name == "CONNECT":
				// It names no path, so that no rule can say that it is public.
				if public+alice > 0 {
					t.Error("a tunnel was opened")
				}
			case public == 0 || alice < 100:
				t.Error("too little got through for this test to say anything")
			}
		})
	}
	t.Cleanup(func() { // once the parallel parts have ended
		realtest.Measured(t, "%d requests (%d targets, %d methods, %d protocols, %d variants of Envoy, with and without a credential): "+
			"%d reached the upstream without one, each of them public; %d with one",
			cases.Load(), len(targets), len(methods), len(protocols), len(variants), open.Load(), known.Load())
	})
}

// dots and slashes are ways to write ".." and "/" that some reader undoes.
var (
	dots = strings.Fields(`.. %2e%2e %2E. .%2e %252e%252e ..; ..;x=y %c0%ae%c0%ae %u002e%u002e ... .%00. ..%00 ..%09 ..%0d %ef%bc%8e%ef%bc%8e`)
	// The last is a tab, which no target can have.
	slashes = append(strings.Fields(`/ %2f %2F %5c \ %252f %255c %c0%af %e2%88%95 %ef%bc%8f // /./ ;/ /%2e/`), "\t")
)

// TestTraversals climbs out of /public with every mixture of spellings.
func TestTraversals(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	n := 0
	for _, dot := range dots {
		for _, slash := range slashes {
			for depth := 1; depth <= 3; depth++ {
				for _, start := range []string{"/public/", "/public" + slash, "/public/x" + slash} {
					q := request{target: start + strings.Repeat(dot+slash, depth) + "admin"}
					r, seen := l.send(t, protocols[n%2], variants[n/2%len(variants)], q)
					checkAnonymous(t, q, r, seen)
					n++
				}
			}
		}
	}
	realtest.Measured(t, "%d ways to climb out of /public", n)
	page := request{target: "/public/page"}
	if _, seen := l.send(t, protocols[0], variants[0], page); seen == nil || n < 1000 {
		t.Errorf("%d targets, the public page is open: %t", n, seen != nil)
	}
}

// TestAdmittedPaths sends every target to a server that admits the paths with
// several meanings: the strictest of them holds, and none is public.
func TestAdmittedPaths(t *testing.T) {
	t.Parallel()
	l := newLab(t, "paths: {encoded_slash: allow, parameters: allow}\n")
	token := l.issuer.token("alice")
	admitted := 0
	everyWay(t, func(t *testing.T, p protocol, v variant) {
		for _, target := range targets {
			q := request{target: target}
			r, seen := l.send(t, p, v, q)
			checkAnonymous(t, q, r, seen)
			q.headers = []field{bearer(token)}
			r, seen = l.send(t, p, v, q)
			checkAlice(t, q, r, seen)
			if seen != nil && strings.ContainsAny(seen.target, ";") {
				admitted++
			}
		}
	})
	if admitted == 0 {
		t.Error("no path with parameters was admitted: this test says nothing")
	}
}

// TestPreflight sends what browsers ask before a request from another site,
// and what only looks like it, to a rule that lets preflights through.
func TestPreflight(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	origin, method := field{"origin", "https://app.example.test"}, field{"access-control-request-method", "PUT"}
	spoof := field{"x-forwarded-user", "admin"}
	cases := []struct {
		name   string
		q      request
		passes bool
	}{
		{"real", request{method: "OPTIONS", target: "/cors/x", headers: []field{origin, method, spoof}}, true},
		{"without origin", request{method: "OPTIONS", target: "/cors/x", headers: []field{method, spoof}}, false},
		{"without method", request{method: "OPTIONS", target: "/cors/x", headers: []field{origin, spoof}}, false},
		{"two origins", request{method: "OPTIONS", target: "/cors/x", headers: []field{origin, origin, method}}, false},
		{"two methods", request{method: "OPTIONS", target: "/cors/x", headers: []field{origin, method, method}}, false},
		{"GET", request{target: "/cors/x", headers: []field{origin, method}}, false},
		{"POST that claims to be OPTIONS", request{method: "POST", target: "/cors/x", headers: []field{origin, method, {"x-http-method-override", "OPTIONS"}}}, false},
		{"another rule", request{method: "OPTIONS", target: "/issues", headers: []field{origin, method}}, false},
		{"rule for nobody", request{method: "OPTIONS", target: "/nobody/x", headers: []field{origin, method}}, false},
		{"climbing out", request{method: "OPTIONS", target: "/cors/../issues", headers: []field{origin, method}}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, p protocol, v variant) {
				r, seen := l.send(t, p, v, c.q)
				if c.passes {
					passes(t, c.q, r, seen, "")
				} else {
					refused(t, c.q, r, seen, 400, 401, 403)
				}
			})
		})
	}
}

// checkAnonymous checks a request without a credential.
func checkAnonymous(t *testing.T, q request, r reply, seen *received) {
	t.Helper()
	if seen != nil && !surelyPublic(seen.target) {
		t.Errorf("%s: reached the upstream as %q without a credential", brief(q), seen.target)
	}
	if seen != nil && len(seen.values("x-forwarded-user")) > 0 {
		t.Errorf("%s: upstream was told a user though nobody was proven", brief(q))
	}
	checkStatus(t, q, r, seen)
}

// checkAlice checks a request with a good token: it may be refused for its
// path, or be public, but it never reaches the upstream as anybody else.
func checkAlice(t *testing.T, q request, r reply, seen *received) {
	t.Helper()
	if seen != nil {
		got := seen.values("x-forwarded-user")
		if public := len(got) == 0 && surelyPublic(seen.target); !public && (len(got) != 1 || got[0] != "alice") {
			t.Errorf("%s: reached the upstream as %q with the users %q", brief(q), seen.target, got)
		}
		for _, rule := range []string{"nobody", "second"} {
			if path, _, _ := strings.Cut(seen.target, "?"); strings.HasPrefix(path, "/"+rule+"/") || path == "/"+rule {
				t.Errorf("%s: passed the rule for /%s", brief(q), rule)
			}
		}
	}
	checkStatus(t, q, r, seen)
}

// checkStatus checks that what did not pass was answered, and by a decision:
// a failed call or an inner error is not one.
func checkStatus(t *testing.T, q request, r reply, seen *received) {
	t.Helper()
	switch {
	case seen != nil:
	case r.status == 200 && r.header.Get("grpc-status") != "" && r.header.Get("grpc-status") != "0":
		// How Envoy tells a gRPC client of a denial.
	case r.status == 200:
		t.Errorf("%s: answered 200 without reaching the upstream", brief(q))
	case r.status >= 500:
		t.Errorf("%s: status %d %s", brief(q), r.status, r.body)
	}
}

// surelyPublic reports whether every upstream takes a target for /public or
// something below it. It is written apart from the code under test: the path
// is decoded by net/url, and whatever has two readings is not public.
func surelyPublic(target string) bool {
	if rest, ok := strings.CutPrefix(target, "http://"); ok { // absolute form
		_, path, _ := strings.Cut(rest, "/")
		target = "/" + path
	}
	path, _, _ := strings.Cut(target, "?")
	if strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\;#") {
		return false
	}
	decoded, err := url.PathUnescape(path)
	if err != nil || strings.ContainsAny(decoded, "\\;#?%\x00") || strings.Count(decoded, "/") != strings.Count(path, "/") {
		return false
	}
	for segment := range strings.SplitSeq(decoded, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return decoded == "/public" || strings.HasPrefix(decoded, "/public/")
}
