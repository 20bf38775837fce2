package authz

import "time"

// A NamedProvider is a provider under the name that rules, logs and metrics
// know it by.
type NamedProvider struct {
	Name string
	Provider
	// CacheFor is the longest life of a cached identity; zero: a minute, or five
	// where the provider is Offline.
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
	User     string `yaml:"user" doc:"Header with the username; never empty."`
	Email    string `yaml:"email" doc:"Header with the e-mail address; empty: not sent."`
	Groups   string `yaml:"groups" doc:"Header with the groups, joined by commas; empty: not sent."`
	Provider string `yaml:"provider" doc:"Header with the name of the provider."`
	Subject  string `yaml:"subject" doc:"Header with the provider's stable key of the user."`
}

// PathPolicy admits kinds of paths that have more than one meaning.
type PathPolicy struct {
	EncodedSlash Admission `yaml:"encoded_slash" doc:"%2F and %5C."`
	Parameters   Admission `yaml:"parameters" doc:";name=value."`
}

// Admission is whether a kind of ambiguous path is refused (the zero value)
// or allowed, to be judged by the strictest rule that any reading matches.
type Admission uint8

// The admissions.
const (
	RefuseAmbiguous Admission = iota
	AllowAmbiguous
)

var admissionWords = [...]string{"refuse", "allow"}

// UnmarshalText reads "refuse" or "allow".
func (a *Admission) UnmarshalText(text []byte) error { return readWord(a, admissionWords[:], text) }

// MarshalText writes the word that UnmarshalText reads.
func (a Admission) MarshalText() ([]byte, error) { return []byte(admissionWords[a]), nil }

// Mode is whether a decision is enforced or only recorded.
type Mode uint8

// The modes.
const (
	Enforce Mode = iota
	Shadow
)

var modeWords = [...]string{"enforce", "shadow"}

// UnmarshalText reads "enforce" or "shadow".
func (m *Mode) UnmarshalText(text []byte) error { return readWord(m, modeWords[:], text) }

// MarshalText writes the word that UnmarshalText reads.
func (m Mode) MarshalText() ([]byte, error) { return []byte(modeWords[m]), nil }

// Policy is everything a decision depends on besides the request: immutable
// once an Engine was made with it.
type Policy struct {
	Enabled           bool // false: everything passes, identity headers stripped
	Mode              Mode
	Headers           HeaderNames
	NonASCII          NonASCII
	ForwardCredential bool
	KeyHeader         string   // lower-case name of the API key header; "" when none is looked at
	AllowBasic        bool     // Basic is a way in: it is read, and challenged for
	BasicProviders    []string // who take it: a rule without any of them does not challenge for it; empty: not said
	Realm             string   // of the challenge
	Paths             PathPolicy
	Providers         []NamedProvider // in order
	Rules             []Rule          // in order; first match wins

	// Prover checks the proofs of DPoP-bound tokens; nil: the scheme DPoP is
	// not taken, and tokens bound to a key are refused.
	Prover       Prover
	Certificates CertificateSource // where client certificates are learned from

	// Documents are what the gate answers by itself, without a credential, to
	// a GET of the path (RFC 9728 §3), and to the preflight of one. Key: path
	// in normal form.
	Documents map[string][]byte
	// ResourceMetadata is the URL of the protected-resource metadata document,
	// named in every challenge (RFC 9728 §5.1); "" for none.
	ResourceMetadata string

	// Compile makes the condition of a rule's expression; nil: expressions
	// are not available.
	Compile func(expression string) (Condition, error)
}

// ChallengesBasic reports whether a caller under a rule (nil: under none) could
// get in with Basic, and is told so.
func (p *Policy) ChallengesBasic(r *Rule) bool {
	if !p.AllowBasic || r == nil || len(r.Providers) == 0 || len(p.BasicProviders) == 0 {
		return p.AllowBasic
	}
	return intersect(p.BasicProviders, r.Providers)
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

var nonASCIIWords = [...]string{"refuse", "percent-encode"}

// UnmarshalText reads "refuse" or "percent-encode".
func (n *NonASCII) UnmarshalText(text []byte) error { return readWord(n, nonASCIIWords[:], text) }

// MarshalText writes the word that UnmarshalText reads.
func (n NonASCII) MarshalText() ([]byte, error) { return []byte(nonASCIIWords[n]), nil }
