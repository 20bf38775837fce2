package authz

import "time"

// Outcome is what becomes of a request. The zero value denies.
type Outcome uint8

// The outcomes, each with the HTTP status that the caller sees.
const (
	Undecided       Outcome = iota // 503: it could not be told; Retry-After
	Unauthenticated                // 401: no credential, or a refused one
	Malformed                      // 400: ambiguous or unreadable
	Forbidden                      // 403: known caller, not allowed here
	Allowed                        // the request goes on
	Answered                       // 200 from the gate itself; the request goes no further
)

var outcomeWords = [...]string{"unavailable", "deny", "malformed", "forbidden", "allow", "answer"}

// String returns the word used in logs and metrics.
func (o Outcome) String() string { return outcomeWords[o] }

// Decision is the answer to one Request. The zero value denies.
type Decision struct {
	Outcome Outcome
	Reason  Reason
	ID      DecisionID // stands in the answer and in the log

	// Policy is the configuration that decided; the answer is built with its
	// header names, so that one request sees one configuration. Never nil on
	// an Allowed decision.
	Policy *Policy
	Rule   *Rule // nil where no rule matched, or none was reached

	Provider string    // name of the credential's owner
	Identity *Identity // nil: no user (public, switched off, or denied)

	// KeepCredential leaves the caller's credential on the request.
	KeepCredential bool

	Document []byte // with Answered: a JSON document that anybody may read

	RetryAfter time.Duration // with Undecided
	ProofNonce string        // that the caller is to put in its next DPoP proof
	Detail     string        // for the log only; never shown to the caller

	// Shadow says that Outcome is Allowed only because of shadow mode;
	// WouldBe is then what enforcing would have answered.
	Shadow     bool
	WouldBe    Outcome
	Recognised *Identity // who it would have been refused to; for the record only

	Cached bool // no provider was asked
}
