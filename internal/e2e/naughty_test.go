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
