package providers

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/authz"
)

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

// TestSignIn: where tokens are fetched, as far as no metadata says it.
func TestSignIn(t *testing.T) {
	const tenant = "11111111-2222-3333-4444-555555555555"
	microsoft := "https://login.microsoftonline.com/"
	for name, c := range map[string]struct {
		c    Config
		want Endpoints
	}{
		"entra": {Config{Type: "entra", TenantID: tenant}, Endpoints{
			Issuer: microsoft + tenant + "/v2.0", Discovery: microsoft + tenant + "/v2.0/.well-known/openid-configuration",
		}},
		"entra, organizations": {Config{Type: "entra", TenantID: "organizations", AllowedTenants: []string{tenant}}, Endpoints{
			Authorization: microsoft + "organizations/oauth2/v2.0/authorize", Token: microsoft + "organizations/oauth2/v2.0/token",
			DeviceAuthorization: microsoft + "organizations/oauth2/v2.0/devicecode",
		}},
		"entra, China": {Config{Type: "entra", TenantID: tenant, Cloud: "china"}, Endpoints{
			Issuer:    "https://login.partner.microsoftonline.cn/" + tenant + "/v2.0",
			Discovery: "https://login.partner.microsoftonline.cn/" + tenant + "/v2.0/.well-known/openid-configuration",
		}},
		"keycloak":            {Config{Type: "keycloak", BaseURL: "https://sso.example.com/auth/", Realm: "corp"}, Endpoints{Issuer: "https://sso.example.com/auth/realms/corp"}},
		"okta":                {Config{Type: "okta", Domain: "dev-1.okta.com"}, Endpoints{Issuer: "https://dev-1.okta.com"}},
		"okta, own server":    {Config{Type: "okta", Domain: "dev-1.okta.com", AuthorizationServer: "aus1"}, Endpoints{Issuer: "https://dev-1.okta.com/oauth2/aus1"}},
		"cognito":             {Config{Type: "cognito", UserPoolID: "eu-west-1_Ab1"}, Endpoints{Issuer: "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1"}},
		"cognito, government": {Config{Type: "cognito", UserPoolID: "us-gov-west-1_Ab1"}, Endpoints{Issuer: "https://cognito-idp.us-gov-west-1.amazonaws.com/us-gov-west-1_Ab1"}},
		"google":              {Config{Type: "google"}, Endpoints{Issuer: "https://accounts.google.com"}},
		"github": {Config{Type: "github"}, Endpoints{
			Authorization: "https://github.com/login/oauth/authorize", Token: "https://github.com/login/oauth/access_token", DeviceAuthorization: "https://github.com/login/device/code",
		}},
		"github, own server": {Config{Type: "github", BaseURL: "https://ghes.example.com/"}, Endpoints{
			Authorization: "https://ghes.example.com/login/oauth/authorize", Token: "https://ghes.example.com/login/oauth/access_token", DeviceAuthorization: "https://ghes.example.com/login/device/code",
		}},
		"slack":    {Config{Type: "slack"}, Endpoints{Authorization: "https://slack.com/openid/connect/authorize", Token: "https://slack.com/api/openid.connect.token"}},
		"gitlab":   {Config{Type: "gitlab", BaseURL: "https://git.example.com/gitlab/"}, Endpoints{Issuer: "https://git.example.com/gitlab"}},
		"facebook": {Config{Type: "facebook"}, Endpoints{Authorization: "https://www.facebook.com/v23.0/dialog/oauth", Token: "https://graph.facebook.com/v23.0/oauth/access_token"}},
		"oidc":     {Config{Type: "oidc", Issuer: "https://sso.example.com"}, Endpoints{Issuer: "https://sso.example.com"}},
		"oauth2":   {Config{Type: "oauth2", Issuer: "https://sso.example.com"}, Endpoints{Issuer: "https://sso.example.com"}},
	} {
		k, ok := Find(c.c.Type)
		if !ok {
			t.Fatal(c.c.Type)
		}
		if got := k.SignIn(Prepare(c.c)); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestIntrospectionPlaces: where a server of several is asked.
func TestIntrospectionPlaces(t *testing.T) {
	secret := authz.NewSecret("s")
	for want, c := range map[string]Config{
		"https://dev-1.okta.com/oauth2/v1/introspect":      {Type: "okta", Domain: "dev-1.okta.com"},
		"https://dev-1.okta.com/oauth2/aus1/v1/introspect": {Type: "okta", Domain: "dev-1.okta.com", AuthorizationServer: "aus1", Validation: "introspection"},
		"https://inner.example.com/auth/realms/corp/protocol/openid-connect/token/introspect": {
			Type: "keycloak", BaseURL: "https://inner.example.com/auth", Realm: "corp", Issuer: "https://sso.example.com/realms/corp", Validation: "introspection",
		},
		"https://sso.example.com/realms/corp/protocol/openid-connect/token/introspect": {Type: "keycloak", Issuer: "https://sso.example.com/realms/corp", Validation: "introspection"},
		"https://sso.example.com/ask": {Type: "oidc", Issuer: "https://sso.example.com", Validation: "introspection", Endpoints: Endpoints{Introspection: "https://sso.example.com/ask"}},
	} {
		c.Name, c.ClientID, c.ClientSecret = "x", "api", secret
		p, err := New(c, testEnv())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.(*introspected).introspector.locate(t.Context()); err != nil || got != want {
			t.Errorf("%s %v, want %s", got, err, want)
		}
		p.Close()
	}
}
