package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A credentialCase is one way to present a credential. user is who gets in;
// nobody when it is empty, and then status, if given, is the only answer.
type credentialCase struct {
	name    string
	target  string
	headers []field
	user    string
	status  int
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, c := range append(l.presentations(t), l.tokens(t)...) {
		t.Run(c.name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, p protocol, v variant) {
				q := request{target: c.target, headers: c.headers}
				if q.target == "" {
					q.target = "/issues/1"
				}
				r, seen := l.send(t, p, v, q)
				switch {
				case c.user != "":
					passes(t, q, r, seen, c.user)
				case c.status != 0:
					refused(t, q, r, seen, c.status)
				default:
					refused(t, q, r, seen, 0, 400, 401)
				}
			})
		})
	}
}

// TestFolded breaks the line after the scheme, which HTTP/1.1 once allowed and
// Envoy mends (RFC 9112 §5.2): it is read as the white space that it stands
// for, or refused.
func TestFolded(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	everyWay(t, func(t *testing.T, p protocol, v variant) {
		q := request{target: "/issues", headers: []field{{"authorization", "Bearer\r\n " + l.issuer.token("alice")}}}
		r, seen := l.send(t, p, v, q)
		if seen != nil && p.name == "h1" {
			passes(t, q, r, seen, "alice")
		} else {
			refused(t, q, r, seen, 0, 400, 401)
		}
	})
}

// presentations are about where and how a credential is presented.
func (l *lab) presentations(t *testing.T) []credentialCase {
	good, other, key := l.issuer.token("alice"), l.issuer.token("bob"), l.apiToken(t, "carol")
	auth := func(value string) []field { return []field{{"authorization", value}} }
	basic := func(text string) []field { return auth("Basic " + base64.StdEncoding.EncodeToString([]byte(text))) }
	list := []credentialCase{
		{name: "none", status: 401},
		{name: "empty", headers: auth(""), status: 401},
		{name: "scheme alone", headers: auth("Bearer"), status: 401},
		{name: "scheme and space", headers: auth("Bearer "), status: 401},
		{name: "scheme and tab", headers: auth("Bearer\t"), status: 401},
		{name: "good", headers: auth("Bearer " + good), user: "alice"},
		{name: "lower-case scheme", headers: auth("bearer " + good), user: "alice"},
		{name: "upper-case scheme", headers: auth("BEARER " + good), user: "alice"},
		{name: "white space around", headers: auth(" Bearer " + good + "  "), user: "alice"},
		{name: "two spaces", headers: auth("Bearer  " + good), user: "alice"}, // 1*SP, RFC 9110 §11.4
		{name: "tab for the space", headers: auth("Bearer\t" + good)},
		{name: "text after the token", headers: auth("Bearer " + good + " x")},
		{name: "text before the scheme", headers: auth("x Bearer " + good)},
		{name: "no space", headers: auth("Bearer" + good)},
		{name: "quoted", headers: auth(`Bearer "` + good + `"`)},
		{name: "folded within the token", headers: auth("Bearer " + good[:20] + "\r\n " + good[20:])},
		{name: "API token as key", headers: []field{{"x-api-key", key}}, user: "carol"},
		{name: "API token as bearer", headers: auth("Bearer " + key), user: "carol"},
		{name: "API token as password", headers: basic("carol:" + key), user: "carol"},
		{name: "API token as password of another", headers: basic("alice:" + key), status: 401},
		{name: "API token as user", headers: basic(key + ":x"), status: 401},
		{name: "API token as user, no password", headers: basic(key + ":")},
		{name: "API token, scheme Token", headers: auth("Token " + key)},
		{name: "API token, one character less", headers: []field{{"x-api-key", key[:len(key)-1]}}, status: 401},
		{name: "API token, one character more", headers: []field{{"x-api-key", key + "A"}}, status: 401},
		{name: "API token in upper case", headers: []field{{"x-api-key", strings.ToUpper(key)}}, status: 401},
		{name: "access token as key", headers: []field{{"x-api-key", good}}, status: 401},

		{name: "two in one line", headers: auth("Bearer " + good + ",Bearer " + good)},
		{name: "two in one line, spaced", headers: auth("Bearer " + good + ", Bearer " + other)},
		{name: "bearer and basic in one line", headers: auth("Bearer " + good + ", Basic eDp5")},
		{name: "two lines, equal", headers: append(auth("Bearer "+good), auth("Bearer "+good)...)},
		{name: "two lines, first bad", headers: append(auth("Bearer x"), auth("Bearer "+good)...)},
		{name: "two lines, second bad", headers: append(auth("Bearer "+good), auth("Bearer x")...)},
		{name: "two lines, basic twice", headers: append(basic("a:b"), basic("a:b")...)},
		{name: "key twice, equal", headers: []field{{"x-api-key", key}, {"x-api-key", key}}},
		{name: "key twice, first bad", headers: []field{{"x-api-key", "x"}, {"x-api-key", key}}},
		{name: "key twice, second bad", headers: []field{{"x-api-key", key}, {"x-api-key", "x"}}},
		{name: "key and bearer, both good", headers: []field{{"x-api-key", key}, bearer(good)}},
		{name: "key bad, bearer good", headers: []field{{"x-api-key", "x"}, bearer(good)}},
		{name: "key good, bearer bad", headers: []field{{"x-api-key", key}, bearer("x")}},

		{name: "in the query", target: "/issues/1?access_token=" + good, status: 401},
		{name: "key in the query", target: "/issues/1?x-api-key=" + key + "&api_key=" + key, status: 401},
		{name: "in a cookie", headers: []field{{"cookie", "access_token=" + good + "; x-api-key=" + key}}, status: 401},
		{name: "health check's user agent", headers: []field{{"user-agent", "GoogleHC/1.0 kube-probe/1.35 ELB-HealthChecker/2.0"}}, status: 401},
		{name: "stripped on the way", headers: []field{bearer(good), {"connection", "authorization"}}},
		{name: "space before the colon", headers: []field{{"authorization ", "Bearer " + good}}},
	}
	for _, name := range []string{
		"proxy-authorization", "x-forwarded-access-token", "x-forwarded-authorization",
		"authorization_", "x-authorization", "x_api_key", "x-auth-token", "x-original-authorization",
	} {
		list = append(list, credentialCase{name: "other header " + name, headers: []field{{name, "Bearer " + good}}, status: 401})
	}
	for _, scheme := range []string{"Negotiate", "NTLM", "Digest", "Token", "JWT", "MAC", "Signature", "OAuth", "DPoP", "AWS4-HMAC-SHA256", "Bearer:"} {
		list = append(list, credentialCase{name: "scheme " + scheme, headers: auth(scheme + " " + good)})
	}
	for name, text := range map[string]string{
		"no colon": "alice", "empty user": ":x", "empty password": "alice:", "both empty": ":", "colons": "alice:a:b:c",
		"NUL": "al\x00ice:x", "line break": "alice\r\n:x", "not UTF-8": "\xff\xfe:x", "long": "alice:" + strings.Repeat("p", 8<<10),
		"token as user": good + ":", "token as password": "alice:" + good,
	} {
		list = append(list, credentialCase{name: "basic " + name, headers: basic(text)})
	}
	for name, value := range map[string]string{"not base64": "Basic %%%", "url-safe": "Basic 8J-YgDp4", "unpadded": "Basic YTpiYw", "two values": "Basic YTpi YTpi"} {
		list = append(list, credentialCase{name: "basic " + name, headers: auth(value)})
	}
	return list
}

