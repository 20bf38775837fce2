package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// challengeConfig has a rule for each thing that a challenge can ask for.
const challengeConfig = `
realm: issues
protected_resource: {resource: https://api.example.test/rest}
dpop: {origins: [https://api.example.test]}
api_tokens: {store: "sqlite:tokens.db"}
providers:
  - {name: lab, type: oidc, issuer: %q, audiences: [%q]}
rules:
  - {name: scoped, match: {paths: [/scoped]}, allow: {scopes: ["issues:read", "issues:write"]}}
  - {name: strong, match: {paths: [/strong]}, providers: [lab], allow: {acr: [phr, mfa]}}
  - {name: fresh, match: {paths: [/fresh]}, providers: [lab], allow: {acr: [mfa], max_age: 5m}}
  - {name: ops, match: {paths: [/ops]}, allow: {groups: [nobody]}}
  - {name: sso, match: {paths: [/sso]}, providers: [lab]}
  - {name: keys, match: {paths: [/keys]}, providers: [api-tokens]}
`

const metadataURL = `https://api.example.test/.well-known/oauth-protected-resource/rest`

// TestChallenges reads what a refused caller is told through Envoy, parameter
// by parameter: RFC 6750 §3, RFC 7617 §2, RFC 9470 §3, RFC 9449 §7.1, RFC 9728 §5.1.
func TestChallenges(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	g := serve(t, fmt.Sprintf(challengeConfig, i.url, audience))
	g.awaitReady(t)
	f := newFront(t, g.grpc)
	token := func(c claims) []field { return []field{bearer(i.sign(i.claims("alice").with(c)))} }
	now := time.Now().Unix()
	for _, c := range []struct {
		name, target string
		headers      []field
		status       int
		bearer       string // parameters beside realm and resource_metadata, as they stand
		basic        bool
	}{
		{"no credential", "/issues", nil, 401, ``, true},
		{"no credential, no way in by Basic", "/sso", nil, 401, ``, false},
		{"no credential, only API tokens", "/keys", nil, 401, ``, true},
		{"another scheme", "/issues", []field{{"authorization", "Negotiate abc"}}, 401, ``, true},
		{"not a token", "/issues", []field{{"authorization", "Bearer abc"}}, 401, `error="invalid_token"`, true},
		{"not a token, no way in by Basic", "/sso", []field{{"authorization", "Bearer abc"}}, 401, `error="invalid_token"`, false},
		{"expired", "/issues", token(claims{"exp": now - 600}), 401, `error="invalid_token", error_description="The access token expired"`, true},
		{"for another API", "/issues", token(claims{"aud": "other"}), 401, `error="invalid_token"`, true},
		{"a bad signature says nothing of its end", "/issues", []field{bearer(i.signWith(newKey(t), nil, i.claims("alice").with(claims{"exp": now - 600})))}, 401, `error="invalid_token"`, true},
		{"two credentials", "/issues", append(token(nil), field{"x-api-key", "x"}), 400, `error="invalid_request"`, false},
		{"not base64", "/issues", []field{{"authorization", "Basic %"}}, 400, `error="invalid_request"`, false},
		{"a scope is missing", "/scoped", token(claims{"scope": "openid"}), 403, `error="insufficient_scope", scope="issues:read issues:write"`, false},
		{"no scope at all", "/scoped", token(nil), 403, `error="insufficient_scope", scope="issues:read issues:write"`, false},
		{"a stronger login", "/strong", token(claims{"acr": "pwd"}), 401, `error="insufficient_user_authentication", acr_values="phr mfa"`, false},
		{"a newer login", "/fresh", token(claims{"acr": "mfa", "auth_time": now - 3600}), 401, `error="insufficient_user_authentication", acr_values="mfa", max_age="300"`, false},
		{"another group", "/ops", token(nil), 403, "none", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, p protocol, v variant) {
				q := request{target: c.target, headers: c.headers}
				r, seen := f.send(t, p, v, q)
				refused(t, q, r, seen, c.status)
				got := strings.Join(r.header.Values("www-authenticate"), ", ")
				if c.bearer == "none" {
					if got != "" {
						t.Errorf("challenged with %s", got)
					}
					return
				}
				parameters := `realm="issues", `
				if c.bearer != "" {
					parameters += c.bearer + ", "
				}
				parameters += `resource_metadata="` + metadataURL + `"`
				want := "Bearer " + parameters + ", DPoP " + parameters + `, algs="ES256 ES384 ES512 EdDSA PS256 PS384 PS512 RS256 RS384 RS512"`
				if c.basic {
					want += `, Basic realm="issues", charset="UTF-8"`
				}
				if got != want {
					t.Errorf("challenged with\n%s\nwant\n%s", got, want)
				}
			})
		})
	}
	for _, target := range []string{"/scoped", "/strong", "/fresh"} {
		q := request{target: target, headers: token(claims{"scope": "x issues:write", "acr": "mfa", "auth_time": now - 60})}
		r, seen := f.send(t, protocols[0], variants[0], q)
		passes(t, q, r, seen, "alice")
	}
}

