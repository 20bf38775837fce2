package config

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/providers"
)

// Config is the configuration file. The zero value is not one: Parse fills in
// defaults, each of them the safe one.
type Config struct {
	Listen            Listen             `yaml:"listen" doc:"Where the server listens."`
	Enabled           bool               `yaml:"enabled" doc:"The global switch. false passes everything through, with identity headers stripped."`
	Mode              authz.Mode         `yaml:"mode" doc:"enforce, or shadow: decide, log and count, but let through."`
	Headers           authz.HeaderNames  `yaml:"headers" doc:"Names of the identity headers that the upstream gets."`
	NonASCII          authz.NonASCII     `yaml:"non_ascii" doc:"What becomes of a username that is not plain ASCII: refuse, or percent-encode."`
	ForwardCredential bool               `yaml:"forward_credential" doc:"Leave the caller's credential on the request."`
	Realm             string             `yaml:"realm" doc:"Named in every challenge (WWW-Authenticate)."`
	Paths             authz.PathPolicy   `yaml:"paths" doc:"Admits kinds of paths that have more than one meaning."`
	Providers         []providers.Config `yaml:"providers" doc:"Identity providers, in order."`
	APITokens         *APITokens         `yaml:"api_tokens" doc:"API tokens of our own."`
	Rules             []authz.Rule       `yaml:"rules" doc:"Who may do what. The first match wins; a request that matches none needs any valid credential."`
	Resource          *Resource          `yaml:"protected_resource" doc:"The protected-resource metadata document (RFC 9728), answered by the gate itself."`
	DPoP              *DPoP              `yaml:"dpop" doc:"Takes DPoP-bound tokens (RFC 9449)."`

	Certificates authz.CertificateSource `yaml:"client_certificates" doc:"Where client certificates are learned from, for tokens bound to one (RFC 8705): none, peer (include_peer_certificate of the filter), or xfcc (only behind forward_client_cert_details: SANITIZE_SET)."`

	Cache  Cache  `yaml:"cache" doc:"Bounds of what is remembered."`
	Limits Limits `yaml:"limits" doc:"Bounds of what is done at once."`
	Log    Log    `yaml:"log" doc:"What is written down."`
	Admin  Admin  `yaml:"admin" doc:"The admin listener: who may use it."`

	files []input // it and those that it names: a change of one is a change of it
}

// Listen is where the server listens.
type Listen struct {
	GRPC   string `yaml:"grpc" doc:"host:port, or unix:/path, for Envoy."`
	Admin  string `yaml:"admin" doc:"host:port for health, metrics and the admin API; empty: none."`
	Events string `yaml:"events" doc:"host:port for the logouts and security events that providers send, and nothing else; empty: on the admin listener alone."`
	TLS    *TLS   `yaml:"tls" doc:"TLS on the gRPC listener. The files are read again when they change."`
	Lean   bool   `yaml:"lean_transport" doc:"Checks are carried by a transport of our own that does nothing else, for a fraction of what grpc-go costs."`
}

// TLS names the files of a TLS listener.
type TLS struct {
	CertFile     string `yaml:"cert_file" doc:"PEM certificate chain."`
	KeyFile      string `yaml:"key_file" doc:"PEM private key."`
	ClientCAFile string `yaml:"client_ca_file" doc:"PEM bundle; with it, clients must show a certificate of it (mTLS)."`
}

// APITokens are the settings of our own API tokens.
type APITokens struct {
	Store string `yaml:"store" doc:"sqlite:FILE, or postgres://…"`

	StorePassword authz.Secret `yaml:"store_password" doc:"Password of the PostgreSQL user."`

	Header       string        `yaml:"header" doc:"Header that carries a key, beside Authorization."`
	MaxLifetime  time.Duration `yaml:"max_lifetime" doc:"Longest life of a token, as 365d."`
	AllowNever   bool          `yaml:"allow_never" doc:"Tokens may be made that never expire."`
	IdleExpiry   time.Duration `yaml:"idle_expiry" doc:"A token that was not used for so long ends; 0: never."`
	PerUser      int           `yaml:"per_user" doc:"Most tokens a user may have; 0: any number."`
	AdminsOnly   bool          `yaml:"admins_only" doc:"Only admins make tokens. Otherwise who logs in by one of admin.providers may make their own, by the admin API."`
	Creators     []string      `yaml:"creator_groups" doc:"Groups whose users may make tokens of their own; empty: everybody who logs in."`
	MaxStaleness time.Duration `yaml:"max_staleness" doc:"How long known tokens go on with the store out of reach; then 503."`
	Htpasswd     string        `yaml:"htpasswd_file" doc:"Static users for Basic, as htpasswd writes them (bcrypt or argon2id). Rules name them static-users."`
}

// Resource describes the protected API to clients (RFC 9728 §2).
type Resource struct {
	Resource             string   `yaml:"resource" doc:"URL of the protected API."`
	AuthorizationServers []string `yaml:"authorization_servers" doc:"Issuers whose tokens are taken; default: those of the providers."`
	Scopes               []string `yaml:"scopes_supported" doc:"Scopes that the API knows."`
	Name                 string   `yaml:"resource_name" doc:"Name for people."`
	Documentation        string   `yaml:"resource_documentation" doc:"Page for people."`
}

