package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// boundConfig takes tokens that are bound to a DPoP key. Clients know the API
// as https://api.example.test, whatever Envoy listens on.
const boundConfig = `
dpop: {origins: [https://api.example.test]%s}
protected_resource: {resource: https://api.example.test/}
providers:
  - {name: op, type: oidc, issuer: %q, audiences: [urn:api:jwt], service_accounts: {svc-dpop: robot, svc: loose}}
`

// boundRealm is a realm of Keycloak that issues such tokens too.
const boundRealm = `  - {name: kc, type: keycloak, base_url: %q, realm: %s, audiences: [%q]}
`

const externalURL = "https://api.example.test/issues"

// A boundToken is one that only its holder can use.
type boundToken struct {
	*holder
	other       *holder // of another key
	token, user string
	unbound     string // one of the same provider that anybody can use
}

// A proofCase is a request with a bound token, made anew for each try. status
// 0: it passes.
type proofCase struct {
	name   string
	status int
	err    string // told in the challenge for DPoP
	make   func(b *boundToken) request
}

// with makes a request for /issues with a token under DPoP and the proof that
// prove makes.
func with(prove func(b *boundToken) string) func(*boundToken) request {
	return func(b *boundToken) request {
		return request{target: "/issues?page=2", headers: []field{{"authorization", "DPoP " + b.token}, {"dpop", prove(b)}}}
	}
}

// bent makes a request with a proof that is good but for one thing.
func bent(bends ...bend) func(*boundToken) request {
	return with(func(b *boundToken) string { return b.proof("GET", externalURL, b.token, bends...) })
}

func setTo(name string, value any) bend { return func(_, body claims) { body[name] = value } }

func ago(d time.Duration) bend {
	return func(_, body claims) { body["iat"] = time.Now().Add(-d).Unix() }
}

var proofCases = []proofCase{
	{"good", 0, "", bent()},
	{"good, the path spelled in another way", 0, "", bent(setTo("htu", "HTTPS://API.example.test:443/%69ssues?x#y"))},
	{"good, by POST", 0, "", func(b *boundToken) request {
		return request{method: "POST", target: "/issues", body: "{}", headers: []field{
			{"authorization", "dpop " + b.token}, {"dpop", b.proof("POST", externalURL, b.token)},
		}}
	}},
	{"for another method", 401, "invalid_dpop_proof", bent(setTo("htm", "POST"))},
	{"for a method in another case", 401, "invalid_dpop_proof", bent(setTo("htm", "get"))},
	{"for another path", 401, "invalid_dpop_proof", bent(setTo("htu", "https://api.example.test/issues/1"))},
	{"for another host", 401, "invalid_dpop_proof", bent(setTo("htu", "https://evil.example.test/issues"))},
	{"for another scheme", 401, "invalid_dpop_proof", bent(setTo("htu", "http://api.example.test/issues"))},
	{"for another port", 401, "invalid_dpop_proof", bent(setTo("htu", "https://api.example.test:8443/issues"))},
	{"for no URL", 401, "invalid_dpop_proof", bent(setTo("htu", nil))},
	{"for another token", 401, "invalid_dpop_proof", with(func(b *boundToken) string { return b.proof("GET", externalURL, b.token+"x") })},
	{"for no token", 401, "invalid_dpop_proof", with(func(b *boundToken) string { return b.proof("GET", externalURL, "") })},
	{"by another key", 401, "invalid_dpop_proof", with(func(b *boundToken) string {
		return b.other.proof("GET", externalURL, b.token)
	})},
	{"by another key, naming the right one", 401, "invalid_dpop_proof", with(func(b *boundToken) string {
		return b.other.proof("GET", externalURL, b.token, func(head, _ claims) { head["jwk"] = b.jwk(false) })
	})},
	{"with a private key inside", 401, "invalid_dpop_proof", with(func(b *boundToken) string {
		return b.proof("GET", externalURL, b.token, func(head, _ claims) { head["jwk"] = b.jwk(true) })
	})},
	{"stale", 401, "invalid_dpop_proof", bent(ago(2 * time.Minute))},
	{"from the future", 401, "invalid_dpop_proof", bent(ago(-2 * time.Minute))},
	{"of no time", 401, "invalid_dpop_proof", bent(setTo("iat", "now"))},
	{"without an id", 401, "invalid_dpop_proof", bent(setTo("jti", ""))},
	{"of another type", 401, "invalid_dpop_proof", bent(func(head, _ claims) { head["typ"] = "JWT" })},
	{"unsigned", 401, "invalid_dpop_proof", bent(func(head, _ claims) { head["alg"] = "none" })},
	{"by HMAC with the public key", 401, "invalid_dpop_proof", with(func(b *boundToken) string {
		return b.proofByHMAC("GET", externalURL, b.token)
	})},
	{"not a JWT", 401, "invalid_dpop_proof", with(func(*boundToken) string { return "proof" })},
	{"the token itself", 401, "invalid_dpop_proof", with(func(b *boundToken) string { return b.token })},
	{"none", 401, "invalid_token", func(b *boundToken) request {
		return request{target: "/issues", headers: []field{{"authorization", "DPoP " + b.token}}}
	}},
	{"two", 401, "invalid_dpop_proof", func(b *boundToken) request {
		proof := b.proof("GET", externalURL, b.token)
		return request{target: "/issues", headers: []field{{"authorization", "DPoP " + b.token}, {"dpop", proof}, {"dpop", proof}}}
	}},
	{"token sent as bearer, with a proof", 401, "invalid_token", func(b *boundToken) request {
		return request{target: "/issues", headers: []field{bearer(b.token), {"dpop", b.proof("GET", externalURL, b.token)}}}
	}},
	{"token sent as bearer, without one", 401, "invalid_token", func(b *boundToken) request {
		return request{target: "/issues", headers: []field{bearer(b.token)}}
	}},
	{"unbound token sent as DPoP", 401, "invalid_token", func(b *boundToken) request {
		return request{target: "/issues", headers: []field{{"authorization", "DPoP " + b.unbound}, {"dpop", b.proof("GET", externalURL, b.unbound)}}}
	}},
}

