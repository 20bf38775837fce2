package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// labConfig is the configuration that most tests run under: one rule of each
// kind, two providers, API tokens.
const labConfig = `
headers: {user: x-forwarded-user, email: x-forwarded-email, groups: x-forwarded-groups}
providers:
  - {name: lab, type: oidc, issuer: %q, audiences: [%q], username: [preferred_username], groups: [groups]}
  - {name: second, type: oidc, issuer: %q, audiences: [%[2]q]}
api_tokens: {store: "sqlite:tokens.db", header: x-api-key}
rules:
  - {name: public, match: {paths: [/public, /public/**]}, access: public}
  - {name: optional, match: {paths: [/optional, /optional/**]}, access: optional}
  - {name: nobody, match: {paths: [/nobody, /nobody/**]}, access: deny}
  - {name: second-only, match: {paths: [/second, /second/**]}, providers: [second]}
  - {name: ops-only, match: {paths: [/ops, /ops/**]}, allow: {groups: [ops]}}
  - {name: cors, match: {paths: [/cors, /cors/**]}, preflight: true}
  - {name: by-host, match: {hosts: [open.example.test], paths: [/by-host]}, access: public}
`

// lab is Gatelodge under labConfig, and more settings, behind Envoy.
type lab struct {
	*front
	issuer, second *issuer
	gatelodge      *gatelodge
}

func newLab(t testing.TB, settings ...string) *lab {
	t.Helper()
	l := &lab{issuer: newIssuer(t), second: newIssuer(t)}
	l.gatelodge = serve(t, strings.Join(settings, "")+fmt.Sprintf(labConfig, l.issuer.url, audience, l.second.url))
	l.gatelodge.awaitReady(t)
	l.front = newFront(t, l.gatelodge.grpc)
	return l
}

// apiToken makes an API token of a user, beside the server that runs: it must
// be good there within a second.
func (l *lab) apiToken(t testing.TB, user string) string {
	t.Helper()
	out := l.gatelodge.run(t, "token", "create", "--user", user, "--name", "e2e", "--json")
	var made struct{ Token string }
	if err := json.Unmarshal(out, &made); err != nil || made.Token == "" {
		t.Fatalf("token create printed %s: %v", out, err)
	}
	q := request{target: "/issues", headers: []field{{"x-api-key", made.Token}}}
	eventually(t, time.Second, "the server knows the new token", func() bool {
		r, _ := l.send(t, protocols[0], variants[0], q)
		return r.status == 200
	})
	return made.Token
}

func bearer(token string) field { return field{"authorization", "Bearer " + token} }

// passes checks that a request reached the upstream as the given user, said
// once and by nobody else; user "" is nobody.
func passes(t *testing.T, q request, r reply, seen *received, user string) {
	t.Helper()
	if r.status != 200 || seen == nil {
		t.Errorf("%s: status %d %s, reached the upstream: %t; want it let through", brief(q), r.status, r.body, seen != nil)
		return
	}
	var want []string
	if user != "" {
		want = []string{user}
	}
	if got := seen.values("x-forwarded-user"); fmt.Sprint(got) != fmt.Sprint(want) || len(got) != len(want) {
		t.Errorf("%s: upstream was told the user %q, want %q", brief(q), got, want)
	}
}

// refused checks that a request was answered by Gatelodge with one of the
// given statuses and did not reach the upstream. Status 0, a reset, is Envoy's
// own way to refuse what is not HTTP, and 400 is too.
func refused(t *testing.T, q request, r reply, seen *received, statuses ...int) {
	t.Helper()
	if seen != nil {
		t.Errorf("%s: reached the upstream as %q: %q", brief(q), seen.values("x-forwarded-user"), seen.headers)
	}
	for _, s := range statuses {
		if r.status == s {
			if s == 401 && len(r.header.Values("www-authenticate")) == 0 {
				t.Errorf("%s: 401 without WWW-Authenticate", brief(q))
			}
			return
		}
	}
	t.Errorf("%s: status %d, want one of %v", brief(q), r.status, statuses)
}
