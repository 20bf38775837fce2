package providers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// An attack is a token that must be refused, whatever its signature says.
type attack struct{ name, token string }

type object = map[string]any

// attacks makes tokens against each point of the token contract. All are signed
// with the issuer's own key where that is what makes them dangerous.
func attacks(t testing.TB, i *providertest.Issuer) (list []attack) {
	rsaKey, ecKey, foreign := i.Key("rsa-1"), i.Key("ec-1"), providertest.NewKey(t, "rsa-1", "RS256")
	now := time.Now().Unix()
	header := func(changes object) object {
		h := object{"alg": "RS256", "kid": "rsa-1", "typ": "at+jwt"}
		maps.Copy(h, changes)
		return h
	}
	good := i.Claims("mallory", nil)
	add := func(group, name, token string) { list = append(list, attack{group + "/" + name, token}) }
	withHeader := func(group, name string, changes object) {
		add(group, name, rsaKey.Sign(header(changes), good))
	}
	withClaims := func(group, name string, changes object) {
		add(group, name, rsaKey.Sign(header(nil), i.Claims("mallory", changes)))
	}
	raw := func(group, name, h, p string) { add(group, name, rsaKey.SignRaw([]byte(h), []byte(p), "RS256")) }

	// 1. structure
	valid := rsaKey.Sign(header(nil), good)
	parts := strings.Split(valid, ".")
	for n := range 12 {
		add("structure", fmt.Sprintf("dots-%d", n), strings.Repeat(valid+".", n%3+1)+strings.Repeat(".", n))
	}
	for name, token := range map[string]string{
		"empty": "", "one part": parts[0], "two parts": parts[0] + "." + parts[1], "no signature": parts[0] + "." + parts[1] + ".",
		"no payload": parts[0] + ".." + parts[2], "no header": "." + parts[1] + "." + parts[2], "only dots": "..",
		"padded": valid + "=", "padded header": parts[0] + "=." + parts[1] + "." + parts[2], "leading blank": " " + valid, "trailing blank": valid + " ",
		"line feed in header": parts[0][:4] + "\n" + parts[0][4:] + "." + parts[1] + "." + parts[2],
		"CR in signature":     parts[0] + "." + parts[1] + "." + parts[2][:8] + "\r\n" + parts[2][8:],
		"CR in payload":       parts[0] + "." + parts[1][:8] + "\r\n" + parts[1][8:] + "." + parts[2],
		"tab":                 parts[0] + "." + parts[1] + ".\t" + parts[2], "NUL": valid + "\x00",
		"standard alphabet": strings.NewReplacer("-", "+", "_", "/").Replace(valid) + "+/",
		"huge":              parts[0] + "." + parts[1] + strings.Repeat("A", 70_000) + "." + parts[2],
		"quoted":            `"` + valid + `"`, "percent": strings.ReplaceAll(valid, ".", "%2e"), "unicode dot": strings.ReplaceAll(valid, ".", "\u2024"),
		"JSON serialisation": fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2]),
		"JSON general":       fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, parts[1], parts[0], parts[2]),
		"JWE shape":          parts[0] + "." + parts[1] + "." + parts[2] + "." + parts[0] + "." + parts[1],
		"detached":           parts[0] + ".." + parts[2],
	} {
		add("structure", name, token)
	}
	for n := range 24 { // a bit flipped, or a letter lost
		at := n * (len(parts[2]) - 2) / 24
		flipped := "A"
		if parts[2][at:at+1] == "A" {
			flipped = "B"
		}
		add("signature", fmt.Sprintf("flipped-%d", at), parts[0]+"."+parts[1]+"."+parts[2][:at]+flipped+parts[2][at+1:])
		at = n * (len(parts[1]) - 2) / 24
		add("signature", fmt.Sprintf("payload cut-%d", at), parts[0]+"."+parts[1][:at]+parts[1][at+1:]+"."+parts[2])
	}

	// 2. algorithms
	public, _ := json.Marshal(rsaKey.JWK(nil))
	for _, alg := range []any{
		"none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "hs256", "rs256", "RS1", "RS256 ", " RS256", "RS256\x00", "ES256K", "EdDSA ", "dir",
		"RSA-OAEP", "A128KW", "PBES2-HS256+A128KW", "ECDH-ES", "RS512", "PS256", "ES256", "EdDSA", 0, nil, true,
		[]string{"RS256"},
		object{"a": 1},
	} {
		withHeader("algorithm", fmt.Sprint(alg), object{"alg": alg})
		for _, secret := range []string{"", string(public), "secret"} {
			signed := base64.RawURLEncoding.EncodeToString(mustJSON(header(object{"alg": alg}))) + "." + parts[1]
			add("algorithm", fmt.Sprintf("%v by secret of %d bytes", alg, len(secret)), signed+"."+base64.RawURLEncoding.EncodeToString(hmac256(secret, signed)))
		}
	}
	add("algorithm", "missing", rsaKey.SignRaw([]byte(`{"kid":"rsa-1"}`), mustJSON(good), "RS256"))
	add("algorithm", "key of the other kind", ecKey.Sign(header(object{"alg": "ES256"}), good))
	add("algorithm", "EC key for RS256", ecKey.Sign(header(object{"kid": "ec-1"}), good))
	ecParts := strings.Split(ecKey.Sign(header(object{"alg": "ES256", "kid": "ec-1"}), good), ".")
	for name, sig := range map[string][]byte{
		"zero": make([]byte, 64), "empty": {}, "short": make([]byte, 63), "long": make([]byte, 65), "order": append(p256Order(), p256Order()...),
		"one": append(append(make([]byte, 31), 1), append(make([]byte, 31), 1)...), "DER": mustHex("3006020101020101"),
	} {
		add("signature", "psychic "+name, ecParts[0]+"."+ecParts[1]+"."+base64.RawURLEncoding.EncodeToString(sig))
	}

	// 3. keys that come with the token
	add("key injection", "foreign key", foreign.Sign(header(nil), good))
	for _, member := range []string{"jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"} {
		for name, v := range map[string]any{
			"jwk": foreign.JWK(nil), "url": "https://evil.example/keys", "list": []string{"MIIB"}, "loopback": "http://127.0.0.1:1/", "null": nil,
		} {
			add("key injection", member+" "+name, foreign.Sign(header(object{member: v}), good))
		}
	}
	for _, kid := range []any{"", "../../dev/null", "' OR 1=1 --", "rsa-1\x00", "RSA-1", "rsa-1 ", strings.Repeat("k", 5000), 1, nil, []string{"rsa-1"}, "enc-1"} {
		add("key injection", fmt.Sprintf("kid %.20v", kid), foreign.Sign(header(object{"kid": kid}), good))
	}

	// 4. header members that change the meaning
	for name, h := range map[string]object{
		"crit": {"crit": []string{"exp"}}, "crit empty": {"crit": []string{}}, "crit null": {"crit": nil}, "crit unknown": {"crit": []string{"x"}, "x": 1},
		"b64": {"b64": false}, "b64 crit": {"b64": false, "crit": []string{"b64"}}, "b64 true": {"b64": true}, "zip": {"zip": "DEF"}, "zip null": {"zip": nil},
		"enc": {"enc": "A128GCM"}, "cty": {"cty": "JWT"}, "cty lower": {"cty": "jwt"}, "cty long": {"cty": "application/jwt"}, "cty number": {"cty": 1},
	} {
		withHeader("header", name, h)
	}
	// 5. JSON that two readers read in two ways
	text := string(mustJSON(good))
	for name, p := range map[string]string{
		"twice sub": `{"sub":"admin",` + text[1:], "twice by escape": `{"s\u0075b":"admin",` + text[1:], "two objects": text + text, "trailing": text + "x",
		"trailing NUL": text + "\x00", "BOM": "\ufeff" + text, "array": "[" + text + "]", "string": `"` + "x" + `"`, "null": "null", "number": "1", "empty": " ",
		"comment": "/**/" + text, "single quotes": strings.ReplaceAll(text, `"`, `'`), "unclosed": text[:len(text)-1], "trailing comma": text[:len(text)-1] + ",}",
		"deep": strings.Replace(text, "{", `{"d":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+",", 1), "bad UTF-8": strings.Replace(text, "mallory", "mall\xffory", 1),
		"lone surrogate": strings.Replace(text, "mallory", `mall\ud800ory`, 1), "control": strings.Replace(text, "mallory", "mall\x01ory", 1),
		"NaN": strings.Replace(text, "{", `{"x":NaN,`, 1), "inner twice": strings.Replace(text, "{", `{"x":{"a":1,"a":2},`, 1),
	} {
		raw("JSON", "payload "+name, `{"alg":"RS256","kid":"rsa-1"}`, p)
	}
	for name, h := range map[string]string{
		"twice alg": `{"alg":"none","alg":"RS256","kid":"rsa-1"}`, "two objects": `{"alg":"RS256","kid":"rsa-1"}{}`, "array": `[{"alg":"RS256"}]`, "folded alg": `{"ALG":"RS256","kid":"rsa-1"}`,
		"BOM": "\ufeff" + `{"alg":"RS256","kid":"rsa-1"}`, "escaped twice": `{"alg":"RS256","\u0061lg":"none","kid":"rsa-1"}`,
	} {
		raw("JSON", "header "+name, h, text)
	}
	// folded names must not stand for the real ones
	for _, name := range []string{"SUB", "Sub", "\u017fub"} {
		withClaims("folding", name, object{name: "admin", "sub": nil, "preferred_username": nil})
	}
	for _, name := range []string{"ISS", "AUD", "EXP", "PREFERRED_USERNAME", "is\u017f"} {
		lower := strings.ToLower(strings.ReplaceAll(name, "\u017f", "s"))
		withClaims("folding", name, object{name: good[lower], lower: nil, "sub": nil})
	}
	// 6. types of tokens
	for _, typ := range []any{"JWS", "JOSE", "dpop+jwt", "logout+jwt", "secevent+jwt", "id_token", "at+jwt+x", "token-introspection+jwt", "", " at+jwt", "application/", "jwt/x", 1, nil, []string{"JWT"}} {
		withHeader("type", fmt.Sprint(typ), object{"typ": typ})
	}
	// 7. issuer and audience
	for _, iss := range []any{
		i.URL + "/", strings.ToUpper(i.URL), i.URL + "?", " " + i.URL, i.URL + "\x00", "", nil, 1,
		[]string{i.URL},
		"https://evil.example", i.URL + ".evil.example",
		strings.Replace(i.URL, "127.0.0.1", "localhost", 1), strings.Replace(i.URL, "http", "https", 1), i.URL + "/../x",
		object{"x": i.URL},
	} {
		withClaims("issuer", fmt.Sprint(iss), object{"iss": iss})
	}
	for _, aud := range []any{
		"", "API", "api ", "other", nil, 1, true, object{"api": 1}, []any{}, []any{"other"}, []any{"api", 1}, []any{nil, "api"}, []any{[]any{"api"}}, "api,other", "xapi", []any{"other", "API"},
	} {
		withClaims("audience", fmt.Sprint(aud), object{"aud": aud})
	}
	// 8. times
	for _, claim := range []string{"exp", "nbf", "iat"} {
		for _, v := range []any{"1", fmt.Sprint(now + 100), -1, 1e300, 253402300800, 1e18, true, []any{now + 100}, object{}, "never"} {
			withClaims("time", fmt.Sprintf("%s %v", claim, v), object{claim: v})
		}
	}
	withClaims("time", "exp null", object{"exp": nil})
	for name, c := range map[string]object{
		"expired": {"exp": now - 61}, "expired long ago": {"exp": 1}, "exp zero": {"exp": 0}, "future nbf": {"nbf": now + 120}, "future iat": {"iat": now + 3600},
	} {
		withClaims("time", name, c)
	}
	raw("time", "exp null", `{"alg":"RS256","kid":"rsa-1"}`, strings.Replace(text, `"exp":`, `"exp":null,"x":`, 1))
	// 9. usernames
	for _, u := range []any{
		1, true, []any{"a"}, object{"a": 1}, " a", "a ", "a\n", "a\r\nb", "a\x00b", "a\u0085b", "\u202ea", "a\u200bb", "a\ufeffb", "a\u2028b", "\ue000", strings.Repeat("u", 257), "\ta", "\u00a0a",
	} {
		withClaims("user", fmt.Sprintf("%.20q", u), object{"preferred_username": u})
	}
	// 10. bound to something that is not known
	for name, cnf := range map[string]any{
		"unknown": object{"x": "y"}, "jwk": object{"jwk": foreign.JWK(nil)}, "kid": object{"kid": "x"}, "empty": object{}, "text": "x", "list": []any{},
		"empty jkt": object{"jkt": ""}, "jkt number": object{"jkt": 1}, "one unknown": object{"jkt": "x", "y": "z"},
		"keycloak's, other": object{"jkt": "x", "kc-jkt-type": "attestation"}, "keycloak's, alone": object{"kc-jkt-type": "DPoP"},
	} {
		withClaims("binding", name, object{"cnf": cnf})
	}
	return list
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func hmac256(secret, text string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return m.Sum(nil)
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func p256Order() []byte {
	return mustHex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
}

// Every attack is refused: with keys fetched or not, with a second provider of
// the same key id beside, and after a good token of the same user. No good
// token is.
func TestAttackTokens(t *testing.T) {
	i, other := providertest.NewIssuer(t), providertest.NewIssuer(t)
	list := attacks(t, i)
	if len(list) < 400 {
		t.Errorf("only %d attacks", len(list))
	}
	hot, second := newOIDC(t, i, nil), newOIDC(t, other, nil)
	controls := 0
	control := func(p Provider, issuer *providertest.Issuer) {
		t.Helper()
		for _, h := range []object{
			{"alg": "RS256", "kid": "rsa-1"},
			{"alg": "RS256", "kid": "rsa-1", "typ": "JWT"},
			{"alg": "RS256", "kid": "rsa-1", "typ": "AT+jwt"},
			{"alg": "RS256", "typ": "application/at+jwt"},
			{"alg": "RS256", "kid": "rsa-1", "jku": "https://evil.example", "x5c": []string{"x"}},
		} {
			for _, c := range []object{nil, {"aud": []string{"other", "api"}}, {"nbf": time.Now().Unix()}, {"SUB": "admin"}, {"exp": float64(time.Now().Unix()) + 99.5}} {
				id, err := p.Verify(t.Context(), bearer(issuer.Key("rsa-1").Sign(h, issuer.Claims("alice", c))))
				if err != nil || id.User != "alice" || id.Subject != "id-of-alice" {
					t.Errorf("a good token: %v, %q (%v %v)", err, id.User, h, c)
				}
				controls++
			}
		}
	}
	control(hot, i)
	control(second, other)
	for _, a := range list {
		for name, p := range map[string]Provider{"hot": hot, "second": second} {
			id, err := p.Verify(t.Context(), bearer(a.token))
			if err == nil {
				t.Errorf("%s, %s: taken as %q", a.name, name, id.User)
			} else if reasonOf(err) == authz.ReasonInternal {
				t.Errorf("%s, %s: cannot tell: %v", a.name, name, err)
			}
		}
	}
	cold := newOIDC(t, i, nil)
	for _, a := range list {
		if id, err := cold.Verify(t.Context(), bearer(a.token)); err == nil {
			t.Errorf("%s, cold: taken as %q", a.name, id.User)
		}
	}
	control(hot, i)
	t.Logf("%d attacks refused, %d good tokens taken", len(list), controls)
}

// No address in a token is called, whoever signed it.
func TestTokensCauseNoCall(t *testing.T) {
	var calls atomic.Int64
	evil := httptest.NewUnstartedServer(http.NotFoundHandler())
	evil.Config.ConnState = func(net.Conn, http.ConnState) { calls.Add(1) }
	evil.Start()
	defer evil.Close()
	i := providertest.NewIssuer(t)
	p, foreign := newOIDC(t, i, nil), providertest.NewKey(t, "rsa-1", "RS256")
	for _, key := range []providertest.Key{i.Key("rsa-1"), foreign} {
		for _, member := range []string{"jku", "x5u", "jwks_uri", "iss", "kid", "jwks", "openid-configuration", "x5c"} {
			for _, v := range []any{evil.URL, evil.URL + "/.well-known/openid-configuration", []string{evil.URL}, object{"url": evil.URL}} {
				_, _ = p.Verify(t.Context(), bearer(key.Sign(object{"alg": "RS256", "kid": "rsa-1", member: v}, i.Claims("mallory", nil))))
				_, _ = p.Verify(t.Context(), bearer(key.Sign(object{"alg": "RS256", "kid": "rsa-1"}, i.Claims("mallory", object{member: v}))))
			}
		}
	}
	if n := calls.Load(); n > 0 {
		t.Errorf("an address in a token was called: %d times", n)
	}
}

// No attack costs more than 50 ms or a mebibyte.
func TestAttacksAreCheap(t *testing.T) {
	i := providertest.NewIssuer(t)
	p := newOIDC(t, i, nil)
	_, _ = p.Verify(t.Context(), bearer(i.Token("alice", nil)))
	for _, a := range attacks(t, i) {
		c := bearer(a.token)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		took := realtest.CPU(func() {
			_ = p.Owns(c)
			_, _ = p.Verify(t.Context(), c)
		})
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; took > 50*time.Millisecond || n > 1<<20 {
			t.Errorf("%s: %v, %d bytes", a.name, took, n)
		}
	}
}

// Naughty strings are nobody's username by accident, and no one's token.
func TestNaughtyStrings(t *testing.T) {
	var naughty []string
	if err := json.Unmarshal(corpus(t, "blns/blns.json"), &naughty); err != nil {
		t.Fatal(err)
	}
	i := providertest.NewIssuer(t)
	p := newOIDC(t, i, nil)
	for _, s := range naughty {
		if _, err := p.Verify(t.Context(), bearer(s)); err == nil {
			t.Errorf("%q is taken for a token", s)
		}
		id, err := p.Verify(t.Context(), bearer(i.Token(s, map[string]any{"sub": nil, "email": nil})))
		if err == nil && (id.User != s || checkUsername(s) != nil) {
			t.Errorf("%q became the user %q", s, id.User)
		}
	}
}

func FuzzVerify(f *testing.F) {
	i := providertest.NewIssuer(f)
	p := newOIDC(f, i, nil)
	good := i.Token("alice", nil)
	f.Add(good)
	for _, a := range attacks(f, i) {
		if len(a.token) < 4096 {
			f.Add(a.token)
		}
	}
	f.Fuzz(func(t *testing.T, token string) {
		_ = p.Owns(bearer(token))
		id, err := p.Verify(t.Context(), bearer(token))
		if err == nil && (token != good && id.User != "alice") {
			t.Fatalf("%q is taken", token)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	i := providertest.NewIssuer(f)
	f.Add(mustJSON(object{"keys": []any{i.Key("rsa-1").JWK(nil), i.Key("ec-1").JWK(nil)}}))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, _, err := parseKeys(text)
		if (err == nil) != (len(list) > 0) {
			t.Fatalf("%d keys with %v", len(list), err)
		}
	})
}
