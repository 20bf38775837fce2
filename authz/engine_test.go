package authz

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// book is a provider that knows its credentials by heart.
type book struct {
	prefix string
	known  map[string]Identity
	errs   map[string]error
	calls  atomic.Int64
	hold   chan struct{} // when set, Verify waits for it
}

func (b *book) Owns(c Credential) bool {
	return strings.HasPrefix(c.Secret.Reveal(), b.prefix)
}

func (b *book) Verify(_ context.Context, c Credential) (Identity, error) {
	b.calls.Add(1)
	if b.hold != nil {
		<-b.hold
	}
	if err := b.errs[c.Secret.Reveal()]; err != nil {
		return Identity{}, err
	}
	if id, ok := b.known[c.Secret.Reveal()]; ok {
		return id, nil
	}
	return Identity{}, Reject(ReasonSignature, "not in the book")
}

func bookOf(prefix string, users ...string) *book {
	b := &book{prefix: prefix, known: map[string]Identity{}, errs: map[string]error{}}
	for _, u := range users {
		b.known[prefix+u] = Identity{User: u}
	}
	return b
}

func newEngine(t testing.TB, p Policy) *Engine {
	t.Helper()
	cache, err := NewCache(CacheLimits{Entries: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return engineOn(t, p, cache)
}

func engineOn(t testing.TB, p Policy, cache *Cache) *Engine {
	t.Helper()
	p.Enabled = true
	e, err := New(&p, cache, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func get(path string, headers ...string) Request {
	q := Request{Method: "GET", Host: "api.example.com", Path: path}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		q.Headers = append(q.Headers, Header{name, value})
	}
	return q
}

func TestDecide(t *testing.T) {
	a := bookOf("a-", "alice", "bob")
	a.known["a-alice"] = Identity{User: "alice", Groups: []string{"eng"}, Scopes: []string{"read"}, Client: "cli"}
	a.known["a-cut"] = Identity{User: "carol", GroupsUnknown: true}
	a.known["a-nobody"] = Identity{}
	a.errs["a-down"] = errors.New("connection refused")
	a.errs["a-busy"] = &Unavailable{Throttled: true, RetryAfter: 7 * time.Second, Cause: errors.New("429")}
	a.errs["a-ours"] = &Unavailable{Misconfigured: true, Cause: errors.New("401")}
	b := bookOf("b-", "bea")
	policy := Policy{
		KeyHeader: "x-api-key",
		Providers: []NamedProvider{{Name: "a", Provider: a}, {Name: "b", Provider: b}},
		Rules: []Rule{
			{Name: "status", Match: Match{Paths: []string{"/status", "/public/**"}}, Access: Public},
			{Name: "closed", Match: Match{Paths: []string{"/closed/**"}}, Access: DenyAll},
			{Name: "maybe", Match: Match{Paths: []string{"/maybe"}}, Access: Optional},
			{Name: "onlyb", Match: Match{Paths: []string{"/onlyb"}}, Providers: []string{"b"}},
			{Name: "eng", Match: Match{Paths: []string{"/eng/*"}}, Allow: Allow{Groups: []string{"eng", "ops"}}},
			{Name: "write", Match: Match{Paths: []string{"/write"}}, Allow: Allow{Scopes: []string{"write"}}},
			{Name: "ro", Match: Match{Paths: []string{"/ro"}}, ReadOnlyGroups: []string{"eng"}},
			{Name: "lan", Match: Match{Paths: []string{"/lan"}, Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, Access: Public},
			{Name: "tier", Match: Match{Paths: []string{"/tier"}, Headers: map[string][]string{"x-tier": {"open"}}}, Access: Public},
		},
	}
	post := func(q Request) Request { q.Method = "POST"; return q }
	from := func(q Request, a string) Request { q.Source = netip.MustParseAddr(a); return q }
	const alice = "authorization: Bearer a-alice"
	for _, c := range []struct {
		name string
		q    Request
		want Outcome
		why  Reason
		user string
	}{
		{"none", get("/x"), Unauthenticated, ReasonNoCredential, ""},
		{"good", get("/x", alice), Allowed, ReasonVerified, "alice"},
		{"good key", get("/x", "x-api-key: a-alice"), Allowed, ReasonVerified, "alice"},
		{"bad", get("/x", "authorization: Bearer a-mallory"), Unauthenticated, ReasonSignature, ""},
		{"joined", get("/x", "authorization: Bearer a-alice,Bearer a-alice"), Malformed, ReasonMalformedCredential, ""},
		{"strange bytes", get("/x", "authorization: Bearer a-alice\x00"), Malformed, ReasonMalformedCredential, ""},
		{"nobody's", get("/x", "authorization: Bearer zzz"), Unauthenticated, ReasonNoOwner, ""},
		{"down", get("/x", "authorization: Bearer a-down"), Undecided, ReasonProviderDown, ""},
		{"throttled", get("/x", "authorization: Bearer a-busy"), Undecided, ReasonThrottled, ""},
		{"misconfigured", get("/x", "authorization: Bearer a-ours"), Undecided, ReasonMisconfigured, ""},
		{"no user in it", get("/x", "authorization: Bearer a-nobody"), Undecided, ReasonInternal, ""},
		{"public", get("/status?x=/closed"), Allowed, ReasonPublic, ""},
		{"public with credential", get("/status", alice), Allowed, ReasonPublic, ""},
		{"public trailing slash", get("/status/"), Unauthenticated, ReasonNoCredential, ""},
		{"public below", get("/public/a/b/"), Allowed, ReasonPublic, ""},
		{"closed", get("/closed/x", alice), Forbidden, ReasonDeniedByRule, ""},
		{"closed trailing slash", get("/closed/", alice), Forbidden, ReasonDeniedByRule, ""},
		{"optional without", get("/maybe"), Allowed, ReasonOptional, ""},
		{"optional good", get("/maybe", alice), Allowed, ReasonVerified, "alice"},
		{"optional bad", get("/maybe", "authorization: Bearer a-mallory"), Unauthenticated, ReasonSignature, ""},
		{"optional two", get("/maybe", alice, alice), Malformed, ReasonAmbiguousCredential, ""},
		{"other provider", get("/onlyb", alice), Unauthenticated, ReasonNoOwner, ""},
		{"that provider", get("/onlyb", "authorization: Bearer b-bea"), Allowed, ReasonVerified, "bea"},
		{"in group", get("/eng/x", alice), Allowed, ReasonVerified, "alice"},
		{"not in group", get("/eng/x", "authorization: Bearer a-bob"), Forbidden, ReasonGroupNotAllowed, ""},
		{"groups cut off", get("/eng/x", "authorization: Bearer a-cut"), Undecided, ReasonGroupsUnknown, ""},
		{"scope", get("/write", alice), Forbidden, ReasonScope, ""},
		{"read only reads", get("/ro", alice), Allowed, ReasonVerified, "alice"},
		{"read only writes", post(get("/ro", alice)), Forbidden, ReasonReadOnly, ""},
		{"others write", post(get("/ro", "authorization: Bearer a-bob")), Allowed, ReasonVerified, "bob"},
		{"from the network", from(get("/lan"), "10.1.2.3"), Allowed, ReasonPublic, ""},
		{"mapped address", from(get("/lan"), "::ffff:10.1.2.3"), Allowed, ReasonPublic, ""},
		{"from elsewhere", from(get("/lan"), "192.0.2.1"), Unauthenticated, ReasonNoCredential, ""},
		{"forwarded-for is not believed", get("/lan", "x-forwarded-for: 10.1.2.3"), Unauthenticated, ReasonNoCredential, ""},
		{"header", get("/tier", "x-tier: open"), Allowed, ReasonPublic, ""},
		{"header twice", get("/tier", "x-tier: open", "x-tier: closed"), Malformed, ReasonUnreadable, ""},
		{"header joined", get("/tier", "x-tier: closed,open"), Malformed, ReasonUnreadable, ""},
		{"header other", get("/tier", "x-tier: opened"), Unauthenticated, ReasonNoCredential, ""},
		{"ambiguous path", get("/public/..%2fclosed/x", alice), Malformed, ReasonAmbiguousPath, ""},
		{"unreadable", Request{Unreadable: "no http attributes"}, Malformed, ReasonUnreadable, ""},
		{"nothing at all", Request{}, Malformed, ReasonAmbiguousPath, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEngine(t, policy)
			for _, temperature := range []string{"cold", "hot"} {
				d := e.Decide(t.Context(), c.q)
				if d.Outcome != c.want || d.Reason != c.why {
					t.Errorf("%s: got %v/%v (%s), want %v/%v", temperature, d.Outcome, d.Reason, d.Detail, c.want, c.why)
				}
				user := ""
				if d.Identity != nil && d.Outcome == Allowed {
					user = d.Identity.User
				}
				if user != c.user {
					t.Errorf("%s: user %q, want %q", temperature, user, c.user)
				}
				if d.ID == (DecisionID{}) || d.Policy == nil {
					t.Errorf("%s: decision without id or policy", temperature)
				}
				if d.Outcome == Undecided && d.RetryAfter <= 0 && d.Reason != ReasonGroupsUnknown {
					t.Errorf("%s: 503 without Retry-After", temperature)
				}
			}
		})
	}
}

func TestZeroDecisionDenies(t *testing.T) {
	if (Decision{}).Outcome == Allowed {
		t.Fatal("the zero Decision lets requests through")
	}
}

func TestDisabledPassesAllAndKeepsCredentials(t *testing.T) {
	cache, _ := NewCache(CacheLimits{})
	e, err := New(&Policy{}, cache, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	d := e.Decide(t.Context(), get("/a/../b", "authorization: Bearer x"))
	if d.Outcome != Allowed || d.Reason != ReasonDisabled || !d.KeepCredential || d.Identity != nil {
		t.Errorf("got %+v", d)
	}
}

func TestShadowLetsThroughAndRecords(t *testing.T) {
	a := bookOf("a-", "alice")
	shadow := Shadow
	e := newEngine(t, Policy{
		Providers: []NamedProvider{{Name: "a", Provider: a}},
		Rules:     []Rule{{Match: Match{Paths: []string{"/new/**"}}, Mode: &shadow}},
	})
	d := e.Decide(t.Context(), get("/new/x"))
	if d.Outcome != Allowed || !d.Shadow || d.WouldBe != Unauthenticated || d.Identity != nil || !d.KeepCredential {
		t.Errorf("got %+v", d)
	}
	if d := e.Decide(t.Context(), get("/old/x")); d.Outcome != Unauthenticated {
		t.Errorf("another rule's shadow reached further: %+v", d)
	}
}

// A token proven under one rule's providers is no answer under another's, in
// either order.
func TestCacheDoesNotCrossProviders(t *testing.T) {
	a, b := bookOf("t", "ok"), bookOf("t")
	policy := Policy{
		Providers: []NamedProvider{{Name: "a", Provider: a}, {Name: "b", Provider: b}},
		Rules: []Rule{
			{Match: Match{Paths: []string{"/a"}}, Providers: []string{"a"}},
			{Match: Match{Paths: []string{"/b"}}, Providers: []string{"b"}},
		},
	}
	for _, order := range []string{"ab", "ba", "aab", "bba"} {
		e := newEngine(t, policy)
		for _, p := range order {
			d := e.Decide(t.Context(), get("/"+string(p), "authorization: Bearer tok"))
			if want := map[rune]Outcome{'a': Allowed, 'b': Unauthenticated}[p]; d.Outcome != want {
				t.Errorf("%s: at %c got %v, want %v", order, p, d.Outcome, want)
			}
		}
	}
}

func TestConcurrentMissesMakeOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := bookOf("a-", "alice")
		a.hold = make(chan struct{})
		e := newEngine(t, Policy{Providers: []NamedProvider{{Name: "a", Provider: a}}})
		leader, giveUp := context.WithCancel(t.Context())
		var denied, allowed atomic.Int64
		var wg sync.WaitGroup
		ask := func(ctx context.Context) {
			wg.Go(func() {
				switch e.Decide(ctx, get("/", "authorization: Bearer a-alice")).Outcome {
				case Allowed:
					allowed.Add(1)
				case Undecided:
					denied.Add(1)
				}
			})
		}
		ask(leader)
		synctest.Wait()
		for range 10_000 {
			ask(t.Context())
		}
		synctest.Wait()
		giveUp()
		synctest.Wait()
		if n := denied.Load(); n != 1 {
			t.Errorf("%d gave up, want the leader alone", n)
		}
		close(a.hold)
		wg.Wait()
		if a.calls.Load() != 1 || allowed.Load() != 10_000 {
			t.Errorf("%d calls for %d allowed", a.calls.Load(), allowed.Load())
		}
	})
}

// slow is a provider that takes its time to say whose a credential is.
type slow struct {
	*book
	thinking atomic.Pointer[chan struct{}]
}

func (s *slow) Owns(c Credential) bool {
	if wait := s.thinking.Load(); wait != nil {
		<-*wait
	}
	return s.book.Owns(c)
}

// One who looked before the answer was remembered, and comes to ask when the
// call is over, is not the second to ask.
func TestAnswerThatCameMeanwhileIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{book: bookOf("a-", "alice")}
		e := newEngine(t, Policy{Providers: []NamedProvider{{Name: "a", Provider: s}}})
		wait := make(chan struct{})
		s.thinking.Store(&wait)
		late := make(chan Decision, 1)
		go func() { late <- e.Decide(t.Context(), get("/", "authorization: Bearer a-alice")) }()
		synctest.Wait()
		s.thinking.Store(nil)
		if d := e.Decide(t.Context(), get("/", "authorization: Bearer a-alice")); d.Outcome != Allowed {
			t.Fatalf("%+v", d)
		}
		close(wait)
		if d := <-late; d.Outcome != Allowed || s.calls.Load() != 1 {
			t.Errorf("%v after %d calls", d.Outcome, s.calls.Load())
		}
	})
}

