package authz

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// who makes an identity that differs from others in all that may differ.
func who(r *rand.Rand) *Identity {
	text := func() string { return strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(40)) }
	list := func() (l []string) {
		for range r.IntN(3) {
			l = append(l, fmt.Sprint("group-", r.IntN(3)))
		}
		return l
	}
	at := func() time.Time {
		if r.IntN(4) == 0 {
			return time.Time{}
		}
		return time.Unix(r.Int64N(1<<32)+1, 0)
	}
	id := &Identity{
		User: text() + "u", Subject: text(), Email: text(), TokenID: text(), Session: text(),
		Issuer: fmt.Sprint("https://", r.IntN(2)), Client: fmt.Sprint("client-", r.IntN(2)), ACR: fmt.Sprint(r.IntN(2)),
		Groups: list(), Roles: list(), Scopes: list(), App: r.IntN(9) == 0, GroupsUnknown: r.IntN(9) == 0,
		Issued: at(), AuthTime: at(),
	}
	switch r.IntN(12) {
	case 0:
		id.Session = strings.Repeat("s", 200+r.IntN(100_000))
	case 1:
		id.Bound = &Binding{KeyThumbprint: text(), CertificateHash: text()}
	case 2:
		id.Attributes = map[string]any{"sub": text(), "list": []any{text(), 1.0, true}}
	case 3:
		id.Limits = &Limits{ReadOnly: true}
	}
	return id
}

// What is remembered is what was put in, in the order of a well-known list of
// the least recently used, and nothing else: thousands of random steps, compared
// after each.
func TestRememberedIsWhatWasPutIn(t *testing.T) {
	type kept struct {
		entry
		ending
	}
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	const entries, limit = 100, 40_000
	var s remembered
	s.init(entries * shardCount)
	model, _ := simplelru.NewLRU[cacheKey, *kept](10*entries, nil)
	moved := map[cacheKey]int64{}
	var epochs revocations
	room := new(Room)
	now := moment{since: 1, seconds: 1_000_000}
	drop := func(k cacheKey) { model.Remove(k); delete(moved, k) }
	// trim has the model give up what the shard did, which must be the oldest.
	trim := func() {
		for model.Len() > s.count {
			k, _, _ := model.GetOldest()
			drop(k)
		}
	}
	key := func() (k cacheKey) {
		k[4], k[15] = byte(r.IntN(8)), byte(r.IntN(20)) // many begin alike
		return k
	}
	for step := range 20_000 {
		k := key()
		switch r.IntN(10) {
		case 0, 1, 2:
			e := &entry{identity: who(r), provider: fmt.Sprint("p", r.IntN(2)), offline: r.IntN(2) == 0, began: r.Uint64()}
			ends := ending{until: now.since + r.Int64N(40)}
			if r.IntN(2) == 0 {
				ends.expires = now.seconds + r.Int64N(40)
			}
			copied := *e.identity
			copied.Expires = fromSeconds(ends.expires)
			copied.Groups, copied.Roles, copied.Scopes = slices.Clone(copied.Groups), slices.Clone(copied.Roles), slices.Clone(copied.Scopes)
			s.put(&k, e, now, ends, limit, &epochs)
			drop(k)
			if s.find(&k) != 0 {
				moved[k] = now.seconds
				model.Add(k, &kept{entry{identity: &copied, provider: e.provider, offline: e.offline, began: e.began}, ends})
			}
			for _, list := range [][]string{e.identity.Groups, e.identity.Roles, e.identity.Scopes} {
				clear(list) // whoever gave it may go on with its memory
			}
			trim()
		case 3:
			s.remove(&k)
			drop(k)
		case 4:
			if r.IntN(50) == 0 {
				user := func(id *Identity) bool { return len(id.User)%7 == 0 }
				want := 0
				for _, k := range model.Keys() {
					if m, _ := model.Peek(k); user(m.identity) {
						drop(k)
						want++
					}
				}
				if n := s.sweep(func(_ string, id *Identity) bool { return user(id) }); n != want {
					t.Fatalf("step %d: %d swept, want %d", step, n, want)
				}
			}
		case 5:
			now.since += r.Int64N(3)
			now.seconds += r.Int64N(3)
		default:
			got, ok := s.get(&k, now, room)
			m, known := model.Peek(k)
			if known && !m.live(now) {
				drop(k)
				known = false
			}
			if ok != known {
				t.Fatalf("step %d: found %v, want %v", step, ok, known)
			}
			if !known {
				break
			}
			if diff := cmp.Diff(m.entry, got, cmp.AllowUnexported(entry{})); diff != "" {
				t.Fatalf("step %d: %s", step, diff)
			}
			if now.seconds-moved[k] >= moveAfter {
				model.Get(k)
				moved[k] = now.seconds
			}
		}
		if s.count != model.Len() || s.bytes > limit || s.bytes < 0 || s.count > entries {
			t.Fatalf("step %d: %d entries of %d bytes, want %d", step, s.count, s.bytes, model.Len())
		}
		for _, k := range model.Keys() {
			if s.find(&k) == 0 {
				t.Fatalf("step %d: not the oldest made room", step)
			}
		}
	}
	for _, k := range model.Keys() {
		s.remove(&k)
	}
	if s.bytes != 0 || s.count != 0 || len(s.long) != 0 || len(s.shapes.byHash) != 0 || len(s.shapes.free) != len(s.shapes.list) {
		t.Errorf("when all are gone, there are %d bytes, %d long, %d shapes", s.bytes, len(s.long), len(s.shapes.byHash))
	}
	for _, c := range s.chunks {
		for i := range c {
			if c[i] != (slot{next: c[i].next}) {
				t.Fatal("something of an identity stays where it was")
			}
		}
	}
}

// However look-ups, new identities, revocations and removals meet: whoever is
// found under a credential is who was proven by it.
func TestNobodyIsTakenForAnother(t *testing.T) {
	cache, err := NewCache(CacheLimits{Entries: 640, Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			r, room := rand.New(rand.NewPCG(uint64(worker), 1)), new(Room)
			for range 20_000 {
				n := r.IntN(2000)
				user := fmt.Sprintf("%d %s", n, strings.Repeat("x", n%300))
				k := cache.key(1, &Credential{Kind: Bearer, Secret: NewSecret(user)})
				switch e, known := cache.get(k, now, room); {
				case known:
					if id := e.identity; id.User != user || id.Groups[0] != fmt.Sprint(n%50) || id.TokenID != fmt.Sprint(n) {
						t.Errorf("%s is taken for %+v", user, id)
						return
					}
				case n%100 == 0:
					cache.remove(k)
				case n%100 == 1 && worker == 0:
					cache.Forget(func(_ string, id *Identity) bool { return strings.HasSuffix(id.TokenID, "7") })
				default:
					id := &Identity{User: user, Groups: []string{fmt.Sprint(n % 50)}, TokenID: fmt.Sprint(n)}
					cache.put(k, &entry{provider: "p", identity: id}, now, time.Hour)
				}
			}
		})
	}
	all.Wait()
	if st := cache.Stats(); st.Hits == 0 || st.Entries > 640 {
		t.Errorf("%+v", st)
	}
}