// DPoP is how proofs of possession are checked.
type DPoP struct {
	Origins []string      `yaml:"origins" doc:"External origins of the API, as https://api.example.com: what a proof's htu is compared to."`
	MaxAge  time.Duration `yaml:"max_age" doc:"How old a proof may be."`

	MaxProofs int          `yaml:"max_proofs" doc:"How many proofs are remembered, so that none passes twice; more are refused."`
	Nonce     bool         `yaml:"nonce" doc:"Wants a nonce of the gate in each proof, so that none can be made ahead of time."`
	NonceKey  authz.Secret `yaml:"nonce_key" doc:"Makes the nonces; the same for all replicas. Empty: a key of each process alone."`
}

func (d *DPoP) setDefaults() {
	if d.MaxAge == 0 {
		d.MaxAge = time.Minute
	}
	if d.MaxProofs == 0 {
		d.MaxProofs = 200_000
	}
}

// Cache bounds what is remembered.
type Cache struct {
	Entries         int   `yaml:"max_entries" doc:"Verified identities."`
	Bytes           int64 `yaml:"max_bytes" doc:"Memory of the verified identities."`
	NegativeEntries int   `yaml:"negative_entries" doc:"Refusals that a provider answered."`

	Revocations     int           `yaml:"max_revocations" doc:"Logouts and revocations that providers told of; at the bound the oldest goes."`
	KeepRevocations time.Duration `yaml:"keep_revocations" doc:"How long those are kept: no less than the longest life of an access token."`
}

// Limits bound what is done at once.
type Limits struct {
	InFlight   int           `yaml:"max_in_flight" doc:"Checks at once; more are answered 503."`
	DrainDelay time.Duration `yaml:"drain_delay" doc:"Between saying not serving and closing: longer than the interval of Envoy's health checks and its update_merge_window (1s where it is not set) together."`
}

// Log is what is written down.
type Log struct {
	Level  string `yaml:"level" doc:"debug, info, warn or error."`
	Format string `yaml:"format" doc:"json or text."`
	Audit  Audit  `yaml:"audit" doc:"The record of decisions."`
}

// Audit is the record of decisions: one JSON line each.
type Audit struct {
	File        string  `yaml:"file" doc:"File to append to, begun anew where it was moved away; empty: standard error with the log; none: no record."`
	AllowSample float64 `yaml:"allow_sample" doc:"Share of the allowed requests that is recorded, 0 to 1. Denials always are."`
}

// Admin is who may use the admin API.
type Admin struct {
	Token     authz.Secret `yaml:"token" doc:"Bearer token of the admin role, for scripts."`
	Providers []string     `yaml:"providers" doc:"Providers whose users may log in. Default: the only one that there is; with several, none, since users of one could be named as users of another."`
	Admins    []string     `yaml:"admins" doc:"Users with the admin role, who log in by one of these providers."`
	Auditors  []string     `yaml:"auditors" doc:"Users who may look and change nothing."`
	Hosts     []string     `yaml:"hosts" doc:"Host names under which the admin listener may be called, beside its address."`
}

// defaults returns what stands where the file says nothing.
func defaults() Config {
	return Config{
		Listen:  Listen{GRPC: "127.0.0.1:9191", Admin: "127.0.0.1:9192"},
		Enabled: true,
		Headers: authz.HeaderNames{User: "x-forwarded-user", Email: "x-forwarded-email", Groups: "x-forwarded-groups"},
		Realm:   "gatelodge",
		Cache:   Cache{Entries: 100_000, Bytes: 128 << 20, NegativeEntries: 10_000, Revocations: 100_000, KeepRevocations: 24 * time.Hour},
		Limits:  Limits{InFlight: 10_000, DrainDelay: 2 * time.Second},
		Log:     Log{Level: "info", Format: "json", Audit: Audit{AllowSample: 1}},
	}
}

func (a *APITokens) setDefaults() {
	if a.Header == "" {
		a.Header = "x-api-key"
	}
	if a.MaxLifetime == 0 {
		a.MaxLifetime = 365 * 24 * time.Hour
	}
	if a.MaxStaleness == 0 {
		a.MaxStaleness = 10 * time.Minute
	}
}

// Load reads and checks a configuration file. The error, if any, is a *Faults
// with every fault; warnings are about what works and is not advisable.
func Load(path string) (*Config, []Message, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return Parse(path, text, os.LookupEnv)
}

// Parse checks the text of a configuration file. name stands in the messages,
// and relative paths in the text start from its folder; env looks up
// environment variables.
func Parse(name string, text []byte, env func(string) (string, bool)) (*Config, []Message, error) {
	d := &decoder{name: name, dir: filepath.Dir(name), env: env, positions: map[string]position{}}
	c := defaults()
	d.document(text, &c)
	for _, f := range d.faults {
		d.failed = append(d.failed, f.Key)
	}
	c.complete()
	validate(&c, d)
	d.sort()
	c.files = append([]input{{name, sha256.Sum256(text)}}, d.inputs...)
	if len(d.faults) > 0 {
		return nil, d.warnings, &Faults{d.faults, c.files}
	}
	return &c, d.warnings, nil
}

// complete fills in the defaults of parts that may be left out.
func (c *Config) complete() {
	if c.APITokens != nil {
		c.APITokens.setDefaults()
	}
	if c.DPoP != nil {
		c.DPoP.setDefaults()
	}
}
