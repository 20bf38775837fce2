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
	"unsafe"
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
	start    time.Time // what moments are counted from
	mac      cipher.AEAD
	scratch  sync.Pool
	good     [shardCount]remembered
	bad      [shardCount]refusals
	revoked  revocations
	scopes   scopeTable
	counters cacheCounters
}

type cacheCounters struct{ hits, misses atomic.Uint64 }

// CacheStats are a Cache's counters since it was made.
type CacheStats struct {
	Entries, NegativeEntries int
	Bytes                    int64
	Hits, Misses, Evicted    uint64

	Revocations     int    // remembered
	LostRevocations uint64 // that made room for others before their time
}

type cacheKey [16]byte

// An entry is what is known of one credential: an identity, or a refusal.
type entry struct {
	identity *Identity
	provider string // its name: the provider itself would live on with what it has proven
	refusal  *Rejection

	offline bool   // proven without asking the provider
	began   uint64 // epoch of revocations when the verification began
	judged  uint64 // the same when the identity was last found to stand
}

// NewCache makes an empty cache. It fails only where the system has no
// randomness to key its hash with.
func NewCache(limits CacheLimits) (*Cache, error) {
	c := &Cache{limits: limits.withDefaults(), start: time.Now()}
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
		c.good[i].init(c.limits.Entries)
		if err := c.bad[i].init(c.limits.NegativeEntries); err != nil {
			return nil, err
		}
	}
	return c, nil
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
	defer c.scratch.Put(s)
	binary.BigEndian.PutUint64(s.nonce[:8], scope)
	s.nonce[8], s.nonce[9] = byte(cred.Kind), 0
	if cred.User == "" {
		// The hash only reads: the text need not be copied for it.
		secret := unsafe.Slice(unsafe.StringData(cred.Secret.text), len(cred.Secret.text))
		return cacheKey(c.mac.Seal(s.out[:0], s.nonce[:], nil, secret))
	}
	s.nonce[9] = 1 // two parts
	// The user's length in front keeps "ab"+"c" and "a"+"bc" apart.
	s.text = binary.BigEndian.AppendUint32(s.text[:0], uint32(len(cred.User)))
	s.text = append(s.text, cred.User...)
	s.text = append(s.text, cred.Secret.text...)
	k := cacheKey(c.mac.Seal(s.out[:0], s.nonce[:], nil, s.text))
	clear(s.text)
	return k
}

func (c *Cache) moment(t time.Time) moment {
	return moment{since: int64(t.Sub(c.start)), seconds: t.Unix()}
}

// get returns what is remembered under k, and counts the look-up. An identity is
// made in room, and ends when room is used again.
func (c *Cache) get(k cacheKey, now time.Time, room *Room) (e entry, ok bool) {
	e, ok = c.peek(k, now, room)
	if ok {
		c.counters.hits.Add(1)
	} else {
		c.counters.misses.Add(1)
	}
	return e, ok
}

// peek is get for a second look, which does not count.
func (c *Cache) peek(k cacheKey, now time.Time, room *Room) (e entry, ok bool) {
	m := c.moment(now)
	if e, ok = c.good[k[0]%shardCount].get(&k, m, room); ok {
		return e, true
	}
	return c.bad[k[0]%shardCount].get(k, m)
}

// put remembers e under k for at most ttl from now, unless something was
// revoked since its identity was judged.
func (c *Cache) put(k cacheKey, e *entry, now time.Time, ttl time.Duration) {
	ends := ending{until: int64(now.Add(ttl).Sub(c.start))}
	if e.identity != nil {
		ends.expires = unixSeconds(e.identity.Expires)
	}
	m := c.moment(now)
	if !ends.live(m) {
		return
	}
	limit := c.limits.Bytes / shardCount
	if e.identity == nil {
		c.bad[k[0]%shardCount].put(k, e, ends, limit)
		return
	}
	c.good[k[0]%shardCount].put(&k, e, m, ends, limit, &c.revoked)
}

// remove drops the identity that is remembered under k.
func (c *Cache) remove(k cacheKey) { c.good[k[0]%shardCount].remove(&k) }

// Forget drops every remembered identity for which match is true, and says how
// many there were. It keeps none from being proven again: see Revoke. match must
// not keep what it is given.
func (c *Cache) Forget(match func(provider string, id *Identity) bool) (dropped int) {
	for i := range c.good {
		dropped += c.good[i].sweep(match)
	}
	return dropped
}

// Stats returns the counters. It takes each shard's lock in turn.
func (c *Cache) Stats() CacheStats {
	st := CacheStats{
		Hits:   c.counters.hits.Load(),
		Misses: c.counters.misses.Load(),
	}
	for i := range c.good {
		n, b, gone := c.good[i].stats()
		st.Entries, st.Bytes, st.Evicted = st.Entries+n, st.Bytes+b, st.Evicted+gone
		n, b, gone = c.bad[i].stats()
		st.NegativeEntries, st.Bytes, st.Evicted = st.NegativeEntries+n, st.Bytes+b, st.Evicted+gone
	}
	c.revoked.mu.RLock()
	st.Revocations, st.LostRevocations = c.revoked.known.Len(), c.revoked.lost.Load()
	c.revoked.mu.RUnlock()
	return st
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