// TestProvidersAreNotAsked counts what a provider is asked: what is not a
// bearer token, or not the only credential, is nobody's business.
func TestProvidersAreNotAsked(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		answer(w, claims{"active": true, "username": "alice", "client_id": "svc", "aud": audience, "exp": time.Now().Unix() + 600})
	}))
	t.Cleanup(idp.Close)
	f := newFront(t, serve(t, fmt.Sprintf(`
providers:
  - {name: lab, type: oauth2, client_id: svc, client_secret: secret, audiences: [%q], endpoints: {introspection: %q}}
rules:
  - {name: public, match: {paths: [/public/**]}, access: public}
  - {name: nobody, match: {paths: [/nobody/**]}, access: deny}
`, audience, idp.URL)).grpc)
	auth := func(values ...string) (list []field) {
		for _, v := range values {
			list = append(list, field{"authorization", v})
		}
		return list
	}
	for name, q := range map[string]request{
		"negotiate": {headers: auth("Negotiate opaque")}, "digest": {headers: auth("Digest opaque")}, "dpop": {headers: auth("DPoP opaque")},
		"token": {headers: auth("Token opaque")}, "basic": {headers: auth("Basic YWxpY2U6b3BhcXVl")}, "no scheme": {headers: auth("opaque")},
		"twice": {headers: auth("Bearer opaque", "Bearer opaque")}, "list": {headers: auth("Bearer opaque, Bearer opaque")},
		"bad bytes": {headers: auth("Bearer opaque\"")}, "query": {target: "/issues?access_token=opaque"},
		"bad path":       {target: "/issues/..%2fadmin", headers: auth("Bearer opaque")},
		"rule for none":  {target: "/nobody/x", headers: auth("Bearer opaque")},
		"public":         {target: "/public/x", headers: auth("Bearer opaque")},
		"API token form": {headers: auth("Bearer gl_" + strings.Repeat("A", 43))},
	} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, p protocol, v variant) {
				if q.target == "" {
					q.target = "/issues"
				}
				before := asked.Load()
				r, seen := f.send(t, p, v, q)
				if name == "public" {
					passes(t, q, r, seen, "")
				} else if name != "bad path" || !v.normalize { // Envoy mends this one
					refused(t, q, r, seen, 400, 401, 403)
				}
				if n := asked.Load() - before; n > 0 && (name != "bad path" || !v.normalize) {
					t.Errorf("the provider was asked %d times", n)
				}
			})
		})
	}
	alice := issues("opaque", "alice")
	if r, seen := f.send(t, protocols[0], variants[0], alice.request); !alice.right(r, seen) || asked.Load() == 0 {
		t.Errorf("a good token: status %d, asked %d times", r.status, asked.Load())
	}
}

