package serve

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// asOneOf is a way for our client to prove itself, in the settings.
type asOneOf struct{ name, settings string }

// asClients has a provider for each way, and a rule for each.
func asClients(settings string, ways []asOneOf) string {
	var providers, rules strings.Builder
	for _, w := range ways {
		validation := "introspection"
		if w.name == "profile" {
			validation = w.name
		}
		fmt.Fprintf(&providers, "  - {name: %s, validation: "+validation+", cache: {ttl: 1s}, service_accounts: {svc: robot, light: feather}, %s, %s}\n", w.name, settings, w.settings)
		fmt.Fprintf(&rules, "  - {match: {paths: [/alone/%s]}, providers: [%s]}\n", w.name, w.name)
	}
	return "listen: {grpc: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nlimits: {drain_delay: 1ms}\nproviders:\n" + providers.String() +
		"rules:\n" + rules.String() + "  - {access: deny}\n"
}

func clientKey(t *testing.T) (key providertest.Key, setting string) {
	key = providertest.NewKey(t, "ours", "ES256")
	der, err := x509.MarshalPKCS8PrivateKey(key.Private)
	if err != nil {
		t.Fatal(err)
	}
	return key, "client_key: " + quoted(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func (l *lodge) expect(what, path, token string, status int, user string) {
	l.t.Helper()
	if got, who := l.ask(path, token); got != status || who != user {
		l.t.Errorf("%s at %s: %d %q, want %d %q", what, path, got, who, status, user)
	}
}

// TestIntrospectionAtOIDCProvider asks the real provider about opaque tokens in
// each way that it lets a client prove itself.
func TestIntrospectionAtOIDCProvider(t *testing.T) {
	key, setting := clientKey(t)
	_, wrong := clientKey(t)
	op := realtest.OIDCProviderWith(t, realtest.OIDCOptions{ClientKey: key.JWK(nil)})
	l := start(t, asClients(fmt.Sprintf("type: oidc, issuer: %q, allowed_clients: [svc, svc-dpop]", op.Issuer), []asOneOf{
		{"basic", "client_id: rs-json, client_secret: rs-json-secret"},
		{"post", "client_id: rs-post, client_secret: rs-post-secret, client_auth: post"},
		{"key", "client_id: rs-key, client_auth: private_key_jwt, " + setting},
		{"signed", "client_id: rs, client_secret: rs-secret"}, // may have its answers signed (RFC 9701), asks for them plain
		{"odd", `client_id: "rs:odd", client_secret: "s:cret /+%~"`},
		{"basic-wrong", "client_id: rs-json, client_secret: not-it"},
		{"post-wrong", "client_id: rs-post, client_secret: not-it, client_auth: post"},
		{"key-wrong", "client_id: rs-key, client_auth: private_key_jwt, " + wrong},
		{"not-there", "client_id: nobody, client_secret: not-it"},
	}))
	alice := op.UserToken(t, "alice", "svc", "urn:api:opaque", "api:read")
	robot := op.ClientToken(t, "svc", "urn:api:opaque", "api:read")
	foreign := op.UserToken(t, "alice", "cli", "urn:api:opaque", "api:read")
	for _, way := range []string{"basic", "post", "key", "signed", "odd"} {
		l.expect("a user's token", "/alone/"+way, alice, 200, "alice")
		l.expect("a service's token", "/alone/"+way, robot, 200, "robot")
		l.expect("another app's token", "/alone/"+way, foreign, 401, "")
		l.expect("no token of it", "/alone/"+way, "opaque", 401, "")
	}
	for _, way := range []string{"basic-wrong", "post-wrong", "key-wrong", "not-there"} {
		l.saysMisconfigured(t, way, alice)
	}
	op.Revoke(t, "svc", alice)
	l.eventually("the revoked token is forgotten", func() bool { s, _ := l.ask("/alone/basic", alice); return s == 401 })
	op.Stop()
	l.expect("with the provider gone", "/alone/post", "opaque-2", 503, "")
}

// TestIntrospectionAtKeycloak does so with Keycloak, which also has lightweight
// tokens and sessions that end.
func TestIntrospectionAtKeycloak(t *testing.T) {
	key, setting := clientKey(t)
	realm := realtest.Keycloak(t).Realm(t)
	jwks, err := json.Marshal(map[string]any{"keys": []any{key.JWK(nil)}})
	if err != nil {
		t.Fatal(err)
	}
	realm.Admin(t, http.MethodPost, "/clients", map[string]any{
		"clientId": "by-key", "enabled": true, "protocol": "openid-connect", "clientAuthenticatorType": "client-jwt",
		"publicClient": false, "serviceAccountsEnabled": true, "standardFlowEnabled": false,
		"attributes": map[string]string{"use.jwks.string": "true", "jwks.string": string(jwks), "token.endpoint.auth.signing.alg": "ES256"},
	}, nil)
	realm.Admin(t, http.MethodPost, "/clients", map[string]any{
		"clientId": "odd:one", "enabled": true, "protocol": "openid-connect", "secret": "s:cret /+%~", "publicClient": false,
	}, nil)
	_, wrong := clientKey(t)
	l := start(t, asClients(fmt.Sprintf("type: keycloak, base_url: %q, realm: %s, audiences: %q", realm.Keycloak.URL, realm.Name, realtest.RealmAudience), []asOneOf{
		{"basic", "client_id: svc, client_secret: svc-secret"},
		{"post", "client_id: svc, client_secret: svc-secret, client_auth: post"},
		{"key", "client_id: by-key, client_auth: private_key_jwt, " + setting},
		{"odd", `client_id: "odd:one", client_secret: "s:cret /+%~"`},
		{"basic-wrong", "client_id: svc, client_secret: not-it"},
		{"post-wrong", "client_id: svc, client_secret: not-it, client_auth: post"},
		{"key-wrong", "client_id: by-key, client_auth: private_key_jwt, " + wrong},
		{"public", "client_id: web, client_secret: it-has-none"},
		{"profile", "client_id: svc"}, // the signature checked, and userinfo asked
	}))
	alice := realm.UserToken(t, "web", "alice")
	l.expect("a user's token", "/alone/profile", alice, 200, "alice")
	l.expect("a service's token", "/alone/profile", realm.ClientToken(t, "svc"), 200, "robot")
	l.expect("a token for another API", "/alone/profile", realm.UserToken(t, "foreign", "alice"), 401, "")
	for _, way := range []string{"basic", "post"} {
		l.expect("a user's token", "/alone/"+way, alice, 200, "alice")
		l.expect("a service's token", "/alone/"+way, realm.ClientToken(t, "svc"), 200, "robot")
		l.expect("a lightweight token", "/alone/"+way, realm.ClientToken(t, "light"), 200, "feather")
		l.expect("a token for another API", "/alone/"+way, realm.UserToken(t, "foreign", "alice"), 401, "")
	}
	l.expect("a token that does not name us", "/alone/odd", alice, 401, "")
	// Keycloak tells a client nothing of tokens that do not name it in aud, until
	// a mapper puts it there.
	l.expect("a token that does not name us", "/alone/key", alice, 401, "")
	var web []struct{ ID string }
	realm.Admin(t, http.MethodGet, "/clients?clientId=web", nil, &web)
	realm.Admin(t, http.MethodPost, "/clients/"+web[0].ID+"/protocol-mappers/models", map[string]any{
		"name": "by-key", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
		"config": map[string]string{"included.client.audience": "by-key", "access.token.claim": "true", "introspection.token.claim": "true"},
	}, nil)
	l.expect("a token that names us", "/alone/key", realm.UserToken(t, "web", "alice"), 200, "alice")
	for _, way := range []string{"basic-wrong", "post-wrong", "key-wrong", "public"} {
		l.saysMisconfigured(t, way, alice)
	}

	var users []struct{ ID string }
	realm.Admin(t, http.MethodGet, "/users?username=alice", nil, &users)
	realm.Admin(t, http.MethodPost, "/users/"+users[0].ID+"/logout", map[string]any{}, nil)
	for _, way := range []string{"basic", "profile"} {
		l.eventually("the session that ended is noticed", func() bool { s, _ := l.ask("/alone/"+way, alice); return s == 401 })
	}
}

// TestUserinfoAtOIDCProvider: the profile adds to what introspection proved, or,
// where it is said that any app's token will do, stands alone.
func TestUserinfoAtOIDCProvider(t *testing.T) {
	op := realtest.OIDCProvider(t)
	l := start(t, fmt.Sprintf(`
listen: {grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
limits: {drain_delay: 1ms}
providers:
  - {name: both, type: oauth2, username: [preferred_username], cache: {ttl: 1s}, client_id: rs-json, client_secret: rs-json-secret, allowed_clients: [svc], endpoints: {introspection: "%[1]s/token/introspection", userinfo: "%[1]s/me"}}
  - {name: profile, type: oauth2, cache: {ttl: 1s}, app_binding: none, endpoints: {userinfo: "%[1]s/me"}}
rules:
  - {match: {paths: [/alone/both]}, providers: [both]}
  - {match: {paths: [/alone/profile]}, providers: [profile]}
  - {access: deny}
`, op.Issuer))
	if !strings.Contains(l.log.String(), "app_binding: tokens of any app") {
		t.Error("the start does not warn of a provider that takes any app's tokens")
	}
	mine := op.UserToken(t, "alice", "svc", "", "openid profile email")
	foreign := op.UserToken(t, "bob", "cli", "", "openid profile email")
	l.expect("our app's token", "/alone/both", mine, 200, "alice")
	l.expect("another app's token", "/alone/both", foreign, 401, "")
	l.expect("any app's token", "/alone/profile", foreign, 200, "bob")
	l.expect("no token of it", "/alone/profile", "opaque", 401, "")
	l.expect("a token without the scope", "/alone/both", op.UserToken(t, "alice", "svc", "urn:api:opaque", "api:read"), 401, "")
	op.Revoke(t, "svc", mine)
	for _, name := range []string{"both", "profile"} {
		l.eventually("the revoked token is forgotten", func() bool { s, _ := l.ask("/alone/"+name, mine); return s == 401 })
	}
}
