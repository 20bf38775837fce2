package tokenstore

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"slices"
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
	formers    map[tokenID]slot // of the secrets before, of tokens that were rotated
	revision   int64            // of the store, when changes were last taken over
	suspect    bool             // the store may have gone back since: load it wholly
	generation uint8            // of the last whole load

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
	x := &Index{now: now, maxStaleness: maxStaleness, start: now(), ids: map[tokenID]known{}, formers: map[tokenID]slot{}}
	x.owners.number("", "nobody") // of the decoy
	x.extras.number("", extra{})
	return x
}

// shardCount is a power of two. With many shards a request hardly ever meets
// a change at its lock.
const shardCount = 256

type shard struct {
	mu sync.RWMutex
	finder
	_ [16]byte // neighbours share no cache line
}

// slot is the front of a secret's hash. It only finds what is known of a secret;
// the whole hash is compared afterwards, in constant time.
type slot [16]byte

func (x *Index) shard(s slot) *shard { return &x.shards[s[0]] }

func slotOf(h *Hash) slot { return slot(h[:16]) }

// secret is what the index keeps of one secret. A token has two of them while
// the one before a rotation goes on.
type secret struct {
	hash    Hash
	id      tokenID
	expires int64  // of the token, in Unix seconds
	until   int64  // of this secret: forever, or the end of the one before
	used    uint32 // Unix seconds of the last use that was passed on
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

func (s *secret) slot() slot { return slotOf(&s.hash) }

// known is what is kept of a token for the sake of changes. Index.mu guards it.
type known struct {
	revision   int64
	present    slot  // of its secret
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
	s, found := x.find(&hash)
	seconds, owner := now.Unix(), x.owners.at(s.owner)
	if reason := s.judge(&hash, &c, owner, seconds, found); reason != authz.NoReason {
		id := decoy.id // of a token that is not there, not its neighbour's
		subtle.ConstantTimeCopy(found, id[:], s.id[:])
		return nil, &authz.Rejection{Reason: reason, Detail: "token " + string(id[:])}
	}
	if seconds-int64(s.used) >= useGranularity && x.firstUse(slotOf(&hash), seconds) {
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

// find returns what is known of the secret with a hash, and 1; or what is known
// of any other, and 0.
func (x *Index) find(h *Hash) (secret, int) {
	at := slotOf(h)
	shard := x.shard(at)
	shard.mu.RLock()
	s, found := shard.find(at)
	copied := *s
	shard.mu.RUnlock()
	return copied, found
}

// firstUse notes a use, and reports whether it is the first for a while.
func (x *Index) firstUse(at slot, seconds int64) bool {
	shard := x.shard(at)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	s, found := shard.find(at)
	if found == 0 || seconds-int64(s.used) < useGranularity {
		return false
	}
	s.used = uint32(seconds)
	return true
}

// judge says why a secret is refused, or NoReason. All that could be wrong is
// looked at, whatever is found, and no step depends on it: the later of the
// lines below win. With found 0, s is somebody else's, and whatever it is, the
// secret is unknown.
func (s *secret) judge(h *Hash, c *authz.Credential, owner string, seconds int64, found int) authz.Reason {
	same := subtle.ConstantTimeCompare(h[:], s.hash[:]) & found
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
		hash: r.Hash, id: toID(r.ID), expires: forever, until: forever, revoked: !r.Revoked.IsZero(),
		owner: x.owners.number(r.Owner, r.Owner),
		// A use that is noted already, perhaps by another replica or before a
		// restart, is not noted again.
		used: uint32(unix(r.LastUsed)),
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
	former, wasRotated := x.formers[s.id]
	if there {
		s.used = max(s.used, x.usedAt(before.present))
	}
	// The new is there before the old is gone, so that no request falls
	// between the two.
	now := []slot{s.slot()}
	x.link(s)
	x.ids[s.id] = known{revision: r.Revision, present: now[0], generation: x.generation}
	if r.Previous != (Hash{}) {
		s.hash, s.until = r.Previous, unix(r.PreviousUntil)
		x.link(s)
		now = append(now, s.slot())
		x.formers[s.id] = s.slot()
	} else if wasRotated {
		delete(x.formers, s.id)
	}
	if !there {
		x.count.Add(1)
		return
	}
	x.unlink(before.present, now...)
	if wasRotated {
		x.unlink(former, now...)
	}
}

// forget drops a token with all its secrets.
func (x *Index) forget(id tokenID) {
	x.unlink(x.ids[id].present)
	if former, rotated := x.formers[id]; rotated {
		x.unlink(former)
	}
	delete(x.ids, id)
	delete(x.formers, id)
	x.count.Add(-1)
}

func (x *Index) usedAt(at slot) uint32 {
	shard := x.shard(at)
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	s, found := shard.find(at)
	if found == 0 {
		return 0
	}
	return s.used
}

func (x *Index) link(s secret) {
	shard := x.shard(s.slot())
	shard.mu.Lock()
	shard.put(s)
	shard.mu.Unlock()
}

// unlink drops a secret, unless the token still has it.
func (x *Index) unlink(at slot, now ...slot) {
	if slices.Contains(now, at) {
		return
	}
	shard := x.shard(at)
	shard.mu.Lock()
	shard.drop(at)
	shard.mu.Unlock()
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
