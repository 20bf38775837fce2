package tokenstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// clock is a clock that only tests turn.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func bearer(text string) authz.Credential {
	return authz.Credential{Kind: authz.Bearer, Secret: authz.NewSecret(text)}
}

func basic(user, text string) authz.Credential {
	return authz.Credential{Kind: authz.Basic, User: user, Secret: authz.NewSecret(text)}
}

// reasonOf is why a look-up refused, NoReason when it did not, and
// ReasonProviderDown when it could not tell.
func reasonOf(x *Index, c authz.Credential) authz.Reason {
	_, err := x.Lookup(c, netip.Addr{}, new(authz.Room))
	var r *authz.Rejection
	switch {
	case err == nil:
		return authz.NoReason
	case errors.As(err, &r):
		return r.Reason
	}
	return authz.ReasonProviderDown
}

var actor = Change{Actor: "tester", Action: "test", At: time.Unix(1, 0)}

func store(t testing.TB, s Store, records ...Record) {
	t.Helper()
	if err := s.Insert(t.Context(), actor, 0, records); err != nil {
		t.Fatal(err)
	}
}

func edit(t testing.TB, s Store, id string, change func(*Record)) []Record {
	t.Helper()
	records, err := s.Update(t.Context(), actor, Filter{ID: id}, func(r *Record) error { change(r); return nil })
	if err != nil || len(records) != 1 {
		t.Fatalf("%v, %v", records, err)
	}
	return records
}