// TestProofsOfPossession sends tokens that real providers bound to a key: only
// its holder passes, once with each proof.
func TestProofsOfPossession(t *testing.T) {
	t.Parallel()
	op := realtest.OIDCProvider(t)
	realm := realtest.Keycloak(t).Realm(t)
	g := serve(t, fmt.Sprintf(boundConfig+boundRealm, "", op.Issuer, realm.Keycloak.URL, realm.Name, realtest.RealmAudience))
	g.awaitReady(t)
	f := newFront(t, g.grpc)

	h, other := newHolder(t), newHolder(t)
	for name, b := range map[string]*boundToken{
		"oidc-provider": {h, other, op.TokenByProof(t, "svc-dpop", "urn:api:jwt", h.asks), "robot", op.ClientToken(t, "svc", "urn:api:jwt", "")},
		"keycloak":      {h, other, realm.UserTokenByProof(t, "dpop", "alice", h.asks), "alice", realm.UserToken(t, "web", "bob")},
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range proofCases {
				t.Run(c.name, func(t *testing.T) {
					everyWay(t, func(t *testing.T, p protocol, v variant) { c.check(t, f, p, v, b) })
				})
			}
			t.Run("used before", func(t *testing.T) { checkReplay(t, f, b) })
			t.Run("unbound token", func(t *testing.T) {
				q := request{target: "/issues", headers: []field{bearer(b.unbound)}}
				if r, seen := f.send(t, protocols[0], variants[0], q); r.status != 200 || seen == nil {
					t.Errorf("status %d: the comparison with an unbound token says nothing", r.status)
				}
			})
		})
	}
}

func (c *proofCase) check(t *testing.T, f *front, p protocol, v variant, b *boundToken) {
	t.Helper()
	q := c.make(b)
	r, seen := f.send(t, p, v, q)
	if c.status != 0 {
		refused(t, q, r, seen, c.status)
		challenge := dpopChallenge(r)
		if !strings.Contains(challenge, `error="`+c.err+`"`) || !strings.Contains(challenge, `algs="ES256 `) {
			t.Errorf("challenged with %q, want the error %s and the algorithms", r.header.Values("www-authenticate"), c.err)
		}
		return
	}
	passes(t, q, r, seen, b.user)
	if seen != nil && len(seen.values("dpop"))+len(seen.values("authorization")) > 0 {
		t.Errorf("the upstream was shown the token, or its proof: %q", seen.headers)
	}
}

// dpopChallenge is the part of WWW-Authenticate that is about DPoP.
func dpopChallenge(r reply) string {
	_, challenge, _ := strings.Cut(strings.Join(r.header.Values("www-authenticate"), ", "), "DPoP ")
	challenge, _, _ = strings.Cut(challenge, "Basic ")
	return challenge
}

// checkReplay sends one proof by every way: the first is taken, and none after.
func checkReplay(t *testing.T, f *front, b *boundToken) {
	q := bent()(b)
	first := true
	everyWay(t, func(t *testing.T, p protocol, v variant) {
		r, seen := f.send(t, p, v, q)
		if first {
			passes(t, q, r, seen, b.user)
			first = false
			return
		}
		refused(t, q, r, seen, 401)
	})
}

