package providers

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

// with sets up a kind for the suite: settings gives the Config of a variation.
func with(settings func(s *providertest.Server, variation string) Config) func(testing.TB, *providertest.Server, string, *slog.Logger) providertest.Subject {
	return func(t testing.TB, s *providertest.Server, variation string, log *slog.Logger) providertest.Subject {
		t.Helper()
		c := settings(s, variation)
		c.Name, c.CAFile, c.Timeout = "under-test", s.CAFile, s.Timeout
		if faults := Check(c); len(faults) > 0 {
			t.Fatalf("settings %q: %v", variation, faults)
		}
		p, err := New(c, Env{Now: time.Now, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		return providertest.Subject{
			Provider: p, Close: p.Close,
			Attributes: func(ctx context.Context, c authz.Credential) (map[string]any, error) { return p.Attributes(ctx, c) },
			Status:     func() (bool, bool, string) { st := p.Status(); return st.Ready, st.Misconfigured, st.Detail },
		}
	}
}

// signedLeftOut are the cases that a provider of signed tokens cannot have.
func signedLeftOut() map[string]string {
	return map[string]string{
		"revoked":       "a signed token is good until it ends",
		"throttled":     "nobody is asked about a token",
		"misconfigured": "nobody is asked about a token",
	}
}

func TestConformanceKeycloak(t *testing.T) {
	realm := Config{
		Type: "keycloak", Issuer: "https://sso.example.com/realms/corp", Audiences: []string{"jira-api"}, Accounts: map[string]string{"Batch": "robot"},
	}
	t.Run("jwt", func(t *testing.T) {
		providertest.Run(t, providertest.Harness{
			Dir: "testdata/keycloak", Signed: true, LeftOut: signedLeftOut(),
			New: with(func(s *providertest.Server, _ string) Config {
				c := realm
				c.Endpoints.JWKS = s.URL + "/keys"
				return c
			}),
		})
	})
	t.Run("introspection", func(t *testing.T) {
		providertest.Run(t, providertest.Harness{
			Dir: "testdata/keycloak/introspection", Secrets: []string{"kc-secret"},
			New: with(func(s *providertest.Server, _ string) Config {
				c := realm
				c.Validation, c.BaseURL, c.Realm = "introspection", s.URL, "corp"
				c.ClientID, c.ClientSecret = "jira-api", authz.NewSecret("kc-secret")
				return c
			}),
		})
	})
}

func TestConformanceOAuth2(t *testing.T) {
	providertest.Run(t, providertest.Harness{
		Dir: "testdata/oauth2", CatchAll: true, Secrets: []string{"s:cret /"},
		New: with(func(s *providertest.Server, variation string) Config {
			c := Config{
				Type: "oauth2", Issuer: "https://sso.example.com", ClientID: "api:1", ClientSecret: authz.NewSecret("s:cret /"),
				Audiences: []string{"https://api.example.com"}, AllowedClients: []string{"app-1"},
				Accounts: map[string]string{"app-1": "robot"}, Endpoints: Endpoints{Introspection: s.URL + "/introspect"},
			}
			switch variation {
			case "post", "bearer":
				c.ClientAuth = variation
			case "userinfo":
				c.Endpoints.Userinfo = s.URL + "/userinfo"
			case "profile":
				c.Endpoints = Endpoints{Userinfo: s.URL + "/userinfo"}
				c.AppBinding = "none"
			case "unmapped":
				c.Accounts = nil
			}
			return c
		}),
	})
}