type panicking struct{ *book }

func (panicking) Verify(context.Context, Credential) (Identity, error) { panic("with a secret inside") }

func TestPanickingProviderIsCannotTell(t *testing.T) {
	e := newEngine(t, Policy{Providers: []NamedProvider{{Name: "p", Provider: panicking{bookOf("")}}}})
	d := e.Decide(t.Context(), get("/", "authorization: Bearer x"))
	if d.Outcome != Undecided || d.Reason != ReasonPanic || strings.Contains(d.Detail, "secret") {
		t.Errorf("got %+v", d)
	}
}

// How long an answer is reused where nobody says: less where it was asked for
// than where it was computed.
func TestDefaultCacheLife(t *testing.T) {
	var now time.Time
	var id Identity
	asked, computed := &NamedProvider{Provider: bookOf("a-")}, &NamedProvider{Provider: &keyring{book: bookOf("k-")}}
	if got := cacheFor(&id, asked, now); got != time.Minute {
		t.Errorf("asked for: %v", got)
	}
	if got := cacheFor(&id, computed, now); got != 5*time.Minute {
		t.Errorf("computed: %v", got)
	}
	computed.CacheFor = time.Second
	if got := cacheFor(&id, computed, now); got != time.Second {
		t.Errorf("computed, and set: %v", got)
	}
}

func TestCacheLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := bookOf("a-", "alice")
		a.known["a-short"] = Identity{User: "s", Expires: time.Now().Add(10 * time.Second)}
		a.known["a-never"] = Identity{User: "n", CacheFor: -1}
		a.errs["a-inactive"] = &Rejection{Reason: ReasonInactive, CacheFor: 5 * time.Second}
		a.errs["a-down"] = errors.New("down")
		e := newEngine(t, Policy{Providers: []NamedProvider{{Name: "a", Provider: a, CacheFor: 30 * time.Second}}})
		calls := func(secret string, after time.Duration) int64 {
			time.Sleep(after) // the bubble's clock: no time passes
			before := a.calls.Load()
			e.Decide(t.Context(), get("/", "authorization: Bearer "+secret))
			return a.calls.Load() - before
		}
		for _, c := range []struct {
			secret string
			after  time.Duration
			want   int64
		}{
			{"a-alice", 0, 1},
			{"a-alice", 29 * time.Second, 0},
			{"a-alice", 2 * time.Second, 1},
			{"a-inactive", 0, 1},
			{"a-inactive", 4 * time.Second, 0},
			{"a-inactive", 2 * time.Second, 1},
			{"a-never", 0, 1},
			{"a-never", 0, 1},
			{"a-down", 0, 1},
			{"a-down", 0, 1},
			{"a-forged", 0, 1},
			{"a-forged", 0, 1},
		} {
			if got := calls(c.secret, c.after); got != c.want {
				t.Errorf("%s after %v: %d calls, want %d", c.secret, c.after, got, c.want)
			}
		}
		a.known["a-short"] = Identity{User: "s", Expires: time.Now().Add(10 * time.Second)}
		if calls("a-short", 0) != 1 || calls("a-short", 9*time.Second) != 0 || calls("a-short", time.Second) != 1 {
			t.Error("a cached identity outlived its token")
		}
	})
}

