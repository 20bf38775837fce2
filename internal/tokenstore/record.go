package tokenstore

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

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

// check refuses a record that must not be stored. The store trusts it: nothing
// else looks at these fields again before they are sent to an upstream.
func (r *Record) check() error {
	for _, f := range []struct {
		field, value string
		most         int
		need         bool
	}{
		{"user", r.Owner, maxUser, true},
		{"name", r.Name, maxName, true},
		{"description", r.Description, maxDescription, false},
		{"created_by", r.CreatedBy, maxUser, true},
	} {
		if err := checkText(f.field, f.value, f.most, f.need); err != nil {
			return err
		}
	}
	l := &r.Limits
	for _, f := range []struct {
		field string
		list  int
	}{{"groups", len(r.Groups)}, {"hosts", len(l.Hosts)}, {"paths", len(l.Paths)}, {"sources", len(l.Sources)}} {
		if f.list > maxList {
			return invalid("%s: %d entries, at most %d are kept", f.field, f.list, maxList)
		}
	}
	for _, list := range [][]string{r.Groups, l.Hosts, l.Paths} {
		for _, s := range list {
			if err := checkText("groups, hosts and paths", s, maxUser, true); err != nil {
				return err
			}
		}
	}
	for _, p := range l.Sources {
		if !p.IsValid() {
			return invalid("sources: write addresses and networks as 192.0.2.7 or 192.0.2.0/24")
		}
	}
	rule := authz.Rule{Match: authz.Match{Hosts: l.Hosts, Paths: l.Paths}}
	for _, f := range rule.Faults() {
		return invalid("%s: %s", strings.TrimPrefix(f.Key, "match."), f.Problem)
	}
	return nil
}

// checkText refuses text that would read differently from what it is: control
// and format characters, space at the edges, bytes that are not UTF-8. The
// value itself is not shown: it may be long, and it may hold anything.
func checkText(field, s string, most int, need bool) error {
	switch {
	case s == "" && !need:
		return nil
	case s == "":
		return invalid("%s: must not be empty", field)
	case len(s) > most:
		return invalid("%s: %d bytes, at most %d are kept", field, len(s), most)
	case !utf8.ValidString(s):
		return invalid("%s: is not UTF-8 text", field)
	case strings.TrimSpace(s) != s:
		return invalid("%s: must not begin or end with white space", field)
	case strings.ContainsFunc(s, unprintable):
		return invalid("%s: holds a control, format or unassigned character", field)
	case looksSecret(s):
		return invalid("%s: holds what looks like an API token", field)
	}
	return nil
}

func unprintable(r rune) bool { return r != ' ' && !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) }

// looksSecret keeps a token that was pasted into the wrong field out of lists
// and logs.
func looksSecret(s string) bool {
	for {
		at := strings.Index(s, Prefix)
		if at < 0 {
			return false
		}
		if s = s[at:]; len(s) >= tokenLength && Valid(s[:tokenLength]) {
			return true
		}
		s = s[len(Prefix):]
	}
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
