package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// answerConfig has one rule for each answer that there is.
const answerConfig = `
listen: {grpc: %q, admin: %q}
log: {audit: {file: audit.log}}
providers:
  - {name: lab, type: oidc, issuer: %q, audiences: [%q], groups: [groups]}
  - {name: gone, type: oidc, issuer: %q, audiences: [%[4]q]}
rules:
  - {name: nobody, match: {paths: [/nobody]}, access: deny}
  - {name: ops-only, match: {paths: [/ops]}, allow: {groups: [board]}}
  - {name: scoped, match: {paths: [/scoped]}, allow: {scopes: [write, admin]}}
  - {name: fresh, match: {paths: [/fresh]}, allow: {max_age: 5m}}
`

// An answerCase is a request and the whole of what its caller is told.
type answerCase struct {
	name, target string
	headers      []field
	status       int
	challenge    string // WWW-Authenticate
	word         string // "error" of the body
	reason       string // in the record of decisions alone
}

// TestAnswers holds each kind of denial to its contract: status, challenge,
// body, and a decision id that the record of decisions has too.
func TestAnswers(t *testing.T) {
	t.Parallel()
	i, foreign := newIssuer(t), newIssuer(t)
	gone := fmt.Sprintf("http://127.0.0.1:%d", realtest.FreePort(t))
	g := newGatelodge(t, "")
	text := fmt.Sprintf(answerConfig, g.grpc, g.admin, i.url, audience, gone)
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g.start(t)
	g.awaitReady(t)
	f := newFront(t, g.grpc)
	good, past := i.claims("alice"), time.Now().Unix()-3600
	auth := func(v string) []field { return []field{{"authorization", v}} }
	const (
		bare    = `Bearer realm="gatelodge"`
		invalid = bare + `, error="invalid_token"`
		request = bare + `, error="invalid_request"`
	)
	cases := []answerCase{
		{"no credential", "/x", nil, 401, bare, "unauthorized", "no_credential"},
		{"scheme that is not taken", "/x", auth("Negotiate abc"), 401, bare, "unauthorized", "unsupported_scheme"},
		{"expired, and proven", "/x", auth("Bearer " + i.sign(good.with(claims{"exp": past}))), 401, invalid + `, error_description="The access token expired"`, "invalid_token", "expired"},
		{"expired, and forged", "/x", auth("Bearer " + i.signWith(newKey(t), claims{}, good.with(claims{"exp": past}))), 401, invalid, "invalid_token", "signature"},
		{"forged", "/x", auth("Bearer " + i.signWith(newKey(t), claims{}, good)), 401, invalid, "invalid_token", "signature"},
		{"for another API", "/x", auth("Bearer " + i.sign(good.with(claims{"aud": "other"}))), 401, invalid, "invalid_token", "audience"},
		{"of nobody we know", "/x", auth("Bearer " + foreign.token("alice")), 401, invalid, "invalid_token", "no_owner"},
		{"two lines", "/x", []field{bearer(i.token("alice")), bearer(i.token("alice"))}, 400, request, "invalid_request", ""},
		{"malformed", "/x", auth("Bearer a b"), 400, request, "invalid_request", "malformed_credential"},
		{"no scheme at all", "/x", auth("\"abc\""), 400, request, "invalid_request", "malformed_credential"},
		{"rule for nobody", "/nobody", auth("Bearer " + i.token("alice")), 403, "", "forbidden", "denied_by_rule"},
		{"wrong group", "/ops", auth("Bearer " + i.token("alice")), 403, "", "forbidden", "group_not_allowed"},
		{"scope missing", "/scoped", auth("Bearer " + i.token("alice")), 403, bare + `, error="insufficient_scope", scope="write admin"`, "insufficient_scope", "scope"},
		{"login too old", "/fresh", auth("Bearer " + i.sign(good.with(claims{"auth_time": past}))), 401, bare + `, error="insufficient_user_authentication", max_age="300"`, "insufficient_user_authentication", "step_up"},
		{"provider out of reach", "/x", auth("Bearer " + i.sign(good.with(claims{"iss": gone}))), 503, "", "temporarily_unavailable", "provider_down"},
	}
	told := map[string]string{} // reasons by decision id
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, p protocol, v variant) {
				for _, accept := range []string{"", "*/*", "application/json, text/plain", "text/html,application/xhtml+xml"} {
					q := asking(c.target, c.headers, accept)
					r, seen := f.send(t, p, v, q)
					refused(t, q, r, seen, c.status)
					told[c.check(t, r, strings.HasPrefix(accept, "text/"))] = c.reason
				}
			})
		})
	}
	checkRecord(t, filepath.Join(filepath.Dir(g.config), "audit.log"), told)
}

func asking(target string, headers []field, accept string) request {
	q := request{target: target, headers: append([]field{}, headers...)}
	if accept != "" {
		q.headers = append(q.headers, field{"accept", accept})
	}
	return q
}

// check holds a reply to the case and returns the decision id.
func (c *answerCase) check(t *testing.T, r reply, text bool) string {
	t.Helper()
	id := r.header.Get("X-Gatelodge-Decision")
	if len(id) != 24 || strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(id, "0") == "" {
		t.Errorf("decision id %q", id)
	}
	for name, want := range map[string]string{"Www-Authenticate": c.challenge, "Cache-Control": "no-store"} {
		if got := strings.Join(r.header.Values(name), " | "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := r.header.Get("Retry-After"); (got != "") != (c.status == http.StatusServiceUnavailable) {
		t.Errorf("Retry-After: %q", got)
	}
	if text {
		if r.header.Get("Content-Type") != "text/plain; charset=utf-8" || !strings.HasSuffix(r.body, "\nDecision: "+id+"\n") {
			t.Errorf("%s: %q", r.header.Get("Content-Type"), r.body)
		}
		return id
	}
	var body struct{ Error, Message, Decision string }
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || r.header.Get("Content-Type") != "application/json" ||
		body.Error != c.word || body.Decision != id || body.Message == "" {
		t.Errorf("%s: %s (%v)", r.header.Get("Content-Type"), r.body, err)
	}
	return id
}

// checkRecord looks for every decision that callers were told of.
func checkRecord(t *testing.T, file string, told map[string]string) {
	t.Helper()
	recorded := map[string]string{}
	eventually(t, 10*time.Second, "every decision is recorded", func() bool {
		text, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(text)) {
			var d struct{ ID, Reason string }
			if json.Unmarshal([]byte(line), &d) == nil {
				recorded[d.ID] = d.Reason
			}
		}
		for id := range told {
			if recorded[id] == "" {
				return false
			}
		}
		return true
	})
	for id, want := range told {
		if want != "" && recorded[id] != want {
			t.Errorf("decision %s is recorded as %q, want %q", id, recorded[id], want)
		}
	}
}
