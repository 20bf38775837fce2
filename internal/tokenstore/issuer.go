package tokenstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// Limits are what holds for everybody who makes tokens.
type Limits struct {
	MaxLifetime     time.Duration // longest life; zero: any
	DefaultLifetime time.Duration // where nothing is asked for; zero: 90 days, or MaxLifetime
	AllowNever      bool          // tokens may be made that never expire
	PerUser         int           // most live tokens of one user; zero: any number
	IdleExpiry      time.Duration // a token not used for so long is revoked; zero: never
}

const (
	defaultLifetime = 90 * 24 * time.Hour
	// DefaultOverlap is how long the old secret goes on after a rotation, and
	// MaxOverlap the longest that can be asked for.
	DefaultOverlap = 24 * time.Hour
	MaxOverlap     = 30 * 24 * time.Hour
	// idleEvery is how often idle tokens are looked for.
	idleEvery = time.Minute
)

// ErrEnded: the token is revoked or expired, and cannot be rotated.
var ErrEnded = errors.New("the token has ended")

// Audit is told of every change after it was stored: a line for each token. The
// store holds the same in its table of events.
type Audit func(e Event, r *Record)

// Issuer makes, rotates and revokes tokens. It keeps the rules that hold for
// people; who may ask it is for its callers to say. by is who asks, for the
// audit record.
type Issuer struct {
	store  Store
	index  *Index // nil: none in this process
	limits Limits
	now    func() time.Time
	audit  Audit // nil: the store's events suffice
}

// NewIssuer makes an issuer. With an index, changes hold there when they are
// acknowledged.
func NewIssuer(s Store, x *Index, l Limits, now func() time.Time, audit Audit) *Issuer {
	if audit == nil {
		audit = func(Event, *Record) {}
	}
	return &Issuer{s, x, l, now, audit}
}