// tokens are about the token itself.
func (l *lab) tokens(t *testing.T) []credentialCase {
	i, foreign := l.issuer, newIssuer(t)
	good, now := i.claims("alice"), time.Now().Unix()
	token := i.token("alice")
	head, rest, _ := strings.Cut(token, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	set := func(more claims) string { return i.sign(good.with(more)) }
	list := []credentialCase{
		{name: "second provider on its rule", target: "/second/1", headers: []field{bearer(l.second.token("dave"))}, user: "dave"},
		{name: "first provider on the second's rule", target: "/second/1", headers: []field{bearer(token)}, status: 401},
		{name: "audience in a list", headers: []field{bearer(set(claims{"aud": []string{"x", audience}}))}, user: "alice"},
		{name: "group present", target: "/ops/1", headers: []field{bearer(token)}, user: "alice"},
		{name: "group absent", target: "/ops/1", headers: []field{bearer(set(claims{"groups": []string{"eng"}}))}, status: 403},
		{name: "rule for nobody", target: "/nobody/1", headers: []field{bearer(token)}, status: 403},
		{name: "optional, bad token", target: "/optional/1", headers: []field{bearer(token[:len(token)-2])}, status: 401},
	}
	for name, bad := range map[string]string{
		"expired":                    set(claims{"exp": now - 3600}),
		"without expiry":             set(claims{"exp": nil}),
		"expiry as text":             set(claims{"exp": "99999999999"}),
		"not yet valid":              set(claims{"nbf": now + 3600}),
		"from the future":            set(claims{"iat": now + 3600}),
		"other audience":             set(claims{"aud": "https://other.example.test"}),
		"no audience":                set(claims{"aud": nil}),
		"audience as a prefix":       set(claims{"aud": audience + "/"}),
		"other issuer's name":        set(claims{"iss": foreign.url}),
		"no issuer":                  set(claims{"iss": nil}),
		"issuer with a slash":        set(claims{"iss": i.url + "/"}),
		"foreign":                    foreign.token("alice"),
		"foreign, our issuer's name": foreign.sign(good),
		"forged with another key":    i.signWith(newKey(t), claims{}, good),
		"unknown key":                i.signWith(newKey(t), claims{"kid": "nobody-knows"}, good),
		"embedded key":               l.embedded(t, good),
		"key by URL":                 i.signWith(foreign.signingKey(), claims{"jku": foreign.url + "/keys", "kid": keyID(&foreign.signingKey().PublicKey)}, good),
		"algorithm none":             encodeJSON(claims{"alg": "none"}) + "." + payload + ".",
		"algorithm none, signed":     encodeJSON(claims{"alg": "none"}) + "." + payload + "." + signature,
		"public key as secret":       i.hmacWithPublicKey(good),
		"unknown critical header":    i.signWith(i.signingKey(), claims{"crit": []string{"x"}, "x": 1}, good),
		"ID token":                   set(claims{"typ": "ID", "aud": "web"}),
		"type of a logout token":     i.signWith(i.signingKey(), claims{"typ": "logout+jwt"}, good),
		"bound to a key":             set(claims{"cnf": claims{"jkt": encode(make([]byte, 32))}}),
		"payload exchanged":          head + "." + encodeJSON(good.with(claims{"preferred_username": "admin"})) + "." + signature,
		"signature cut":              token[:len(token)-1],
		"signature longer":           token + "A",
		"without signature":          head + "." + payload + ".",
		"two parts":                  head + "." + payload,
		"four parts":                 token + ".x",
		"only dots":                  strings.Repeat(".", 5000),
		"in lower case":              strings.ToLower(token),
		"random":                     rand.Text(),
		"too long":                   i.sign(good.with(claims{"pad": strings.Repeat("x", 64<<10)})),
		"no user":                    set(claims{"preferred_username": nil, "sub": nil}),
	} {
		list = append(list, credentialCase{name: "token " + name, headers: []field{bearer(bad)}})
	}
	return list
}

func (l *lab) embedded(t *testing.T, c claims) string {
	key := newKey(t)
	return l.issuer.signWith(key, claims{"jwk": jwk(&key.PublicKey)}, c)
}
