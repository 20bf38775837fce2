package providers

import (
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

func TestConformanceOkta(t *testing.T) {
	org := Config{
		Type: "okta", Domain: "dev-123456.okta.com", ClientID: "0oa1a2b3c4d5e6f7g8h9", ClientSecret: authz.NewSecret("okta-secret"),
		Accounts: map[string]string{"0oabatch": "robot"},
	}
	t.Run("custom", func(t *testing.T) {
		providertest.Run(t, providertest.Harness{
			Dir: "testdata/okta", Signed: true, LeftOut: signedLeftOut(),
			New: with(func(s *providertest.Server, variation string) Config {
				c := org
				c.AuthorizationServer, c.Endpoints.JWKS = "default", s.URL+"/keys"
				if variation != "any-client" {
					c.AllowedClients = []string{c.ClientID, "0oabatch"}
				}
				return c
			}),
		})
	})
	t.Run("org", func(t *testing.T) {
		providertest.Run(t, providertest.Harness{
			Dir: "testdata/okta/org", CatchAll: true, Secrets: []string{"okta-secret"},
			New: with(func(s *providertest.Server, _ string) Config {
				c := org
				c.Endpoints.Introspection = s.URL + "/oauth2/v1/introspect"
				c.Accounts = map[string]string{c.ClientID: "robot"}
				return c
			}),
		})
	})
}

func TestConformanceCognito(t *testing.T) {
	pool := func(s *providertest.Server, variation string) Config {
		c := Config{
			Type: "cognito", UserPoolID: "eu-west-1_AbCdEf123", AllowedClients: []string{"4kdcmi1example", "1batchexample"},
			Accounts: map[string]string{"1batchexample": "robot"}, Endpoints: Endpoints{JWKS: s.URL + "/keys"},
		}
		switch variation {
		case "audience":
			c.Audiences = []string{"https://api.example.com"}
		case "china":
			c.UserPoolID = "cn-north-1_AbCdEf123"
		}
		return c
	}
	t.Run("jwt", func(t *testing.T) {
		providertest.Run(t, providertest.Harness{Dir: "testdata/cognito", Signed: true, LeftOut: signedLeftOut(), New: with(pool)})
	})
	t.Run("profile", func(t *testing.T) {
		providertest.Run(t, providertest.Harness{
			Dir: "testdata/cognito/profile", Signed: true,
			New: with(func(s *providertest.Server, variation string) Config {
				c := pool(s, variation)
				c.Validation, c.Endpoints.Userinfo = "profile", s.URL+"/oauth2/userInfo"
				return c
			}),
		})
	})
}

func TestConformanceGoogle(t *testing.T) {
	const number = "104242424242424242424"
	base := Config{Type: "google", ClientID: "1234567890-abc123.apps.googleusercontent.com", Accounts: map[string]string{number: "robot"}}
	t.Run("tokeninfo", func(t *testing.T) {
		providertest.Run(t, providertest.Harness{
			Dir: "testdata/google", Prefixes: []string{"ya29."},
			New: with(func(s *providertest.Server, variation string) Config {
				c := base
				c.Endpoints = Endpoints{TokenInfo: s.URL + "/tokeninfo", Userinfo: s.URL + "/v1/userinfo"}
				switch variation {
				case "domain":
					c.HostedDomains = []string{"example.com"}
				case "subject":
					c.Username = []string{"email", "sub"}
				case "account", "unmapped":
					c.AllowedClients = []string{c.ClientID, number}
				}
				if variation == "unmapped" {
					c.Accounts = nil
				}
				return c
			}),
		})
	})
	t.Run("id", func(t *testing.T) {
		providertest.Run(t, providertest.Harness{
			Dir: "testdata/google/id", Signed: true, LeftOut: signedLeftOut(),
			New: with(func(s *providertest.Server, _ string) Config {
				c := base
				c.Validation, c.HostedDomains, c.Endpoints.JWKS = "jwt", []string{"example.com"}, s.URL+"/keys"
				return c
			}),
		})
	})
}

func TestConformanceGitHub(t *testing.T) {
	providertest.Run(t, providertest.Harness{
		Dir: "testdata/github", Prefixes: []string{"gho_", "ghu_"}, Secrets: []string{"gh-secret"},
		New: with(func(s *providertest.Server, variation string) Config {
			c := Config{Type: "github", ClientID: "Iv1.0123456789abcdef", ClientSecret: authz.NewSecret("gh-secret"), Endpoints: Endpoints{API: s.URL}}
			switch variation {
			case "personal":
				c.AllowPersonalTokens = true
			case "groups":
				c.Groups = []string{"organizations", "teams"}
			case "email":
				c.Username = []string{"email"}
			}
			return c
		}),
	})
}

func TestConformanceEntra(t *testing.T) {
	const (
		tenant, second = "11111111-2222-3333-4444-555555555555", "22222222-3333-4444-5555-666666666666"
		api, app       = "aaaaaaaa-0000-0000-0000-000000000001", "bbbbbbbb-0000-0000-0000-000000000002"
		batch          = "cccccccc-0000-0000-0000-000000000003"
	)
	t.Run("jwt", func(t *testing.T) {
		providertest.Run(t, providertest.Harness{
			Dir: "testdata/entra", Signed: true, LeftOut: signedLeftOut(),
			New: with(func(s *providertest.Server, variation string) Config {
				c := Config{
					Type: "azure-ad", TenantID: tenant, ClientID: strings.ToUpper(api), Accounts: map[string]string{batch: "robot"},
					Endpoints: Endpoints{JWKS: s.URL + "/keys"},
				}
				switch variation {
				case "slash":
					c.Audiences = []string{"api://" + api + "/"}
				case "clients":
					c.AllowedClients = []string{app}
				case "organizations":
					c.TenantID, c.AllowedTenants = variation, []string{tenant, second}
				case "consumers":
					c.TenantID = variation
				case "email":
					c.Username = []string{"email"}
				case "email-organizations":
					c.Username, c.TenantID, c.AllowedTenants = []string{"email"}, "organizations", []string{tenant, second}
				case "usgov", "china":
					c.Cloud = variation
				case "issuer":
					c.Issuer = "https://corp.ciamlogin.com/" + tenant + "/v2.0"
				}
				return c
			}),
		})
	})
	t.Run("graph", func(t *testing.T) {
		providertest.Run(t, providertest.Harness{
			Dir: "testdata/entra/graph",
			New: with(func(s *providertest.Server, variation string) Config {
				c := Config{Type: "entra", TenantID: tenant, ClientID: app, Validation: "profile", Endpoints: Endpoints{Graph: s.URL}}
				if variation == "groups" {
					c.Groups = []string{"groups"}
				}
				return c
			}),
		})
	})
}

func TestConformanceSlack(t *testing.T) {
	for _, validation := range []string{"", "profile"} {
		t.Run(validation, func(t *testing.T) {
			providertest.Run(t, providertest.Harness{
				Dir: "testdata/slack/" + validation, Prefixes: []string{"xoxp-", "xoxb-"},
				New: with(func(s *providertest.Server, variation string) Config {
					c := Config{
						Type: "slack", Validation: validation, AllowedTeams: []string{"T12345678", "E12345678"},
						Accounts: map[string]string{"A12345678": "robot", "B12345678": "robot"}, Endpoints: Endpoints{API: s.URL + "/api"},
					}
					switch variation {
					case "bots":
						c.AllowBots, c.AllowedClients = true, []string{"A12345678"}
					case "any-bot":
						c.AllowBots = true
					}
					return c
				}),
			})
		})
	}
}

func TestConformanceGitLab(t *testing.T) {
	app := strings.Repeat("5f1c0a7e", 8)
	for _, validation := range []string{"", "introspection"} {
		t.Run(validation, func(t *testing.T) {
			providertest.Run(t, providertest.Harness{
				Dir: "testdata/gitlab/" + validation, CatchAll: true, Secrets: []string{"gloas-secret"},
				New: with(func(s *providertest.Server, variation string) Config {
					c := Config{Type: "gitlab", BaseURL: s.URL + "/", ClientID: app, ClientSecret: authz.NewSecret("gloas-secret"), Validation: validation}
					switch variation {
					case "personal":
						c.AllowPersonalTokens = true
					case "accounts":
						c.Accounts = map[string]string{app: "robot"}
					}
					return c
				}),
			})
		})
	}
}

func TestConformanceFacebook(t *testing.T) {
	providertest.Run(t, providertest.Harness{
		Dir: "testdata/facebook", CatchAll: true, InQuery: true, Secrets: []string{"fb-secret"},
		New: with(func(s *providertest.Server, variation string) Config {
			c := Config{Type: "facebook", ClientID: "1234567890", ClientSecret: authz.NewSecret("fb-secret"), Endpoints: Endpoints{Graph: s.URL}}
			if variation == "accounts" {
				c.Accounts = map[string]string{"1234567890": "robot"}
			}
			return c
		}),
	})
}
