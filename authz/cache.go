package authz

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// CacheLimits bound a Cache. Zero values take the defaults.
type CacheLimits struct {
	Entries         int   // verified identities; default 100,000
	Bytes           int64 // memory of the verified identities; default 128 MiB
	NegativeEntries int   // refusals that a provider answered; default 10,000

	Revocations     int           // remembered; default 100,000
	KeepRevocations time.Duration // default a day
}

func (l CacheLimits) withDefaults() CacheLimits {
	if l.Entries <= 0 {
		l.Entries = 100_000
	}
	if l.Bytes <= 0 {
		l.Bytes = 128 << 20
	}
	if l.NegativeEntries <= 0 {
		l.NegativeEntries = 10_000
	}
	if l.Revocations <= 0 {
		l.Revocations = defaultRevocations
	}
	if l.KeepRevocations <= 0 {
		l.KeepRevocations = defaultKeep
	}
	return l
}

const shardCount = 64 // a power of two

// Cache remembers what providers proved a moment ago. It outlives the Engine
// that fills it: a new configuration goes on with it, and what a provider that
// is gone has proven can no longer be found.
//
// Identities and refusals live apart, so that a flood of bad credentials
// cannot push a good one out. Credentials are not kept, only a keyed 128-bit
// hash of them.
type Cache struct {
	limits   CacheLimits
	mac      cipher.AEAD
	scratch  sync.Pool
	good     [shardCount]shard
	bad      [shardCount]shard
	revoked  revocations
	scopes   scopeTable
	counters cacheCounters
}

type cacheCounters struct{ hits, misses, evicted atomic.Uint64 }

// CacheStats are a Cache's counters since it was made.
type CacheStats struct {
	Entries, NegativeEntries int
	Bytes                    int64
	Hits, Misses, Evicted    uint64

	Revocations     int    // remembered
	LostRevocations uint64 // that made room for others before their time
}

type cacheKey [16]byte

// An entry is what is remembered of one credential: an identity, or a refusal.
type entry struct {
	key      cacheKey
	identity *Identity
	provider string // its name: the provider itself would live on with what it has proven
	refusal  *Rejection

	offline bool   // proven without asking the provider
	began   uint64 // epoch of revocations when the verification began
	judged  uint64 // the same when the identity was last found to stand

	touched int64 // Unix seconds, when it was last moved to the front; guarded by its shard's lock

	until  time.Time // monotonic: setting the clock back revives nothing
	expiry int64     // wall clock in Unix seconds, of the credential itself; 0: none
	bytes  int64
}

// newEntry makes the entry of a proven identity. Both are one piece of memory:
// the collector looks at every piece that is remembered, again and again.
func newEntry(owner *NamedProvider, id *Identity) *entry {
	proven := &struct {
		entry
		id Identity
	}{entry{provider: owner.Name}, *id}
	proven.identity = &proven.id
	if !id.Expires.IsZero() {
		proven.expiry = id.Expires.Unix()
	}
	return &proven.entry
}

// live reports whether the entry may still be used at now.
func (e *entry) live(now time.Time) bool {
	return now.Before(e.until) && (e.expiry == 0 || now.Unix() < e.expiry)
}

type shard struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[cacheKey, *entry]
	bytes int64
	_     [32]byte // keeps neighbours' locks off this cache line
}

