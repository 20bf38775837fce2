package tokenstore

import (
	"crypto/subtle"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/gatelodge/gatelodge/authz"
)

// Index holds every token in memory and answers requests from there: a look-up
// waits for nobody, and allocates nothing when the token is good.
//
// Unknown, wrong, revoked and expired tokens take the same steps up to the
// word that is logged, so that the time of an answer does not tell them apart.
type Index struct {
	now          func() time.Time
	maxStaleness time.Duration
	start        time.Time // what fresh is counted from
	shards       [shardCount]shard
	uses         uses

	// fresh is when the index was last known to equal the store, counted from
	// start by the monotonic clock; 0: never yet.
	fresh atomic.Int64
	count atomic.Int64 // tokens

	mu         sync.Mutex // held while changes are taken over
	ids        map[tokenID]*token
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
	x := &Index{now: now, maxStaleness: maxStaleness, start: now(), ids: map[tokenID]*token{}}
	for i := range x.shards {
		x.shards[i].at = map[slot]*token{}
	}
	return x
}

// shardCount is a power of two. With many shards a request hardly ever meets
// a change at its lock.
const shardCount = 256

type shard struct {
	mu sync.RWMutex
	at map[slot]*token
	_  [32]byte // keeps neighbours' locks off this cache line
}

// slot is the front of a secret's hash. It only finds a token; the whole hash
// is compared afterwards, in constant time.
type slot [16]byte

func (x *Index) shard(h *Hash) *shard { return &x.shards[h[0]] }

func slotOf(h *Hash) slot { return slot(h[:16]) }

// token is what the index keeps of a record: immutable but for ready and used.
// There may be a million: what only few have stands behind a pointer.
type token struct {
	owner    unique.Handle[string]
	hash     Hash
	expires  int64 // Unix seconds
	revision int64
	old      *previous // nil: none
	more     *more     // nil: not limited, no groups
	ready    atomic.Pointer[authz.Identity]
	used     atomic.Int64 // Unix seconds of the last use that was passed on
	id       tokenID

	revoked    bool
	generation uint8 // of the load that last saw it; guarded by Index.mu
}

const forever = int64(1)<<62 - 1 // expires, of tokens that do not

// previous is the secret before a rotation.
type previous struct {
	hash  Hash
	until int64 // Unix seconds
}

type more struct {
	groups []string
	limits *authz.Limits
}

// What is compared with where there is nothing. The zero hash is of no text
// that anybody knows.
var (
	decoy = &token{owner: unique.Make("nobody"), id: toID("(not made by us)")}
	noOld = &previous{}
)

var (
	errChecksum = authz.Reject(authz.ReasonChecksum, "not an API token: prefix, length, alphabet or checksum")
	errUnloaded = &authz.Unavailable{Cause: errors.New("the API tokens are not loaded yet"), RetryAfter: time.Second}
	errStale    = &authz.Unavailable{Cause: errors.New("the token store has been out of reach for longer than max_staleness"), RetryAfter: 5 * time.Second}
)

