package authz

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// signed is a book whose answers are proven without asking anybody.
type signed struct{ *book }

func (s signed) VerifyOffline(ctx context.Context, c Credential) (Identity, bool, error) {
	id, err := s.Verify(ctx, c)
	return id, true, err
}

var (
	noon     = time.Unix(1_800_000_000, 0)
	earlier  = noon.Add(-time.Minute)
	later    = noon.Add(time.Minute)
	atIssuer = []string{"https://sso"}
)

func TestRevoke(t *testing.T) {
	who := func(change func(*Identity)) Identity {
		id := Identity{User: "alice", Issuer: "https://sso", Subject: "7", Session: "s1", Email: "alice@example.com", Issued: earlier}
		if change != nil {
			change(&id)
		}
		return id
	}
	session := Revocation{Issuers: atIssuer, Session: "s1", Subject: "7", At: noon}
	user := Revocation{Issuers: atIssuer, Subject: "7", At: noon}
	mail := Revocation{Issuers: atIssuer, Email: "Alice@Example.com", At: noon}
	issued := func(at time.Time) func(*Identity) { return func(id *Identity) { id.Issued = at } }
	for name, c := range map[string]struct {
		id            Identity
		r             Revocation
		dropped       bool
		offline, asks Outcome // what becomes of the credential of a provider of each sort
	}{
		"its session":                {who(nil), session, true, Unauthenticated, Unauthenticated},
		"its session alone":          {who(nil), Revocation{Issuers: atIssuer, Session: "s1", At: noon}, true, Unauthenticated, Unauthenticated},
		"issued in the same second":  {who(issued(noon)), session, true, Unauthenticated, Unauthenticated},
		"issued later":               {who(issued(later)), session, true, Allowed, Allowed},
		"issued who knows when":      {who(issued(time.Time{})), session, true, Unauthenticated, Allowed},
		"signed in earlier":          {who(func(id *Identity) { id.Issued, id.AuthTime = time.Time{}, earlier }), user, true, Unauthenticated, Unauthenticated},
		"signed in later":            {who(func(id *Identity) { id.Issued, id.AuthTime = time.Time{}, later }), user, true, Allowed, Allowed},
		"another session":            {who(func(id *Identity) { id.Session = "s2" }), session, false, Allowed, Allowed},
		"a session that is not told": {who(func(id *Identity) { id.Session = "" }), session, true, Unauthenticated, Allowed},
		"all sessions":               {who(nil), user, true, Unauthenticated, Unauthenticated},
		"all sessions, none told":    {who(func(id *Identity) { id.Session = "" }), user, true, Unauthenticated, Unauthenticated},
		"another user":               {who(func(id *Identity) { id.Subject, id.Session = "8", "s8" }), user, false, Allowed, Allowed},
		"another issuer":             {who(func(id *Identity) { id.Issuer = "https://other" }), user, false, Allowed, Allowed},
		"e-mail":                     {who(nil), mail, true, Unauthenticated, Unauthenticated},
		"e-mail of odd letters":      {who(func(id *Identity) { id.Email = "AS@K.example" }), Revocation{Issuers: atIssuer, Email: "a\u017f@\u212a.example", At: noon}, true, Unauthenticated, Unauthenticated},
		"another's e-mail":           {who(func(id *Identity) { id.Email = "bob@example.com" }), mail, false, Allowed, Allowed},
		"no e-mail":                  {who(func(id *Identity) { id.Email = "" }), mail, false, Allowed, Allowed},
		"e-mail beside a session":    {who(nil), Revocation{Issuers: atIssuer, Session: "s2", Email: "alice@example.com", At: noon}, false, Allowed, Allowed},
		"e-mail beside, not told":    {who(func(id *Identity) { id.Session = "" }), Revocation{Issuers: atIssuer, Session: "s2", Email: "alice@example.com", At: noon}, true, Unauthenticated, Allowed},
		"look anew":                  {who(nil), Revocation{Issuers: atIssuer, Subject: "7"}, true, Allowed, Allowed},
		"of a user called as nobody": {who(func(id *Identity) { id.Subject, id.Session = "", "" }), session, false, Allowed, Allowed},
	} {
		for _, offline := range []bool{true, false} {
			b := bookOf("a-")
			b.known["a-token"] = c.id
			named, want := NamedProvider{Name: "a", Provider: b}, c.asks
			if offline {
				named.Provider, want = signed{b}, c.offline
			}
			e := newEngine(t, Policy{Providers: []NamedProvider{named}})
			ask := func() Decision { return e.Decide(t.Context(), get("/", "authorization: Bearer a-token")) }
			if d := ask(); d.Outcome != Allowed || !ask().Cached {
				t.Fatalf("%s: before: %+v", name, d)
			}
			if n := e.cache.Revoke(c.r, time.Now()); n != map[bool]int{true: 1}[c.dropped] {
				t.Errorf("%s, offline %v: %d dropped", name, offline, n)
			}
			for range 2 {
				d := ask()
				if d.Outcome != want || want != Allowed && d.Reason != ReasonLoggedOut {
					t.Errorf("%s, offline %v: %v %v, want %v", name, offline, d.Outcome, d.Reason, want)
				}
			}
			// A later word about the same never undoes an earlier one.
			e.cache.Revoke(Revocation{Issuers: c.r.Issuers, Session: c.r.Session, Subject: c.r.Subject, Email: c.r.Email}, time.Now())
			if d := ask(); d.Outcome != want {
				t.Errorf("%s, offline %v: undone: %v", name, offline, d.Outcome)
			}
		}
	}
}