// NewCache makes an empty cache. It fails only where the system has no
// randomness to key its hash with.
func NewCache(limits CacheLimits) (*Cache, error) {
	c := &Cache{limits: limits.withDefaults()}
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("keying the identity cache: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("keying the identity cache: %w", err)
	}
	if c.mac, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("keying the identity cache: %w", err)
	}
	c.scratch.New = func() any { return new(keyScratch) }
	if err := c.revoked.init(c.limits.Revocations, c.limits.KeepRevocations); err != nil {
		return nil, err
	}
	for i := range c.good {
		if err := c.good[i].init(c.limits.Entries, &c.counters); err != nil {
			return nil, err
		}
		if err := c.bad[i].init(c.limits.NegativeEntries, &c.counters); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (s *shard) init(entries int, n *cacheCounters) (err error) {
	size := (entries + shardCount - 1) / shardCount
	s.lru, err = simplelru.NewLRU(size, func(_ cacheKey, e *entry) {
		s.bytes -= e.bytes
		n.evicted.Add(1)
	})
	return err
}

// keyScratch holds what the hash reads and writes, so that a look-up allocates
// nothing.
type keyScratch struct {
	nonce [12]byte
	out   [16]byte
	text  []byte
}

// key hashes a credential, presented under one set of providers. The hash is
// GMAC under a key of this process: who does not know the key cannot find two
// credentials with one hash. No tag ever leaves the process, which is what
// lets the nonce carry the scope instead of being fresh.
func (c *Cache) key(scope uint64, cred *Credential) cacheKey {
	s := c.scratch.Get().(*keyScratch)
	binary.BigEndian.PutUint64(s.nonce[:8], scope)
	s.nonce[8] = byte(cred.Kind)
	// The user's length in front keeps "ab"+"c" and "a"+"bc" apart.
	s.text = binary.BigEndian.AppendUint32(s.text[:0], uint32(len(cred.User)))
	s.text = append(s.text, cred.User...)
	s.text = append(s.text, cred.Secret.text...)
	k := cacheKey(c.mac.Seal(s.out[:0], s.nonce[:], nil, s.text))
	clear(s.text)
	c.scratch.Put(s)
	return k
}

// get returns what is remembered under k, or nil, and counts the look-up.
func (c *Cache) get(k cacheKey, now time.Time) *entry {
	e := c.peek(k, now)
	if e != nil {
		c.counters.hits.Add(1)
	} else {
		c.counters.misses.Add(1)
	}
	return e
}

// peek is get for a second look, which does not count.
func (c *Cache) peek(k cacheKey, now time.Time) *entry {
	if e := c.good[k[0]%shardCount].get(k, now); e != nil {
		return e
	}
	return c.bad[k[0]%shardCount].get(k, now)
}

// get moves an entry to the front, but not twice in a second: that takes several
// others in hand, none of them near.
func (s *shard) get(k cacheKey, now time.Time) *entry {
	s.mu.Lock()
	e, ok := s.lru.Peek(k)
	switch {
	case !ok:
	case !e.live(now):
		s.lru.Remove(k)
		ok = false
	case now.Unix() != e.touched:
		s.lru.Get(k)
		e.touched = now.Unix()
	}
	s.mu.Unlock()
	if !ok {
		return nil
	}
	return e
}

// put remembers e under k for at most ttl from now, unless something was
// revoked since its identity was judged.
func (c *Cache) put(k cacheKey, e *entry, now time.Time, ttl time.Duration) {
	e.key, e.until = k, now.Add(ttl)
	if !e.live(now) {
		return
	}
	e.bytes = e.size()
	if e.identity != nil {
		c.good[k[0]%shardCount].put(k, e, c.limits.Bytes/shardCount, &c.revoked)
		return
	}
	c.bad[k[0]%shardCount].put(k, e, c.limits.Bytes/shardCount, nil)
}

func (s *shard) put(k cacheKey, e *entry, limit int64, r *revocations) {
	if e.bytes > limit {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r != nil && r.epoch.Load() != e.judged {
		return // it may be meant, and the sweep may have passed here already
	}
	s.lru.Remove(k) // so that its bytes are given back
	s.lru.Add(k, e)
	for s.bytes += e.bytes; s.bytes > limit; {
		s.lru.RemoveOldest()
	}
}

// Forget drops every remembered identity for which match is true, and says how
// many there were. It keeps none from being proven again: see Revoke.
func (c *Cache) Forget(match func(provider string, id *Identity) bool) (dropped int) {
	for i := range c.good {
		s := &c.good[i]
		s.mu.Lock()
		all := s.lru.Values()
		s.mu.Unlock()
		// The lock is not held while each is looked at: cached decisions wait for it.
		for _, e := range all {
			if match(e.provider, e.identity) && s.remove(e) {
				dropped++
			}
		}
	}
	return dropped
}

// remove drops e, unless it has gone already.
func (s *shard) remove(e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, there := s.lru.Peek(e.key)
	return there && now == e && s.lru.Remove(e.key)
}

// Stats returns the counters. It takes each shard's lock in turn.
func (c *Cache) Stats() CacheStats {
	st := CacheStats{
		Hits:    c.counters.hits.Load(),
		Misses:  c.counters.misses.Load(),
		Evicted: c.counters.evicted.Load(),
	}
	for i := range c.good {
		n, b := c.good[i].stats()
		st.Entries, st.Bytes = st.Entries+n, st.Bytes+b
		n, b = c.bad[i].stats()
		st.NegativeEntries, st.Bytes = st.NegativeEntries+n, st.Bytes+b
	}
	c.revoked.mu.RLock()
	st.Revocations, st.LostRevocations = c.revoked.known.Len(), c.revoked.lost.Load()
	c.revoked.mu.RUnlock()
	return st
}

func (s *shard) stats() (entries int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lru.Len(), s.bytes
}

// Fixed costs of an entry in bytes: the entry and its Identity, and the list
// and map cells that hold it.
const (
	entryCost = 632
	valueCost = 16
)

// size estimates an entry's memory in bytes. Attributes are counted deep:
// they are the one part whose size the provider chooses.
func (e *entry) size() int64 {
	if e.identity == nil {
		return entryCost + int64(len(e.refusal.Detail))
	}
	id := e.identity
	n := entryCost + len(id.User) + len(id.Subject) + len(id.Issuer) + len(id.Email) +
		len(id.Client) + len(id.TokenID) + len(id.Session) + len(id.ACR)
	for _, list := range [][]string{id.Groups, id.Roles, id.Scopes} {
		for _, s := range list {
			n += valueCost + len(s)
		}
	}
	return int64(n) + deepSize(id.Attributes)
}

func deepSize(v any) int64 {
	switch v := v.(type) {
	case map[string]any:
		n := int64(3 * valueCost)
		for k, w := range v {
			n += int64(len(k)) + 2*valueCost + deepSize(w)
		}
		return n
	case []any:
		n := int64(2 * valueCost)
		for _, w := range v {
			n += valueCost + deepSize(w)
		}
		return n
	case string:
		return int64(valueCost + len(v))
	}
	return valueCost
}

// scopeTable numbers the sets of providers that rules name. An identity is
// remembered under the set that it was proven for: what one rule's providers
// proved is never an answer under another's.
type scopeTable struct {
	mu    sync.Mutex
	known map[string]uint64
}

func (t *scopeTable) number(instances []uint64) uint64 {
	var name []byte
	for _, n := range instances {
		name = binary.BigEndian.AppendUint64(name, n)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = map[string]uint64{}
	}
	n, ok := t.known[string(name)]
	if !ok {
		n = uint64(len(t.known) + 1)
		t.known[string(name)] = n
	}
	return n
}
