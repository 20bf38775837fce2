package providers

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

func pemKey(t testing.TB, key crypto.Signer) authz.Secret {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return authz.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// TestPrivateKeyJWT checks the assertion that a server gets the way that a
// server does: with the token contract's own code.
func TestPrivateKeyJWT(t *testing.T) {
	for _, algorithm := range []string{"RS256", "ES256", "ES384", "ES512", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			k := providertest.NewKey(t, "", algorithm)
			public, err := parseKey(mustJSON(k.JWK(nil)))
			if err != nil {
				t.Fatal(err)
			}
			ids := map[string]bool{}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				token, err := parseToken(r.FormValue("client_assertion"))
				if err != nil {
					t.Error(err)
					return
				}
				claims, _ := parseObject(token.payload)
				exp, _, _ := timeOf(claims, "exp")
				ids[textAt(claims, "jti")] = true
				if token.algorithm != algorithm || !token.verify(public) ||
					r.FormValue("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" ||
					textAt(claims, "iss") != "api" || textAt(claims, "sub") != "api" || textAt(claims, "aud") != "https://sso.example.com" ||
					time.Until(exp) > 2*time.Minute || r.Header.Get("Authorization") != "" || r.FormValue("token") != "opaque" {
					t.Errorf("%v %v %v", token.header, claims, r.Form)
				}
				_, _ = w.Write([]byte(`{"active":true,"client_id":"api","username":"alice","sub":"1"}`))
			}))
			defer server.Close()
			c := Config{
				Name: "x", Type: "oauth2", Issuer: "https://sso.example.com", ClientID: "api", ClientAuth: "private_key_jwt",
				ClientKey: pemKey(t, k.Private), Endpoints: Endpoints{Introspection: server.URL},
			}
			if faults := Check(c); len(faults) > 0 {
				t.Fatal(faults)
			}
			p, err := New(c, testEnv())
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			for range 2 {
				if id, err := p.Verify(t.Context(), bearer("opaque")); err != nil || id.User != "alice" {
					t.Errorf("%v %v", id.User, err)
				}
			}
			if len(ids) != 2 {
				t.Errorf("%d different assertions, want 2", len(ids))
			}
		})
	}
}

func TestIntrospectionSettings(t *testing.T) {
	good := Config{
		Name: "x", Type: "oauth2", ClientID: "api", ClientSecret: authz.NewSecret("s"), Endpoints: Endpoints{Introspection: "https://sso.example.com/introspect"},
	}
	short := providertest.NewKey(t, "", "RS256")
	for name, c := range map[string]struct {
		change func(*Config)
		key    string // of the fault; "": none
	}{
		"good":              {func(*Config) {}, ""},
		"no client":         {func(c *Config) { c.ClientID, c.Audiences = "", []string{"a"} }, "client_id"},
		"bearer, no client": {func(c *Config) { c.ClientID, c.Audiences, c.ClientAuth = "", []string{"a"}, "bearer" }, ""},
		"no secret":         {func(c *Config) { c.ClientSecret = authz.Secret{} }, "client_secret"},
		"no key":            {func(c *Config) { c.ClientAuth = "private_key_jwt" }, "client_key"},
		"key":               {func(c *Config) { c.ClientAuth, c.ClientKey = "private_key_jwt", pemKey(t, short.Private) }, ""},
		"other way":         {func(c *Config) { c.ClientAuth = "tls" }, "client_auth"},
		"no endpoint":       {func(c *Config) { c.Endpoints.Introspection = "" }, "endpoints.introspection"},
		"plain http":        {func(c *Config) { c.Endpoints.Introspection = "http://sso.example.com/i" }, "endpoints.introspection"},
		"userinfo alone":    {func(c *Config) { c.Endpoints = Endpoints{Userinfo: "https://sso.example.com/me"} }, "endpoints.introspection"},
		"profile":           {func(c *Config) { c.Validation, c.Endpoints.Userinfo = "profile", "https://sso.example.com/me" }, "app_binding"},
		"profile, said": {func(c *Config) {
			c.AppBinding, c.Endpoints = "none", Endpoints{Userinfo: "https://sso.example.com/me"}
		}, ""},
		"jwt": {func(c *Config) { c.Validation = "jwt" }, "validation"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := good
			c.change(&settings)
			faults := Check(settings)
			if c.key == "" && len(faults) > 0 || c.key != "" && (len(faults) != 1 || faults[0].Key != c.key) {
				t.Errorf("%v, want a fault at %q", faults, c.key)
			}
		})
	}
}

// TestOIDCIntrospection finds the endpoint in the metadata.
func TestOIDCIntrospection(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"issuer":"` + server.URL + `","introspection_endpoint":"` + server.URL + `/ask"}`))
	})
	mux.HandleFunc("POST /ask", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"active":true,"client_id":"api","preferred_username":"alice","sub":"1"}`))
	})
	p, err := New(Config{Name: "x", Type: "oidc", Issuer: server.URL, ClientID: "api", ClientSecret: authz.NewSecret("s"), Validation: "introspection"}, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if !p.Owns(bearer("opaque")) {
		t.Error("an opaque token is not owned")
	}
	if id, err := p.Verify(t.Context(), bearer("opaque")); err != nil || id.User != "alice" || id.Issuer != server.URL {
		t.Errorf("%+v %v", id, err)
	}
}