// A verification that is under way while a session ends must neither be let
// through nor be remembered, for whoever waits for it.
func TestRevokeDuringVerification(t *testing.T) {
	for name, c := range map[string]struct {
		asked   bool
		issued  time.Time
		outcome Outcome
		calls   int64
	}{
		"signed":                        {false, earlier, Unauthenticated, 1},
		"asked":                         {true, earlier, Unauthenticated, 1},
		"asked, issued who knows when":  {true, time.Time{}, Unauthenticated, 2},
		"asked, issued after the event": {true, later, Unauthenticated, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bookOf("a-")
				b.known["a-token"] = Identity{User: "alice", Issuer: "https://sso", Session: "s1", Issued: c.issued}
				b.hold = make(chan struct{})
				answers := &changing{book: b}
				named := NamedProvider{Name: "a", Provider: answers}
				if !c.asked {
					named.Provider = signed{b}
				}
				e := newEngine(t, Policy{Providers: []NamedProvider{named}})
				results := make(chan Decision, 2)
				ask := func() { results <- e.Decide(t.Context(), get("/", "authorization: Bearer a-token")) }
				go ask()
				synctest.Wait() // it has been read, and waits for its answer
				e.cache.Revoke(Revocation{Issuers: atIssuer, Session: "s1", At: noon}, time.Now())
				answers.ended.Store(true)
				want := 1
				if c.asked { // who comes now joins the call of before
					go ask()
					synctest.Wait()
					want = 2
				}
				close(b.hold)
				for range want {
					if d := <-results; d.Outcome != c.outcome {
						t.Errorf("%v %v", d.Outcome, d.Reason)
					}
				}
				if n := b.calls.Load(); n < c.calls {
					t.Errorf("%d calls: not asked again", n)
				}
				if n := e.cache.Stats().Entries; n != 0 {
					t.Errorf("%d identities remembered", n)
				}
			})
		})
	}
}

// changing is a book that answers what it read when the call began; once the
// session has ended, later calls are refused.
type changing struct {
	*book
	ended atomic.Bool
}

func (c *changing) Verify(ctx context.Context, cred Credential) (Identity, error) {
	ended := c.ended.Load()
	id, err := c.book.Verify(ctx, cred)
	if ended {
		return Identity{}, Reject(ReasonInactive, "ended")
	}
	return id, err
}

// Who asks after Revoke has returned is never let through, however many
// verifications are under way.
func TestRevokeUnderLoad(t *testing.T) {
	const sessions = 200
	for _, offline := range []bool{true, false} {
		b := bookOf("a-")
		for i := range sessions {
			b.known[fmt.Sprint("a-", i)] = Identity{User: "alice", Issuer: "https://sso", Session: fmt.Sprint(i), Issued: earlier}
		}
		named := NamedProvider{Name: "a", Provider: b, CacheFor: time.Hour}
		if offline {
			named.Provider = signed{b}
		}
		e := newEngine(t, Policy{Providers: []NamedProvider{named}})
		var over [sessions]atomic.Bool
		var wrong, good atomic.Int64
		var callers sync.WaitGroup
		done := make(chan struct{})
		for g := range 4 {
			callers.Go(func() {
				for i := g; ; i++ {
					select {
					case <-done:
						return
					default:
					}
					n := i * 7 % sessions
					was := over[n].Load()
					d := e.Decide(t.Context(), get("/", fmt.Sprint("authorization: Bearer a-", n)))
					switch {
					case d.Outcome == Allowed && was:
						wrong.Add(1)
					case d.Outcome == Allowed:
						good.Add(1)
					}
				}
			})
		}
		for i := range sessions {
			e.cache.Revoke(Revocation{Issuers: atIssuer, Session: fmt.Sprint(i), At: noon}, time.Now())
			over[i].Store(true)
		}
		close(done)
		callers.Wait()
		if wrong.Load() > 0 || e.cache.Stats().Entries > 0 {
			t.Errorf("offline %v: %d let through afterwards (%d before), %d remembered", offline, wrong.Load(), good.Load(), e.cache.Stats().Entries)
		}
	}
}

