package providers

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

func testEnv() Env { return Env{Now: time.Now, Log: slog.New(slog.DiscardHandler)} }

func newOIDC(t testing.TB, i *providertest.Issuer, change func(*Config)) Provider {
	t.Helper()
	c := Config{Name: "sso", Type: "oidc", Issuer: i.URL, Audiences: []string{"api"}}
	if change != nil {
		change(&c)
	}
	if faults := Check(c); len(faults) > 0 {
		t.Fatal(faults)
	}
	p, err := New(c, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func bearer(token string) authz.Credential {
	return authz.Credential{Kind: authz.Bearer, Secret: authz.NewSecret(token)}
}

// reasonOf is why a credential was refused; ReasonInternal with an error that
// is no refusal.
func reasonOf(err error) authz.Reason {
	var r *authz.Rejection
	if errors.As(err, &r) {
		return r.Reason
	}
	if err == nil {
		return authz.ReasonVerified
	}
	return authz.ReasonInternal
}

func TestOIDC(t *testing.T) {
	i := providertest.NewIssuer(t)
	p := newOIDC(t, i, nil)
	id, err := p.Verify(t.Context(), bearer(i.Token("alice", nil)))
	if err != nil {
		t.Fatal(err)
	}
	if id.User != "alice" || id.Subject != "id-of-alice" || id.Client != "app" || id.TokenID != "token-1" || id.Email != "alice@example.com" ||
		len(id.Groups) != 1 || len(id.Scopes) != 2 || id.App || id.Expires.IsZero() {
		t.Errorf("%+v", id)
	}
	if !p.Owns(bearer(i.Token("alice", nil))) || p.Owns(bearer("opaque")) || p.Owns(bearer(i.Token("a", map[string]any{"iss": i.URL + "/"}))) {
		t.Error("ownership by issuer")
	}
	for _, alg := range []string{"RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512", "EdDSA"} {
		k := i.AddKey(t, "k-"+alg, alg)
		q := newOIDC(t, i, nil) // with the new key from the start
		token := k.Sign(map[string]any{"alg": alg, "kid": k.ID}, i.Claims("bob", nil))
		if id, err := q.Verify(t.Context(), bearer(token)); err != nil || id.User != "bob" {
			t.Errorf("%s: %v %v", alg, id.User, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	i := providertest.NewIssuer(t)
	p := newOIDC(t, i, func(c *Config) { c.AllowedClients = []string{"app"} })
	good := i.Token("alice", nil)
	now := time.Now().Unix()
	for name, c := range map[string]struct {
		token string
		want  authz.Reason
	}{
		"good":           {good, authz.ReasonVerified},
		"expired":        {i.Token("a", map[string]any{"exp": now - 60}), authz.ReasonExpired},
		"expired forged": {i.Token("a", map[string]any{"exp": now - 60})[:len(good)-20] + "AAAAAAAAAAAAAAAAAAAA", authz.ReasonSignature},
		"future nbf":     {i.Token("a", map[string]any{"nbf": now + 120}), authz.ReasonNotYetValid},
		"future iat":     {i.Token("a", map[string]any{"iat": now + 120}), authz.ReasonNotYetValid},
		"no exp":         {i.Token("a", map[string]any{"exp": nil}), authz.ReasonClaims},
		"exp as text":    {i.Token("a", map[string]any{"exp": "9999999999"}), authz.ReasonClaims},
		"exp too large":  {i.Token("a", map[string]any{"exp": 1e18}), authz.ReasonClaims},
		"issuer":         {i.Token("a", map[string]any{"iss": "https://other.example.com"}), authz.ReasonIssuer},
		"audience":       {i.Token("a", map[string]any{"aud": "other"}), authz.ReasonAudience},
		"audience list":  {i.Token("a", map[string]any{"aud": []any{"api", 1}}), authz.ReasonAudience},
		"no audience":    {i.Token("a", map[string]any{"aud": nil}), authz.ReasonAudience},
		"client":         {i.Token("a", map[string]any{"client_id": "other"}), authz.ReasonClient},
		"two clients":    {i.Token("a", map[string]any{"azp": "other"}), authz.ReasonClient},
		"app only":       {i.Token("a", map[string]any{"sub": "app"}), authz.ReasonAppOnly},
		"no user":        {i.Token("a", map[string]any{"preferred_username": nil, "sub": nil}), authz.ReasonUsername},
		"user is number": {i.Token("a", map[string]any{"preferred_username": 7}), authz.ReasonUsername},
		"user CRLF":      {i.Token("a\r\nx: y", nil), authz.ReasonUsername},
		"unknown cnf":    {i.Token("a", map[string]any{"cnf": map[string]any{"kid": "x"}}), authz.ReasonUnbound},
		"other typ":      {i.Key("rsa-1").Sign(map[string]any{"alg": "RS256", "kid": "rsa-1", "typ": "dpop+jwt"}, i.Claims("a", nil)), authz.ReasonTokenType},
		"none":           {strings.Join(strings.Split(i.Key("rsa-1").Sign(map[string]any{"alg": "none"}, i.Claims("a", nil)), ".")[:2], ".") + ".", authz.ReasonMalformedToken},
		"alg none":       {i.Key("rsa-1").Sign(map[string]any{"alg": "none"}, i.Claims("a", nil)), authz.ReasonAlgorithm},
		"HS256":          {i.Key("rsa-1").Sign(map[string]any{"alg": "HS256", "kid": "rsa-1"}, i.Claims("a", nil)), authz.ReasonAlgorithm},
		"alg of key":     {i.Key("rsa-1").Sign(map[string]any{"alg": "PS256", "kid": "rsa-1"}, i.Claims("a", nil)), authz.ReasonUnknownKey},
		"foreign key":    {providertest.NewKey(t, "rsa-1", "RS256").Sign(map[string]any{"alg": "RS256", "kid": "rsa-1"}, i.Claims("a", nil)), authz.ReasonSignature},
		"crit":           {i.Key("rsa-1").Sign(map[string]any{"alg": "RS256", "kid": "rsa-1", "crit": []string{"x"}}, i.Claims("a", nil)), authz.ReasonMalformedToken},
		"twice iss":      {i.Key("rsa-1").SignRaw([]byte(`{"alg":"RS256","kid":"rsa-1"}`), []byte(`{"iss":"x","iss":"`+i.URL+`"}`), "RS256"), authz.ReasonMalformedToken},
		"two objects":    {i.Key("rsa-1").SignRaw([]byte(`{"alg":"RS256","kid":"rsa-1"}`), []byte(`{"iss":"x"}{}`), "RS256"), authz.ReasonMalformedToken},
		"line break":     {good[:40] + "\n" + good[40:], authz.ReasonMalformedToken},
		"padding":        {good + "=", authz.ReasonMalformedToken},
		"four parts":     {good + ".x", authz.ReasonMalformedToken},
		"huge":           {"ey" + strings.Repeat("a", 70_000), authz.ReasonMalformedToken},
		"dots":           {strings.Repeat(".", 60_000), authz.ReasonMalformedToken},
	} {
		for _, temperature := range []string{"cold", "hot"} {
			id, err := p.Verify(t.Context(), bearer(c.token))
			if got := reasonOf(err); got != c.want {
				t.Errorf("%s, %s: %v (%v), want %v", name, temperature, got, err, c.want)
			}
			if err != nil && id.User != "" {
				t.Errorf("%s: an identity with an error", name)
			}
		}
	}
}

// Cached or not, keys go on while the provider is down; without any, nothing
// can be told.
func TestProviderDown(t *testing.T) {
	i := providertest.NewIssuer(t)
	p := newOIDC(t, i, nil)
	if _, err := p.Verify(t.Context(), bearer(i.Token("alice", nil))); err != nil {
		t.Fatal(err)
	}
	for _, f := range []providertest.Fault{providertest.Down, providertest.Broken, providertest.Garbage, providertest.Empty, providertest.Oversize, providertest.Redirect} {
		i.Fail(f)
		if _, err := p.Verify(t.Context(), bearer(i.Token("alice", nil))); err != nil {
			t.Errorf("fault %d: known keys do not go on: %v", f, err)
		}
		cold := newOIDC(t, i, nil)
		_, err := cold.Verify(t.Context(), bearer(i.Token("alice", nil)))
		if err == nil || errors.Is(err, authz.ErrRejected) {
			t.Errorf("fault %d: a cold start answers %v", f, err)
		}
		if st := cold.Status(); st.Ready || st.Detail == "" {
			t.Errorf("fault %d: status %+v", f, st)
		}
		i.Fail(providertest.None)
		deadline := time.Now().Add(10 * time.Second)
		for {
			if _, err = cold.Verify(t.Context(), bearer(i.Token("alice", nil))); err == nil {
				break
			}
			<-time.After(20 * time.Millisecond)
			if time.Now().After(deadline) {
				t.Fatalf("fault %d: does not recover: %v", f, err)
			}
		}
	}
}

// TestSameKeyID: a key is its own provider's, whatever another one calls his.
func TestSameKeyID(t *testing.T) {
	ours, theirs := providertest.NewIssuer(t), providertest.NewIssuer(t) // both have a key rsa-1
	a, b := newOIDC(t, ours, nil), newOIDC(t, theirs, nil)
	for range 2 { // cold, and with what was seen before
		for _, c := range []struct {
			p     Provider
			token string
			owned bool
			want  authz.Reason
		}{
			{a, ours.Token("alice", nil), true, authz.ReasonVerified},
			{b, theirs.Token("alice", nil), true, authz.ReasonVerified},
			{a, theirs.Token("alice", map[string]any{"iss": ours.URL}), true, authz.ReasonSignature},
			{b, ours.Token("alice", map[string]any{"iss": theirs.URL}), true, authz.ReasonSignature},
			{a, theirs.Token("alice", nil), false, authz.ReasonIssuer},
			{b, ours.Token("alice", nil), false, authz.ReasonIssuer},
		} {
			_, err := c.p.Verify(t.Context(), bearer(c.token))
			if c.p.Owns(bearer(c.token)) != c.owned || reasonOf(err) != c.want {
				t.Errorf("%v, want %v", err, c.want)
			}
		}
	}
}

// TestBadSetReplacesNoGoodOne: a token that names an unknown key has the set
// fetched again. What cannot be read then says nothing about it, and leaves the
// known keys as they are.
func TestBadSetReplacesNoGoodOne(t *testing.T) {
	for _, f := range []providertest.Fault{
		providertest.Down, providertest.Broken, providertest.Garbage, providertest.Page, providertest.Empty, providertest.Oversize, providertest.Bomb,
		providertest.Redirect, providertest.List, providertest.Nothing, providertest.Cut, providertest.Twice, providertest.Throttled,
	} {
		t.Run(f.String(), func(t *testing.T) {
			i := providertest.NewIssuer(t)
			p := newOIDC(t, i, nil)
			if _, err := p.Verify(t.Context(), bearer(i.Token("alice", nil))); err != nil {
				t.Fatal(err)
			}
			before := i.Fetches()
			i.Fail(f)
			unknown := providertest.NewKey(t, "ec-9", "ES256").Sign(map[string]any{"alg": "ES256", "kid": "ec-9"}, i.Claims("alice", nil))
			if _, err := p.Verify(t.Context(), bearer(unknown)); err == nil || errors.Is(err, authz.ErrRejected) {
				t.Errorf("a token of an unknown key: %v, want: cannot tell", err)
			}
			if i.Fetches() == before {
				t.Error("the keys were not fetched")
			}
			if id, err := p.Verify(t.Context(), bearer(i.Token("alice", nil))); err != nil || id.User != "alice" {
				t.Errorf("a token of a known key: %v", err)
			}
		})
	}
}

// TestWrongAddress: keys or metadata that are not where the settings say are a
// fault of ours; a provider that is down is none.
func TestWrongAddress(t *testing.T) {
	for name, c := range map[string]struct {
		metadata, keys int // status
		wrong          bool
	}{
		"no metadata": {404, 200, true}, "metadata forbidden": {403, 200, true}, "metadata elsewhere": {302, 200, true}, "metadata down": {503, 200, false},
		"metadata throttled": {429, 200, false}, "no keys": {200, 404, true}, "keys elsewhere": {200, 301, true}, "keys gone": {200, 410, true},
		"keys down": {200, 500, false}, "keys throttled": {200, 429, false}, "keys too late": {200, 408, false},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			mux := http.NewServeMux()
			server := httptest.NewServer(mux)
			defer server.Close()
			mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.metadata)
				_, _ = fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, server.URL, server.URL+"/keys")
			})
			mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(c.keys) })
			p, err := New(Config{Name: "sso", Type: "oidc", Issuer: server.URL, Audiences: []string{"api"}}, Env{Now: time.Now, Log: slog.New(slog.NewTextHandler(&out, nil))})
			if err != nil {
				t.Fatal(err)
			}
			token := providertest.NewKey(t, "k", "ES256").Sign(map[string]any{"alg": "ES256", "kid": "k"}, map[string]any{
				"iss": server.URL, "aud": "api", "sub": "x", "exp": time.Now().Add(time.Minute).Unix(),
			})
			_, err = p.Verify(t.Context(), bearer(token))
			var down *authz.Unavailable
			if !errors.As(err, &down) || down.Misconfigured != c.wrong {
				t.Errorf("%v", err)
			}
			if st := p.Status(); st.Ready || st.Misconfigured != c.wrong || st.Detail == "" {
				t.Errorf("%+v", st)
			}
			p.Close() // ends the log
			if strings.Contains(out.String(), "level=ERROR") != c.wrong || !strings.Contains(out.String(), "level=") {
				t.Errorf("the log:\n%s", &out)
			}
		})
	}
}