// TestMetadataPlaces: RFC 8414's place is looked at where OpenID's has nothing,
// and metadata of somebody else is never taken.
func TestMetadataPlaces(t *testing.T) {
	for issuer, want := range map[string]string{
		"https://sso.example.com":             "https://sso.example.com/.well-known/oauth-authorization-server",
		"https://sso.example.com/":            "https://sso.example.com/.well-known/oauth-authorization-server",
		"https://dev.okta.com/oauth2/default": "https://dev.okta.com/.well-known/oauth-authorization-server/oauth2/default",
	} {
		places := wellKnown(issuer)
		if places[0] != strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration" || places[1] != want {
			t.Errorf("%s: %v", issuer, places)
		}
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server/a", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"issuer":"` + server.URL + `/a","introspection_endpoint":"` + server.URL + `/ask","jwks_uri":"http://keys.example.com/"}`))
	})
	mux.HandleFunc("GET /.well-known/oauth-authorization-server/b", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"issuer":"` + server.URL + `/a","introspection_endpoint":"` + server.URL + `/ask"}`))
	})
	made, err := newClient(Config{})
	if err != nil {
		t.Fatal(err)
	}
	at := func(issuer string) *discovery { return newDiscovery(made, testEnv(), server.URL+issuer, "") }
	if got, err := at("/a").endpoint(t.Context(), "introspection_endpoint"); err != nil || got != server.URL+"/ask" {
		t.Errorf("%s %v", got, err)
	}
	for name, ask := range map[string]func() (string, error){
		"of another issuer":   func() (string, error) { return at("/b").endpoint(t.Context(), "introspection_endpoint") },
		"nowhere":             func() (string, error) { return at("/c").endpoint(t.Context(), "introspection_endpoint") },
		"not there":           func() (string, error) { return at("/a").endpoint(t.Context(), "userinfo_endpoint") },
		"leads to plain http": func() (string, error) { return at("/a").endpoint(t.Context(), "jwks_uri") },
	} {
		got, err := ask()
		var down *authz.Unavailable
		if !errors.As(err, &down) || !down.Misconfigured || got != "" {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

// TestNeverActive tells of settings under which every token looks revoked.
func TestNeverActive(t *testing.T) {
	answer := `{"active":false}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) }))
	defer server.Close()
	var out strings.Builder
	p, err := New(Config{
		Name: "sso", Type: "keycloak", BaseURL: server.URL, Realm: "corp", Validation: "introspection", ClientID: "api", ClientSecret: authz.NewSecret("s"),
	}, Env{Now: time.Now, Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i := range doubtAfter {
		if st := p.Status(); st.Detail != "" || !st.Ready {
			t.Fatalf("after %d tokens: %+v", i, st)
		}
		if _, err := p.Verify(t.Context(), bearer("x")); reasonOf(err) != authz.ReasonInactive {
			t.Fatal(err)
		}
	}
	if st := p.Status(); !strings.Contains(st.Detail, "audience mapper") || !st.Ready {
		t.Errorf("%+v", st)
	}
	if !strings.Contains(out.String(), "26.6.2") {
		t.Errorf("the log has no hint:\n%s", &out)
	}
	answer = `{"active":true,"typ":"Bearer","client_id":"api","preferred_username":"alice"}`
	if _, err := p.Verify(t.Context(), bearer("x")); err != nil || p.Status().Detail != "" {
		t.Errorf("%v %+v", err, p.Status())
	}
}

// TestStrangeTokensShutNobodyOut: a token to which a server has no sensible answer
// must not make it be left alone, or a handful of those would keep everybody out.
func TestStrangeTokensShutNobodyOut(t *testing.T) {
	for _, status := range []int{400, 402, 406, 413, 414, 418, 422, 431} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.FormValue("token") == "strange" || r.Header.Get("Authorization") == "Bearer strange" {
				w.WriteHeader(status)
				return
			}
			_, _ = w.Write([]byte(`{"active":true,"client_id":"api","username":"alice","sub":"1"}`))
		}))
		for name, c := range map[string]Config{
			"introspection": {ClientID: "api", ClientSecret: authz.NewSecret("s"), Endpoints: Endpoints{Introspection: server.URL}},
			"profile":       {AppBinding: "none", Endpoints: Endpoints{Userinfo: server.URL}},
		} {
			c.Name, c.Type = "x", "oauth2"
			p, err := New(c, testEnv())
			if err != nil {
				t.Fatal(err)
			}
			for range 3 * tripAfter {
				if id, err := p.Verify(t.Context(), bearer("strange")); err == nil || errors.Is(err, authz.ErrRejected) {
					t.Errorf("%s, %d: %v %v; want: cannot tell", name, status, id.User, err)
				}
			}
			if id, err := p.Verify(t.Context(), bearer("good")); err != nil || id.User != "alice" {
				t.Errorf("%s, %d: %v after strange ones", name, status, err)
			}
			p.Close()
		}
		server.Close()
	}
}