// Lookup returns the identity behind a token; for Basic the user must be its
// owner. source is where the request came from. Errors are as those of
// authz.Provider.Verify.
func (x *Index) Lookup(c authz.Credential, source netip.Addr) (*authz.Identity, error) {
	text := c.Secret.Reveal()
	if !Valid(text) {
		return nil, errChecksum
	}
	now := x.now()
	if err := x.stale(now); err != nil {
		return nil, err
	}
	hash := HashOf(text)
	t := x.find(&hash)
	seconds := now.Unix()
	if reason := t.judge(&hash, &c, seconds); reason != authz.NoReason {
		return nil, &authz.Rejection{Reason: reason, Detail: "token " + string(t.id[:])}
	}
	if last := t.used.Load(); seconds-last >= useGranularity && t.used.CompareAndSwap(last, seconds) {
		x.uses.add(t.id, seconds, source)
	}
	if id := t.ready.Load(); id != nil {
		return id, nil
	}
	id := t.identity()
	t.ready.Store(id)
	return id, nil
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

// find returns the token that a hash may be of, or the decoy.
func (x *Index) find(h *Hash) *token {
	s := x.shard(h)
	s.mu.RLock()
	t := s.at[slotOf(h)]
	s.mu.RUnlock()
	if t == nil {
		t = decoy
	}
	return t
}

// judge says why a secret is refused, or NoReason. All that could be wrong is
// looked at, whatever is found, and no step depends on it: the later of the
// lines below win.
func (t *token) judge(h *Hash, c *authz.Credential, seconds int64) authz.Reason {
	old := t.old
	if old == nil {
		old = noOld
	}
	present := subtle.ConstantTimeCompare(h[:], t.hash[:])
	former := subtle.ConstantTimeCompare(h[:], old.hash[:])
	named := sameText(c.User, t.owner.Value()) | asInt(c.Kind != authz.Basic)

	reason := int(authz.NoReason)
	reason = subtle.ConstantTimeSelect(named, reason, int(authz.ReasonWrongUser))
	reason = subtle.ConstantTimeSelect(asInt(seconds < t.expires), reason, int(authz.ReasonTokenExpired))
	reason = subtle.ConstantTimeSelect(present|asInt(seconds < old.until), reason, int(authz.ReasonRevoked))
	reason = subtle.ConstantTimeSelect(asInt(t.revoked), int(authz.ReasonRevoked), reason)
	reason = subtle.ConstantTimeSelect(present|former, reason, int(authz.ReasonUnknownToken))
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

// identity makes the answer of a good token. It is made at the first use:
// most of a million tokens sleep.
func (t *token) identity() *authz.Identity {
	owner := t.owner.Value()
	id := &authz.Identity{
		User:     owner,
		Subject:  owner,
		Issuer:   authz.APITokens,
		TokenID:  string(t.id[:]),
		CacheFor: -1, // never from a cache: a revocation holds at once
	}
	if t.expires != forever {
		id.Expires = time.Unix(t.expires, 0)
	}
	if t.more != nil {
		id.Groups, id.Limits = t.more.groups, t.more.limits
	}
	return id
}

func newToken(r *Record) *token {
	t := &token{
		owner:    unique.Make(r.Owner),
		hash:     r.Hash,
		expires:  forever,
		revision: r.Revision,
		revoked:  !r.Revoked.IsZero(),
		id:       toID(r.ID),
	}
	if !r.Expires.IsZero() {
		t.expires = r.Expires.Unix()
	}
	// A use that is noted already, perhaps by another replica or before a
	// restart, is not noted again.
	t.used.Store(unix(r.LastUsed))
	if r.Previous != (Hash{}) {
		t.old = &previous{hash: r.Previous, until: unix(r.PreviousUntil)}
	}
	l := &r.Limits
	limited := l.ReadOnly || len(l.Hosts) > 0 || len(l.Paths) > 0 || len(l.Sources) > 0
	if limited || len(r.Groups) > 0 {
		t.more = &more{groups: r.Groups}
		if limited {
			copied := *l
			t.more.limits = &copied
		}
	}
	return t
}

// putNewer takes a record over unless a later state of it is known.
func (x *Index) putNewer(r *Record) {
	if t := x.ids[toID(r.ID)]; t == nil || t.revision < r.Revision {
		x.put(r)
	}
}

// put takes a record over. The caller holds x.mu.
func (x *Index) put(r *Record) {
	t := newToken(r)
	before := x.ids[t.id]
	t.generation = x.generation
	x.ids[t.id] = t
	// The new is there before the old is gone, so that no request falls
	// between the two.
	x.link(&t.hash, t)
	if t.old != nil {
		x.link(&t.old.hash, t)
	}
	if before == nil {
		x.count.Add(1)
		return
	}
	t.used.Store(max(t.used.Load(), before.used.Load()))
	x.unlink(before, t)
}

func (x *Index) link(h *Hash, t *token) {
	s := x.shard(h)
	s.mu.Lock()
	s.at[slotOf(h)] = t
	s.mu.Unlock()
}

// unlink drops the secrets of a token that another has not taken over.
func (x *Index) unlink(t, successor *token) {
	hashes := []*Hash{&t.hash}
	if t.old != nil {
		hashes = append(hashes, &t.old.hash)
	}
	for _, h := range hashes {
		s := x.shard(h)
		s.mu.Lock()
		if s.at[slotOf(h)] != successor {
			delete(s.at, slotOf(h))
		}
		s.mu.Unlock()
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
