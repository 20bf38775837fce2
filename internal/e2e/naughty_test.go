package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// TestNaughtyStrings puts strings that are known to break programs into every
// place that a caller can write to: none lets anybody in, and none is answered
// with an inner error.
func TestNaughtyStrings(t *testing.T) {
	t.Parallel()
	var list []string
	if err := json.Unmarshal(realtest.Corpus(t, "blns/blns.json"), &list); err != nil {
		t.Fatal(err)
	}
	l := newLab(t)
	places := map[string]func(s string) request{
		"authorization": func(s string) request { return request{headers: []field{{"authorization", s}}} },
		"bearer":        func(s string) request { return request{headers: []field{bearer(s)}} },
		"basic": func(s string) request {
			return request{headers: []field{{"authorization", "Basic " + encode([]byte(s))}}}
		},
		"key":         func(s string) request { return request{headers: []field{{"x-api-key", s}}} },
		"path":        func(s string) request { return request{target: "/" + s} },
		"public path": func(s string) request { return request{target: "/public/../" + s} },
		"query":       func(s string) request { return request{target: "/issues?/public/" + s} },
		"host":        func(s string) request { return request{host: s} },
		"method":      func(s string) request { return request{method: s} },
		"user":        func(s string) request { return request{headers: []field{{"x-forwarded-user", s}}} },
	}
	for place, make := range places {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			for n, p := range protocols {
				for _, s := range list {
					if p.name == "h1" {
						s = strings.NewReplacer("\r", "", "\n", "").Replace(s) // that would be another request
					}
					q := make(s)
					if q.target == "" {
						q.target = "/issues"
					}
					r, seen := l.send(t, p, variants[n], q)
					checkAnonymous(t, q, r, seen)
				}
			}
		})
	}
	t.Run("user name", func(t *testing.T) {
		for _, s := range list {
			token := l.issuer.sign(l.issuer.claims("x").with(claims{"preferred_username": s}))
			q := request{target: "/issues", headers: []field{bearer(token)}}
			r, seen := l.send(t, protocols[1], variants[1], q)
			if seen != nil {
				passes(t, q, r, seen, s) // as it was, or not at all
			}
			checkStatus(t, q, r, seen)
		}
	})
}

// TestEveryByte puts every byte there is into every place that a caller can
// write to, alone and within what would be good: Envoy or Gatelodge refuses it,
// by a decision of its own, or it is as if it were not there.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	token := l.issuer.token("alice")
	places := map[string]func(b string) request{
		"bearer":     func(b string) request { return request{headers: []field{bearer(b)}} },
		"in a token": func(b string) request { return request{headers: []field{bearer(token[:40] + b + token[40:])}} },
		"in a scheme": func(b string) request {
			return request{headers: []field{{"authorization", "Bear" + b + "er " + token}}}
		},
		"in a key":    func(b string) request { return request{headers: []field{{"x-api-key", "gl_" + b}}} },
		"in a path":   func(b string) request { return request{target: "/public" + b + "x/../../issues"} },
		"in a query":  func(b string) request { return request{target: "/issues?" + b} },
		"in a host":   func(b string) request { return request{host: "api" + b + ".example.test"} },
		"in a method": func(b string) request { return request{method: "GE" + b + "T"} },
		"in a user":   func(b string) request { return request{headers: []field{{"x-forwarded-user", "ad" + b + "min"}}} },
	}
	for place, make := range places {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			for n := range 256 {
				b := string([]byte{byte(n)})
				for k, p := range protocols {
					if p.name == "h1" && (n == '\r' || n == '\n') || p.name == "h2" && n%8 != 0 {
						continue // another request; and each refusal over HTTP/2 takes Envoy a while
					}
					q := make(b)
					if q.target == "" {
						q.target = "/issues"
					}
					r, seen := l.send(t, p, variants[(n/8+k)%len(variants)], q)
					checkAnonymous(t, q, r, seen)
				}
			}
		})
	}
}
