package serve

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// logoutAt posts a logout token of the issuer to an address, and returns the
// status.
func logoutAt(t *testing.T, address string, i *providertest.Issuer, claims map[string]any) int {
	t.Helper()
	all := map[string]any{
		"iss": i.URL, "aud": "api", "iat": time.Now().Unix(), "exp": time.Now().Unix() + 120, "jti": fmt.Sprint(time.Now().UnixNano()),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	maps.Copy(all, claims)
	token := i.Key("rsa-1").Sign(map[string]any{"alg": "RS256", "kid": "rsa-1", "typ": "logout+jwt"}, all)
	resp, err := http.PostForm(address, url.Values{"logout_token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// eventsAddress is where the server says that it listens for events.
func (l *lodge) eventsAddress() string {
	l.t.Helper()
	for line := range strings.Lines(l.log.String()) {
		var record struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &record) == nil && record.Msg == "listening for events" {
			return "http://" + record.Address
		}
	}
	l.t.Fatal("it does not listen for events")
	return ""
}

func TestBackchannelLogout(t *testing.T) {
	i := providertest.NewIssuer(t)
	audit := filepath.Join(t.TempDir(), "audit.log")
	text := strings.Replace(configFor(i, fmt.Sprintf("log: {audit: {file: %q}}\n", audit)), "listen: {", `listen: {events: "127.0.0.1:0", `, 1)
	l := start(t, text)
	past := time.Now().Unix() - 10
	token := func(user, session string, changes map[string]any) string {
		claims := map[string]any{"sid": session, "iat": past}
		maps.Copy(claims, changes)
		return i.Token(user, claims)
	}
	alice, unseen, other, bob := token("alice", "s1", nil), token("alice", "s1", map[string]any{"jti": "2"}), token("alice", "s2", nil), token("bob", "s3", nil)
	expect := func(when, token string, want int) {
		t.Helper()
		for range 2 { // what is remembered is the same
			if s, _ := l.ask("/rest", token); s != want {
				t.Errorf("%s: %d, want %d\n%s", when, s, want, l.log)
			}
		}
	}
	for _, t := range []string{alice, other, bob} {
		expect("before", t, 200)
	}
	if s := logoutAt(t, l.admin+"/backchannel-logout/sso", i, map[string]any{"sid": "s1", "sub": "id-of-alice", "jti": "the-event"}); s != 200 {
		t.Fatalf("logout: %d\n%s", s, l.log)
	}
	expect("the session", alice, 401)
	expect("a token of it that was never seen", unseen, 401)
	expect("another session", other, 200)
	expect("another user", bob, 200)
	expect("issued later in the session", token("alice", "s1", map[string]any{"iat": time.Now().Unix() + 5}), 200)

	l.write(text + "realm: other\n")
	l.eventually("another configuration", func() bool { return strings.Contains(l.log.String(), "configuration changed") })
	expect("after a change of the configuration", alice, 401)
	expect("bob after it", bob, 200)

	// The other listener has these routes and no more.
	if s := logoutAt(t, l.eventsAddress()+"/backchannel-logout/sso", i, map[string]any{"sub": "id-of-bob"}); s != 200 {
		t.Errorf("at the address for events: %d", s)
	}
	expect("all of bob's", bob, 401)
	for _, path := range []string{"/metrics", "/readyz", "/api/v1/tokens", "/", "/backchannel-logout/", "/backchannel-logout/api-tokens"} {
		resp, err := http.Get(l.eventsAddress() + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 404 && resp.StatusCode != 405 {
			t.Errorf("%s is shown: %s", path, resp.Status)
		}
	}
	if s := logoutAt(t, l.admin+"/backchannel-logout/sso", i, map[string]any{"sub": "x", "aud": "other"}); s != 400 {
		t.Errorf("for somebody else: %d", s)
	}
	req, err := http.NewRequest("POST", l.admin+"/backchannel-logout/sso", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example.com"
	if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("called by another name: %v %v", resp, err)
	} else {
		_ = resp.Body.Close()
	}

	_, metrics := l.get("/metrics")
	for _, want := range []string{
		`gatelodge_revocations_total{kind="logout",provider="sso",result="obeyed"} 2`,
		`gatelodge_revocations_total{kind="logout",provider="sso",result="refused"} 1`,
		`gatelodge_revocations_remembered 3`, // a session, its user without one, a user
		`gatelodge_revocations_lost_total 0`,
		`reason="logged_out"`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics have no %s", want)
		}
	}
	lines, err := os.ReadFile(audit)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"msg":"revoked","provider":"sso","kind":"logout","event_id":"the-event","session":"s1","subject":"id-of-alice","dropped":1}`; !strings.Contains(string(lines), want) {
		t.Errorf("the audit record has no %s: %s", want, lines)
	}
}

// A security event of a sender beside the provider, about a provider whose
// tokens are checked here.
func TestSecurityEvent(t *testing.T) {
	i, hub := providertest.NewIssuer(t), providertest.NewIssuer(t)
	l := start(t, fmt.Sprintf(`
listen: {grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
limits: {drain_delay: 1ms}
providers:
  - name: sso
    type: oidc
    issuer: %q
    audiences: api
    events: {issuer: %q, jwks: %q, audiences: gate}
`, i.URL, hub.URL, hub.URL+"/keys"))
	token := i.Token("alice", nil)
	if s, _ := l.ask("/", token); s != 200 {
		t.Fatal(s)
	}
	l.eventually("no trouble", func() bool { _, body := l.get("/readyz"); return !strings.Contains(body, "cannot be proven") })
	set := hub.Key("ec-1").Sign(map[string]any{"alg": "ES256", "kid": "ec-1", "typ": "secevent+jwt"}, map[string]any{
		"iss": hub.URL, "aud": "gate", "iat": time.Now().Unix(), "jti": "1",
		"sub_id": map[string]any{"format": "iss_sub", "iss": i.URL, "sub": "id-of-alice"},
		"events": map[string]any{"https://schemas.openid.net/secevent/caep/event-type/session-revoked": map[string]any{}},
	})
	resp, err := http.Post(l.admin+"/ssf/sso", "application/secevent+jwt", strings.NewReader(set))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 202 {
		t.Fatalf("%s\n%s", resp.Status, l.log)
	}
	for range 2 {
		if s, _ := l.ask("/", token); s != 401 {
			t.Errorf("%d\n%s", s, l.log)
		}
	}
	if s, _ := l.ask("/", i.Token("bob", nil)); s != 200 {
		t.Errorf("another user: %d", s)
	}
}

// A sender whose keys are not where they are said to be shows before it matters,
// and keeps no token from being decided on.
func TestSenderWithoutKeys(t *testing.T) {
	i := providertest.NewIssuer(t)
	l := start(t, fmt.Sprintf(`
listen: {grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
limits: {drain_delay: 1ms}
providers:
  - {name: sso, type: oidc, issuer: %q, audiences: api, events: {issuer: "https://hub.example.com", jwks: %q}}
`, i.URL, i.URL+"/nowhere"))
	l.eventually("trouble", func() bool {
		code, body := l.get("/readyz")
		return code == 200 && strings.Contains(body, "its events cannot be proven: ")
	})
	if s, _ := l.ask("/", i.Token("alice", nil)); s != 200 {
		t.Errorf("%d", s)
	}
}

// The real Keycloak tells of a logout, by each way of checking its tokens.
func TestKeycloakTellsOfALogout(t *testing.T) {
	realm := realtest.Keycloak(t).Realm(t)
	l := start(t, fmt.Sprintf(`
listen: {grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
limits: {drain_delay: 1ms}
providers:
  - {name: sso, type: keycloak, base_url: %[1]q, realm: %[2]q, audiences: %[3]q, allowed_clients: web, cache: {ttl: 1h}}
  - name: asked
    type: keycloak
    base_url: %[1]q
    realm: %[2]q
    audiences: %[3]q
    client_id: svc
    client_secret: svc-secret
    allowed_clients: [web]
    validation: introspection
    cache: {ttl: 1h}
    events: {}
rules:
  - {match: {paths: [/asked]}, providers: [asked]}
  - {match: {paths: ["/**"]}, providers: [sso]}
`, realm.Keycloak.URL, realm.Name, realtest.RealmAudience))
	expect := func(when, token string, want int) {
		t.Helper()
		for _, path := range []string{"/jwt", "/asked", "/jwt", "/asked"} {
			if s, _ := l.ask(path, token); s != want {
				t.Errorf("%s: %s: %d, want %d", when, path, s, want)
			}
		}
	}
	alice, second, bob := realm.UserToken(t, "web", "alice"), realm.UserToken(t, "web", "alice"), realm.UserToken(t, "web", "bob")
	for _, token := range []string{alice, second, bob} {
		expect("signed in", token, 200)
	}
	realm.TellLogouts(t, "web", l.admin+"/backchannel-logout/sso", true)
	realm.Admin(t, http.MethodDelete, "/sessions/"+sessionOf(t, alice), nil, nil)
	expect("the session has ended", alice, 401)
	expect("the other session", second, 200)
	expect("another user", bob, 200)

	realm.TellLogouts(t, "web", l.admin+"/backchannel-logout/asked", false)
	var users []struct{ ID string }
	realm.Admin(t, http.MethodGet, "/users?exact=true&username=bob", nil, &users)
	realm.Admin(t, http.MethodPost, "/users/"+users[0].ID+"/logout", nil, nil)
	expect("the user is logged out", bob, 401)
	expect("the other session, still", second, 200)
	// A token of the very second of the logout could be of before it.
	l.eventually("signed in again", func() bool { s, _ := l.ask("/jwt", realm.UserToken(t, "web", "bob")); return s == 200 })
	_, metrics := l.get("/metrics")
	for _, provider := range []string{"sso", "asked"} {
		if want := fmt.Sprintf(`gatelodge_revocations_total{kind="logout",provider=%q,result="obeyed"}`, provider); !strings.Contains(metrics, want) {
			t.Errorf("metrics have no %s", want)
		}
	}
}

// A certified OpenID provider tells of a logout. Its access tokens do not name
// their session, so each of the user's could be of the one that has ended.
func TestOIDCProviderTellsOfALogout(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", realtest.FreePort(t))
	op := realtest.OIDCProviderWith(t, realtest.OIDCOptions{Logouts: "http://" + address + "/backchannel-logout/op"})
	l := start(t, fmt.Sprintf(`
listen: {grpc: "127.0.0.1:0", admin: "127.0.0.1:0", events: %q}
limits: {drain_delay: 1ms}
providers:
  - {name: op, type: oidc, issuer: %q, audiences: ["urn:api:jwt"], allowed_clients: [svc], username: [sub]}
`, address, op.Issuer))
	token := func(user string) string { return op.UserToken(t, user, "svc", "urn:api:jwt", "api:read") }
	alice, bob := token("alice"), token("bob")
	for _, token := range []string{alice, bob} {
		if s, _ := l.ask("/", token); s != 200 {
			t.Fatalf("before: %d\n%s", s, l.log)
		}
	}
	op.LogOut(t, "alice", "a-session")
	for range 2 {
		if s, _ := l.ask("/", alice); s != 401 {
			t.Errorf("alice: %d\n%s", s, l.log)
		}
		if s, _ := l.ask("/", bob); s != 200 {
			t.Errorf("bob: %d", s)
		}
	}
	// A token of the very second of the logout could be of before it.
	l.eventually("signed in again", func() bool { s, _ := l.ask("/", token("alice")); return s == 200 })
}

// sessionOf reads sid off a token.
func sessionOf(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ SID string }
	if err := json.Unmarshal(payload, &claims); err != nil || claims.SID == "" {
		t.Fatalf("no sid in %s: %v", payload, err)
	}
	return claims.SID
}
