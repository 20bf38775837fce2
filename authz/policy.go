package authz

import (
	"fmt"
	"time"
)

// A NamedProvider is a provider under the name that rules, logs and metrics
// know it by.
type NamedProvider struct {
	Name string
	Provider
	// CacheFor is the longest life of a cached identity; zero: a minute.
	CacheFor time.Duration
	// Instance tells one made provider from another, whatever their names;
	// zero: New gives it one. See NewInstance.
	Instance uint64
}

// APITokens is the name by which rules mean the provider of our own tokens.
const APITokens = "api-tokens"

// HeaderNames are the names of the identity headers, in lower case. An empty
// name means that the header is not sent; User is never empty.
type HeaderNames struct {
	User     string `yaml:"user"`
	Email    string `yaml:"email"`
	Groups   string `yaml:"groups"`
	Provider string `yaml:"provider"`
	Subject  string `yaml:"subject"`
}

// PathPolicy admits kinds of paths that have more than one meaning.
type PathPolicy struct {
	EncodedSlash Admission `yaml:"encoded_slash"` // %2F and %5C
	Parameters   Admission `yaml:"parameters"`    // ;name=value
}

// Admission is whether a kind of ambiguous path is refused (the zero value)
// or allowed, to be judged by the strictest rule that any reading matches.
type Admission uint8

// The admissions.
const (
	RefuseAmbiguous Admission = iota
	AllowAmbiguous
)

// UnmarshalText reads "refuse" or "allow".
func (a *Admission) UnmarshalText(text []byte) error {
	switch string(text) {
	case "refuse":
		*a = RefuseAmbiguous
	case "allow":
		*a = AllowAmbiguous
	default:
		return fmt.Errorf("%q is neither refuse nor allow", text)
	}
	return nil
}

// MarshalText writes the word that UnmarshalText reads.
func (a Admission) MarshalText() ([]byte, error) {
	return []byte([...]string{"refuse", "allow"}[a]), nil
}

// Mode is whether a decision is enforced or only recorded.
type Mode uint8

// The modes.
const (
	Enforce Mode = iota
	Shadow
)

// UnmarshalText reads "enforce" or "shadow".
func (m *Mode) UnmarshalText(text []byte) error {
	switch string(text) {
	case "enforce":
		*m = Enforce
	case "shadow":
		*m = Shadow
	default:
		return fmt.Errorf("%q is neither enforce nor shadow", text)
	}
	return nil
}

// MarshalText writes the word that UnmarshalText reads.
func (m Mode) MarshalText() ([]byte, error) { return []byte([...]string{"enforce", "shadow"}[m]), nil }

// Policy is everything a decision depends on besides the request: immutable
// once an Engine was made with it.
type Policy struct {
	Enabled           bool // false: everything passes, identity headers stripped
	Mode              Mode
	Headers           HeaderNames
	NonASCII          NonASCII
	ForwardCredential bool
	KeyHeader         string // lower-case name of the API key header; "" when none is looked at
	AllowBasic        bool   // Basic is a way in: it is read, and challenged for
	Realm             string // of the challenge
	Paths             PathPolicy
	Providers         []NamedProvider // in order
	Rules             []Rule          // in order; first match wins

	// Compile makes the condition of a rule's expression; nil: expressions
	// are not available.
	Compile func(expression string) (Condition, error)
}

func (p *Policy) provider(name string) *NamedProvider {
	for i := range p.Providers {
		if p.Providers[i].Name == name {
			return &p.Providers[i]
		}
	}
	return nil
}

// NonASCII is what becomes of a username that is not plain ASCII.
type NonASCII uint8

// The ways to treat a username that is not plain ASCII.
const (
	RefuseNonASCII NonASCII = iota
	PercentEncode
)

// UnmarshalText reads "refuse" or "percent-encode".
func (n *NonASCII) UnmarshalText(text []byte) error {
	switch string(text) {
	case "refuse":
		*n = RefuseNonASCII
	case "percent-encode":
		*n = PercentEncode
	default:
		return fmt.Errorf("%q is neither refuse nor percent-encode", text)
	}
	return nil
}

// MarshalText writes the word that UnmarshalText reads.
func (n NonASCII) MarshalText() ([]byte, error) {
	return []byte([...]string{"refuse", "percent-encode"}[n]), nil
}
