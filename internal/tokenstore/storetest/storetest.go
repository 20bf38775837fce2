// Package storetest is the suite that every tokenstore.Store passes.
package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// Run runs the suite. open returns a new, empty store, closed with the test,
// and reopen another connection to the same one, as another replica has.
func Run(t *testing.T, open func(t *testing.T) (s tokenstore.Store, reopen func() tokenstore.Store)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s tokenstore.Store, reopen func() tokenstore.Store)
	}{
		{"RoundTrip", testRoundTrip},
		{"Empty", testEmpty},
		{"Duplicates", testDuplicates},
		{"PerUser", testPerUser},
		{"Filters", testFilters},
		{"Paging", testPaging},
		{"UpdateIsWholeOrNothing", testUpdateWhole},
		{"History", testHistory},
		{"Changes", testChanges},
		{"ChangesUnderWriters", testChangesUnderWriters},
		{"Uses", testUses},
		{"Inert", testInert},
		{"Reopen", testReopen},
		{"Cancelled", testCancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, reopen := open(t)
			c.test(t, s, reopen)
		})
	}
}

var epoch = time.Unix(1_800_000_000, 0).UTC()

func change(action string) tokenstore.Change {
	return tokenstore.Change{Actor: "tester", Action: action, At: epoch}
}

// record makes the nth record of an owner; all of its fields are set.
func record(owner string, n int) tokenstore.Record {
	name := fmt.Sprintf("%s-%d", owner, n)
	return tokenstore.Record{
		ID:          idOf(name),
		Owner:       owner,
		Name:        name,
		Description: "for the nightly run",
		Groups:      []string{"eng", "ops, night shift"},
		Limits: authz.Limits{
			ReadOnly: true,
			Hosts:    []string{"*.example.com"},
			Paths:    []string{"/rest/**"},
			Sources:  []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		},
		CreatedBy:     "admin",
		Created:       epoch.Add(time.Duration(n) * time.Hour),
		Expires:       epoch.Add(1000 * time.Hour),
		Rotated:       epoch.Add(time.Duration(n)*time.Hour + time.Minute),
		Hash:          sha256.Sum256([]byte(name)),
		Previous:      sha256.Sum256([]byte("before " + name)),
		PreviousUntil: epoch.Add(10 * time.Hour),
	}
}

func idOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return strings.Map(func(r rune) rune { return 'a' + r%26 }, string(fmt.Appendf(nil, "%x", sum[:8])))
}

func insert(t *testing.T, s tokenstore.Store, records ...tokenstore.Record) []tokenstore.Record {
	t.Helper()
	if err := s.Insert(t.Context(), change(tokenstore.ActionCreate), 0, records); err != nil {
		t.Fatal(err)
	}
	return records
}