func TestRotation(t *testing.T) {
	i := providertest.NewIssuer(t)
	p := newOIDC(t, i, nil)
	if _, err := p.Verify(t.Context(), bearer(i.Token("alice", nil))); err != nil {
		t.Fatal(err)
	}
	before := i.Fetches()
	k := i.AddKey(t, "rsa-2", "RS256")
	token := k.Sign(map[string]any{"alg": "RS256", "kid": "rsa-2"}, i.Claims("alice", nil))
	if _, err := p.Verify(t.Context(), bearer(token)); err != nil {
		t.Errorf("a key used at once: %v", err)
	}
	foreign := providertest.NewKey(t, "rsa-9", "RS256")
	for n := range 50 {
		token := foreign.Sign(map[string]any{"alg": "RS256", "kid": "rsa-" + string(rune('a'+n%26))}, i.Claims("alice", nil))
		if _, err := p.Verify(t.Context(), bearer(token)); reasonOf(err) != authz.ReasonUnknownKey {
			t.Fatalf("unknown key: %v", err)
		}
	}
	if n := i.Fetches() - before; n > 2 {
		t.Errorf("%d fetches for unknown keys", n)
	}
}

func TestKeycloakTokens(t *testing.T) {
	i := providertest.NewIssuer(t)
	p, err := New(Config{
		Name: "kc", Type: "keycloak", Issuer: i.URL, ClientID: "app", Accounts: map[string]string{"app": "robot"},
	}, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for name, c := range map[string]struct {
		changes map[string]any
		want    authz.Reason
		user    string
	}{
		"access":  {map[string]any{"typ": "Bearer", "azp": "app", "client_id": nil}, authz.ReasonVerified, "alice"},
		"id":      {map[string]any{"typ": "ID", "azp": "app", "client_id": nil}, authz.ReasonTokenType, ""},
		"refresh": {map[string]any{"typ": "Refresh", "azp": "app"}, authz.ReasonTokenType, ""},
		"no typ":  {map[string]any{"azp": "app"}, authz.ReasonTokenType, ""},
		"foreign": {map[string]any{"typ": "Bearer", "azp": "other", "client_id": nil}, authz.ReasonClient, ""},
		"service": {map[string]any{"typ": "Bearer", "azp": "app", "preferred_username": "service-account-app"}, authz.ReasonVerified, "robot"},
	} {
		id, err := p.Verify(context.Background(), bearer(i.Token("alice", c.changes)))
		if reasonOf(err) != c.want || id.User != c.user {
			t.Errorf("%s: %q %v", name, id.User, err)
		}
	}
}

func TestBindingIsRequired(t *testing.T) {
	for _, c := range []Config{
		{Name: "a", Type: "oidc", Issuer: "https://a.example.com"},
		{Name: "a", Type: "keycloak", BaseURL: "https://a.example.com", Realm: "r"},
		{Name: "a", Type: "keycloak", BaseURL: "https://a.example.com", Realm: "r", Audiences: []string{"account"}},
	} {
		if len(Check(c)) == 0 {
			t.Errorf("%+v is taken without a binding", c)
		}
	}
	faults := Check(Config{Name: "a", Type: "oidc", Issuer: "http://a.example.com", ClientID: "x", TenantID: "y"})
	if len(faults) != 2 {
		t.Errorf("plain http and a foreign key: %v", faults)
	}
}

// A token that is seen for the first time: one parse, one signature.
func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		b.Run(algorithm, func(b *testing.B) {
			p, c := firstSeen(b, algorithm)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Verify(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// firstSeen makes a provider and a token of it, signed with an algorithm.
func firstSeen(t testing.TB, algorithm string) (Provider, authz.Credential) {
	i := providertest.NewIssuer(t)
	k := i.AddKey(t, "k", algorithm)
	return newOIDC(t, i, nil), bearer(k.Sign(map[string]any{"alg": algorithm, "kid": "k", "typ": "at+jwt"}, i.Claims("alice", nil)))
}

// What a first sight allocates is what a flood of bad tokens has the garbage
// collector clear away.
func TestVerifyAllocatesLittle(t *testing.T) {
	for algorithm, most := range map[string]float64{"RS256": 44, "PS256": 55, "ES256": 64, "EdDSA": 40} {
		p, c := firstSeen(t, algorithm)
		verify := func() {
			if _, err := p.Verify(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		verify() // the keys are there
		if n := testing.AllocsPerRun(100, verify); n > most {
			t.Errorf("%s: %v allocations, want at most %v", algorithm, n, most)
		}
	}
}

// certificateOf makes a self-signed certificate of a key, as x5c has it.
func certificateOf(t *testing.T, k providertest.Key) string {
	t.Helper()
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, k.Private.Public(), k.Private)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func TestKeysThatMustNotVerify(t *testing.T) {
	good := providertest.NewKey(t, "good", "RS256")
	ec := providertest.NewKey(t, "ec", "ES256")
	jwk := func(k providertest.Key, extra map[string]any) map[string]any { return k.JWK(extra) }
	even := good.Private.Public().(*rsa.PublicKey).N.Bytes()
	even[len(even)-1] &^= 1
	rogue := certificateOf(t, providertest.NewKey(t, "rogue", "RS256"))
	for name, k := range map[string]map[string]any{
		"secret":        {"kty": "oct", "k": "AAAA", "kid": "x"},
		"for encrypt":   jwk(good, map[string]any{"kid": "x", "use": "enc"}),
		"key_ops":       jwk(good, map[string]any{"kid": "x", "key_ops": []string{"encrypt"}}),
		"private":       jwk(good, map[string]any{"kid": "x", "d": "AQAB"}),
		"small RSA":     jwk(good, map[string]any{"kid": "x", "n": "AQAB"}),
		"exponent 1":    jwk(good, map[string]any{"kid": "x", "e": "AQ"}),
		"exponent 3":    jwk(good, map[string]any{"kid": "x", "e": "Aw"}),
		"off the curve": jwk(ec, map[string]any{"kid": "x", "x": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
		"HS alg":        jwk(good, map[string]any{"kid": "x", "alg": "HS256"}),
		"alg of EC":     jwk(good, map[string]any{"kid": "x", "alg": "ES256"}),
		"unknown kty":   {"kty": "AKP", "kid": "x"},
		"same kid":      jwk(ec, map[string]any{"kid": "good"}),
		"1024 bits":     jwk(good, map[string]any{"kid": "x", "n": base64.RawURLEncoding.EncodeToString(even[:128])}),
		"even modulus":  jwk(good, map[string]any{"kid": "x", "n": base64.RawURLEncoding.EncodeToString(even)}),
		"exponent 2":    jwk(good, map[string]any{"kid": "x", "e": "Ag"}),
		"no modulus":    {"kty": "RSA", "kid": "x", "e": "AQAB"},
		"no kty":        {"kid": "x"},
		"other x5c":     jwk(good, map[string]any{"kid": "x", "x5c": []string{rogue}}),
		"x5c of EC":     jwk(ec, map[string]any{"kid": "x", "x5c": []string{rogue}}),
		"kid a number":  jwk(good, map[string]any{"kid": 7}),
	} {

		list, dropped, err := parseKeys(mustJSON(map[string]any{"keys": []any{jwk(good, nil), k}}))
		if err != nil || len(list) != 1 || len(dropped) != 1 || list[0].id != "good" {
			t.Errorf("%s: %d keys, dropped %v, %v", name, len(list), dropped, err)
		}
	}
	// What else a key is published with is its own affair.
	own := certificateOf(t, good)
	for name, k := range map[string]map[string]any{
		"no kid": jwk(good, map[string]any{"kid": nil}), "x5c": jwk(good, map[string]any{"x5c": []string{own}}),
		"x5c that cannot be read": jwk(good, map[string]any{"x5c": []string{"AAAA"}}), "verify": jwk(good, map[string]any{"key_ops": []string{"verify"}}),
		"x5t, x5u": jwk(good, map[string]any{"x5t": "AAAA", "x5u": "https://keys.example.com/x"}),
	} {
		if k["kid"] == nil {
			delete(k, "kid")
		}
		if list, dropped, err := parseKeys(mustJSON(map[string]any{"keys": []any{k}})); err != nil || len(list) != 1 {
			t.Errorf("%s: %v %v", name, dropped, err)
		}
	}
	many := make([]any, 10_000)
	for n := range many {
		many[n] = jwk(ec, map[string]any{"kid": fmt.Sprint(n)})
	}
	if _, _, err := parseKeys(mustJSON(map[string]any{"keys": many})); err == nil {
		t.Error("10,000 keys are a key set")
	}
	twice := strings.Replace(string(mustJSON(map[string]any{"keys": []any{jwk(good, nil)}})), `"kid":"good"`, `"kid":"x","kid":"good"`, 1)
	if _, _, err := parseKeys([]byte(twice)); err == nil || !strings.Contains(twice, `"x"`) {
		t.Error("a key that has two names is taken")
	}
	for _, text := range []string{`{"keys":[]}`, `{}`, `[]`, `<html>`, `{"keys":{}}`, `{"keys":[1]}`, `{"keys":[],"keys":[]}`} {
		if _, _, err := parseKeys([]byte(text)); err == nil {
			t.Errorf("%s is a key set", text)
		}
	}
}
