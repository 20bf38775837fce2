package tokenstore

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// Store keeps records. Both implementations pass the suite in storetest.
//
// A change that returned nil is there for good: it outlives the process and
// the machine. One that returned an error did not happen, except for
// ErrUncertain.
type Store interface {
	// Insert adds records, all or none, and sets their Revision. Where perUser
	// is not zero and an owner would have more live tokens than that, the error
	// wraps ErrTooMany.
	Insert(ctx context.Context, c Change, perUser int, records []Record) error

	// Update hands each record that matches f to edit and stores what edit
	// makes of it, in one step that nothing else comes between. It returns the
	// records as they now are; none matched: an empty list. An error of edit is
	// returned as it is, and nothing is changed.
	Update(ctx context.Context, c Change, f Filter, edit func(*Record) error) ([]Record, error)

	// List returns the records that match f, in the order of their ids, each
	// with its last use.
	List(ctx context.Context, f Filter) ([]Record, error)

	// Changes hands each record that changed after a revision to yield, in the
	// order of revisions and with its last use, and returns the store's
	// revision: the one to ask after next time. No change is ever missed,
	// however writers overlap. A use alone is no change.
	// A revision lower than since means that the store went back, to a backup.
	Changes(ctx context.Context, since int64, yield func(*Record)) (revision int64, err error)

	// Use notes when tokens were last used. Later uses win over earlier ones,
	// whoever writes last.
	Use(ctx context.Context, uses []Use) error

	// Close ends all that is under way.
	Close() error
}

// A Notifier is a Store that can say at once when something has changed.
type Notifier interface {
	// Notify calls changed once it listens, and again after every change and
	// every interruption, until ctx ends or the connection breaks.
	Notify(ctx context.Context, changed func()) error
}

// Change says who changes something, for the audit record.
type Change struct {
	Actor  string
	Action string
	At     time.Time
}

// Filter chooses records: all that is given must hold. The zero Filter
// chooses all.
type Filter struct {
	ID          string
	Owner       string
	Hash        *Hash     // of the present secret or the one before
	LiveAt      time.Time // neither revoked nor expired then
	EndedAt     time.Time // expired then, and not revoked
	Unrevoked   bool      // not revoked, expired or not
	Revoked     bool
	OlderThan   time.Time // the present secret was made before then
	UnusedSince time.Time // made before then, and not used since

	After   string // only ids behind this one
	Limit   int    // at most so many; zero: all
	History bool   // with their events
}

// Use is the last use of a token.
type Use struct {
	ID     string
	At     time.Time
	Source netip.Addr
}

// The errors that callers tell apart. Every other error of a store means that
// it could not be asked, and that nothing was changed.
var (
	// ErrNotFound: there is no such token.
	ErrNotFound = errors.New("no such token")
	// ErrTooMany: the owner has as many live tokens as they may.
	ErrTooMany = errors.New("too many tokens")
	// ErrExists: the id or the secret is already stored.
	ErrExists = errors.New("the token exists already")
	// ErrUncertain: the connection broke while a change was being made final
	// and could not be mended in time. It is there wholly, or not at all.
	ErrUncertain = errors.New("it cannot be told whether the change was stored")
)
