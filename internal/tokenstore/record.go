package tokenstore

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// Record is all that is known of one token. Times have whole seconds, in UTC;
// the zero Time means "never".
type Record struct {
	ID          string // accessor id: names the token without being it
	Owner       string // the user that the token speaks for
	Name        string // what the owner calls it
	Description string
	Groups      []string     // of the owner, for rules and the upstream
	Limits      authz.Limits // what the token may be used for

	CreatedBy string
	Created   time.Time
	Expires   time.Time
	Rotated   time.Time // when the present secret was made, if not at creation
	Revoked   time.Time
	RevokedBy string

	Hash          Hash // of the present secret
	Previous      Hash // of the one before the rotation; zero: none
	PreviousUntil time.Time

	// Revision grows with every change of any token. The store sets it.
	Revision int64

	// Kept apart, coarse and late: when and from where a good request came.
	LastUsed   time.Time
	LastSource netip.Addr

	History []Event // only where it was asked for
}

// An Event is one change of a token: the audit record that is written in the
// same transaction as the change.
type Event struct {
	At     time.Time
	Actor  string
	Action string
}

// The actions of events.
const (
	ActionCreate = "create"
	ActionImport = "import"
	ActionRotate = "rotate"
	ActionRevoke = "revoke"
	ActionLeaked = "revoke_leaked"
	ActionIdle   = "revoke_idle"
)

// Status is a token's state in one word.
type Status string

// The states of a token.
const (
	Active  Status = "active"
	Expired Status = "expired"
	Revoked Status = "revoked"
)

// Status returns the state of the token at a time.
func (r *Record) Status(at time.Time) Status {
	switch {
	case !r.Revoked.IsZero():
		return Revoked
	case !r.Expires.IsZero() && !at.Before(r.Expires):
		return Expired
	}
	return Active
}

// Bounds of what a record may hold, in bytes and entries.
const (
	maxUser        = 256
	maxName        = 128
	maxDescription = 1024
	maxList        = 64
)

// ErrInvalid marks what was asked for wrongly; the message says what would be
// right.
var ErrInvalid = errors.New("invalid")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// ParseSources reads addresses and networks; an address stands for itself
// alone. Bits beyond a network's length must be zero.
func ParseSources(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if a, addrErr := netip.ParseAddr(s); addrErr == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		switch {
		case err != nil || len(s) > maxName:
			return nil, invalid("sources: write addresses and networks as 192.0.2.7 or 192.0.2.0/24")
		case p.Masked() != p:
			return nil, invalid("sources: %v has bits beyond its length; write %v", p, p.Masked())
		case p.Addr().Is4In6():
			return nil, invalid("sources: write %v as an IPv4 network", p)
		}
		out = append(out, p)
	}
	return out, nil
}