// Both clocks bound an entry: the monotonic one, so that setting the clock back
// revives nothing, and the wall clock for the token's own expiry.
func TestEntryObeysBothClocks(t *testing.T) {
	start := time.Now()
	c := Cache{start: start}
	e := ending{until: int64(time.Minute), expires: start.Unix() + 30}
	back := start.Add(2 * time.Minute) // later by the monotonic clock …
	for _, at := range []struct {
		name string
		now  time.Time
		want bool
	}{
		{"fresh", start, true},
		{"token expired", start.Add(31 * time.Second), false},
		{"entry ended", back, false},
		{"wall clock jumped ahead", time.Unix(start.Unix()+3600, 0), false},
	} {
		if got := e.live(c.moment(at.now)); got != at.want {
			t.Errorf("%s: live %v, want %v", at.name, got, at.want)
		}
	}
}

func TestRemovedProviderIsForgottenAtOnce(t *testing.T) {
	cache, _ := NewCache(CacheLimits{})
	a := bookOf("a-", "alice")
	kept := NamedProvider{Name: "a", Provider: a, Instance: NewInstance()}
	ask := func(p NamedProvider) Decision {
		return engineOn(t, Policy{Providers: []NamedProvider{p}}, cache).
			Decide(t.Context(), get("/", "authorization: Bearer a-alice"))
	}
	ask(kept)
	if d := ask(kept); !d.Cached {
		t.Error("a provider that goes on lost what it had proven")
	}
	replaced := NamedProvider{Name: "a", Provider: bookOf("a-"), Instance: NewInstance()}
	if d := ask(replaced); d.Outcome != Unauthenticated {
		t.Errorf("the old provider still answers: %+v", d)
	}
}

