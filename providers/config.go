package providers

import (
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// Config holds the settings of one provider as they stand in the file; the
// yaml names are its keys. Which keys a kind understands, and which it needs,
// its Kind says: a key that the kind does not know is a fault.
type Config struct {
	Name string `yaml:"name" doc:"Free name, used in rules, logs and metrics."`
	Type string `yaml:"type" doc:"A kind: oidc, keycloak, entra …."`

	// Keys that every kind understands.
	ClientID       string            `yaml:"client_id" doc:"Our OAuth client at the provider."`
	ClientSecret   authz.Secret      `yaml:"client_secret" doc:"Its secret, for introspection and the like."`
	Audiences      []string          `yaml:"audiences" doc:"A token must be for one of these."`
	AllowedClients []string          `yaml:"allowed_clients" doc:"Clients whose tokens are accepted; default: client_id, where no audiences are given."`
	Username       []string          `yaml:"username" doc:"Attribute paths, tried in order."`
	Transform      []string          `yaml:"transform" doc:"Strip_domain, lowercase, or a regular expression with one group."`
	Email          []string          `yaml:"email" doc:"Attribute paths."`
	Groups         []string          `yaml:"groups" doc:"Attribute paths."`
	Accounts       map[string]string `yaml:"service_accounts" doc:"Client id → username for app-only tokens."`
	Validation     string            `yaml:"validation" doc:"Jwt, introspection or profile."`
	Endpoints      Endpoints         `yaml:"endpoints" doc:"Overrides what the kind would derive."`
	CAFile         string            `yaml:"ca_file" doc:"PEM bundle trusted for this provider."`
	Timeout        time.Duration     `yaml:"timeout" doc:"Of one call to the provider."`
	Cache          Cache             `yaml:"cache" doc:"How long answers are reused."`
	AllowHTTP      bool              `yaml:"allow_insecure_http" doc:"Plain http beyond loopback."`
	ClientAuth     string            `yaml:"client_auth" doc:"Basic, post, private_key_jwt or bearer."`
	ClientKey      authz.Secret      `yaml:"client_key" doc:"PEM private key for private_key_jwt."`
	Algorithms     []string          `yaml:"algorithms" doc:"Accepted signature algorithms."`
	Leeway         time.Duration     `yaml:"leeway" doc:"Clock skew allowed, at most 60s."`
	StrictType     bool              `yaml:"strict_type" doc:"Only typ at+jwt (RFC 9068)."`
	Events         *Events           `yaml:"events" doc:"What the provider tells by itself: logouts and security events."`
	AppBinding     string            `yaml:"app_binding" doc:"'none': accept tokens of any app, with a warning."`

	// Keys of single kinds.
	Issuer              string   `yaml:"issuer" doc:"Issuer URL, as it stands in the tokens."`
	BaseURL             string   `yaml:"base_url" doc:"URL of the self-managed server."`
	Realm               string   `yaml:"realm" doc:"Keycloak realm."`
	TenantID            string   `yaml:"tenant_id" doc:"Directory (tenant) id of the app registration, or common / organizations."`
	AllowedTenants      []string `yaml:"allowed_tenants" doc:"Tenants whose tokens are taken, with common or organizations."`
	Cloud               string   `yaml:"cloud" doc:"Microsoft cloud: global, usgov or china."`
	Domain              string   `yaml:"domain" doc:"Domain of the Okta org, or of the Cognito user pool."`
	AuthorizationServer string   `yaml:"authorization_server" doc:"Okta authorization server id; empty: the org server, by introspection."`
	Region              string   `yaml:"region" doc:"AWS region of the user pool."`
	UserPoolID          string   `yaml:"user_pool_id" doc:"Cognito user pool id."`
	HostedDomains       []string `yaml:"hosted_domains" doc:"Google Workspace domains whose users are let in."`
	AllowPersonalTokens bool     `yaml:"allow_personal_tokens" doc:"Take personal access tokens, which were made for some other purpose."`
	AllowedTeams        []string `yaml:"allowed_teams" doc:"Slack team or enterprise ids."`
	AllowBots           bool     `yaml:"allow_bots" doc:"Take tokens of bots."`
	APIVersion          string   `yaml:"api_version" doc:"Version of the Graph API."`
}

// Endpoints are URLs that override what a kind would derive or discover.
type Endpoints struct {
	Issuer              string `yaml:"issuer" doc:"Issuer URL, as it stands in the tokens."`
	Discovery           string `yaml:"discovery" doc:"OpenID discovery document."`
	JWKS                string `yaml:"jwks" doc:"Key set (RFC 7517)."`
	Introspection       string `yaml:"introspection" doc:"Token introspection (RFC 7662)."`
	Userinfo            string `yaml:"userinfo" doc:"OpenID userinfo."`
	Authorization       string `yaml:"authorization" doc:"Authorization endpoint."`
	Token               string `yaml:"token" doc:"Token endpoint."`
	DeviceAuthorization string `yaml:"device_authorization" doc:"Device authorization (RFC 8628)."`
	Revocation          string `yaml:"revocation" doc:"Token revocation (RFC 7009)."`
	Authority           string `yaml:"authority" doc:"Login host of entra."`
	Graph               string `yaml:"graph" doc:"Graph API, of entra or facebook."`
	TokenInfo           string `yaml:"tokeninfo" doc:"Google tokeninfo."`
	API                 string `yaml:"api" doc:"API of github, slack or gitlab."`
}

// Events are how logouts and security events prove to be the provider's. They
// are taken without these settings too, where it has keys of its own.
type Events struct {
	Issuer    string       `yaml:"issuer" doc:"iss of its security events; default: the provider's issuer."`
	JWKS      string       `yaml:"jwks" doc:"Key set that they are signed with; default: the provider's own."`
	Audiences []string     `yaml:"audiences" doc:"aud of logout tokens and security events; default: client_id, allowed_clients and audiences."`
	Bearer    authz.Secret `yaml:"bearer" doc:"Bearer token that who sends security events must know, beside their signature."`
}

// Cache bounds how long answers of this provider are reused.
type Cache struct {
	TTL         time.Duration `yaml:"ttl" doc:"Verified identities; default: 1m, or 5m where signatures are checked and nobody is asked."`
	NegativeTTL time.Duration `yaml:"negative_ttl" doc:"Refusals that the provider answered."`
}
