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
	Name           string   `yaml:"name"`
	Match          Match    `yaml:"match"`
	Access         Access   `yaml:"access"`
	Providers      []string `yaml:"providers"` // names; empty: all
	Allow          Allow    `yaml:"allow"`
	ReadOnlyGroups []string `yaml:"read_only_groups"` // their members may only GET, HEAD, OPTIONS
	When           string   `yaml:"when"`             // an expression
	Mode           *Mode    `yaml:"mode"`             // nil: the policy's
	Preset         string   `yaml:"preset"`           // jira, confluence or bitbucket: what their REST paths mean
	Preflight      bool     `yaml:"preflight"`        // a real CORS preflight passes without a credential
}

// Match is which requests a rule is for: everything given must hold, and of
// each list any one entry suffices.
type Match struct {
	Hosts   []string            `yaml:"hosts"`   // exact, or *.example.com; case, port and trailing dot are ignored
	Paths   []string            `yaml:"paths"`   // exact, /a/* one segment, /a/** any depth
	Methods []string            `yaml:"methods"` // upper case
	Headers map[string][]string `yaml:"headers"` // name → accepted values; [] means present
	Sources []netip.Prefix      `yaml:"sources"`
}

// Allow is who may pass: each list given must hold, and any one of its values
// suffices.
type Allow struct {
	Users   []string       `yaml:"users"`
	Groups  []string       `yaml:"groups"`
	Roles   []string       `yaml:"roles"`
	Scopes  []string       `yaml:"scopes"`
	Clients []string       `yaml:"clients"`
	ACR     []string       `yaml:"acr"`     // authentication context, asked for by a step-up challenge (RFC 9470)
	MaxAge  time.Duration  `yaml:"max_age"` // since the user last proved themselves; zero: any
	Sources []netip.Prefix `yaml:"sources"`
}

// Limits are what an API token may be used for, whatever the rules allow
// its owner.
type Limits struct {
	ReadOnly bool           // GET, HEAD, OPTIONS only
	Hosts    []string       // as in Match
	Paths    []string       // as in Match
	Sources  []netip.Prefix // where it may be used from
}
