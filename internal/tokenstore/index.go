package tokenstore

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// Index holds every token in memory: a look-up waits for nobody, and allocates
// nothing when the token is good.
//
// Unknown, wrong, revoked and expired tokens take the same steps up to the
// word that is logged, so that the time of an answer does not tell them apart.
//
// There may be a million tokens. What is kept of each holds no pointer, so that
// the garbage collector passes all of them by.
type Index struct {
	now          func() time.Time
	maxStaleness time.Duration
	start        time.Time // what fresh is counted from
	shards       [shardCount]shard
	uses         uses

	owners table[string]
	extras table[extra]

	// fresh is when the index was last known to equal the store, counted from
	// start by the monotonic clock; 0: never yet.
	fresh atomic.Int64
	count atomic.Int64 // tokens

	mu         sync.Mutex // held while changes are taken over
	ids        map[tokenID]known
	revision   int64 // of the store, when changes were last taken over
	suspect    bool  // the store may have gone back since: load it wholly
	generation uint8 // of the last whole load

	failure atomic.Pointer[failure] // of the last look at the store; nil: it went well
}

type failure struct{ err error }

type tokenID [idLength]byte

func toID(text string) (id tokenID) {
	copy(id[:], text)
	return id
}

// NewIndex makes an index that knows no token yet. Once it has been equal to
// the store, it answers for maxStaleness without hearing of it again.
func NewIndex(maxStaleness time.Duration, now func() time.Time) *Index {
	x := &Index{now: now, maxStaleness: maxStaleness, start: now(), ids: map[tokenID]known{}}
	x.owners.number("", "nobody") // of the decoy
	x.extras.number("", extra{})
	for i := range x.shards {
		x.shards[i].at = map[slot]secret{}
	}
	return x
}

// shardCount is a power of two. With many shards a request hardly ever meets
// a change at its lock.
const shardCount = 256

type shard struct {
	mu sync.RWMutex
	at map[slot]secret
	_  [32]byte // keeps neighbours' locks off this cache line
}

// slot is the front of a secret's hash. It only finds what is known of a secret;
// the rest of the hash is compared afterwards, in constant time.
type slot [16]byte

func (x *Index) shard(s slot) *shard { return &x.shards[s[0]] }

func slotOf(h *Hash) slot { return slot(h[:16]) }

// secret is what the index keeps of one secret. A token has two of them while
// the one before a rotation goes on.
type secret struct {
	rest    [16]byte // of the hash, behind the slot
	id      tokenID
	expires int64  // of the token, in Unix seconds
	until   int64  // of this secret: forever, or the end of the one before
	used    int64  // Unix seconds of the last use that was passed on
	owner   uint32 // in owners
	extra   uint32 // in extras
	revoked bool
}

const forever = int64(1)<<62 - 1 // in Unix seconds, of what does not end

// extra is what few tokens have, and many of those alike.
type extra struct {
	groups []string
	limits *authz.Limits
}

// known is what is kept of a token for the sake of changes. Index.mu guards it.
type known struct {
	revision   int64
	present    slot // of its secret
	former     slot // of the one before, if it was rotated
	rotated    bool
	generation uint8 // of the load that last saw it
}

// decoy is compared with where there is nothing.
var decoy = secret{id: toID("(not made by us)"), expires: forever, until: forever}

var (
	errChecksum = authz.Reject(authz.ReasonChecksum, "not an API token: prefix, length, alphabet or checksum")
	errUnloaded = &authz.Unavailable{Cause: errors.New("the API tokens are not loaded yet"), RetryAfter: time.Second}
	errStale    = &authz.Unavailable{Cause: errors.New("the token store has been out of reach for longer than max_staleness"), RetryAfter: 5 * time.Second}
)

// Lookup returns the identity behind a token, made in room; for Basic the user
// must be its owner. source is where the request came from. Errors are as those
// of authz.Provider.Verify.
func (x *Index) Lookup(c authz.Credential, source netip.Addr, room *authz.Room) (*authz.Identity, error) {
	text := c.Secret.Reveal()
	if !Valid(text) {
		return nil, errChecksum
	}
	now := x.now()
	if err := x.stale(now); err != nil {
		return nil, err
	}
	hash := HashOf(text)
	s := x.find(&hash)
	seconds, owner := now.Unix(), x.owners.at(s.owner)
	if reason := s.judge(&hash, &c, owner, seconds); reason != authz.NoReason {
		return nil, &authz.Rejection{Reason: reason, Detail: "token " + string(s.id[:])}
	}
	if seconds-s.used >= useGranularity && x.firstUse(slotOf(&hash), seconds) {
		x.uses.add(s.id, seconds, source)
	}
	return x.identity(&s, owner, room), nil
}

// stale returns an error when the index must not be trusted any more.
func (x *Index) stale(now time.Time) error {
	fresh := x.fresh.Load()
	switch {
	case fresh == 0:
		return errUnloaded
	case now.Sub(x.start)-time.Duration(fresh) > x.maxStaleness:
		return errStale
	}
	return nil
}

// find returns what is known of the secret with a hash, or the decoy.
func (x *Index) find(h *Hash) secret {
	at := slotOf(h)
	shard := x.shard(at)
	shard.mu.RLock()
	s, there := shard.at[at]
	shard.mu.RUnlock()
	if !there {
		s = decoy
	}
	return s
}

