package providers

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
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

// TestEntraKeys: each version's keys are fetched from an address of its own.
func TestEntraKeys(t *testing.T) {
	asked := make(chan string, 8)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer server.Close()
	p, err := New(Config{
		Name: "x", Type: "entra", TenantID: "11111111-2222-3333-4444-555555555555", ClientID: "aaaaaaaa-0000-0000-0000-000000000001",
		Endpoints: Endpoints{Authority: server.URL},
	}, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	got := []string{<-asked, <-asked}
	slices.Sort(got)
	const base = "/11111111-2222-3333-4444-555555555555/discovery"
	if want := []string{base + "/keys", base + "/v2.0/keys"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestEntraClouds: whose issuers and which Graph go with which cloud, also where
// the login host is another one than the tokens name.
func TestEntraClouds(t *testing.T) {
	const tenant = "11111111-2222-3333-4444-555555555555"
	for name, c := range map[string]struct {
		c         Config
		issuers   []string
		authority string
		graph     string
	}{
		"global": {
			Config{},
			[]string{"https://login.microsoftonline.com/" + tenant + "/v2.0", "https://sts.windows.net/" + tenant + "/"},
			"https://login.microsoftonline.com", "https://graph.microsoft.com",
		},
		"US government": {
			Config{Cloud: "usgov"},
			[]string{"https://login.microsoftonline.us/" + tenant + "/v2.0", "https://sts.windows.net/" + tenant + "/"},
			"https://login.microsoftonline.us", "https://graph.microsoft.us",
		},
		"US defence": {
			Config{Cloud: "usgov", Endpoints: Endpoints{Graph: "https://dod-graph.microsoft.us/"}},
			[]string{"https://login.microsoftonline.us/" + tenant + "/v2.0", "https://sts.windows.net/" + tenant + "/"},
			"https://login.microsoftonline.us", "https://dod-graph.microsoft.us/",
		},
		"China": {
			Config{Cloud: "china"},
			[]string{"https://login.partner.microsoftonline.cn/" + tenant + "/v2.0", "https://sts.chinacloudapi.cn/" + tenant + "/"},
			"https://login.partner.microsoftonline.cn", "https://microsoftgraph.chinacloudapi.cn",
		},
		"China, the older host": {
			Config{Cloud: "china", Endpoints: Endpoints{Authority: "https://login.chinacloudapi.cn"}},
			[]string{"https://login.partner.microsoftonline.cn/" + tenant + "/v2.0", "https://sts.chinacloudapi.cn/" + tenant + "/"},
			"https://login.chinacloudapi.cn", "https://microsoftgraph.chinacloudapi.cn",
		},
	} {
		c.c.Type, c.c.TenantID, c.c.ClientID = "entra", strings.ToUpper(tenant), "aaaaaaaa-0000-0000-0000-000000000001"
		p := Prepare(c.c)
		if got := entraIssuers(p); !slices.Equal(got, c.issuers) || p.Endpoints.Authority != c.authority || p.Endpoints.Graph != c.graph {
			t.Errorf("%s: %v %+v", name, got, p.Endpoints)
		}
		for audience, want := range map[string]bool{
			strings.TrimSuffix(c.graph, "/"): true, c.graph + "/": !strings.HasSuffix(c.graph, "/"), graphID: true,
			"https://graph.microsoft.com.example.com": false, "api://" + p.ClientID: false,
		} {
			if got := graphAudience(p, audience); got != want {
				t.Errorf("%s: %s is Graph: %v", name, audience, got)
			}
		}
		if faults := Check(c.c); len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
		}
	}
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

func TestGitHubAPI(t *testing.T) {
	for base, want := range map[string]string{
		"":                         "https://api.github.com",
		"https://github.com/":      "https://api.github.com",
		"https://ghes.example.com": "https://ghes.example.com/api/v3",
		"https://corp.ghe.com":     "https://api.corp.ghe.com",
	} {
		if got := Prepare(Config{Type: "github", BaseURL: base}).Endpoints.API; got != want {
			t.Errorf("%q: %s, want %s", base, got, want)
		}
	}
}

// TestWarnings: what is weaker than it looks is said.
func TestWarnings(t *testing.T) {
	for name, c := range map[string]struct {
		c   Config
		key string // "": no warning
	}{
		"github":          {Config{Type: "github"}, ""},
		"github personal": {Config{Type: "github", AllowPersonalTokens: true}, "allow_personal_tokens"},
		"entra":           {Config{Type: "entra"}, ""},
		"entra email":     {Config{Type: "entra", Username: []string{"oid", "email"}}, "username"},
		"entra tenants":   {Config{Type: "entra", TenantID: "organizations", Transform: []string{"strip_domain"}}, "transform"},
		"entra strip":     {Config{Type: "entra", Transform: []string{"strip_domain"}}, ""},
		"entra graph":     {Config{Type: "entra", Validation: "profile"}, "validation"},
		"slack":           {Config{Type: "slack", AllowBots: true, AllowedClients: []string{"A1"}}, "allowed_teams"},
		"gitlab personal": {Config{Type: "gitlab", AllowPersonalTokens: true}, "allow_personal_tokens"},
		"any app":         {Config{Type: "oauth2", AppBinding: "none"}, "app_binding"},
	} {
		warnings := Warnings(c.c)
		if c.key == "" && len(warnings) > 0 || c.key != "" && (len(warnings) != 1 || warnings[0].Key != c.key) {
			t.Errorf("%s: %v", name, warnings)
		}
	}
}

// TestSettings looks at the form of the settings of hosted providers: each wrong
// one is told under its key.
func TestSettings(t *testing.T) {
	okta := Config{Name: "x", Type: "okta", Domain: "dev-1.okta.com", AuthorizationServer: "default", ClientID: "0oa1", ClientSecret: authz.NewSecret("s")}
	cognito := Config{Name: "x", Type: "cognito", UserPoolID: "eu-west-1_Ab1", ClientID: "c"}
	google := Config{Name: "x", Type: "google", ClientID: "1-a.apps.googleusercontent.com"}
	github := Config{Name: "x", Type: "github", ClientID: "Iv1.1", ClientSecret: authz.NewSecret("s")}
	entra := Config{Name: "x", Type: "entra", TenantID: "11111111-2222-3333-4444-555555555555", ClientID: "aaaaaaaa-0000-0000-0000-000000000001"}
	slack := Config{Name: "x", Type: "slack", AllowedTeams: []string{"T0123ABC"}}
	gitlab := Config{Name: "x", Type: "gitlab", ClientID: "5f1c"}
	facebook := Config{Name: "x", Type: "facebook", ClientID: "1234567890", ClientSecret: authz.NewSecret("s")}
	for name, c := range map[string]struct {
		base   Config
		change func(*Config)
		key    string // of the one fault; "": none
	}{
		"okta":                  {okta, func(*Config) {}, ""},
		"okta org":              {okta, func(c *Config) { c.AuthorizationServer = "" }, ""},
		"okta org, jwt":         {okta, func(c *Config) { c.AuthorizationServer, c.Validation = "", "jwt" }, "validation"},
		"okta org, no secret":   {okta, func(c *Config) { c.AuthorizationServer, c.ClientSecret = "", authz.Secret{} }, "client_secret"},
		"okta, no audience":     {okta, func(c *Config) { c.AuthorizationServer = "aus1" }, "audiences"},
		"okta admin":            {okta, func(c *Config) { c.Domain = "dev-1-admin.okta.com" }, "domain"},
		"okta URL":              {okta, func(c *Config) { c.Domain = "https://dev-1.okta.com" }, "domain"},
		"okta none":             {okta, func(c *Config) { c.Domain, c.AuthorizationServer = "", "" }, "domain"},
		"okta server URL":       {okta, func(c *Config) { c.AuthorizationServer, c.Audiences = "https://x/oauth2/aus1", []string{"a"} }, "authorization_server"},
		"cognito":               {cognito, func(*Config) {}, ""},
		"cognito none":          {cognito, func(c *Config) { c.UserPoolID = "" }, "user_pool_id"},
		"cognito name":          {cognito, func(c *Config) { c.UserPoolID = "my pool" }, "user_pool_id"},
		"cognito region":        {cognito, func(c *Config) { c.Region = "us-east-1" }, "region"},
		"cognito gov":           {cognito, func(c *Config) { c.UserPoolID = "us-gov-west-1_Ab1" }, ""},
		"cognito no client":     {cognito, func(c *Config) { c.ClientID = "" }, "audiences"},
		"cognito introspection": {cognito, func(c *Config) { c.Validation = "introspection" }, "validation"},
		"cognito profile":       {cognito, func(c *Config) { c.Validation = "profile" }, "domain"},
		"cognito domain":        {cognito, func(c *Config) { c.Domain = "https://x.auth.eu-west-1.amazoncognito.com" }, "domain"},
		"google":                {google, func(*Config) {}, ""},
		"google none":           {google, func(c *Config) { c.ClientID = "" }, "client_id"},
		"google number":         {google, func(c *Config) { c.ClientID = "1234567890" }, "client_id"},
		"google domain":         {google, func(c *Config) { c.HostedDomains = []string{"@example.com"} }, "hosted_domains[0]"},
		"google introspection":  {google, func(c *Config) { c.Validation = "introspection" }, "validation"},
		"github":                {github, func(*Config) {}, ""},
		"github no client":      {github, func(c *Config) { c.ClientID = "" }, "client_id"},
		"github path":           {github, func(c *Config) { c.ClientID = "a/b" }, "client_id"},
		"github no secret":      {github, func(c *Config) { c.ClientSecret = authz.Secret{} }, "client_secret"},
		"github http":           {github, func(c *Config) { c.Endpoints.API = "http://ghes.example.com/api/v3" }, "endpoints.api"},
		"github profile":        {github, func(c *Config) { c.Validation = "profile" }, "validation"},
		"entra":                 {entra, func(*Config) {}, ""},
		"entra no tenant":       {entra, func(c *Config) { c.TenantID = "" }, "tenant_id"},
		"entra domain":          {entra, func(c *Config) { c.TenantID = "contoso.onmicrosoft.com" }, "tenant_id"},
		"entra common":          {entra, func(c *Config) { c.TenantID = "common" }, "allowed_tenants"},
		"entra organizations": {entra, func(c *Config) {
			c.TenantID, c.AllowedTenants = "organizations", []string{"11111111-2222-3333-4444-555555555555"}
		}, ""},
		"entra tenants":         {entra, func(c *Config) { c.AllowedTenants = []string{"11111111-2222-3333-4444-555555555555"} }, "allowed_tenants"},
		"entra tenant name":     {entra, func(c *Config) { c.TenantID, c.AllowedTenants = "common", []string{"contoso.com"} }, "allowed_tenants[0]"},
		"entra client":          {entra, func(c *Config) { c.ClientID = "jira" }, "client_id"},
		"entra cloud":           {entra, func(c *Config) { c.Cloud = "germany" }, "cloud"},
		"entra no binding":      {entra, func(c *Config) { c.ClientID = "" }, "audiences"},
		"entra graph audience":  {entra, func(c *Config) { c.Audiences = []string{"https://graph.microsoft.com/"} }, "audiences[0]"},
		"entra graph":           {entra, func(c *Config) { c.Validation = "profile" }, ""},
		"entra graph no client": {entra, func(c *Config) { c.Validation, c.ClientID, c.Audiences = "profile", "", []string{"a"} }, "client_id"},
		"entra introspection":   {entra, func(c *Config) { c.Validation = "introspection" }, "validation"},
		"slack":                 {slack, func(*Config) {}, ""},
		"slack no team":         {slack, func(c *Config) { c.AllowedTeams = nil }, "allowed_teams"},
		"slack team name":       {slack, func(c *Config) { c.AllowedTeams = []string{"corp"} }, "allowed_teams[0]"},
		"slack apps":            {slack, func(c *Config) { c.AllowedClients = []string{"A0123"} }, "allowed_clients[0]"},
		"slack bots":            {slack, func(c *Config) { c.AllowedClients, c.AllowBots = []string{"A0123"}, true }, ""},
		"slack client":          {slack, func(c *Config) { c.AllowedClients, c.AllowBots = []string{"123.456"}, true }, "allowed_clients[0]"},
		"slack jwt":             {slack, func(c *Config) { c.Validation = "jwt" }, "validation"},
		"gitlab":                {gitlab, func(*Config) {}, ""},
		"gitlab no client":      {gitlab, func(c *Config) { c.ClientID = "" }, "client_id"},
		"gitlab introspection":  {gitlab, func(c *Config) { c.Validation = "introspection" }, "client_secret"},
		"gitlab jwt":            {gitlab, func(c *Config) { c.Validation = "jwt" }, "validation"},
		"gitlab http": {gitlab, func(c *Config) {
			c.BaseURL, c.Endpoints = "https://git.example.com", Endpoints{Userinfo: "http://git.example.com/u"}
		}, "endpoints.userinfo"},
		"facebook":           {facebook, func(*Config) {}, ""},
		"facebook name":      {facebook, func(c *Config) { c.ClientID = "our-app" }, "client_id"},
		"facebook no secret": {facebook, func(c *Config) { c.ClientSecret = authz.Secret{} }, "client_secret"},
		"facebook version":   {facebook, func(c *Config) { c.APIVersion = "23" }, "api_version"},
		"facebook profile":   {facebook, func(c *Config) { c.Validation = "profile" }, "validation"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := c.base
			c.change(&settings)
			faults := Check(settings)
			if c.key == "" && len(faults) > 0 || c.key != "" && (len(faults) != 1 || faults[0].Key != c.key) {
				t.Errorf("%v, want one fault at %q", faults, c.key)
			}
		})
	}
}

// TestFaultsSayWhere: whatever is missing or malformed among the settings that
// stand in a provider's console is told with the place.
func TestFaultsSayWhere(t *testing.T) {
	halves := map[string]Config{
		"okta": {Domain: "dev.okta.com", AuthorizationServer: "a/b"}, "cognito": {UserPoolID: "eu-west-1_Ab1", Region: "us-east-1"},
	}
	for _, k := range Kinds() {
		told := map[string]bool{}
		junk := Config{
			Type: k.Type, ClientID: "a b/c", ClientAuth: "basic", TenantID: "x", AllowedTenants: []string{"x"}, Domain: "https://x", AuthorizationServer: "a/b",
			UserPoolID: "x", Region: "y", HostedDomains: []string{"@x"}, AllowedTeams: []string{"x"}, AllowedClients: []string{"x"}, APIVersion: "x",
			Issuer: "x", BaseURL: "x",
		}
		v := reflect.ValueOf(&junk).Elem()
		for i := range v.NumField() {
			if key := v.Type().Field(i).Tag.Get("yaml"); !slices.Contains(commonKeys, key) && !slices.Contains(k.Keys, key) {
				v.Field(i).SetZero()
			}
		}
		for _, c := range []Config{{Type: k.Type}, {Type: k.Type, Validation: "introspection"}, {Type: k.Type, Validation: "profile"}, junk, halves[k.Type]} {
			c.Type = k.Type
			for _, f := range Check(c) {
				key, _, _ := strings.Cut(f.Key, "[")
				told[key] = true
				switch place := k.Places[key]; {
				case key == "validation" || key == "app_binding" || key == "cloud": // our own words, in no console
				case place == "" && (key == "base_url" || strings.HasPrefix(key, "endpoints.")): // of the administrator's own server
				case place == "":
					t.Errorf("%s: nothing says where %s stands: %s", k.Type, f.Key, f.Problem)
				case !strings.HasSuffix(f.Problem, "; it stands "+place) || strings.Count(f.Problem, "it stands") != 1:
					t.Errorf("%s: %s: %s", k.Type, f.Key, f.Problem)
				}
			}
		}
		if len(told) == 0 {
			t.Errorf("%s: nothing is asked for", k.Type)
		}
		for key := range k.Places {
			if !told[key] && !slices.Contains([]string{"client_secret", "client_key", "audiences", "allowed_clients", "realm", "issuer", "endpoints.userinfo"}, key) {
				t.Errorf("%s: where %s stands is never told", k.Type, key)
			}
		}
	}
}