func sync1(t testing.TB, x *Index, s Store) {
	t.Helper()
	if err := x.Sync(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func newRecord(owner, text string, at time.Time) Record {
	return Record{ID: newID(), Owner: owner, Name: "n", CreatedBy: owner, Created: at, Hash: HashOf(text)}
}

func TestLookup(t *testing.T) {
	s, c := openFile(t, filepath.Join(t.TempDir(), "t.db")), newClock()
	good, ending, former, rotated, revoked := mustSecret(t), mustSecret(t), mustSecret(t), mustSecret(t), mustSecret(t)
	now := c.now()
	a := newRecord("alice", good, now)
	a.Groups, a.Limits = []string{"eng"}, authz.Limits{ReadOnly: true, Paths: []string{"/rest/**"}}
	b := newRecord("bob", ending, now)
	b.Expires = now.Add(time.Minute)
	d := newRecord("carol", rotated, now)
	d.Previous, d.PreviousUntil = HashOf(former), now.Add(30*time.Second)
	e := newRecord("dave", revoked, now)
	e.Revoked = now
	store(t, s, a, b, d, e)

	x := NewIndex(time.Hour, c.now)
	if got := reasonOf(x, bearer(good)); got != authz.ReasonProviderDown {
		t.Errorf("before anything is loaded: %v", got)
	}
	sync1(t, x, s)
	id, err := x.Lookup(bearer(good), netip.Addr{}, new(authz.Room))
	if err != nil {
		t.Fatal(err)
	}
	if id.User != "alice" || id.TokenID != a.ID || id.Groups[0] != "eng" || !id.Limits.ReadOnly || id.CacheFor >= 0 || !id.Expires.IsZero() {
		t.Errorf("%+v", id)
	}
	for _, c := range []struct {
		what string
		cred authz.Credential
		want authz.Reason
	}{
		{"good", bearer(good), authz.NoReason},
		{"good as key", authz.Credential{Kind: authz.APIKey, Secret: authz.NewSecret(good)}, authz.NoReason},
		{"good as basic", basic("alice", good), authz.NoReason},
		{"another's", basic("bob", good), authz.ReasonWrongUser},
		{"other case", basic("Alice", good), authz.ReasonWrongUser},
		{"longer user", basic("alice2", good), authz.ReasonWrongUser},
		{"not ended yet", bearer(ending), authz.NoReason},
		{"in the overlap", bearer(former), authz.NoReason},
		{"rotated", bearer(rotated), authz.NoReason},
		{"revoked", bearer(revoked), authz.ReasonRevoked},
		{"revoked as basic", basic("dave", revoked), authz.ReasonRevoked},
		{"unknown", bearer(mustSecret(t)), authz.ReasonUnknownToken},
		{"unknown as basic", basic("alice", mustSecret(t)), authz.ReasonUnknownToken},
		{"checksum", bearer(good[:len(good)-1] + "!"), authz.ReasonChecksum},
		{"empty", bearer(""), authz.ReasonChecksum},
	} {
		if got := reasonOf(x, c.cred); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	c.advance(30 * time.Second)
	if got := reasonOf(x, bearer(former)); got != authz.ReasonRevoked {
		t.Errorf("after the overlap: %v", got)
	}
	c.advance(30 * time.Second)
	if got := reasonOf(x, bearer(ending)); got != authz.ReasonTokenExpired {
		t.Errorf("after its end: %v", got)
	}
	if got := reasonOf(x, bearer(rotated)); got != authz.NoReason {
		t.Errorf("the new secret: %v", got)
	}
}

func TestSyncFollowsEveryChange(t *testing.T) {
	s, c := openFile(t, filepath.Join(t.TempDir(), "t.db")), newClock()
	x := NewIndex(time.Hour, c.now)
	sync1(t, x, s)
	first, second, third := mustSecret(t), mustSecret(t), mustSecret(t)
	r := newRecord("alice", first, c.now())
	store(t, s, r)
	want := func(when string, a, b, d authz.Reason) {
		t.Helper()
		sync1(t, x, s)
		for i, c := range []struct {
			text string
			want authz.Reason
		}{{first, a}, {second, b}, {third, d}} {
			if got := reasonOf(x, bearer(c.text)); got != c.want {
				t.Errorf("%s: secret %d: %v, want %v", when, i+1, got, c.want)
			}
		}
	}
	unknown, ok := authz.ReasonUnknownToken, authz.NoReason
	want("created", ok, unknown, unknown)
	rotate := func(text string) {
		edit(t, s, r.ID, func(r *Record) {
			r.Previous, r.PreviousUntil, r.Hash = r.Hash, c.now().Add(time.Minute), HashOf(text)
		})
	}
	rotate(second)
	want("rotated", ok, ok, unknown)
	rotate(third)
	want("rotated twice", unknown, ok, ok)
	edit(t, s, r.ID, func(r *Record) { r.Revoked = c.now() })
	want("revoked", unknown, authz.ReasonRevoked, authz.ReasonRevoked)
	if h := x.Health(); h.Tokens != 1 || !h.Usable || h.Err != nil {
		t.Errorf("%+v", h)
	}
}

func TestApplyNeverGoesBack(t *testing.T) {
	s, c := openFile(t, filepath.Join(t.TempDir(), "t.db")), newClock()
	x := NewIndex(time.Hour, c.now)
	text := mustSecret(t)
	r := newRecord("alice", text, c.now())
	records := []Record{r}
	store(t, s, records...)
	sync1(t, x, s)
	early := edit(t, s, r.ID, func(r *Record) { r.Description = "changed" })
	late := edit(t, s, r.ID, func(r *Record) { r.Revoked = c.now() })
	x.Apply(late)
	if got := reasonOf(x, bearer(text)); got != authz.ReasonRevoked {
		t.Errorf("a change of our own does not hold at once: %v", got)
	}
	x.Apply(early)
	if got := reasonOf(x, bearer(text)); got != authz.ReasonRevoked {
		t.Errorf("an earlier change undid a revocation: %v", got)
	}
}

// faulty is a store that can be taken away.
type faulty struct {
	Store
	gone atomic.Bool
}

var errGone = errors.New("gone")

func (f *faulty) Changes(ctx context.Context, since int64, yield func(*Record)) (int64, error) {
	if f.gone.Load() {
		return since, errGone
	}
	return f.Store.Changes(ctx, since, yield)
}

func TestStoreOutOfReach(t *testing.T) {
	f, c := &faulty{Store: openFile(t, filepath.Join(t.TempDir(), "t.db"))}, newClock()
	text := mustSecret(t)
	store(t, f, newRecord("alice", text, c.now()))
	x := NewIndex(10*time.Minute, c.now)
	sync1(t, x, f)
	f.gone.Store(true)
	if err := x.Sync(t.Context(), f); !errors.Is(err, errGone) {
		t.Fatalf("%v", err)
	}
	c.advance(10 * time.Minute)
	if got := reasonOf(x, bearer(text)); got != authz.NoReason {
		t.Errorf("within max_staleness: %v", got)
	}
	c.advance(time.Second)
	_, err := x.Lookup(bearer(text), netip.Addr{}, new(authz.Room))
	var u *authz.Unavailable
	if !errors.As(err, &u) || errors.Is(err, authz.ErrRejected) || u.RetryAfter == 0 {
		t.Errorf("after max_staleness: %v", err)
	}
	if got := reasonOf(x, bearer(mustSecret(t))); got != authz.ReasonProviderDown {
		t.Errorf("an unknown token after max_staleness: %v", got)
	}
	f.gone.Store(false)
	sync1(t, x, f)
	if got := reasonOf(x, bearer(text)); got != authz.NoReason {
		t.Errorf("when the store is back: %v", got)
	}
}

// A store that was restored from a backup knows less than we do.
func TestStoreWentBack(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	old, young := openFile(t, filepath.Join(dir, "old.db")), openFile(t, filepath.Join(dir, "young.db"))
	kept, lost := mustSecret(t), mustSecret(t)
	r := newRecord("alice", kept, c.now())
	store(t, old, r)
	store(t, young, r)
	store(t, young, newRecord("bob", lost, c.now()))
	edit(t, young, r.ID, func(r *Record) { r.Revoked = c.now() })
	x := NewIndex(time.Hour, c.now)
	sync1(t, x, young)
	sync1(t, x, old)
	if got := reasonOf(x, bearer(kept)); got != authz.NoReason {
		t.Errorf("a token as the backup has it: %v", got)
	}
	if got := reasonOf(x, bearer(lost)); got != authz.ReasonUnknownToken {
		t.Errorf("a token without a row: %v", got)
	}
	if h := x.Health(); h.Tokens != 1 {
		t.Errorf("%+v", h)
	}
}

func TestUsesAreCoarse(t *testing.T) {
	s, c := openFile(t, filepath.Join(t.TempDir(), "t.db")), newClock()
	text := mustSecret(t)
	r := newRecord("alice", text, c.now())
	store(t, s, r)
	x := NewIndex(time.Hour, c.now)
	sync1(t, x, s)
	use := func(from string) {
		if _, err := x.Lookup(bearer(text), netip.MustParseAddr(from), new(authz.Room)); err != nil {
			t.Fatal(err)
		}
	}
	first := c.now()
	use("::ffff:192.0.2.1")
	for range 10 {
		c.advance(20 * time.Second)
		use("192.0.2.2")
	}
	if list := x.uses.take(); len(list) != 1 || list[0].ID != r.ID || list[0].Source.String() != "192.0.2.1" || list[0].At.Unix() != first.Unix() {
		t.Errorf("%+v", list)
	} else {
		x.uses.back(list)
	}
	c.advance(useGranularity * time.Second)
	use("192.0.2.3")
	late := c.now()
	_ = reasonOf(x, basic("bob", text)) // refused: no use
	x.uses.back([]Use{{ID: r.ID, At: first}})
	list := x.uses.take()
	if len(list) != 1 || list[0].Source.String() != "192.0.2.3" {
		t.Fatalf("%+v", list)
	}
	if err := s.Use(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	got, err := s.List(t.Context(), Filter{ID: r.ID})
	if err != nil || got[0].LastUsed.Unix() != late.Unix() {
		t.Errorf("%+v, %v", got, err)
	}

	// After a restart, what is noted already is not noted again.
	x = NewIndex(time.Hour, c.now)
	sync1(t, x, s)
	c.advance((useGranularity - 1) * time.Second)
	use("192.0.2.4")
	if list := x.uses.take(); len(list) != 0 {
		t.Errorf("noted again: %+v", list)
	}
	c.advance(time.Second)
	use("192.0.2.5")
	if list := x.uses.take(); len(list) != 1 {
		t.Errorf("%d uses noted, want 1", len(list))
	}
}

// A token that is being rotated and edited must answer at every moment.
func TestLookupDuringChanges(t *testing.T) {
	s, c := openFile(t, filepath.Join(t.TempDir(), "t.db")), newClock()
	text := mustSecret(t)
	r := newRecord("alice", text, c.now())
	store(t, s, r)
	x := NewIndex(time.Hour, c.now)
	sync1(t, x, s)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				if got := reasonOf(x, bearer(text)); got != authz.NoReason {
					t.Errorf("%v", got)
					return
				}
			}
		})
	}
	for n := range 2000 {
		r.Revision = int64(n + 100)
		r.Previous, r.PreviousUntil = Hash{}, time.Time{}
		if n%2 == 0 {
			r.Hash, r.Previous, r.PreviousUntil = Hash{byte(n), 1}, HashOf(text), c.now().Add(time.Hour)
		} else {
			r.Hash = HashOf(text)
		}
		x.Apply([]Record{r})
	}
	stop.Store(true)
	wg.Wait()
}