// firstUse notes a use, and reports whether it is the first for a while.
func (x *Index) firstUse(at slot, seconds int64) bool {
	shard := x.shard(at)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	s, there := shard.at[at]
	if !there || seconds-s.used < useGranularity {
		return false
	}
	s.used = seconds
	shard.at[at] = s
	return true
}

// judge says why a secret is refused, or NoReason. All that could be wrong is
// looked at, whatever is found, and no step depends on it: the later of the
// lines below win.
func (s *secret) judge(h *Hash, c *authz.Credential, owner string, seconds int64) authz.Reason {
	same := subtle.ConstantTimeCompare(h[16:], s.rest[:])
	named := sameText(c.User, owner) | asInt(c.Kind != authz.Basic)

	reason := int(authz.NoReason)
	reason = subtle.ConstantTimeSelect(named, reason, int(authz.ReasonWrongUser))
	reason = subtle.ConstantTimeSelect(asInt(seconds < s.expires), reason, int(authz.ReasonTokenExpired))
	reason = subtle.ConstantTimeSelect(asInt(seconds < s.until), reason, int(authz.ReasonRevoked))
	reason = subtle.ConstantTimeSelect(asInt(s.revoked), int(authz.ReasonRevoked), reason)
	reason = subtle.ConstantTimeSelect(same, reason, int(authz.ReasonUnknownToken))
	return authz.Reason(reason)
}

// asInt is compiled to an instruction without a branch.
func asInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sameText is subtle.ConstantTimeCompare of texts, without copying them.
func sameText(a, b string) int {
	if len(a) != len(b) {
		return 0
	}
	var differ byte
	for i := range len(a) {
		differ |= a[i] ^ b[i]
	}
	return subtle.ConstantTimeByteEq(differ, 0)
}

// identity makes the answer of a good token.
func (x *Index) identity(s *secret, owner string, room *authz.Room) *authz.Identity {
	more := x.extras.at(s.extra)
	id := &room.Identity
	*id = authz.Identity{
		User:     owner,
		Subject:  owner,
		Issuer:   authz.APITokens,
		TokenID:  room.Keep(s.id[:]),
		CacheFor: -1, // never from a cache: a revocation holds at once
		Groups:   more.groups,
		Limits:   more.limits,
	}
	if s.expires != forever {
		id.Expires = time.Unix(s.expires, 0)
	}
	return id
}

// secretOf is what the index keeps of a record's present secret.
func (x *Index) secretOf(r *Record) secret {
	s := secret{
		rest: [16]byte(r.Hash[16:]), id: toID(r.ID), expires: forever, until: forever, revoked: !r.Revoked.IsZero(),
		owner: x.owners.number(r.Owner, r.Owner),
		// A use that is noted already, perhaps by another replica or before a
		// restart, is not noted again.
		used: unix(r.LastUsed),
	}
	if !r.Expires.IsZero() {
		s.expires = r.Expires.Unix()
	}
	l := &r.Limits
	limited := l.ReadOnly || len(l.Hosts) > 0 || len(l.Paths) > 0 || len(l.Sources) > 0
	if !limited && len(r.Groups) == 0 {
		return s
	}
	more := extra{groups: r.Groups}
	if limited {
		copied := *l
		more.limits = &copied
	}
	s.extra = x.extras.number(fmt.Sprintf("%q %t %q %q %q", r.Groups, l.ReadOnly, l.Hosts, l.Paths, l.Sources), more)
	return s
}

// putNewer takes a record over unless a later state of it is known.
func (x *Index) putNewer(r *Record) {
	if k, there := x.ids[toID(r.ID)]; !there || k.revision < r.Revision {
		x.put(r)
	}
}

// put takes a record over. The caller holds x.mu.
func (x *Index) put(r *Record) {
	s := x.secretOf(r)
	before, there := x.ids[s.id]
	if there {
		s.used = max(s.used, x.usedAt(before.present))
	}
	k := known{revision: r.Revision, present: slotOf(&r.Hash), generation: x.generation}
	// The new is there before the old is gone, so that no request falls
	// between the two.
	x.link(k.present, s)
	if r.Previous != (Hash{}) {
		k.former, k.rotated = slotOf(&r.Previous), true
		s.rest, s.until = [16]byte(r.Previous[16:]), unix(r.PreviousUntil)
		x.link(k.former, s)
	}
	x.ids[s.id] = k
	if !there {
		x.count.Add(1)
		return
	}
	x.unlink(before, k)
}

func (x *Index) usedAt(at slot) int64 {
	shard := x.shard(at)
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	return shard.at[at].used
}

func (x *Index) link(at slot, s secret) {
	shard := x.shard(at)
	shard.mu.Lock()
	shard.at[at] = s
	shard.mu.Unlock()
}

// unlink drops the secrets of a token that it does not have any more.
func (x *Index) unlink(before, now known) {
	drop := func(at slot) {
		if at == now.present || now.rotated && at == now.former {
			return
		}
		shard := x.shard(at)
		shard.mu.Lock()
		delete(shard.at, at)
		shard.mu.Unlock()
	}
	drop(before.present)
	if before.rotated {
		drop(before.former)
	}
}

// Apply takes changes over that this process has just made, so that they hold
// here when they are acknowledged. Later ones win, whatever comes last.
func (x *Index) Apply(records []Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range records {
		r := &records[i]
		x.putNewer(r)
	}
}