func list(t *testing.T, s tokenstore.Store, f tokenstore.Filter) []tokenstore.Record {
	t.Helper()
	records, err := s.List(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func names(records []tokenstore.Record) string {
	var out []string
	for _, r := range records {
		out = append(out, r.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func testRoundTrip(t *testing.T, s tokenstore.Store, _ func() tokenstore.Store) {
	full := insert(t, s, record("alice", 1))[0]
	if full.Revision == 0 {
		t.Error("the revision was not set")
	}
	least := tokenstore.Record{ID: idOf("least"), Owner: "bob", Name: "n", CreatedBy: "bob", Created: epoch, Hash: sha256.Sum256(nil)}
	least = insert(t, s, least)[0]
	for _, want := range []tokenstore.Record{full, least} {
		equal(t, list(t, s, tokenstore.Filter{ID: want.ID}), []tokenstore.Record{want})
	}
}

func testEmpty(t *testing.T, s tokenstore.Store, _ func() tokenstore.Store) {
	equal(t, list(t, s, tokenstore.Filter{}), []tokenstore.Record(nil))
	got, err := s.Update(t.Context(), change("x"), tokenstore.Filter{Owner: "nobody"}, func(*tokenstore.Record) error {
		t.Error("asked to edit what is not there")
		return nil
	})
	if err != nil || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
	revision, err := s.Changes(t.Context(), 0, func(r *tokenstore.Record) { t.Errorf("changed: %v", r) })
	if err != nil || revision != 0 {
		t.Errorf("revision %d, %v: a change of nothing counts for nothing", revision, err)
	}
	if err := s.Use(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func testDuplicates(t *testing.T, s tokenstore.Store, _ func() tokenstore.Store) {
	first := insert(t, s, record("alice", 1))[0]
	sameID, sameHash := record("alice", 2), record("alice", 3)
	sameID.ID, sameHash.Hash = first.ID, first.Hash
	for _, twin := range []tokenstore.Record{sameID, sameHash} {
		err := s.Insert(t.Context(), change(tokenstore.ActionCreate), 0, []tokenstore.Record{record("bob", 1), twin})
		if !errors.Is(err, tokenstore.ErrExists) {
			t.Errorf("%v", err)
		}
	}
	equal(t, names(list(t, s, tokenstore.Filter{})), "alice-1")
}

func testPerUser(t *testing.T, s tokenstore.Store, _ func() tokenstore.Store) {
	c := change(tokenstore.ActionCreate)
	if err := s.Insert(t.Context(), c, 2, []tokenstore.Record{record("alice", 1), record("bob", 1)}); err != nil {
		t.Fatal(err)
	}
	expired, revoked := record("alice", 2), record("alice", 3)
	expired.Expires, revoked.Revoked = epoch.Add(-time.Second), epoch
	if err := s.Insert(t.Context(), c, 2, []tokenstore.Record{expired, revoked, record("alice", 4)}); err != nil {
		t.Errorf("dead tokens count: %v", err)
	}
	if err := s.Insert(t.Context(), c, 2, []tokenstore.Record{record("bob", 5), record("alice", 5)}); !errors.Is(err, tokenstore.ErrTooMany) {
		t.Errorf("a third live token: %v", err)
	}
	equal(t, names(list(t, s, tokenstore.Filter{})), "alice-1 alice-2 alice-3 alice-4 bob-1")
}

func testFilters(t *testing.T, s tokenstore.Store, _ func() tokenstore.Store) {
	revoked, expired, forever := record("bob", 2), record("bob", 3), record("carol", 4)
	revoked.Revoked, revoked.RevokedBy = epoch, "admin"
	expired.Expires, forever.Expires = epoch, time.Time{}
	alice := record("alice", 1)
	insert(t, s, alice, revoked, expired, forever)
	if err := s.Use(t.Context(), []tokenstore.Use{{ID: alice.ID, At: epoch.Add(9 * time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	unknown := tokenstore.Hash{1}
	for _, c := range []struct {
		filter tokenstore.Filter
		want   string
	}{
		{tokenstore.Filter{}, "alice-1 bob-2 bob-3 carol-4"},
		{tokenstore.Filter{Owner: "bob"}, "bob-2 bob-3"},
		{tokenstore.Filter{Owner: "BOB"}, ""},
		{tokenstore.Filter{Owner: "b%"}, ""},
		{tokenstore.Filter{ID: alice.ID, Owner: "bob"}, ""},
		{tokenstore.Filter{Hash: &alice.Hash}, "alice-1"},
		{tokenstore.Filter{Hash: &alice.Previous}, "alice-1"},
		{tokenstore.Filter{Hash: &unknown}, ""},
		{tokenstore.Filter{LiveAt: epoch}, "alice-1 carol-4"},
		{tokenstore.Filter{Unrevoked: true}, "alice-1 bob-3 carol-4"},
		{tokenstore.Filter{EndedAt: epoch}, "bob-3"},
		{tokenstore.Filter{EndedAt: epoch.Add(-time.Second)}, ""},
		{tokenstore.Filter{Revoked: true}, "bob-2"},
		{tokenstore.Filter{LiveAt: epoch.Add(-time.Second)}, "alice-1 bob-3 carol-4"},
		{tokenstore.Filter{OlderThan: epoch.Add(3 * time.Hour)}, "alice-1 bob-2"},
		{tokenstore.Filter{OlderThan: epoch.Add(3*time.Hour + 30*time.Second)}, "alice-1 bob-2"},
		{tokenstore.Filter{OlderThan: epoch.Add(3*time.Hour + 90*time.Second)}, "alice-1 bob-2 bob-3"},
		{tokenstore.Filter{UnusedSince: epoch.Add(9 * time.Hour)}, "bob-2 bob-3 carol-4"},
		{tokenstore.Filter{UnusedSince: epoch.Add(9*time.Hour + time.Second)}, "alice-1 bob-2 bob-3 carol-4"},
	} {
		if got := names(list(t, s, c.filter)); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.filter, got, c.want)
		}
	}
}

func testPaging(t *testing.T, s tokenstore.Store, _ func() tokenstore.Store) {
	var all []tokenstore.Record
	for n := range 25 {
		all = append(all, record("alice", n))
	}
	insert(t, s, all...)
	var ids []string
	for after := ""; ; {
		page := list(t, s, tokenstore.Filter{After: after, Limit: 10})
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			ids = append(ids, r.ID)
		}
		after = page[len(page)-1].ID
	}
	if len(ids) != 25 || !slices.IsSorted(ids) || len(slices.Compact(ids)) != 25 {
		t.Errorf("%d ids: %v", len(ids), ids)
	}
}

func testUpdateWhole(t *testing.T, s tokenstore.Store, _ func() tokenstore.Store) {
	insert(t, s, record("alice", 1), record("alice", 2), record("alice", 3))
	before := list(t, s, tokenstore.Filter{})
	stop, n := errors.New("stop"), 0
	_, err := s.Update(t.Context(), change(tokenstore.ActionRevoke), tokenstore.Filter{Owner: "alice"}, func(r *tokenstore.Record) error {
		if n++; n == 3 {
			return stop
		}
		r.Revoked = epoch
		return nil
	})
	if !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	equal(t, list(t, s, tokenstore.Filter{}), before)

	after, err := s.Update(t.Context(), change(tokenstore.ActionRevoke), tokenstore.Filter{Owner: "alice"}, func(r *tokenstore.Record) error {
		r.Revoked, r.RevokedBy, r.Previous, r.PreviousUntil = epoch, "admin", tokenstore.Hash{}, time.Time{}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, list(t, s, tokenstore.Filter{}), after)
	for _, r := range after {
		if r.Revoked != epoch || r.Revision <= before[0].Revision {
			t.Errorf("%+v", r)
		}
	}
}

func testHistory(t *testing.T, s tokenstore.Store, _ func() tokenstore.Store) {
	r := insert(t, s, record("alice", 1), record("alice", 2))[0]
	_, err := s.Update(t.Context(), change(tokenstore.ActionRotate), tokenstore.Filter{ID: r.ID}, func(*tokenstore.Record) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.Update(t.Context(), change("never"), tokenstore.Filter{ID: r.ID}, func(*tokenstore.Record) error { return errors.New("no") })
	got := list(t, s, tokenstore.Filter{ID: r.ID, History: true})[0].History
	equal(t, got, []tokenstore.Event{
		{At: epoch, Actor: "tester", Action: tokenstore.ActionCreate},
		{At: epoch, Actor: "tester", Action: tokenstore.ActionRotate},
	})
}

// changesSince collects what Changes yields.
func changesSince(t *testing.T, s tokenstore.Store, since int64) ([]tokenstore.Record, int64) {
	t.Helper()
	var got []tokenstore.Record
	revision, err := s.Changes(t.Context(), since, func(r *tokenstore.Record) { got = append(got, *r) })
	if err != nil {
		t.Fatal(err)
	}
	return got, revision
}

func testChanges(t *testing.T, s tokenstore.Store, reopen func() tokenstore.Store) {
	other := reopen()
	a := insert(t, s, record("alice", 1), record("alice", 2))
	got, at := changesSince(t, other, 0)
	equal(t, names(got), "alice-1 alice-2")
	if at != a[0].Revision {
		t.Errorf("at revision %d after a change of revision %d", at, a[0].Revision)
	}
	b := insert(t, s, record("bob", 1))
	_, err := s.Update(t.Context(), change(tokenstore.ActionRevoke), tokenstore.Filter{ID: a[0].ID}, func(r *tokenstore.Record) error {
		r.Revoked = epoch
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, next := changesSince(t, other, at)
	equal(t, names(got), "alice-1 bob-1")
	if b[0].Revision <= at || next <= b[0].Revision {
		t.Errorf("revisions %d, %d, %d do not grow", at, b[0].Revision, next)
	}
	if got, _ := changesSince(t, other, next); len(got) > 0 {
		t.Errorf("changed once more: %v", names(got))
	}
	if _, revision := changesSince(t, other, next+100); revision != next {
		t.Errorf("a store that went back says revision %d, want %d", revision, next)
	}
}

// Writers that overlap must never make a reader miss a change.
func testChangesUnderWriters(t *testing.T, s tokenstore.Store, reopen func() tokenstore.Store) {
	const writers, each = 4, 25
	var wg sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		store := reopen()
		wg.Go(func() {
			for n := range each {
				if err := store.Insert(t.Context(), change(tokenstore.ActionCreate), 0, []tokenstore.Record{record(fmt.Sprint("w", w), n)}); err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	seen := map[string]bool{}
	var at int64
	for last := false; ; {
		var got []tokenstore.Record
		got, at = changesSince(t, s, at)
		for _, r := range got {
			seen[r.ID] = true
		}
		if last {
			break
		}
		select {
		case <-done:
			last = true
		default:
		}
	}
	if len(seen) != writers*each {
		t.Errorf("%d of %d changes seen", len(seen), writers*each)
	}
}

func testUses(t *testing.T, s tokenstore.Store, reopen func() tokenstore.Store) {
	a, b := record("alice", 1), record("alice", 2)
	insert(t, s, a, b)
	_, revision := changesSince(t, s, 0)
	late, early := epoch.Add(time.Hour), epoch
	v4, v6 := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	for _, c := range []struct {
		s    tokenstore.Store
		uses []tokenstore.Use
	}{
		{s, []tokenstore.Use{{ID: a.ID, At: late, Source: v4}, {ID: b.ID, At: early}}},
		{reopen(), []tokenstore.Use{{ID: a.ID, At: early, Source: v6}, {ID: b.ID, At: late, Source: v6}}},
		{s, []tokenstore.Use{{ID: idOf("of no token"), At: late, Source: v6}}},
	} {
		if err := c.s.Use(t.Context(), c.uses); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		id     string
		source netip.Addr
	}{{a.ID, v4}, {b.ID, v6}} {
		if r := list(t, s, tokenstore.Filter{ID: c.id})[0]; r.LastUsed != late || r.LastSource != c.source {
			t.Errorf("last used %v from %v, want %v from %v", r.LastUsed, r.LastSource, late, c.source)
		}
	}
	if _, now := changesSince(t, s, revision); now != revision {
		t.Error("a use counts as a change")
	}
	many := make([]tokenstore.Use, 1201)
	for i := range many {
		many[i] = tokenstore.Use{ID: fmt.Sprintf("use%05d", i), At: late}
	}
	if err := s.Use(t.Context(), many); err != nil {
		t.Errorf("many uses at once: %v", err)
	}
}

// Whatever text gets this far is stored as it is and does nothing.
func testInert(t *testing.T, s tokenstore.Store, _ func() tokenstore.Store) {
	for n, text := range []string{
		`'; DROP TABLE tokens; --`, `" OR 1=1 --`, `$1 ? :id @id`, "\\x00 \\' %s %d", `{"a":[1,null]}`, "null", "日本語 ёжик 🙂", "a,b;c\td",
	} {
		r := record("alice", n)
		r.Owner, r.Name, r.Description, r.CreatedBy, r.RevokedBy = text, text, text, text, text
		r.Groups, r.Limits.Hosts, r.Limits.Paths = []string{text}, []string{text}, []string{text}
		r = insert(t, s, r)[0]
		equal(t, list(t, s, tokenstore.Filter{Owner: text}), []tokenstore.Record{r})
	}
	if got := len(list(t, s, tokenstore.Filter{})); got != 8 {
		t.Errorf("%d records", got)
	}
}

func testReopen(t *testing.T, s tokenstore.Store, reopen func() tokenstore.Store) {
	insert(t, s, record("alice", 1))
	equal(t, list(t, reopen(), tokenstore.Filter{}), list(t, s, tokenstore.Filter{}))
}

func testCancelled(t *testing.T, s tokenstore.Store, _ func() tokenstore.Store) {
	insert(t, s, record("alice", 1))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Update(ctx, change(tokenstore.ActionRevoke), tokenstore.Filter{}, func(r *tokenstore.Record) error {
		r.Revoked = epoch
		cancel()
		return nil
	})
	if err == nil {
		t.Error("a cancelled change was acknowledged")
	}
	if r := list(t, s, tokenstore.Filter{})[0]; !r.Revoked.IsZero() {
		t.Error("a cancelled change was stored")
	}
}
