package providers

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
)

// entra checks the access tokens that Microsoft Entra ID issues for an API of
// ours, of either version, by their signature; with validation: profile it takes
// tokens for Microsoft Graph instead and asks Graph, see graph.go
// (https://learn.microsoft.com/entra/identity-platform/access-tokens).
var entra = Kind{
	Type:     "entra",
	Aliases:  []string{"azure-ad"},
	Keys:     []string{"tenant_id", "allowed_tenants", "cloud", "issuer"},
	Defaults: entraDefaults,
	Check:    checkEntra,
	Places: map[string]string{
		"tenant_id":       "under Entra ID → App registrations → the app → Overview, as Directory (tenant) ID",
		"client_id":       "under Entra ID → App registrations → the app → Overview, as Application (client) ID",
		"audiences":       "under Entra ID → App registrations → the app → Expose an API, as Application ID URI",
		"issuer":          "in the OpenID Connect metadata document (App registrations → Endpoints), as issuer",
		"allowed_tenants": "under Entra ID → Overview of each directory, as Tenant ID",
		"allowed_clients": "under Entra ID → App registrations → the calling app → Overview, as Application (client) ID",
	},
	Warn:   warnEntra,
	Shape:  func(c Config) Shape { return Shape{Issuers: entraIssuers(c)} },
	SignIn: entraSignIn,
	New:    newEntra,
}

// entraCloud is one of Microsoft's clouds
// (https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud).
type entraCloud struct{ login, sts, graph string }

var entraClouds = map[string]entraCloud{
	"global": {"https://login.microsoftonline.com", "https://sts.windows.net", "https://graph.microsoft.com"},
	"usgov":  {"https://login.microsoftonline.us", "https://sts.windows.net", "https://graph.microsoft.us"},
	"china":  {"https://login.partner.microsoftonline.cn", "https://sts.chinacloudapi.cn", "https://microsoftgraph.chinacloudapi.cn"},
}

// personalTenant is where all personal accounts live.
const personalTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"

func entraDefaults(c *Config) {
	setDefault(&c.Cloud, "global")
	c.TenantID = strings.ToLower(c.TenantID)
	if c.TenantID == "consumers" {
		c.TenantID = personalTenant
	}
	c.ClientID = strings.ToLower(c.ClientID)
	c.AllowedTenants, c.AllowedClients = lowercase(c.AllowedTenants), lowercase(c.AllowedClients)
	if len(c.Audiences) == 0 && c.ClientID != "" {
		c.Audiences = []string{c.ClientID, "api://" + c.ClientID}
	}
	cloud := entraClouds[c.Cloud]
	setDefault(&c.Endpoints.Authority, cloud.login)
	setDefault(&c.Endpoints.Graph, cloud.graph)
}

// lowercase: ids are the same in either case, and stand in tokens in this one.
func lowercase(list []string) (lower []string) {
	for _, s := range list {
		lower = append(lower, strings.ToLower(s))
	}
	return lower
}

// entraTenants are the directories whose tokens are taken.
func entraTenants(c Config) []string {
	if entraShared(c.TenantID) {
		return c.AllowedTenants
	}
	return []string{c.TenantID}
}

// entraShared reports whether the tenant is none, but the door to many.
func entraShared(tenant string) bool { return tenant == "common" || tenant == "organizations" }

// entraIssuers are the issuers of both versions of the tokens of each tenant:
// the template of common and organizations, filled in with those alone that are
// allowed. A token's own word is never built into an address.
func entraIssuers(c Config) (list []string) {
	if issuer := issuerOf(c); issuer != "" {
		return []string{issuer}
	}
	cloud := entraClouds[c.Cloud]
	for _, t := range entraTenants(c) {
		list = append(list, cloud.login+"/"+t+"/v2.0", cloud.sts+"/"+t+"/")
	}
	return list
}

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func checkEntra(c Config) []authz.Fault {
	_, mapping := newMapper(c, "")
	faults := slices.Concat(endpointFaults(c), bindingFault(c), algorithmFaults(c), mapping)
	add := func(key, format string, args ...any) {
		faults = append(faults, authz.Fault{Key: key, Problem: fmt.Sprintf(format, args...)})
	}
	switch {
	case c.TenantID == "":
		add("tenant_id", "is missing")
	case entraShared(c.TenantID) && len(c.AllowedTenants) == 0:
		add("allowed_tenants", "is missing: with tenant_id %s anybody's directory could issue tokens; list the tenant ids whose users are to come in", c.TenantID)
	case !entraShared(c.TenantID) && !guid.MatchString(c.TenantID):
		add("tenant_id", "%q is not a tenant id, as 11111111-2222-3333-4444-555555555555", c.TenantID)
	case !entraShared(c.TenantID) && len(c.AllowedTenants) > 0:
		add("allowed_tenants", "goes with tenant_id common or organizations alone")
	}
	for i, t := range c.AllowedTenants {
		if !guid.MatchString(t) {
			add(fmt.Sprintf("allowed_tenants[%d]", i), "%q is not a tenant id, as 11111111-2222-3333-4444-555555555555", t)
		}
	}
	if c.ClientID != "" && !guid.MatchString(c.ClientID) {
		add("client_id", "%q is not a client id, as 11111111-2222-3333-4444-555555555555", c.ClientID)
	}
	if _, known := entraClouds[c.Cloud]; !known {
		add("cloud", "%q is none of global, usgov, china", c.Cloud)
	}
	switch c.Validation {
	case "", "jwt":
		for i, a := range c.Audiences {
			if graphAudience(c, a) {
				add(fmt.Sprintf("audiences[%d]", i), "is Microsoft Graph: only Graph can check its tokens; register an API of your own (Expose an API), or take Graph's tokens with validation: profile")
			}
		}
	case "profile":
		if c.ClientID == "" && len(c.AllowedClients) == 0 {
			add("client_id", "is missing: a token for Graph does not say that it is for us, so it must be of our app")
		}
	default:
		faults = append(faults, validationFault(c, "jwt", "profile (Microsoft Graph)"))
	}
	return faults
}

// warnEntra: the ways in which one user could come to be taken for another.
func warnEntra(c Config) (warnings []authz.Fault) {
	add := func(key, problem string) { warnings = append(warnings, authz.Fault{Key: key, Problem: problem}) }
	if c.Validation == "profile" {
		add("validation", "profile takes tokens that were made for Microsoft Graph: that they are of our app is read from them, in a form that Microsoft may change; better register an API (Expose an API) and take tokens for that")
	}
	if slices.ContainsFunc(c.Username, func(path string) bool { return path == "email" || path == "mail" || path == "otherMails.0" }) {
		add("username", "an e-mail address can be given to another user, and be set by whoever runs a directory; add the optional claim xms_edov (App registrations → Token configuration), or take preferred_username")
	}
	if entraShared(c.TenantID) && slices.Contains(c.Transform, "strip_domain") {
		add("transform", "strip_domain makes one user of alice@a.example and alice@b.example, who are of different directories here")
	}
	return warnings
}

// entraSignIn: the metadata of a single directory names its true issuer; that
// of common and organizations has a template in its place.
func entraSignIn(c Config) Endpoints {
	base := c.Endpoints.Authority + "/" + c.TenantID
	if !entraShared(c.TenantID) {
		return Endpoints{Issuer: entraIssuers(c)[0], Discovery: base + "/v2.0/.well-known/openid-configuration"}
	}
	base += "/oauth2/v2.0/"
	return Endpoints{Authorization: base + "authorize", Token: base + "token", DeviceAuthorization: base + "devicecode"}
}
