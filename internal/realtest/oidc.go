package realtest

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/dev/parts"
	"github.com/gatelodge/gatelodge/internal/realtest/oidcprovider"
)

// OIDCOptions are the settings of the OpenID provider; the zero value is a
// plain-http one.
type OIDCOptions struct {
	TTL       time.Duration // life of access tokens, in whole seconds; zero: 10 minutes
	DPoPNonce bool          // DPoP proofs need a nonce of the server

	// ClientKey is the public JWK that the client rs-key signs in with; nil: there
	// is no such client.
	ClientKey map[string]any

	// Key and Cert (PEM) make it serve https and ask for client certificates;
	// ClientCert (PEM) is what the client svc-mtls is known by.
	Key, Cert, ClientCert string

	Logouts string // URL that logouts of the users of svc are told to
}

// An OIDC is a running OpenID provider: the certified npm package
// oidc-provider. Its clients and resources stand in oidcprovider/server.mjs.
type OIDC struct {
	Issuer string
	Client *http.Client // trusts any certificate; its own, to add a client certificate to
	p      *Process
}

// OIDCProvider starts a plain-http OpenID provider that ends with the test.
func OIDCProvider(t testing.TB) *OIDC {
	t.Helper()
	return OIDCProviderWith(t, OIDCOptions{})
}

// OIDCProviderWith starts an OpenID provider that ends with the test.
func OIDCProviderWith(t testing.TB, o OIDCOptions) *OIDC {
	t.Helper()
	node, err := parts.Node()
	if err != nil {
		missing(t, err)
	}
	packages, err := parts.Dir("oidc-provider")
	if err != nil {
		missing(t, err)
	}
	dir := t.TempDir()
	source, err := oidcprovider.Files.ReadFile("server.mjs")
	if err != nil {
		t.Fatal(err)
	}
	server := filepath.Join(dir, "server.mjs")
	if err := os.WriteFile(server, source, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	p := Start(t, Command{
		Name: "oidc-provider", Path: node, Args: []string{"--no-warnings", server},
		Env: []string{"OP_SETTINGS=" + o.settings(), "NODE_ENV=production"},
	})
	op := &OIDC{p: p, Client: &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // our own, on loopback
	}}
	t.Cleanup(op.Client.CloseIdleConnections)
	if err := p.Await(20*time.Second, op.readIssuer); err != nil {
		t.Fatal(err)
	}
	return op
}

func (o OIDCOptions) settings() string {
	s := map[string]any{"dpopNonce": o.DPoPNonce, "clientCert": o.ClientCert, "logouts": o.Logouts}
	if o.ClientKey != nil {
		s["clientKey"] = o.ClientKey
	}
	if o.TTL > 0 {
		s["ttl"] = int(o.TTL.Seconds())
	}
	if o.Key != "" {
		s["tls"] = map[string]string{"key": o.Key, "cert": o.Cert}
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings, numbers and booleans always marshal
	}
	return string(b)
}

func (op *OIDC) readIssuer() bool {
	for line := range strings.Lines(op.p.Output()) {
		var ready struct{ Issuer string }
		if json.Unmarshal([]byte(line), &ready) == nil && ready.Issuer != "" {
			op.Issuer = ready.Issuer
			return true
		}
	}
	return false
}

// Stop ends the provider before the test ends.
func (op *OIDC) Stop() { _ = op.p.Stop() }

// ClientToken returns an access token of the client itself (client
// credentials) for a resource and scopes; both may be empty.
func (op *OIDC) ClientToken(t testing.TB, client, resource, scope string) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	setIfAny(form, "resource", resource)
	setIfAny(form, "scope", scope)
	return tokenFrom(t, op.Client, op.Issuer+"/token", client, client+"-secret", form)
}

// UserToken returns an access token of a user, issued to a client for a
// resource ("": an opaque token for userinfo) with scopes ("": openid profile
// email), as if the user had signed in with a browser.
func (op *OIDC) UserToken(t testing.TB, user, client, resource, scope string) string {
	t.Helper()
	q := url.Values{"sub": {user}, "client_id": {client}}
	setIfAny(q, "resource", resource)
	setIfAny(q, "scope", scope)
	resp, err := op.Client.Get(op.Issuer + "/mint?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return accessToken(t, resp)
}

// LogOut has the provider tell svc that a session of a user has ended, and wait
// for the answer. An answer that is not yes fails the test.
func (op *OIDC) LogOut(t testing.TB, user, session string) {
	t.Helper()
	resp, err := op.Client.Get(op.Issuer + "/log-out?" + url.Values{"sub": {user}, "sid": {session}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("the logout was not taken: %s", b)
	}
}

// Revoke revokes an access token of the client (RFC 7009).
func (op *OIDC) Revoke(t testing.TB, client, token string) {
	t.Helper()
	resp, err := postForm(op.Client, op.Issuer+"/token/revocation", client, client+"-secret", url.Values{"token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("revocation answered %s", resp.Status)
	}
}

func setIfAny(v url.Values, key, value string) {
	if value != "" {
		v.Set(key, value)
	}
}

// tokenFrom asks a token endpoint as a client (secret "": a public one).
func tokenFrom(t testing.TB, c *http.Client, endpoint, client, secret string, form url.Values) string {
	t.Helper()
	resp, err := postForm(c, endpoint, client, secret, form)
	if err != nil {
		t.Fatal(err)
	}
	return accessToken(t, resp)
}

func postForm(c *http.Client, endpoint, client, secret string, form url.Values) (*http.Response, error) {
	if secret == "" {
		form.Set("client_id", client)
	}
	req, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if secret != "" {
		req.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(secret)) // RFC 6749 §2.3.1
	}
	return c.Do(req)
}

func accessToken(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(b, &answer); err != nil || resp.StatusCode != http.StatusOK || answer.AccessToken == "" {
		t.Fatalf("no access token: %s: %s", resp.Status, b)
	}
	return answer.AccessToken
}
