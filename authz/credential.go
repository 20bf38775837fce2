package authz

// Kind is how a credential was presented.
type Kind uint8

// The kinds of credentials.
const (
	NoCredential Kind = iota
	Bearer            // Authorization: Bearer (RFC 6750 §2.1)
	Basic             // Authorization: Basic (RFC 7617)
	APIKey            // the API key header
	DPoP              // Authorization: DPoP (RFC 9449 §7.1)
)

var kindWords = [...]string{"none", "bearer", "basic", "key", "dpop"}

// String returns the word used in logs, metrics and on the command line.
func (k Kind) String() string { return kindWords[k] }

// Credential is the one thing the caller presented to say who they are.
type Credential struct {
	Kind   Kind
	User   string // Basic only: the user-id, not proven
	Secret Secret // the token, the key or the password
}
