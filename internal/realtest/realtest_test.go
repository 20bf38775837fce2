package realtest_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

func TestEnvoyListensWhereItSays(t *testing.T) {
	t.Parallel()
	e := realtest.Envoy(t, `
static_resources:
  listeners:
  - name: hello
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: hello
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: hello}}}]}]}
          http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
`)
	if got := get(t, "http://"+e.Address("hello")); got != "hello" {
		t.Errorf("the listener answered %q", got)
	}
	e.Stop()
	if c, err := net.DialTimeout("tcp", e.Address("hello"), time.Second); err == nil {
		_ = c.Close()
		t.Error("still listening after Stop")
	}
}

func TestOIDCProviderIssuesTokens(t *testing.T) {
	t.Parallel()
	op := realtest.OIDCProvider(t)
	if got := get(t, op.Issuer+"/.well-known/openid-configuration"); !strings.Contains(got, op.Issuer+"/jwks") {
		t.Errorf("discovery does not name the keys: %s", got)
	}
	jwt := op.UserToken(t, "alice", "svc", "urn:api:jwt", "")
	if strings.Count(jwt, ".") != 2 {
		t.Errorf("not a JWT: %s", jwt)
	}
	opaque := op.ClientToken(t, "svc", "urn:api:opaque", "api:read")
	if !active(t, op, opaque) {
		t.Error("a fresh token is not active")
	}
	op.Revoke(t, "svc", opaque)
	if active(t, op, opaque) {
		t.Error("a revoked token is active")
	}
}

func active(t *testing.T, op *realtest.OIDC, token string) bool {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, op.Issuer+"/token/introspection", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("rs-json", "rs-json-secret")
	resp, err := op.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(body(t, resp), `"active":true`)
}

func TestPostgresGivesEachCallADatabase(t *testing.T) {
	t.Parallel()
	a, b := realtest.Postgres(t), realtest.Postgres(t)
	if a == b {
		t.Errorf("twice the same database: %s", a)
	}
	u, err := url.Parse(a)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func TestPostgresStopsAndStarts(t *testing.T) {
	t.Parallel()
	s := realtest.NewPostgres(t)
	u, err := url.Parse(s.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if c, err := net.DialTimeout("tcp", u.Host, time.Second); err == nil {
		_ = c.Close()
		t.Fatal("still listening after Stop")
	}
	s.Start(t)
	s.Database(t)
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return body(t, resp)
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestKeycloakRotatesAndRestarts(t *testing.T) {
	t.Parallel()
	k := realtest.NewKeycloak(t)
	r := k.Realm(t)
	before := keyID(t, r.UserToken(t, "web", "alice"))
	r.RotateKeys(t)
	after := keyID(t, r.UserToken(t, "web", "alice"))
	if before == after {
		t.Errorf("signed with key %s before and after the rotation", before)
	}
	keys := get(t, r.Issuer()+"/protocol/openid-connect/certs")
	if !strings.Contains(keys, before) || !strings.Contains(keys, after) {
		t.Errorf("of the keys %s and %s not both are published: %s", before, after, keys)
	}
	k.Stop()
	if resp, err := http.Get(r.Issuer()); err == nil {
		_ = resp.Body.Close()
		t.Error("answers after Stop")
	}
	k.Start(t)
	if got := keyID(t, r.ClientToken(t, "svc")); got != after {
		t.Errorf("signed with key %s after the restart, %s before", got, after)
	}
}

func keyID(t *testing.T, jwt string) string {
	t.Helper()
	head, _, _ := strings.Cut(jwt, ".")
	b, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Kid string }
	if err := json.Unmarshal(b, &h); err != nil {
		t.Fatal(err)
	}
	return h.Kid
}
