package authz

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"
)

// A Provider turns credentials of one issuer into identities. It is the whole
// contract between a decision and the identity providers.
type Provider interface {
	// Owns reports, from the credential's shape alone (its kind, prefix, or
	// unverified issuer) and without I/O, whether this provider issued it.
	// Only the owner of a credential is ever shown it.
	Owns(c Credential) bool

	// Verify returns who the credential speaks for. An error that wraps
	// ErrRejected means that the credential is refused for good; any other
	// error means that it could not be told. ctx carries the time left.
	Verify(ctx context.Context, c Credential) (Identity, error)
}

// Offline is a Provider that can mostly verify by itself: it has the keys.
// Where it can, nobody has to wait for anybody, and no copy is made.
type Offline interface {
	Provider

	// VerifyOffline does what Verify does, without I/O and without waiting.
	// done is false where it would take either: then Verify is to be asked.
	// Nothing that is returned may share memory with the credential.
	VerifyOffline(ctx context.Context, c Credential) (id Identity, done bool, err error)
}

// Immediate is a Provider that answers from memory. It is asked about every
// request: its answers are neither cached nor joined, so that a revocation
// holds at once.
type Immediate interface {
	Provider

	// Lookup does what Verify does, without I/O and without waiting. source is
	// where the request came from; the zero Addr when the proxy did not say.
	// The identity is made in room, and ends when room is used again.
	Lookup(c Credential, source netip.Addr, room *Room) (*Identity, error)
}

// Room is memory for an identity that is made for one request alone, to be used
// again for the next.
type Room struct {
	Identity Identity
	text     [slotText]byte
}

// Keep returns b as text in the room; it must be of 167 bytes at most. What was
// kept before ends.
func (r *Room) Keep(b []byte) string {
	n := copy(r.text[:], b)
	return unsafe.String(&r.text[0], n)
}

// ErrRejected marks a credential that its provider refused. Whatever does not
// wrap it is "cannot tell" and becomes a 503, never a 401.
var ErrRejected = errors.New("credential refused")

// A Rejection is the error of a refused credential. It wraps ErrRejected.
type Rejection struct {
	Reason Reason // for the log and the metrics; the caller is not told
	Detail string // for the log; must hold no secret

	// CacheFor is how long the refusal may be remembered. Zero for a refusal
	// that was cheap to find, such as a bad signature: remembering those
	// would let anybody fill the memory.
	CacheFor time.Duration
}

// Reject returns a Rejection as an error; detail is for the log only and must
// hold no secret.
func Reject(reason Reason, format string, args ...any) error {
	return &Rejection{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

func (r *Rejection) Error() string {
	if r.Detail == "" {
		return "credential refused: " + r.Reason.String()
	}
	return "credential refused: " + r.Reason.String() + ": " + r.Detail
}

// Is makes errors.Is(err, ErrRejected) hold.
func (r *Rejection) Is(target error) bool { return target == ErrRejected }

// Unavailable is the error of a provider that could not be asked. Returning
// any other error means the same; this one can say when to come back.
type Unavailable struct {
	RetryAfter time.Duration // zero: not known
	Cause      error
	// Misconfigured says that the fault is ours (wrong client secret, wrong
	// URL) and that waiting will not mend it.
	Misconfigured bool
	// Throttled says that the provider asked us to come back later.
	Throttled bool
}

func (u *Unavailable) Error() string { return "provider unavailable: " + u.Cause.Error() }

// Unwrap returns the cause.
func (u *Unavailable) Unwrap() error { return u.Cause }

// Identity is who a credential speaks for, as its provider proved it. It is
// immutable once Verify has returned it.
type Identity struct {
	User    string // the name given to the upstream; never empty
	Subject string // the provider's stable key for the user or app
	Issuer  string // who vouches: issuer URL, or the provider's host
	Email   string
	Groups  []string
	// GroupsUnknown says that the provider cut the list off (Entra overage):
	// a condition on groups can then not be answered.
	GroupsUnknown bool
	Roles         []string
	Scopes        []string
	Client        string // OAuth client the credential was issued to
	TokenID       string // jti, uti or accessor id: names the token without being it
	App           bool   // no user: client credentials, mapped by service_accounts
	Session       string // sid: what a back-channel logout names

	Issued   time.Time // when the credential was issued; zero: not known
	Expires  time.Time // of the credential itself; zero: it has no end of its own
	AuthTime time.Time // when the user last proved themselves; zero: not known
	ACR      string    // authentication context class reference

	// CacheFor bounds how long the answer may be reused; zero leaves it to
	// the configuration. The credential's own expiry always bounds it too.
	CacheFor time.Duration

	// Bound is the key that the credential is bound to; nil: to none. The
	// provider only reads it off: the engine has it proven, on every request.
	Bound *Binding

	// Limits are what an API token may be used for; nil: not limited.
	Limits *Limits

	// Attributes is the provider's whole answer (claims, profile). It is
	// dropped before caching unless a rule's expression needs it.
	Attributes map[string]any
}