// TestNonceOfTheGate goes through RFC 9449 §9: a proof without a nonce is told
// one, and passes with it.
func TestNonceOfTheGate(t *testing.T) {
	t.Parallel()
	op := realtest.OIDCProvider(t)
	g := serve(t, fmt.Sprintf(boundConfig, ", nonce: true", op.Issuer))
	g.awaitReady(t)
	f := newFront(t, g.grpc)
	h := newHolder(t)
	b := &boundToken{holder: h, token: op.TokenByProof(t, "svc-dpop", "urn:api:jwt", h.asks), user: "robot"}
	everyWay(t, func(t *testing.T, p protocol, v variant) {
		nonce := ""
		for _, bends := range [][]bend{nil, {setTo("nonce", "made up")}, {setTo("nonce", "")}} {
			q := bent(bends...)(b)
			r, seen := f.send(t, p, v, q)
			refused(t, q, r, seen, 401)
			nonce = r.header.Get("dpop-nonce")
			if nonce == "" || !strings.Contains(dpopChallenge(r), `error="use_dpop_nonce"`) {
				t.Fatalf("nonce %q, challenge %q", nonce, dpopChallenge(r))
			}
		}
		q := bent(setTo("nonce", nonce))(b)
		r, seen := f.send(t, p, v, q)
		passes(t, q, r, seen, "robot")
		r, seen = f.send(t, p, v, q)
		refused(t, q, r, seen, 401)
		if r.header.Get("dpop-nonce") != "" || !strings.Contains(dpopChallenge(r), `error="invalid_dpop_proof"`) {
			t.Errorf("a replay is challenged with %q", dpopChallenge(r))
		}
	})
}

// TestProofsOutliveAReload changes the settings of proofs while a proof is still
// fresh: it does not pass again.
func TestProofsOutliveAReload(t *testing.T) {
	t.Parallel()
	op := realtest.OIDCProvider(t)
	g := serve(t, fmt.Sprintf(boundConfig, "", op.Issuer))
	g.awaitReady(t)
	f := newFront(t, g.grpc)
	h := newHolder(t)
	b := &boundToken{holder: h, token: op.TokenByProof(t, "svc-dpop", "urn:api:jwt", h.asks), user: "robot"}
	for _, settings := range []string{", max_age: 50s", ", max_age: 50s, max_proofs: 5000"} {
		q := bent()(b)
		r, seen := f.send(t, protocols[0], variants[0], q)
		passes(t, q, r, seen, "robot")
		taken := g.metric(t, takenReloads)
		g.write(t, fmt.Sprintf(boundConfig, settings, op.Issuer))
		eventually(t, 10*time.Second, "the change is taken", func() bool { return g.metric(t, takenReloads) > taken })
		r, seen = f.send(t, protocols[0], variants[0], q)
		refused(t, q, r, seen, 401)
	}
}

// introspectedConfig asks the providers about the same tokens.
const introspectedConfig = `
dpop: {origins: [https://api.example.test]}
protected_resource: {resource: https://api.example.test/}
providers:
  - {name: op, type: oauth2, endpoints: {introspection: %q}, client_id: rs-json, client_secret: rs-json-secret, audiences: [urn:api:opaque], service_accounts: {svc-dpop: robot}}
  - {name: kc, type: keycloak, base_url: %q, realm: %s, validation: introspection, client_id: svc, client_secret: svc-secret, audiences: [%q]}
`

// TestProofsOfIntrospectedTokens: what a token is bound to is learned from the
// provider's answer, where the token itself is not read.
func TestProofsOfIntrospectedTokens(t *testing.T) {
	t.Parallel()
	op := realtest.OIDCProvider(t)
	realm := realtest.Keycloak(t).Realm(t)
	g := serve(t, fmt.Sprintf(introspectedConfig, op.Issuer+"/token/introspection", realm.Keycloak.URL, realm.Name, realtest.RealmAudience))
	g.awaitReady(t)
	f := newFront(t, g.grpc)
	h, other := newHolder(t), newHolder(t)
	for name, b := range map[string]*boundToken{
		"oidc-provider": {h, other, op.TokenByProof(t, "svc-dpop", "urn:api:opaque", h.asks), "robot", ""},
		"keycloak":      {h, other, realm.UserTokenByProof(t, "dpop", "alice", h.asks), "alice", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range proofCases {
				if strings.HasPrefix(c.name, "unbound") {
					continue // such a token is in the test of signed ones
				}
				t.Run(c.name, func(t *testing.T) {
					for _, p := range protocols {
						c.check(t, f, p, variants[1], b)
					}
				})
			}
			t.Run("used before", func(t *testing.T) { checkReplay(t, f, b) })
		})
	}
}