func TestForget(t *testing.T) {
	a := bookOf("a-", "alice", "bob")
	e := newEngine(t, Policy{Providers: []NamedProvider{{Name: "a", Provider: a}}})
	for _, u := range []string{"alice", "bob"} {
		e.Decide(t.Context(), get("/", "authorization: Bearer a-"+u))
	}
	n := e.cache.Forget(func(p string, id *Identity) bool { return p == "a" && id.User == "bob" })
	if n != 1 || e.Decide(t.Context(), get("/", "authorization: Bearer a-bob")).Cached ||
		!e.Decide(t.Context(), get("/", "authorization: Bearer a-alice")).Cached {
		t.Errorf("dropped %d; wanted bob alone", n)
	}
}

// vault answers from memory.
type vault struct{ *book }

func (v vault) Lookup(c Credential, _ netip.Addr, _ *Room) (*Identity, error) {
	id, err := v.Verify(context.Background(), c)
	return &id, err
}

func TestImmediateProvidersAreNotCached(t *testing.T) {
	v := vault{bookOf("gl_", "alice")}
	v.known["gl_alice"] = Identity{User: "alice", Limits: &Limits{
		ReadOnly: true, Paths: []string{"/rest/**"}, Hosts: []string{"api.example.com"},
		Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}}
	e := newEngine(t, Policy{Providers: []NamedProvider{{Name: APITokens, Provider: v}}})
	ask := func(change func(*Request)) Decision {
		q := get("/rest/x", "authorization: Bearer gl_alice")
		q.Source = netip.MustParseAddr("10.0.0.1")
		change(&q)
		return e.Decide(t.Context(), q)
	}
	if d := ask(func(*Request) {}); d.Outcome != Allowed || d.Provider != APITokens {
		t.Errorf("got %+v", d)
	}
	delete(v.known, "gl_alice")
	if d := ask(func(*Request) {}); d.Outcome != Unauthenticated {
		t.Errorf("a revoked token lives on: %+v", d)
	}
	v.known["gl_alice"] = Identity{User: "alice", Limits: &Limits{
		ReadOnly: true, Paths: []string{"/rest/**"},
		Hosts: []string{"api.example.com"}, Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}}
	for name, c := range map[string]struct {
		change func(*Request)
		why    Reason
	}{
		"method": {func(q *Request) { q.Method = "POST" }, ReasonReadOnly},
		"path":   {func(q *Request) { q.Path = "/other" }, ReasonScope},
		"host":   {func(q *Request) { q.Host = "evil.example.com" }, ReasonScope},
		"source": {func(q *Request) { q.Source = netip.MustParseAddr("11.0.0.1") }, ReasonSourceNotAllowed},
	} {
		if d := ask(c.change); d.Outcome != Forbidden || d.Reason != c.why {
			t.Errorf("%s: got %v/%v", name, d.Outcome, d.Reason)
		}
	}
}