// Order is what is asked for. Only User and Name must be there.
type Order struct {
	User        string   `json:"user"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Groups      []string `json:"groups,omitempty"`
	ReadOnly    bool     `json:"read_only,omitempty"`
	Hosts       []string `json:"hosts,omitempty"`
	Paths       []string `json:"paths,omitempty"`
	Sources     []string `json:"sources,omitempty"`
	// Expires is a lifetime ("90d", "12h"), a time (RFC 3339), "never", or
	// empty for the default.
	Expires string `json:"expires,omitempty"`
	// Hash is the SHA-256 of an existing token in hexadecimal digits: only for
	// Import, from another store.
	Hash string `json:"token_sha256,omitempty"`
}

// Issued is a token that was made. Secret is shown once and kept nowhere; it is
// empty where the token was imported by its hash.
type Issued struct {
	Record
	Secret authz.Secret
}

// Create makes a token.
func (i *Issuer) Create(ctx context.Context, by string, o Order) (Issued, error) {
	if o.Hash != "" {
		return Issued{}, invalid("token_sha256: is for import only")
	}
	list, err := i.issue(ctx, ActionCreate, by, []Order{o})
	if err != nil {
		return Issued{}, err
	}
	return list[0], nil
}

// Import makes many tokens, all or none. An order with a hash takes over a
// token that exists elsewhere.
func (i *Issuer) Import(ctx context.Context, by string, orders []Order) ([]Issued, error) {
	return i.issue(ctx, ActionImport, by, orders)
}

func (i *Issuer) issue(ctx context.Context, action, by string, orders []Order) ([]Issued, error) {
	now := i.now().UTC().Truncate(time.Second)
	records, secrets := make([]Record, len(orders)), make([]authz.Secret, len(orders))
	for n := range orders {
		var err error
		if records[n], secrets[n], err = i.order(&orders[n], by, now); err != nil {
			if len(orders) > 1 {
				return nil, fmt.Errorf("entry %d: %w", n+1, err)
			}
			return nil, err
		}
	}
	c := Change{Actor: by, Action: action, At: now}
	if err := i.store.Insert(ctx, c, i.limits.PerUser, records); err != nil {
		return nil, err
	}
	i.done(c, records)
	issued := make([]Issued, len(records))
	for n := range records {
		issued[n] = Issued{records[n], secrets[n]}
	}
	return issued, nil
}

// done makes a stored change hold in this process, and tells of it.
func (i *Issuer) done(c Change, records []Record) {
	if i.index != nil {
		i.index.Apply(records)
	}
	for n := range records {
		i.audit(Event{At: c.At, Actor: c.Actor, Action: c.Action}, &records[n])
	}
}

// order makes the record of one order, and its secret.
func (i *Issuer) order(o *Order, by string, now time.Time) (Record, authz.Secret, error) {
	r := Record{
		ID: newID(), Owner: o.User, Name: o.Name, Description: o.Description, Groups: o.Groups,
		Limits:    authz.Limits{ReadOnly: o.ReadOnly, Hosts: o.Hosts, Paths: o.Paths},
		CreatedBy: by, Created: now,
	}
	var err error
	if r.Limits.Sources, err = ParseSources(o.Sources); err != nil {
		return Record{}, authz.Secret{}, err
	}
	if r.Expires, err = i.expiry(o.Expires, now); err != nil {
		return Record{}, authz.Secret{}, err
	}
	if err := r.check(); err != nil {
		return Record{}, authz.Secret{}, err
	}
	if o.Hash != "" {
		hash, err := hex.DecodeString(o.Hash)
		if err != nil || copy(r.Hash[:], hash) != len(r.Hash) || len(hash) != len(r.Hash) {
			return Record{}, authz.Secret{}, invalid("token_sha256: write 64 hexadecimal digits")
		}
		return r, authz.Secret{}, nil
	}
	secret, err := NewSecret()
	if err != nil {
		return Record{}, authz.Secret{}, err
	}
	r.Hash = HashOf(secret.Reveal())
	return r, secret, nil
}

// expiry reads when a token is to end; the zero time is never.
func (i *Issuer) expiry(text string, now time.Time) (time.Time, error) {
	most := i.limits.MaxLifetime
	var end time.Time
	switch text {
	case "never":
		if !i.limits.AllowNever {
			return end, invalid("expires: tokens that never expire are not allowed here (setting allow_never)")
		}
		return end, nil
	case "":
		life := i.limits.DefaultLifetime
		if life == 0 {
			life = defaultLifetime
		}
		if most > 0 {
			life = min(life, most)
		}
		return now.Add(life), nil
	}
	if life, err := ParseLifetime(text); err == nil {
		end = now.Add(life)
	} else if at, timeErr := time.Parse(time.RFC3339, text); timeErr == nil {
		end = at.UTC().Truncate(time.Second)
	} else {
		return end, invalid("expires: %v, or a time as 2027-01-31T00:00:00Z", err)
	}
	switch {
	case !end.After(now):
		return end, invalid("expires: is not in the future")
	case most > 0 && end.Sub(now) > most:
		return end, invalid("expires: is further away than the longest lifetime allowed, %s (setting max_lifetime)", FormatLifetime(most))
	}
	return end, nil
}

// Rotate gives a token a new secret. The old one goes on for overlap; zero: it
// ends now. expires is as in Order; empty: the token's end stays as it is.
// f names the token; when it is not there the error wraps ErrNotFound.
func (i *Issuer) Rotate(ctx context.Context, by string, f Filter, overlap time.Duration, expires string) (Issued, error) {
	if err := errors.Join(checkID(f.ID), f.check()); err != nil {
		return Issued{}, fmt.Errorf("%w: %v", ErrNotFound, err)
	}
	if overlap < 0 || overlap > MaxOverlap {
		return Issued{}, invalid("overlap: between 0s and %s", FormatLifetime(MaxOverlap))
	}
	secret, err := NewSecret()
	if err != nil {
		return Issued{}, err
	}
	c := Change{Actor: by, Action: ActionRotate, At: i.now().UTC().Truncate(time.Second)}
	records, err := i.store.Update(ctx, c, f, func(r *Record) error {
		if s := r.Status(c.At); s != Active {
			return fmt.Errorf("%w: it is %s", ErrEnded, s)
		}
		if expires != "" {
			end, err := i.expiry(expires, c.At)
			if err != nil {
				return err
			}
			r.Expires = end
		}
		r.Previous, r.PreviousUntil = Hash{}, time.Time{}
		if overlap >= time.Second {
			r.Previous, r.PreviousUntil = r.Hash, c.At.Add(overlap).Truncate(time.Second)
		}
		r.Hash, r.Rotated = HashOf(secret.Reveal()), c.At
		return nil
	})
	switch {
	case err != nil:
		return Issued{}, err
	case len(records) == 0:
		return Issued{}, ErrNotFound
	}
	i.done(c, records)
	return Issued{records[0], secret}, nil
}

// Revoke ends all tokens that match f for good, expired ones included, and
// returns those that were not revoked before. Where f has an ID that is not
// there the error wraps ErrNotFound. f must say something: nobody means all
// tokens of everybody.
func (i *Issuer) Revoke(ctx context.Context, by string, f Filter) ([]Record, error) {
	if f == (Filter{}) {
		return nil, invalid("say which tokens: by id, by user, or by age")
	}
	return i.revoke(ctx, ActionRevoke, by, f)
}

func (i *Issuer) revoke(ctx context.Context, action, by string, f Filter) ([]Record, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	c := Change{Actor: by, Action: action, At: i.now().UTC().Truncate(time.Second)}
	todo := f
	todo.Unrevoked = true
	records, err := i.store.Update(ctx, c, todo, func(r *Record) error {
		r.Revoked, r.RevokedBy = c.At, by
		return nil
	})
	if err != nil {
		return nil, err
	}
	i.done(c, records)
	if len(records) == 0 && f.ID != "" {
		there, err := i.store.List(ctx, f)
		if err != nil {
			return nil, err
		}
		if len(there) == 0 {
			return nil, ErrNotFound
		}
	}
	return records, nil
}

var findTokens = regexp.MustCompile(Pattern)

// RevokeLeaked revokes every token found in a text, whatever else is in there,
// present and former secrets alike, as far as it matches f. found is how many
// different tokens the text held, ours or not; the records are those revoked now.
func (i *Issuer) RevokeLeaked(ctx context.Context, by string, f Filter, text string) (records []Record, found int, err error) {
	seen := map[Hash]bool{}
	for _, token := range findTokens.FindAllString(text, -1) {
		if !Valid(token) {
			continue
		}
		hash := HashOf(token)
		if seen[hash] {
			continue
		}
		seen[hash] = true
		f.Hash = &hash
		revoked, err := i.revoke(ctx, ActionLeaked, by, f)
		if err != nil {
			return records, len(seen), err
		}
		records = append(records, revoked...)
	}
	return records, len(seen), nil
}

// List returns the tokens that match f.
func (i *Issuer) List(ctx context.Context, f Filter) ([]Record, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	return i.store.List(ctx, f)
}

// check refuses text that no token can have: a store may choke on it.
func (f *Filter) check() error {
	if f.Owner != "" {
		if err := checkText("user", f.Owner, maxUser, userSigns); err != nil {
			return err
		}
	}
	if f.After != "" && checkID(f.After) != nil {
		return invalid("after: %v", errID)
	}
	if f.ID != "" && checkID(f.ID) != nil {
		return fmt.Errorf("%w: %v", ErrNotFound, errID)
	}
	return nil
}

// OfStatus adds to a filter that tokens have a status at a time; "": any.
func (f *Filter) OfStatus(s Status, at time.Time) error {
	switch s {
	case "":
	case Active:
		f.LiveAt = at
	case Expired:
		f.EndedAt = at
	case Revoked:
		f.Revoked = true
	default:
		return invalid("status: is none of %s, %s, %s", Active, Expired, Revoked)
	}
	return nil
}

// Show returns one token with its history. When it is not there the error wraps
// ErrNotFound.
func (i *Issuer) Show(ctx context.Context, f Filter) (Record, error) {
	if err := checkID(f.ID); err != nil {
		return Record{}, fmt.Errorf("%w: %v", ErrNotFound, err)
	}
	f.History = true
	records, err := i.store.List(ctx, f)
	switch {
	case err != nil:
		return Record{}, err
	case len(records) == 0:
		return Record{}, ErrNotFound
	}
	return records[0], nil
}

// EndIdle revokes idle tokens until ctx ends.
func (i *Issuer) EndIdle(ctx context.Context, log *slog.Logger) {
	if i.limits.IdleExpiry <= 0 {
		return
	}
	tick := time.NewTicker(idleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			records, err := i.endIdle(ctx)
			if err != nil {
				log.Warn("token store: idle tokens could not be ended; trying again", "error", err)
			} else if len(records) > 0 {
				log.Info("token store: ended idle tokens", "tokens", len(records))
			}
		}
	}
}

func (i *Issuer) endIdle(ctx context.Context) ([]Record, error) {
	now := i.now()
	f := Filter{
		LiveAt: now,
		// Last uses are written coarsely and late.
		UnusedSince: now.Add(-i.limits.IdleExpiry - useGranularity*time.Second - 2*writeUsesEvery),
		Limit:       1,
	}
	idle, err := i.store.List(ctx, f)
	if err != nil || len(idle) == 0 {
		return nil, err
	}
	f.Limit = 0
	return i.revoke(ctx, ActionIdle, "gatelodge", f)
}
