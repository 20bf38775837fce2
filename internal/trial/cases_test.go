package trial

import (
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
)

const caseConfig = `
providers:
  - {name: sso, type: keycloak, base_url: "https://sso.example.com", realm: corp, client_id: wiki, service_accounts: {nightly: nightly-job}}
  - {name: other, type: oidc, issuer: "https://other.example.com", audiences: [wiki], username: [email], transform: [strip_domain]}
api_tokens: {store: "sqlite:tokens.db"}
rules:
  - {name: status, match: {paths: [/status]}, access: public}
  - {name: admin, match: {paths: [/admin/**]}, allow: {groups: [admins]}}
  - {name: rest, match: {paths: [/rest/**]}, providers: [sso, api-tokens], allow: {scopes: [read]}, when: 'identity.user != "mallory"'}
  - {name: inner, match: {context: {zone: [inner]}}, access: optional}
`

const goodCases = `
cases:
  - {name: public, request: {path: /status}, expect: {decision: allow, status: 200, user: "", rule: status}}
  - {name: none, expect: {decision: deny, status: 401, reason: no_credential, rule: ""}}
  - name: admin
    request: {path: /admin/x, method: POST}
    token: {provider: sso, claims: {preferred_username: alice, groups: [admins, staff]}}
    expect: {decision: allow, user: alice, provider: sso, rule: admin}
  - name: not an admin
    request: {path: /admin/x}
    token: {provider: sso, claims: {preferred_username: bob}}
    expect: {status: 403, reason: group_not_allowed}
  - name: expired
    token: {provider: sso, claims: {preferred_username: bob, exp: 1000}}
    expect: {status: 401, reason: expired}
  - name: for another app
    token: {provider: sso, claims: {preferred_username: bob, client_id: theirs}}
    expect: {status: 401, reason: client}
  - name: app
    token: {provider: other, claims: {aud: [theirs], email: carol@example.com}}
    expect: {status: 401, reason: audience}
  - name: mapped
    token: {provider: other, claims: {email: carol@example.com}}
    expect: {decision: allow, user: carol}
  - name: no name
    token: {provider: other, claims: {}}
    expect: {status: 401, reason: username}
  - name: not this provider
    request: {path: /rest/a}
    token: {provider: other, claims: {email: carol@example.com}}
    expect: {status: 401, reason: no_owner}
  - name: scope
    request: {path: /rest/a}
    token: {provider: sso, claims: {preferred_username: bob, scope: "write read"}}
    expect: {decision: allow}
  - name: expression
    request: {path: /rest/a}
    token: {provider: sso, claims: {preferred_username: mallory, scope: read}}
    expect: {status: 403, reason: expression}
  - name: read-only API token
    request: {path: /x, method: POST}
    token: {provider: api-tokens, user: dave, read_only: true}
    expect: {status: 403, reason: read_only}
  - name: API token from elsewhere
    request: {path: /x, source: 192.0.2.1}
    token: {provider: api-tokens, user: dave, sources: [10.0.0.0/8]}
    expect: {status: 403, reason: source_not_allowed}
  - {name: route, request: {context: {zone: inner}}, expect: {decision: allow, rule: inner}}
`

func TestCases(t *testing.T) {
	c, _, err := config.Parse("gatelodge.yaml", []byte(caseConfig), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	cases, err := ReadCases([]byte(goodCases))
	if err != nil {
		t.Fatal(err)
	}
	results, err := cases.Run(t.Context(), c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if !r.Passed {
			t.Errorf("%s: %q (%s)", r.Name, r.Problems, r.Report.Detail)
		}
	}
	// The other way round: each expectation can fail.
	for i := range cases.Cases {
		e := &cases.Cases[i].Expect
		wrong := "wrong"
		*e = Expectation{Decision: Unavailable, Status: 418, User: &wrong, Provider: &wrong, Rule: &wrong, Reason: wrong}
	}
	if results, err = cases.Run(t.Context(), c, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if len(r.Problems) != 6 {
			t.Errorf("%s: %q", r.Name, r.Problems)
		}
	}
}

func TestCasesThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "empty",
		"cases: []":          "empty",
		"case: []":           "case",
		"cases: [{}]":        "no name",
		"cases: [{name: a}]": "expects nothing",
		"cases: [{name: a, expect: {status: 200}}, {name: a, expect: {status: 200}}]": "too",
		"cases: [{name: a, expect: {decision: yes}}]":                                 "none of allow",
		"cases: [{name: a, expects: {status: 200}}]":                                  "expects",
	} {
		if _, err := ReadCases([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	c, _, err := config.Parse("gatelodge.yaml", []byte(caseConfig), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"token: {claims: {}}":                           "token.provider",
		"token: {provider: nobody}":                     "token.provider",
		"token: {provider: api-tokens}":                 "token.user",
		"token: {provider: api-tokens, claims: {a: b}}": "token",
		"token: {provider: sso, user: bob}":             "give claims",
		"request: {source: here}":                       "request.source",
	} {
		cases, err := ReadCases([]byte("cases:\n  - name: a\n    expect: {status: 200}\n    " + text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cases.Run(t.Context(), c, time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
