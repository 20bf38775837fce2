package authz

import (
	"net/netip"
	"time"
)

// Access is what a rule asks of the caller.
type Access uint8

// The kinds of access. The zero value is the safe one.
const (
	Authenticated Access = iota // a good credential
	Optional                    // a credential, if there is one, must be good
	Public                      // none is looked at
	DenyAll                     // nobody passes
)

var accessWords = [...]string{"authenticated", "optional", "public", "deny"}

// String returns the word used in the configuration.
func (a Access) String() string { return accessWords[a] }

// MarshalText writes the word that UnmarshalText reads.
func (a Access) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads one of the words of the configuration.
func (a *Access) UnmarshalText(text []byte) error { return readWord(a, accessWords[:], text) }

// Rule says who may make which requests. The yaml names are the keys of the
// configuration file.
type Rule struct {
	Name           string   `yaml:"name" doc:"Names the rule in logs and metrics."`
	Match          Match    `yaml:"match" doc:"Which requests the rule is for: everything given must hold."`
	Access         Access   `yaml:"access" doc:"What is asked of the caller: authenticated, optional, public or deny."`
	Providers      []string `yaml:"providers" doc:"Names of the providers whose credentials count, or api-tokens; default: all."`
	Allow          Allow    `yaml:"allow" doc:"Who may pass: each list given must hold, any one of its values suffices."`
	ReadOnlyGroups []string `yaml:"read_only_groups" doc:"Their members may only GET, HEAD, OPTIONS."`
	When           string   `yaml:"when" doc:"CEL expression over request and identity that must be true."`
	Mode           *Mode    `yaml:"mode" doc:"Enforce or shadow, for this rule alone; default: the mode of the file."`
	Preset         string   `yaml:"preset" doc:"Jira, confluence or bitbucket: what their REST paths mean."`
	Preflight      bool     `yaml:"preflight" doc:"A real CORS preflight passes without a credential."`
}

// Match is which requests a rule is for: everything given must hold, and of
// each list any one entry suffices.
type Match struct {
	Hosts   []string            `yaml:"hosts" doc:"Exact, or *.example.com; case, port and trailing dot are ignored."`
	Paths   []string            `yaml:"paths" doc:"Exact, /a/* one segment, /a/** any depth."`
	Methods []string            `yaml:"methods" doc:"Upper case."`
	Headers map[string][]string `yaml:"headers" doc:"Name → accepted values; [] means present."`
	Sources []netip.Prefix      `yaml:"sources" doc:"IP addresses or networks of the peer."`
	Context map[string][]string `yaml:"context" doc:"What Envoy's route says of itself (context_extensions): name → accepted values; [] means present."`
}

// Allow is who may pass: each list given must hold, and any one of its values
// suffices.
type Allow struct {
	Users   []string       `yaml:"users" doc:"Usernames."`
	Groups  []string       `yaml:"groups" doc:"Groups of the user."`
	Roles   []string       `yaml:"roles" doc:"Roles of the user."`
	Scopes  []string       `yaml:"scopes" doc:"Scopes of the token."`
	Clients []string       `yaml:"clients" doc:"OAuth clients that the token was issued to."`
	ACR     []string       `yaml:"acr" doc:"Authentication context, asked for by a step-up challenge (RFC 9470)."`
	MaxAge  time.Duration  `yaml:"max_age" doc:"Since the user last proved themselves; zero: any."`
	Sources []netip.Prefix `yaml:"sources" doc:"IP addresses or networks of the peer."`
}

// Limits are what an API token may be used for, whatever the rules allow
// its owner.
type Limits struct {
	ReadOnly bool           // GET, HEAD, OPTIONS only
	Hosts    []string       // as in Match
	Paths    []string       // as in Match
	Sources  []netip.Prefix // where it may be used from
}