// watched is a vault that is told where requests come from.
type watched struct {
	vault
	seen *[]netip.Addr
}

func (w watched) Lookup(c Credential, source netip.Addr, room *Room) (*Identity, error) {
	*w.seen = append(*w.seen, source)
	return w.vault.Lookup(c, source, room)
}

func TestTrackersAreToldTheSource(t *testing.T) {
	w := watched{vault{bookOf("gl_", "alice")}, new([]netip.Addr)}
	e := newEngine(t, Policy{Providers: []NamedProvider{{Name: APITokens, Provider: w}}})
	q := get("/", "authorization: Bearer gl_alice", "x-forwarded-for: 192.0.2.66")
	q.Source = netip.MustParseAddr("192.0.2.1")
	if d := e.Decide(t.Context(), q); d.Outcome != Allowed || len(*w.seen) != 1 || (*w.seen)[0] != q.Source {
		t.Errorf("%v, told of %v", d.Outcome, *w.seen)
	}
}

func TestExplain(t *testing.T) {
	a := bookOf("a-", "alice")
	e := newEngine(t, Policy{Providers: []NamedProvider{{Name: "a", Provider: a}}})
	_, steps := e.Explain(t.Context(), get("/", "authorization: Bearer a-alice"))
	want := []Step{
		{"rule", StepOK, "none matches: any valid credential"},
		{"credential", StepOK, "bearer"},
		{"identity", StepOK, "alice"},
		{"allow", StepOK, "verified"},
	}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Error(diff)
	}
}

