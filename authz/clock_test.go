package authz

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// set returns the time t as it is read after somebody has set the wall clock by
// whole seconds: the monotonic reading in it stays. Package time has no way to
// say that, so this reaches into it (see the comment on time.Time).
func set(t time.Time, by time.Duration) time.Time {
	inner := (*struct {
		wall uint64 // 1 bit, 33 bits of seconds, 30 bits of nanoseconds
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&t))
	inner.wall += uint64(by/time.Second) << 30
	return t
}

// The wall clock is set about by up to ten years either way, thousands of
// times: what has ended once, by the token's own expiry or by how long an
// answer may be reused, is never taken again.
func TestClockIsSetAbout(t *testing.T) {
	now := time.Now()
	if later := set(now, time.Hour); later.Sub(now) != 0 || later.Unix() != now.Unix()+3600 {
		t.Fatal("package time keeps its two clocks in another way: mend set")
	}
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(rand.Uint64(), 0))
		cache, err := NewCache(CacheLimits{})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 2000 {
			by := time.Duration(0)
			life := time.Duration(r.IntN(120)+1) * time.Second
			ttl := time.Duration(r.IntN(120)+1) * time.Second
			start := time.Now()
			found := &entry{provider: "p", identity: &Identity{User: "alice", Expires: start.Add(life)}}
			k := cache.key(uint64(n), &Credential{Kind: Bearer, Secret: NewSecret("x")})
			cache.put(k, found, start, min(ttl, life))
			ended := false
			for range 20 {
				time.Sleep(time.Duration(r.IntN(20)) * time.Second)
				by = []time.Duration{0, time.Hour, -time.Hour, 87_600 * time.Hour, -87_600 * time.Hour, time.Second, -time.Second, 24 * time.Hour}[r.IntN(8)]
				_, taken := cache.get(k, set(time.Now(), by), new(Room))
				ran := time.Since(start)
				if taken && (ended || ran >= min(ttl, life)) {
					t.Fatalf("taken %v after it was proven for %v (%v), the clock set by %v; had ended before: %t", ran, life, ttl, by, ended)
				}
				ended = ended || !taken
			}
		}
	})
}