func TestLookupAllocatesNothing(t *testing.T) {
	x, texts := filled(t, 100)
	creds := []authz.Credential{bearer(texts[0]), basic("user-1", texts[1]), {Kind: authz.APIKey, Secret: authz.NewSecret(texts[2])}}
	source, room := netip.MustParseAddr("192.0.2.1"), new(authz.Room)
	for _, c := range creds {
		look := func() {
			if _, err := x.Lookup(c, source, room); err != nil {
				t.Fatal(err)
			}
		}
		look() // the first use is noted
		if n := testing.AllocsPerRun(1000, look); n != 0 {
			t.Errorf("%v: %v allocations", c.Kind, n)
		}
	}
}

// filled makes an index of n tokens, without a store.
func filled(t testing.TB, n int) (*Index, []string) {
	t.Helper()
	x := NewIndex(time.Hour, time.Now)
	texts := make([]string, min(n, 100_000))
	at := time.Now().Truncate(time.Second)
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range n {
		r := Record{ID: fmt.Sprintf("%016d", i), Owner: fmt.Sprintf("user-%d", i%10_000), Created: at, Expires: at.Add(time.Hour), Revision: 1}
		if i < len(texts) {
			texts[i] = mustSecret(t)
			r.Hash = HashOf(texts[i])
		} else {
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], uint64(i))
			r.Hash = sha256.Sum256(b[:])
		}
		x.put(&r)
	}
	x.current(1, x.now())
	return x, texts
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A million tokens must fit, whether they sleep or are in use.
func TestMemoryOfATokenIsBounded(t *testing.T) {
	const n = 100_000
	_, _ = filled(t, 10) // what is needed once
	before := heap()
	x, texts := filled(t, n)
	for _, text := range texts {
		if _, err := x.Lookup(bearer(text), netip.Addr{}, new(authz.Room)); err != nil {
			t.Fatal(err)
		}
	}
	x.uses.take()
	each := (heap() - before - int64(n*(tokenLength+12+16))) / n // less the texts, which the test keeps
	t.Logf("%d bytes a token", each)
	if each > 256 {
		t.Errorf("%d bytes a token, want at most 256", each)
	}
	runtime.KeepAlive(x)
	runtime.KeepAlive(texts)
}

func BenchmarkLookup(b *testing.B) {
	x, texts := filled(b, 100_000)
	creds, room := make([]authz.Credential, len(texts)), new(authz.Room)
	for i := range texts {
		creds[i] = bearer(texts[i])
		_, _ = x.Lookup(creds[i], netip.Addr{}, room)
	}
	for name, pick := range map[string]int{"one": 1, "100,000": len(creds)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := x.Lookup(creds[i*7919%pick], netip.Addr{}, room); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	unknown := bearer(mustSecret(b))
	b.Run("unknown", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := x.Lookup(unknown, netip.Addr{}, room); err == nil {
				b.Fatal()
			}
		}
	})
}

// BenchmarkMillion tells what a million tokens cost in memory.
func BenchmarkMillion(b *testing.B) {
	for b.Loop() {
		before := heap()
		x, texts := filled(b, 1_000_000)
		b.ReportMetric(float64(heap()-before-int64(len(texts)*(tokenLength+12+16)))/1e6, "B/token")
		runtime.KeepAlive(x)
		runtime.KeepAlive(texts)
	}
}