// Between an identity's last judgement and the cache there is no gap: what was
// revoked meanwhile does not get in, whom ever it is about.
func TestNothingIsRememberedAcrossARevocation(t *testing.T) {
	cache, err := NewCache(CacheLimits{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	remembered := func(between func()) bool {
		k := cache.key(1, &Credential{Kind: Bearer, Secret: NewSecret("token")})
		e := &entry{provider: "a", identity: &Identity{User: "u", Issuer: "https://sso", Session: "s"}, judged: cache.revoked.epoch.Load()}
		between()
		cache.put(k, e, now, time.Hour)
		_, known := cache.get(k, now, new(Room))
		return known
	}
	if !remembered(func() {}) {
		t.Error("nothing happened, and it is not remembered")
	}
	if remembered(func() { cache.Revoke(Revocation{Issuers: atIssuer, Session: "s", At: noon}, now) }) {
		t.Error("remembered although it was revoked")
	}
}

func TestRevocationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bookOf("a-")
		now := time.Now()
		for i := range 5 {
			b.known[fmt.Sprint("a-", i)] = Identity{User: "u", Issuer: "https://sso", Session: fmt.Sprint(i), Issued: now, Expires: now.Add(3 * time.Hour)}
		}
		cache, err := NewCache(CacheLimits{Revocations: 3, KeepRevocations: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		e := engineOn(t, Policy{Providers: []NamedProvider{{Name: "a", Provider: signed{b}, CacheFor: time.Nanosecond}}}, cache)
		refused := func() (list []int) {
			for i := range 5 {
				if e.Decide(t.Context(), get("/", fmt.Sprint("authorization: Bearer a-", i))).Reason == ReasonLoggedOut {
					list = append(list, i)
				}
			}
			return list
		}
		for i := range 4 {
			cache.Revoke(Revocation{Issuers: atIssuer, Session: fmt.Sprint(i), At: now}, time.Now())
		}
		if got := fmt.Sprint(refused()); got != "[1 2 3]" {
			t.Errorf("refused %s: not the oldest made room", got)
		}
		if st := cache.Stats(); st.Revocations != 3 || st.LostRevocations != 1 {
			t.Errorf("%+v", st)
		}
		// Tokens that live for three hours were seen: an hour is not enough.
		time.Sleep(2 * time.Hour)
		if got := fmt.Sprint(refused()); got != "[1 2 3]" {
			t.Errorf("after two hours: refused %s", got)
		}
		time.Sleep(time.Hour + time.Second)
		if got := fmt.Sprint(refused()); got != "[]" {
			t.Errorf("refused %s for ever", got)
		}
		cache.Revoke(Revocation{Issuers: atIssuer, Session: "x", At: now}, time.Now())
		if st := cache.Stats(); st.Revocations != 1 || st.LostRevocations != 1 {
			t.Errorf("what no token can need any more is kept, or is counted as lost: %+v", st)
		}
	})
}

func BenchmarkRevoke(b *testing.B) {
	cache, err := NewCache(CacheLimits{})
	if err != nil {
		b.Fatal(err)
	}
	p := "a"
	now := time.Now()
	for i := range 100_000 {
		k := cache.key(1, &Credential{Kind: Bearer, Secret: NewSecret(fmt.Sprint(i))})
		cache.put(k, &entry{provider: p, identity: &Identity{User: "u", Issuer: "https://sso", Subject: fmt.Sprint(i)}}, now, time.Hour)
	}
	b.ReportAllocs()
	for b.Loop() {
		cache.Revoke(Revocation{Issuers: atIssuer, Subject: "nobody", At: noon}, now)
	}
}
