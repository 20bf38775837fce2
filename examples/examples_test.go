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
	"github.com/gatelodge/gatelodge/providers"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// TestConfigurationsDecide loads every config.yaml, with an issuer of the test
// in the place of the real one, and asks about a request that is to pass and
// one that is not.
func TestConfigurationsDecide(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*/config.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("found %d configurations: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Dir(file), func(t *testing.T) {
			t.Parallel()
			issuer := providertest.NewIssuer(t)
			engine, c := load(t, file,
				"https://sso.example.com", issuer.URL,
				"http://localhost:8180", issuer.URL,
				keycloakKeys, issuer.URL+"/keys")
			token := issuer.Token("alice", map[string]any{"aud": c.Providers[0].Audiences[0], "iss": issuerOf(c, issuer), "typ": "Bearer"})
			request := authz.Request{
				Method: "GET", Host: "api.example.com", Path: "/rest/pages",
				Headers: []authz.Header{{Name: "authorization", Value: "Bearer " + token}},
			}
			if d := await(t, engine, request); d.Outcome != authz.Allowed || d.Identity == nil || d.Identity.User != "alice" {
				t.Errorf("a good token: %v, %v %s", d.Outcome, d.Reason, d.Detail)
			}
			request.Headers[0].Value += "x"
			if d := engine.Decide(t.Context(), request); d.Outcome != authz.Unauthenticated {
				t.Errorf("a broken token: %v, %v", d.Outcome, d.Reason)
			}
			request.Headers = nil
			if d := engine.Decide(t.Context(), request); d.Outcome != authz.Unauthenticated {
				t.Errorf("no token: %v, %v", d.Outcome, d.Reason)
			}
		})
	}
}

// keycloakKeys is where the containers of docker-compose.yml find the keys.
const keycloakKeys = "http://keycloak:8080/realms/corp/protocol/openid-connect/certs"

// load makes an engine of a configuration in which addresses were replaced, as
// by strings.NewReplacer.
func load(t *testing.T, file string, replace ...string) (*authz.Engine, *config.Config) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := config.Parse(file, text, noVariable); err != nil {
		t.Fatalf("as it stands: %v", err)
	}
	c, _, err := config.Parse(file, []byte(strings.NewReplacer(replace...).Replace(string(text))), noVariable)
	if err != nil {
		t.Fatal(err)
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

func noVariable(string) (string, bool) { return "", false }

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
	engine, _ := load(t, "keycloak/config.yaml",
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
