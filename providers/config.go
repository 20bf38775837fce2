package providers

import (
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// Config holds the settings of one provider as they stand in the file; the
// yaml names are its keys. Which keys a kind understands, and which it needs,
// its Kind says: a key that the kind does not know is a fault.
type Config struct {
	Name string `yaml:"name"` // free name, used in rules, logs and metrics
	Type string `yaml:"type"` // a kind: oidc, keycloak, entra …

	// Keys that every kind understands.
	ClientID       string            `yaml:"client_id"`        // our OAuth client at the provider
	ClientSecret   authz.Secret      `yaml:"client_secret"`    // its secret, for introspection and the like
	Audiences      []string          `yaml:"audiences"`        // a token must be for one of these
	AllowedClients []string          `yaml:"allowed_clients"`  // clients whose tokens are accepted; default: client_id
	Username       []string          `yaml:"username"`         // attribute paths, tried in order
	Transform      []string          `yaml:"transform"`        // strip_domain, lowercase, or a regular expression with one group
	Email          []string          `yaml:"email"`            // attribute paths
	Groups         []string          `yaml:"groups"`           // attribute paths
	Accounts       map[string]string `yaml:"service_accounts"` // client id → username for app-only tokens
	Validation     string            `yaml:"validation"`       // jwt, introspection or profile
	Endpoints      Endpoints         `yaml:"endpoints"`        // overrides what the kind would derive
	CAFile         string            `yaml:"ca_file"`          // PEM bundle trusted for this provider
	Timeout        time.Duration     `yaml:"timeout"`          // of one call to the provider
	Cache          Cache             `yaml:"cache"`
	AllowHTTP      bool              `yaml:"allow_insecure_http"` // plain http beyond loopback
	ClientAuth     string            `yaml:"client_auth"`         // basic, post, private_key_jwt or bearer
	ClientKey      authz.Secret      `yaml:"client_key"`          // PEM private key for private_key_jwt
	Algorithms     []string          `yaml:"algorithms"`          // accepted signature algorithms
	Leeway         time.Duration     `yaml:"leeway"`              // clock skew allowed, at most 60s
	StrictType     bool              `yaml:"strict_type"`         // only typ at+jwt (RFC 9068)
	AppBinding     string            `yaml:"app_binding"`         // "none": accept tokens of any app, with a warning

	// Keys of single kinds.
	Issuer              string   `yaml:"issuer"`
	BaseURL             string   `yaml:"base_url"`
	Realm               string   `yaml:"realm"`
	TenantID            string   `yaml:"tenant_id"`
	AllowedTenants      []string `yaml:"allowed_tenants"`
	Cloud               string   `yaml:"cloud"`
	Domain              string   `yaml:"domain"`
	AuthorizationServer string   `yaml:"authorization_server"`
	Region              string   `yaml:"region"`
	UserPoolID          string   `yaml:"user_pool_id"`
	HostedDomains       []string `yaml:"hosted_domains"`
	AllowPersonalTokens bool     `yaml:"allow_personal_tokens"`
	AllowedTeams        []string `yaml:"allowed_teams"`
	AllowBots           bool     `yaml:"allow_bots"`
	APIVersion          string   `yaml:"api_version"`
}

// Endpoints are URLs that override what a kind would derive or discover.
type Endpoints struct {
	Issuer              string `yaml:"issuer"`
	Discovery           string `yaml:"discovery"`
	JWKS                string `yaml:"jwks"`
	Introspection       string `yaml:"introspection"`
	Userinfo            string `yaml:"userinfo"`
	Authorization       string `yaml:"authorization"`
	Token               string `yaml:"token"`
	DeviceAuthorization string `yaml:"device_authorization"`
	Revocation          string `yaml:"revocation"`
	Authority           string `yaml:"authority"` // entra
	Graph               string `yaml:"graph"`     // entra, facebook
	TokenInfo           string `yaml:"tokeninfo"` // google
	API                 string `yaml:"api"`       // github, slack, gitlab
}

// Cache bounds how long answers of this provider are reused.
type Cache struct {
	TTL         time.Duration `yaml:"ttl"`          // verified identities
	NegativeTTL time.Duration `yaml:"negative_ttl"` // refusals that the provider answered
}
