package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/login"
	"github.com/gatelodge/gatelodge/internal/realtest"
)

const discoveryConfig = `
protected_resource: {resource: %q, resource_name: Issues, scopes_supported: [openid, profile]}
providers:
  - {name: sso, type: keycloak, base_url: %q, realm: %s, audiences: [%q]}
`

// TestDiscovery is a client that knows nothing but the URL of the API, its own
// name and somebody who can sign in: the gate's challenge leads it to the
// metadata document, that one to the real Keycloak, and from there it comes
// back with a token.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	realm := realtest.Keycloak(t).Realm(t)
	g := newGatelodge(t, "")
	f := newFront(t, g.grpc)
	for _, v := range []variant{variants[0], variants[3]} {
		api := "http://" + f.envoy.Address(v.name) + "/rest/issues"
		g.write(t, fmt.Sprintf(discoveryConfig, api, realm.Keycloak.URL, realm.Name, realtest.RealmAudience))
		g.start(t)
		g.awaitReady(t)
		c := stranger{t, &http.Client{Timeout: 10 * time.Second}}
		c.walk(api, f.upstream)
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	}
}

// A stranger is a client that has to find everything out. It is written from
// the standards, with no code of what it is used to test but that for signing in.
type stranger struct {
	t    *testing.T
	http *http.Client
}

func (s *stranger) walk(api string, u *upstream) {
	t := s.t
	t.Helper()
	refusal, _ := s.get(api, "")
	challenge := refusal.Header.Get("WWW-Authenticate")
	if refusal.StatusCode != 401 || !strings.HasPrefix(challenge, "Bearer ") || strings.Contains(challenge, "error") {
		t.Fatalf("%d, challenged with %q", refusal.StatusCode, challenge)
	}
	document := parameter(t, challenge, "resource_metadata")
	resp, text := s.get(document, "")
	var resource struct {
		Resource             string   `json:"resource"`
		AuthorizationServers []string `json:"authorization_servers"`
		Methods              []string `json:"bearer_methods_supported"`
		Scopes               []string `json:"scopes_supported"`
	}
	decode(t, text, &resource)
	switch {
	case resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json":
		t.Fatalf("%s: %d, %s", document, resp.StatusCode, resp.Header.Get("Content-Type"))
	case resource.Resource != api: // RFC 9728 §3.3: else it must not be used
		t.Fatalf("the document is about %q, not %q", resource.Resource, api)
	case document != wellKnown(t, api, "oauth-protected-resource"): // RFC 9728 §3.1
		t.Fatalf("the document is at %q", document)
	case !slices.Equal(resource.Methods, []string{"header"}) || len(resource.AuthorizationServers) != 1:
		t.Fatalf("the document says %s", text)
	}
	if resp.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(resp.Header.Get("Cache-Control"), "max-age=") {
		t.Errorf("the document cannot be read by a page, or kept: %v", resp.Header)
	}

	issuer := resource.AuthorizationServers[0]
	token := s.signIn(issuer, resource.Scopes)
	resp, text = s.get(api, token)
	if resp.StatusCode != 200 || text != "reached" {
		t.Fatalf("with a token: %d %s", resp.StatusCode, text)
	}
	if seen := u.take("stranger"); seen == nil || !slices.Equal(seen.values("x-forwarded-user"), []string{"alice"}) {
		t.Errorf("the upstream saw %+v", seen)
	}
	// Nothing of the way there was let through to the API.
	if seen := u.take("unnamed"); seen != nil {
		t.Errorf("the upstream was asked for %s %s", seen.method, seen.target)
	}
}

// signIn finds the authorization server's endpoints (RFC 8414 §3) and has alice
// sign in there, with a code and PKCE.
func (s *stranger) signIn(issuer string, scopes []string) string {
	t := s.t
	t.Helper()
	at := wellKnown(t, issuer, "oauth-authorization-server")
	resp, text := s.get(at, "")
	if resp.StatusCode != 200 {
		at = issuer + "/.well-known/openid-configuration"
		_, text = s.get(at, "")
	}
	var server struct {
		Issuer        string `json:"issuer"`
		Authorization string `json:"authorization_endpoint"`
		Token         string `json:"token_endpoint"`
	}
	if decode(t, text, &server); server.Issuer != issuer {
		t.Fatalf("%s calls itself %q", at, server.Issuer)
	}
	settings := &login.Settings{
		Issuer: issuer, Endpoints: login.Endpoints{Authorization: server.Authorization, Token: server.Token},
		ClientID: "web", Scopes: scopes, HTTP: s.http, Tell: io.Discard,
		Open: func(page string) error {
			go func() {
				if err := realtest.SignsInAs("alice", "alice-pw").Visit(t.Context(), page); err != nil {
					t.Errorf("signing in: %v", err)
				}
			}()
			return nil
		},
	}
	token, err := settings.Code(t.Context(), login.DefaultRedirect)
	if err != nil {
		t.Fatal(err)
	}
	return token.Reveal()
}

func (s *stranger) get(address, token string) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set(caseHeader, "stranger")
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(b)
}

// wellKnown puts a well-known path between host and path of a URL.
func wellKnown(t *testing.T, address, name string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Scheme + "://" + u.Host + "/.well-known/" + name + strings.TrimSuffix(u.Path, "/")
}

// parameter returns the value of a challenge's parameter.
func parameter(t *testing.T, challenge, name string) string {
	t.Helper()
	found := regexp.MustCompile(name + `="([^"]*)"`).FindStringSubmatch(challenge)
	if found == nil {
		t.Fatalf("the challenge has no %s: %s", name, challenge)
	}
	return found[1]
}

func decode(t *testing.T, text string, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}
