// Package examples_test makes sure that every example can be used as it stands:
// its configuration is loaded and decides, its Envoy configuration is one that
// Envoy takes.
package examples_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/internal/trial"
	"github.com/gatelodge/gatelodge/providers"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// TestConfigurationsDecide loads every configuration, with an issuer of the test
// in the place of the real one, and asks about a request that is to pass and
// some that are not. Those of the hosted providers are in hosted_test.go.
func TestConfigurationsDecide(t *testing.T) {
	t.Parallel()
	for _, file := range configurations(t) {
		if hosted[file] != nil || filepath.Dir(file) == "api-tokens" {
			continue
		}
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			issuer := providertest.NewIssuer(t)
			engine, c := load(t, file, func(c *providers.Config) {
				if c.Type == "keycloak" {
					c.Endpoints.JWKS = issuer.URL + "/keys"
				}
			},
				"https://sso.example.com", issuer.URL,
				"http://localhost:8180", issuer.URL)
			token := issuer.Token("alice", map[string]any{"aud": c.Providers[0].Audiences[0], "iss": issuerOf(c, issuer), "typ": "Bearer"})
			q := request("Bearer " + token)
			if d := await(t, engine, q); d.Outcome != authz.Allowed || d.Identity == nil || d.Identity.User != "alice" {
				t.Errorf("a good token: %v, %v %s", d.Outcome, d.Reason, d.Detail)
			}
			foreign := issuer.Token("alice", map[string]any{"aud": "https://other.example.com", "iss": issuerOf(c, issuer), "typ": "Bearer"})
			for name, header := range map[string]string{
				"a broken token": "Bearer " + token + "x", "a token for another API": "Bearer " + foreign, "no token": "", "nonsense": "Bearer wrong",
			} {
				if d := engine.Decide(t.Context(), request(header)); d.Outcome != authz.Unauthenticated {
					t.Errorf("%s: %v, %v", name, d.Outcome, d.Reason)
				}
			}
		})
	}
}

// configurations are the files of all examples.
func configurations(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*/config*.yaml")
	if err != nil || len(files) < 15 {
		t.Fatalf("found %d configurations: %v", len(files), err)
	}
	return files
}

// request is what the pages send with curl; an empty header is none.
func request(authorization string) authz.Request {
	q := authz.Request{Method: "GET", Host: "localhost:10000", Path: "/rest/api/content/"}
	if authorization != "" {
		q.Headers = []authz.Header{{Name: "authorization", Value: authorization}}
	}
	return q
}

// TestCases decides every cases.yaml under the configuration beside it.
func TestCases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*/cases.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d tables of cases: %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cases, err := trial.ReadCases(text)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		settings, _, err := config.Load(filepath.Join(filepath.Dir(file), "config.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		results, err := cases.Run(t.Context(), settings, time.Now())
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, r := range results {
			if !r.Passed {
				t.Errorf("%s: %s: %v", file, r.Name, r.Problems)
			}
		}
	}
}

// keycloakKeys is where the containers of docker-compose.yml find the keys.
const keycloakKeys = "http://keycloak:8080/realms/corp/protocol/openid-connect/certs"

// load makes an engine of a configuration in which addresses were replaced, as
// by strings.NewReplacer, and which change then changes.
func load(t *testing.T, file string, change func(*providers.Config), replace ...string) (*authz.Engine, *config.Config) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := config.Parse(file, text, variable); err != nil {
		t.Fatalf("as it stands: %v", err)
	}
	c, _, err := config.Parse(file, []byte(strings.NewReplacer(replace...).Replace(string(text))), variable)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&c.Providers[0])
	}
	policy := c.Policy()
	for _, settings := range c.Providers {
		p, err := providers.New(settings, providers.Env{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		policy.Providers = append(policy.Providers, authz.NamedProvider{Name: settings.Name, Provider: p})
	}
	cache, err := authz.NewCache(authz.CacheLimits{})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := authz.New(policy, cache, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return engine, c
}

// variable stands in for the environment: the secrets of the recorded answers.
func variable(name string) (string, bool) {
	secret, ok := map[string]string{
		"GITHUB_CLIENT_SECRET": "gh-secret", "FACEBOOK_APP_SECRET": "fb-secret", "OKTA_CLIENT_SECRET": "okta-secret",
		"OAUTH2_CLIENT_SECRET": "s:cret /", "GITLAB_CLIENT_SECRET": "gloas-secret", "SSO_CLIENT_SECRET": "any", "KEYCLOAK_SECRET": "any",
	}[name]
	return secret, ok
}

// issuerOf returns what must stand in a token as its issuer.
func issuerOf(c *config.Config, issuer *providertest.Issuer) string {
	if p := c.Providers[0]; p.Type == "keycloak" {
		return p.BaseURL + "/realms/" + p.Realm
	}
	return issuer.URL
}

// await decides as soon as the provider's keys have come.
func await(t *testing.T, e *authz.Engine, q authz.Request) authz.Decision {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		if d := e.Decide(ctx, q); d.Outcome != authz.Undecided || ctx.Err() != nil {
			tick.Stop()
			return d
		}
		<-tick.C
	}
}

// TestEnvoyConfigurations lets the real Envoy read every envoy.yaml.
func TestEnvoyConfigurations(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*/envoy.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d configurations: %v", len(files), err)
	}
	for _, file := range files {
		if err := realtest.ValidateEnvoy(t, file); err != nil {
			t.Error(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, must := range []string{
			"failure_mode_allow: false", "normalize_path: true", "merge_slashes: true",
			"path_with_escaped_slashes_action: REJECT_REQUEST", "timeout:",
		} {
			if !strings.Contains(string(text), must) {
				t.Errorf("%s does not say %q", file, must)
			}
		}
	}
}

// TestKeycloakRealm imports the realm file into a real Keycloak: its tokens are
// good under the configuration beside it.
func TestKeycloakRealm(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("keycloak/realm.json")
	if err != nil {
		t.Fatal(err)
	}
	realm := realtest.Keycloak(t).ImportRealm(t, file)
	engine, _ := load(t, "keycloak/config.yaml", nil,
		keycloakKeys, realm.Issuer()+"/protocol/openid-connect/certs",
		"http://localhost:8180", realm.Keycloak.URL)
	ask := func(path, token string) authz.Decision {
		return await(t, engine, authz.Request{
			Method: "GET", Host: "localhost:10000", Path: path,
			Headers: []authz.Header{{Name: "authorization", Value: "Bearer " + token}},
		})
	}
	alice, bob, job := realm.UserToken(t, "wiki-cli", "alice"), realm.UserToken(t, "wiki-cli", "bob"), realm.ClientToken(t, "nightly-job")
	for _, c := range []struct {
		path, token string
		want        authz.Outcome
		user        string
	}{
		{"/rest/pages", alice, authz.Allowed, "alice"},
		{"/rest/pages", bob, authz.Allowed, "bob"},
		{"/rest/pages", job, authz.Allowed, "nightly-job"},
		{"/rest/admin/users", alice, authz.Allowed, "alice"},
		{"/rest/admin/users", bob, authz.Forbidden, "bob"},
		{"/rest/admin/users", job, authz.Forbidden, "nightly-job"},
		{"/rest/pages", alice[:len(alice)-4], authz.Unauthenticated, ""},
	} {
		d := ask(c.path, c.token)
		user := ""
		if d.Identity != nil {
			user = d.Identity.User
		}
		if d.Outcome != c.want || user != c.user {
			t.Errorf("%s: %v (%v %s) for %q, want %v for %q", c.path, d.Outcome, d.Reason, d.Detail, user, c.want, c.user)
		}
	}
}