// TestOversizeTokenIsNotAsked: it would make the provider fail, and that look
// like a fault of the settings.
func TestOversizeTokenIsNotAsked(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked") }))
	defer server.Close()
	p, err := New(Config{Name: "x", Type: "oauth2", ClientID: "a", ClientSecret: authz.NewSecret("s"), Endpoints: Endpoints{Introspection: server.URL}}, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Verify(t.Context(), bearer(strings.Repeat("x", maxAsked+1))); reasonOf(err) != authz.ReasonMalformedToken {
		t.Error(err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"none":      {http.Header{}, 0},
		"seconds":   {http.Header{"Retry-After": {"30"}}, 30 * time.Second},
		"zero":      {http.Header{"Retry-After": {"0"}}, time.Second},
		"huge":      {http.Header{"Retry-After": {"9223372036854775807"}}, maxBackOff},
		"negative":  {http.Header{"Retry-After": {"-5"}}, time.Second},
		"date":      {http.Header{"Retry-After": {now.Add(time.Minute).Format(http.TimeFormat)}}, time.Minute},
		"past":      {http.Header{"Retry-After": {now.Add(-time.Minute).Format(http.TimeFormat)}}, time.Second},
		"junk":      {http.Header{"Retry-After": {"soon"}}, 0},
		"GitHub":    {http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"1793534520"}}, 2 * time.Minute},
		"some left": {http.Header{"X-Ratelimit-Remaining": {"12"}, "X-Ratelimit-Reset": {"1793534520"}}, 0},
		"GitLab":    {http.Header{"Ratelimit-Remaining": {"0"}, "Ratelimit-Reset": {"1793534520"}}, 2 * time.Minute},
		"from now":  {http.Header{"Ratelimit-Remaining": {"0"}, "Ratelimit-Reset": {"90"}}, 90 * time.Second},
		"never":     {http.Header{"Ratelimit-Remaining": {"0"}, "Ratelimit-Reset": {"9223372036854775807"}}, maxBackOff},
		"Okta":      {http.Header{"X-Rate-Limit-Remaining": {"0"}, "X-Rate-Limit-Reset": {"1793534520"}}, 2 * time.Minute},
	} {
		if got := retryAfter(c.header, now); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestMayBeJSON(t *testing.T) {
	for said, want := range map[string]bool{
		"": true, "application/json": true, "Application/JSON; charset=utf-8": true, "text/javascript; charset=UTF-8": true,
		"application/vnd.github+json": true, "application/problem+json": true, "text/plain": true, "text/json": true,
		"text/html": false, "text/html; charset=utf-8": false, "application/xml": false, "application/jwt": false,
		"application/token-introspection+jwt": false, "image/svg+json": false, "application/json, text/html": false, "application": false, ";": false,
	} {
		if got := (&reply{Header: http.Header{"Content-Type": {said}}}).mayBeJSON(); got != want {
			t.Errorf("%q: %v", said, got)
		}
	}
}

// FuzzAnswer reads answers of an introspection endpoint: who is taken is active
// without doubt, for us, not expired, and has a name that can be one.
func FuzzAnswer(f *testing.F) {
	p, err := New(Config{
		Name: "as", Type: "oauth2", ClientID: "app", ClientSecret: authz.NewSecret("secret"), Audiences: []string{"api"},
		Endpoints: Endpoints{Introspection: "https://as.example.com/introspect"},
	}, testEnv())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(p.Close)
	for _, s := range []string{
		`{"active":true,"username":"alice","aud":"api","exp":4102444800}`, `{"active":true,"sub":"alice","aud":["api","x"],"client_id":"app"}`, `{"active":false}`, `{"active":"true"}`,
		`{"active":1,"active":true}`, `{"Active":true,"username":"a","aud":"api"}`, `{"active":true,"aud":"api","username":"a","cnf":{"jkt":"x"}}`, `{"active":true,"token_type":"DPoP"}`, `[]`, ``, `<html>`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		claims, err := (&reply{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}).object()
		if err != nil {
			return
		}
		id, err := p.(Claimant).Claim(claims)
		if err != nil {
			return
		}
		var m map[string]any
		if json.Unmarshal(body, &m) != nil || m["active"] != true || checkUsername(id.User) != nil {
			t.Fatalf("%q is taken as %q", body, id.User)
		}
		aud, _ := m["aud"].([]any)
		if m["aud"] != "api" && !slices.Contains(aud, any("api")) {
			t.Fatalf("%q is not for us", body)
		}
		if exp, ok := m["exp"].(float64); ok && exp < float64(time.Now().Unix()-120) {
			t.Fatalf("%q is expired", body)
		}
	})
}