// TestMetadataDocument asks for the document in every way: anybody may have
// it, and nothing else is open because of it.
func TestMetadataDocument(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	g := serve(t, fmt.Sprintf(challengeConfig, i.url, audience))
	g.awaitReady(t)
	f := newFront(t, g.grpc)
	everyWay(t, func(t *testing.T, p protocol, v variant) {
		const path = "/.well-known/oauth-protected-resource/rest"
		for _, q := range []request{
			{target: path},
			{target: path + "?x=1"},
			{target: path + "/"},
			{method: "HEAD", target: path},
			{target: path, host: "other.example.test"},
			{target: path, headers: []field{bearer("not a token")}},
			{method: "OPTIONS", target: path, headers: []field{{"origin", "https://app.example.test"}, {"access-control-request-method", "GET"}, {"access-control-request-headers", "x-version"}}},
		} {
			r, seen := f.send(t, p, v, q)
			if r.status != http.StatusOK || seen != nil || r.header.Get("content-type") != "application/json" ||
				r.header.Get("access-control-allow-origin") != "*" || r.header.Get("access-control-allow-headers") != "*" {
				t.Errorf("%s: %d %s, upstream asked: %t", brief(q), r.status, r.header.Get("content-type"), seen != nil)
			}
			if q.method == "HEAD" {
				continue
			}
			var document struct {
				Resource string
				Servers  []string `json:"authorization_servers"`
				Proofs   []string `json:"dpop_signing_alg_values_supported"`
			}
			decode(t, r.body, &document)
			if document.Resource != "https://api.example.test/rest" || len(document.Servers) != 1 || document.Servers[0] != i.url {
				t.Errorf("the document says %s", r.body)
			}
			told, _ := f.send(t, p, v, request{target: "/issues"})
			algs := regexp.MustCompile(`algs="([^"]*)"`).FindStringSubmatch(told.header.Get("www-authenticate"))
			slices.Sort(document.Proofs)
			if len(algs) != 2 || !slices.Equal(document.Proofs, slices.Sorted(strings.SplitSeq(algs[1], " "))) {
				t.Errorf("the document has the algorithms %q, the challenge %q", document.Proofs, algs)
			}
		}
		for _, q := range []request{
			{method: "POST", target: path, body: "{}"},
			{method: "OPTIONS", target: path},
			{target: "/.well-known/oauth-protected-resource"},
			{target: "/.well-known/oauth-protected-resource/rest/x"},
			{target: "/.well-known/oauth-protected-resource/REST"},
			{target: "/.well-known/oauth-protected-resource/rest%2F.."},
		} {
			r, seen := f.send(t, p, v, q)
			refused(t, q, r, seen, 400, 401)
		}
	})
}
