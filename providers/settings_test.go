package providers

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/authz"
)

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