// Each condition is told with its outcome, those after a refusal too.
func TestExplainTellsEachCondition(t *testing.T) {
	a := bookOf("a-")
	a.known["a-alice"] = Identity{User: "alice", Groups: []string{"staff"}, Scopes: []string{"read"}, Client: "web"}
	e := newEngine(t, Policy{Providers: []NamedProvider{{Name: "a", Provider: a}}, Rules: []Rule{{
		Name: "admin",
		Match: Match{
			Hosts: []string{"*.example.com"}, Paths: []string{"/**"}, Methods: []string{"GET"}, Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			Headers: map[string][]string{"x-b": nil, "x-a": {"1", "2"}}, Context: map[string][]string{"app": {"wiki"}},
		},
		Allow: Allow{Groups: []string{"admins", "root"}, Scopes: []string{"read"}, Clients: []string{"cli"}, MaxAge: time.Minute},
	}}})
	q := get("/x", "authorization: Bearer a-alice", "x-a: 2", "x-b: secret")
	q.Source, q.Context = netip.MustParseAddr("10.1.2.3"), []Header{{"app", "wiki"}}
	d, steps := e.Explain(t.Context(), q)
	if d.Reason != ReasonClientNotAllowed {
		t.Errorf("%v: not the first refusal", d.Reason)
	}
	want := []Step{
		{"rule", StepOK, "admin: authenticated"},
		{"match.hosts", StepOK, `"api.example.com" is one of ["*.example.com"]`},
		{"match.paths", StepOK, `"/x" is one of ["/**"]`},
		{"match.methods", StepOK, `"GET" is one of ["GET"]`},
		{"match.headers", StepOK, `x-a is one of ["1" "2"]`},
		{"match.headers", StepOK, "x-b is there"},
		{"match.sources", StepOK, "10.1.2.3 is in one of [10.0.0.0/8]"},
		{"match.context", StepOK, `app is one of ["wiki"]`},
		{"credential", StepOK, "bearer"},
		{"identity", StepOK, "alice"},
		{"allow.clients", StepFailed, `wants one of ["cli"], has ["web"]`},
		{"allow.groups", StepFailed, `wants one of ["admins" "root"], has ["staff"]`},
		{"allow.scopes", StepOK, `wants one of ["read"], has ["read"]`},
		{"allow.max_age", StepFailed, "wants a login within 1m0s, and the provider does not tell when it was"},
		{"allow", StepFailed, "client_not_allowed"},
	}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Error(diff)
	}
}

// Two credentials never share a key, however their parts are cut.
func TestCacheKeysDoNotCollide(t *testing.T) {
	c, _ := NewCache(CacheLimits{})
	seen := map[cacheKey]string{}
	for scope := range uint64(3) {
		for _, kind := range []Kind{Bearer, Basic, APIKey} {
			for _, user := range []string{"", "a", "ab", "abc"} {
				for _, secret := range []string{"", "c", "bc", "abc", strings.Repeat("x", 5000)} {
					k := c.key(scope, &Credential{Kind: kind, User: user, Secret: NewSecret(secret)})
					name := fmt.Sprint(scope, kind, user, "|", secret)
					if other, ok := seen[k]; ok {
						t.Fatalf("%q and %q share a key", name, other)
					}
					seen[k] = name
				}
			}
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	c, _ := NewCache(CacheLimits{Entries: 640, Bytes: 1 << 20, NegativeEntries: 64})
	now := time.Now()
	good := c.key(1, &Credential{Kind: Bearer, Secret: NewSecret("good")})
	c.put(good, &entry{provider: "p", identity: &Identity{User: "good"}}, now, time.Hour)
	for i := range 100_000 {
		k := c.key(1, &Credential{Kind: Bearer, Secret: NewSecret(fmt.Sprint("bad", i))})
		c.put(k, &entry{provider: "p", refusal: &Rejection{Reason: ReasonInactive}}, now, time.Hour)
	}
	if _, ok := c.get(good, now, new(Room)); !ok {
		t.Error("bad credentials pushed a good one out")
	}
	for i := range 100_000 {
		k := c.key(1, &Credential{Kind: Bearer, Secret: NewSecret(fmt.Sprint("good", i))})
		big := Identity{User: "u", Attributes: map[string]any{"blob": strings.Repeat("x", i%4000)}}
		c.put(k, &entry{provider: "p", identity: &big}, now, time.Hour)
	}
	st := c.Stats()
	if st.Entries > 640 || st.NegativeEntries > 64 || st.Bytes > 2<<20 || st.Bytes <= 0 {
		t.Errorf("%+v", st)
	}
}

func TestDecideAllocatesNothing(t *testing.T) {
	a := bookOf("a-", "alice")
	e := newEngine(t, Policy{
		Providers: []NamedProvider{{Name: "a", Provider: a}},
		Rules:     []Rule{{Match: Match{Paths: []string{"/rest/**"}}}},
	})
	for name, q := range map[string]Request{
		"cached allow":  get("/rest/api/content", "accept: */*", "authorization: Bearer a-alice"),
		"no credential": get("/rest/api/content", "accept: */*"),
	} {
		ctx := t.Context()
		q.Room = new(Room)
		e.Decide(ctx, q)
		if n := testing.AllocsPerRun(1000, func() { e.Decide(ctx, q) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
