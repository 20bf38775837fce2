package authz

import (
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// A Revocation is what an identity provider tells by itself: a session has
// ended, or all of a user's. Of Session, Subject and Email one at least is set.
type Revocation struct {
	Issuers []string // Identity.Issuer is one of these
	Session string   // sid; "": all sessions of the user
	Subject string   // whose, by the stable key
	Email   string   // whose, where that is all the user is named by

	// At is when it happened: a credential that was issued later is not meant.
	// Zero: nothing is refused, only looked at anew.
	At time.Time
}

// Revoke obeys r: what is remembered of such identities is dropped at once, and
// their credentials are refused from now on, also where they could be proven
// again: see revocations. It says how many identities were dropped.
func (c *Cache) Revoke(r Revocation, now time.Time) (dropped int) {
	c.revoked.record(&r, now)
	return c.Forget(func(_ string, id *Identity) bool { return r.means(id) })
}

// means reports whether r is about an identity, whenever that was issued. One
// that does not tell its session may be of any session of its user.
func (r *Revocation) means(id *Identity) bool {
	ours := false
	for _, issuer := range r.Issuers {
		ours = ours || issuer == id.Issuer
	}
	switch {
	case !ours:
		return false
	case r.Session != "" && id.Session != "":
		return r.Session == id.Session
	}
	return r.Subject != "" && r.Subject == id.Subject || r.Email != "" && strings.EqualFold(r.Email, id.Email)
}

// Bounds of what is remembered of revocations where CacheLimits do not say.
const (
	defaultRevocations = 100_000
	defaultKeep        = 24 * time.Hour
	longestKeep        = 90 * 24 * time.Hour
)

// revocations remembers what was revoked: a signed token is good until it
// expires, whatever became of its session. It is asked when a credential was
// verified, never about what is in the cache: Revoke has dropped that.
//
// An entry is kept for keep, or for the longest life of a credential that was
// seen, if that is longer. At the bound the oldest goes, and is counted.
//
// No identity gets past it, however a verification and a revocation overlap:
// the revocation is recorded before the cache is swept, and an identity is put
// into the cache only while epoch is what it was before the identity was
// judged, which is looked at under the lock that the sweep takes too.
type revocations struct {
	keep    time.Duration
	epoch   atomic.Uint64 // of the last one; 0: there was none yet
	longest atomic.Int64  // life of a credential, in nanoseconds
	lost    atomic.Uint64 // entries that went before their time

	mu    sync.RWMutex
	known *simplelru.LRU[revocationKey, revocation] // by when they came
}

// A revocationKey is the hash of an issuer and of what a revocation names there.
type revocationKey [16]byte

type revocation struct {
	at    time.Time // of its event; zero: only looked at anew
	came  time.Time
	epoch uint64
}

// What a revocation is remembered by: a session, a user, or a user's
// credentials that do not tell their session.
type by byte

const (
	session by = iota
	subject
	email
	subjectUntold
	emailUntold
)

func keyOf(b by, issuer, value string) revocationKey {
	text := make([]byte, 0, 256)
	text = append(text, byte(b))
	text = append(text, issuer...)
	text = append(text, 0)
	text = append(text, value...)
	sum := sha256.Sum256(text)
	return revocationKey(sum[:16])
}

func (v *revocations) init(limit int, keep time.Duration) (err error) {
	v.keep = keep
	v.known, err = simplelru.NewLRU[revocationKey, revocation](limit, nil)
	return err
}

// folded is one text for all that strings.EqualFold takes for equal: upper case
// first, since some letters have two lower ones.
func folded(s string) string { return strings.ToLower(strings.ToUpper(s)) }

// keys are those under which r is remembered.
func (r *Revocation) keys() (keys []revocationKey) {
	for _, issuer := range r.Issuers {
		add := func(b by, value string) {
			if value != "" {
				keys = append(keys, keyOf(b, issuer, value))
			}
		}
		if r.Session == "" {
			add(subject, r.Subject)
			add(email, folded(r.Email))
			continue
		}
		add(session, r.Session)
		add(subjectUntold, r.Subject)
		add(emailUntold, folded(r.Email))
	}
	return keys
}

func (v *revocations) record(r *Revocation, now time.Time) {
	keys := r.keys()
	v.mu.Lock()
	defer v.mu.Unlock()
	keep := v.kept()
	for {
		_, oldest, ok := v.known.GetOldest()
		if !ok || now.Sub(oldest.came) <= keep {
			break
		}
		v.known.RemoveOldest()
	}
	epoch := v.epoch.Load() + 1
	for _, k := range keys {
		entry := revocation{at: r.At, came: now, epoch: epoch}
		if before, ok := v.known.Peek(k); ok && before.at.After(entry.at) {
			entry.at = before.at
		}
		if v.known.Add(k, entry) {
			v.lost.Add(1)
		}
	}
	v.epoch.Store(epoch)
}

// kept is for how long entries are kept.
func (v *revocations) kept() time.Duration { return max(v.keep, time.Duration(v.longest.Load())) }

// saw takes note of how long credentials live that are proven without asking.
func (v *revocations) saw(id *Identity) {
	if id.Issued.IsZero() || id.Expires.IsZero() {
		return
	}
	life := int64(min(id.Expires.Sub(id.Issued), longestKeep))
	for old := v.longest.Load(); life > old && !v.longest.CompareAndSwap(old, life); old = v.longest.Load() {
	}
}

// A standing is what became of an identity since its verification began.
type standing uint8

const (
	ended    standing = iota // revoked
	outdated                 // its provider was asked before it told us of something
	stands
)

// judge says how an entry with an identity stands. What a provider vouched for
// that was asked after a revocation is its word against ours only where it
// says itself that the credential is older; what was proven without asking is
// refused in every doubt.
func (v *revocations) judge(e *entry, now time.Time) standing {
	if v.epoch.Load() == 0 {
		return stands
	}
	id := e.identity
	issued := id.Issued
	if issued.IsZero() {
		issued = id.AuthTime
	}
	mail := folded(id.Email)
	names := [...]string{session: id.Session, subject: id.Subject, email: mail, subjectUntold: id.Subject, emailUntold: mail}
	found := stands
	v.mu.RLock()
	defer v.mu.RUnlock()
	for b, name := range names {
		untold := by(b) >= subjectUntold
		if name == "" || untold && id.Session != "" {
			continue
		}
		r, ok := v.known.Peek(keyOf(by(b), id.Issuer, name))
		if !ok || now.Sub(r.came) > v.kept() {
			continue
		}
		sure := e.offline || !issued.IsZero() && !untold
		if !r.at.IsZero() && sure && !issued.After(r.at) {
			return ended
		}
		if !e.offline && r.epoch > e.began {
			found = outdated
		}
	}
	return found
}

// errEnded refuses a credential whose session has ended.
func errEnded() error {
	return Reject(ReasonLoggedOut, "its session, or all of its user's, ended after it was issued: the provider told us")
}

var errOutdated = errors.New("the provider tells of changes faster than it can be asked")
