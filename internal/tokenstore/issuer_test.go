package tokenstore_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// hand is a clock that only the test turns.
type hand struct{ at atomic.Int64 }

func newHand() *hand {
	h := new(hand)
	h.at.Store(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	return h
}

func (h *hand) now() time.Time          { return time.Unix(0, h.at.Load()).UTC() }
func (h *hand) advance(d time.Duration) { h.at.Add(int64(d)) }

// office is an issuer with the index it keeps.
type office struct {
	*tokenstore.Issuer
	store tokenstore.Store
	index *tokenstore.Index
	clock *hand
	lines []string // of the audit
}

// everyStore runs a test on an office of each store.
func everyStore(t *testing.T, l tokenstore.Limits, test func(t *testing.T, o *office)) {
	t.Helper()
	for name, setting := range map[string]func(testing.TB) string{"SQLite": sqliteFile, "Postgres": realtest.Postgres} {
		t.Run(name, func(t *testing.T) { test(t, newOffice(t, mustOpen(t, setting(t)), l)) })
	}
}

func newOffice(t *testing.T, s tokenstore.Store, l tokenstore.Limits) *office {
	t.Helper()
	o := &office{store: s, clock: newHand()}
	o.index = tokenstore.NewIndex(10*365*24*time.Hour, o.clock.now)
	if err := o.index.Sync(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	o.Issuer = tokenstore.NewIssuer(s, o.index, l, o.clock.now, func(e tokenstore.Event, r *tokenstore.Record) {
		o.lines = append(o.lines, fmt.Sprintf("%s %s by %s", e.Action, r.ID, e.Actor))
	})
	return o
}

func (o *office) create(t *testing.T, order tokenstore.Order) tokenstore.Issued {
	t.Helper()
	if order.Name == "" {
		order.Name = "n"
	}
	made, err := o.Create(t.Context(), "tester", order)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// good reports whether a secret is taken, at once and without another look at
// the store.
func (o *office) good(s authz.Secret) bool {
	_, err := o.index.Lookup(authz.Credential{Kind: authz.Bearer, Secret: s}, netip.Addr{}, new(authz.Room))
	return err == nil
}

func (o *office) count(t *testing.T) int {
	t.Helper()
	list, err := o.List(context.WithoutCancel(t.Context()), tokenstore.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestLifeOfAToken(t *testing.T) {
	everyStore(t, tokenstore.Limits{MaxLifetime: 90 * 24 * time.Hour}, func(t *testing.T, o *office) {
		made := o.create(t, tokenstore.Order{
			User: "alice", Name: "Bob's CI, 50% done?", Description: "für die Übung (see https://wiki/a:b)", Groups: []string{"eng"},
			ReadOnly: true, Hosts: []string{"*.example.com"}, Paths: []string{"/rest/**"}, Sources: []string{"192.0.2.7", "2001:db8::/32"}, Expires: "30d",
		})
		if !tokenstore.Valid(made.Secret.Reveal()) || strings.Contains(made.Secret.Reveal(), made.ID) || !o.good(made.Secret) {
			t.Fatal("what was made is no good token")
		}
		id, err := o.index.Lookup(authz.Credential{Kind: authz.Basic, User: "alice", Secret: made.Secret}, netip.Addr{}, new(authz.Room))
		if err != nil || id.User != "alice" || id.TokenID != made.ID || !id.Limits.ReadOnly || len(id.Limits.Sources) != 2 || !id.Expires.Equal(o.clock.now().Add(30*24*time.Hour)) {
			t.Fatalf("%+v, %v", id, err)
		}

		o.clock.advance(time.Hour)
		rotated, err := o.Rotate(t.Context(), "tester", tokenstore.Filter{ID: made.ID}, time.Hour, "")
		if err != nil || rotated.ID != made.ID || !rotated.Expires.Equal(made.Expires) {
			t.Fatalf("%+v, %v", rotated.Record, err)
		}
		if !o.good(made.Secret) || !o.good(rotated.Secret) {
			t.Error("in the overlap both secrets are good")
		}
		o.clock.advance(time.Hour)
		if o.good(made.Secret) || !o.good(rotated.Secret) {
			t.Error("after the overlap only the new secret is good")
		}
		again, err := o.Rotate(t.Context(), "tester", tokenstore.Filter{ID: made.ID}, 0, "60d")
		if err != nil || o.good(rotated.Secret) || !o.good(again.Secret) || !again.Expires.Equal(o.clock.now().Add(60*24*time.Hour)) {
			t.Errorf("without overlap: %+v, %v", again.Record, err)
		}

		revoked, err := o.Revoke(t.Context(), "tester", tokenstore.Filter{ID: made.ID})
		if err != nil || len(revoked) != 1 || o.good(again.Secret) {
			t.Errorf("%v, %v", revoked, err)
		}
		if revoked, err = o.Revoke(t.Context(), "tester", tokenstore.Filter{ID: made.ID}); err != nil || len(revoked) != 0 {
			t.Errorf("revoked again: %v, %v", revoked, err)
		}
		if _, err := o.Rotate(t.Context(), "tester", tokenstore.Filter{ID: made.ID}, 0, ""); !errors.Is(err, tokenstore.ErrEnded) {
			t.Errorf("rotated after its end: %v", err)
		}

		shown, err := o.Show(t.Context(), tokenstore.Filter{ID: made.ID})
		if err != nil {
			t.Fatal(err)
		}
		var actions []string
		for _, e := range shown.History {
			actions = append(actions, e.Action+" "+made.ID+" by "+e.Actor)
		}
		if want := strings.Fields("create rotate rotate revoke"); len(actions) != len(want) || !slices.Equal(actions, o.lines) {
			t.Errorf("history %q, audit %q", actions, o.lines)
		}
	})
}

func TestRevokeMany(t *testing.T) {
	everyStore(t, tokenstore.Limits{}, func(t *testing.T, o *office) {
		var secrets []authz.Secret
		for _, user := range []string{"alice", "alice", "bob", "carol"} {
			secrets = append(secrets, o.create(t, tokenstore.Order{User: user}).Secret)
			o.clock.advance(24 * time.Hour)
		}
		expect := func(what string, want ...bool) {
			t.Helper()
			for i, s := range secrets {
				if o.good(s) != want[i] {
					t.Errorf("%s: token %d: %t, want %t", what, i, o.good(s), want[i])
				}
			}
		}
		if _, err := o.Revoke(t.Context(), "tester", tokenstore.Filter{OlderThan: o.clock.now().Add(-80 * time.Hour)}); err != nil {
			t.Fatal(err)
		}
		expect("older than", false, true, true, true)
		if _, err := o.Revoke(t.Context(), "tester", tokenstore.Filter{Owner: "alice"}); err != nil {
			t.Fatal(err)
		}
		expect("of a user", false, false, true, true)

		former := secrets[2]
		list, err := o.List(t.Context(), tokenstore.Filter{Owner: "bob"})
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		if _, err := o.Rotate(t.Context(), "tester", tokenstore.Filter{ID: list[0].ID}, time.Hour, ""); err != nil {
			t.Fatal(err)
		}
		text := "curl -H 'Authorization: Bearer " + former.Reveal() + "' # " + former.Reveal()[:30] + "\n" + strings.Repeat("gl_", 1000)
		records, found, err := o.RevokeLeaked(t.Context(), "tester", tokenstore.Filter{}, text)
		if err != nil || found != 1 || len(records) != 1 || records[0].Owner != "bob" {
			t.Errorf("%v, %d found, %v", records, found, err)
		}
		expect("leaked", false, false, false, true)
		records, found, err = o.RevokeLeaked(t.Context(), "bob", tokenstore.Filter{Owner: "bob"}, secrets[3].Reveal())
		if err != nil || found != 1 || len(records) != 0 {
			t.Errorf("another's: %v, %d found, %v", records, found, err)
		}
		expect("another's", false, false, false, true)
	})
}

func TestIdleTokensEnd(t *testing.T) {
	everyStore(t, tokenstore.Limits{IdleExpiry: 30 * 24 * time.Hour, MaxLifetime: 365 * 24 * time.Hour}, func(t *testing.T, o *office) {
		used, idle := o.create(t, tokenstore.Order{User: "alice", Expires: "365d"}), o.create(t, tokenstore.Order{User: "bob", Expires: "365d"})
		o.clock.advance(20 * 24 * time.Hour)
		if err := o.store.Use(t.Context(), []tokenstore.Use{{ID: used.ID, At: o.clock.now()}}); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			after      time.Duration
			used, idle bool
		}{{9 * 24 * time.Hour, true, true}, {2 * 24 * time.Hour, true, false}, {21 * 24 * time.Hour, false, false}} {
			o.clock.advance(step.after)
			if err := o.index.Sync(t.Context(), o.store); err != nil {
				t.Fatal(err)
			}
			if _, err := tokenstore.EndIdle(t.Context(), o.Issuer); err != nil {
				t.Fatal(err)
			}
			if o.good(used.Secret) != step.used || o.good(idle.Secret) != step.idle {
				t.Errorf("after %v: used %t, idle %t", step.after, o.good(used.Secret), o.good(idle.Secret))
			}
		}
	})
}

func TestImport(t *testing.T) {
	everyStore(t, tokenstore.Limits{PerUser: 3}, func(t *testing.T, o *office) {
		elsewhere, err := tokenstore.NewSecret()
		if err != nil {
			t.Fatal(err)
		}
		hash := tokenstore.HashOf(elsewhere.Reveal())
		known := tokenstore.Order{User: "alice", Name: "moved", Hash: hex.EncodeToString(hash[:])}
		made, err := o.Import(t.Context(), "tester", []tokenstore.Order{known, {User: "bob", Name: "new"}})
		if err != nil || !made[0].Secret.IsZero() || !o.good(elsewhere) || !o.good(made[1].Secret) {
			t.Fatalf("%v, %v", made, err)
		}
		for what, list := range map[string][]tokenstore.Order{
			"the same again": {known},
			"twice":          {{User: "carol", Name: "a"}, known},
			"too many":       {{User: "dave", Name: "a"}, {User: "dave", Name: "b"}, {User: "dave", Name: "c"}, {User: "dave", Name: "d"}},
			"one is wrong":   {{User: "erin", Name: "a"}, {User: "erin"}},
		} {
			if made, err := o.Import(t.Context(), "tester", list); err == nil || made != nil {
				t.Errorf("%s: %v, %v", what, made, err)
			}
			if n := o.count(t); n != 2 {
				t.Errorf("%s: %d tokens are stored, want 2", what, n)
			}
		}
	})
}

func TestLimits(t *testing.T) {
	everyStore(t, tokenstore.Limits{MaxLifetime: 48 * time.Hour, PerUser: 2}, func(t *testing.T, o *office) {
		for expires, want := range map[string]string{
			"never": "allow_never", "3d": "longest lifetime", "2030-01-09T00:00:00Z": "longest lifetime", "0s": "not in the future",
			"-1h": "90d, 12h", "1y": "90d, 12h", "2020-01-01T00:00:00Z": "not in the future", "99999999999d": "90d, 12h", "'; DROP TABLE tokens": "90d, 12h",
		} {
			_, err := o.Create(t.Context(), "tester", tokenstore.Order{User: "alice", Name: "n", Expires: expires})
			if !errors.Is(err, tokenstore.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", expires, err)
			}
		}
		first := o.create(t, tokenstore.Order{User: "alice"})
		if !first.Expires.Equal(o.clock.now().Add(48 * time.Hour)) {
			t.Errorf("without a word it ends %v", first.Expires)
		}
		o.create(t, tokenstore.Order{User: "alice"})
		if _, err := o.Create(t.Context(), "tester", tokenstore.Order{User: "alice", Name: "n"}); !errors.Is(err, tokenstore.ErrTooMany) {
			t.Errorf("a third of two: %v", err)
		}
		if _, err := o.Revoke(t.Context(), "tester", tokenstore.Filter{ID: first.ID}); err != nil {
			t.Fatal(err)
		}
		o.create(t, tokenstore.Order{User: "alice"})
		if n := o.count(t); n != 3 {
			t.Errorf("%d tokens are stored, want 3", n)
		}
	})
	o := newOffice(t, mustOpen(t, sqliteFile(t)), tokenstore.Limits{AllowNever: true, MaxLifetime: time.Hour})
	if made := o.create(t, tokenstore.Order{User: "alice", Expires: "never"}); !made.Expires.IsZero() {
		t.Errorf("never: %v", made.Expires)
	}
}

// badTexts must be refused in every field that a person fills in.
var badTexts = map[string]string{
	"NUL":             "a\x00b",
	"CR":              "a\rb",
	"LF":              "a\nSet-Cookie: x",
	"CR LF":           "a\r\nx-forwarded-user: admin",
	"tab":             "a\tb",
	"escape":          "a\x1b[31mb",
	"C1":              "a\u0085b",
	"line separator":  "a\u2028b",
	"bidi":            "a\u202eb",
	"zero width":      "a\u200bb",
	"BOM":             "\ufeffa",
	"unassigned":      "a\U000e0fffb",
	"private use":     "a\ue000b",
	"not UTF-8":       "a\xff\xfeb",
	"surrogate":       "a\xed\xa0\x80b",
	"overlong":        "a\xc0\x80b",
	"space before":    " a",
	"space behind":    "a ",
	"1 MiB":           strings.Repeat("a", 1<<20),
	"SQL quote":       "'; DROP TABLE tokens; --",
	"SQL or":          "' OR '1'='1",
	"SQL double":      `" OR ""="`,
	"SQL comment":     "alice'--",
	"SQL stacked":     "1; SELECT pg_sleep(10)",
	"SQL union":       "x' UNION SELECT hash FROM tokens WHERE '1'='1",
	"SQL escape":      `\'; DELETE FROM tokens; --`,
	"SQL attach":      "'; ATTACH DATABASE '/tmp/x' AS x; --",
	"SQL identifiers": "x`; DROP TABLE `tokens`",
	"HTML":            "<script>alert(1)</script>",
}

// Whatever is wrong is refused with the field's name and without the value,
// and nothing of it is stored.
func TestBadInputIsRefused(t *testing.T) {
	token, err := tokenstore.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]func(*tokenstore.Order, string){
		"user":         func(o *tokenstore.Order, s string) { o.User = s },
		"name":         func(o *tokenstore.Order, s string) { o.Name = s },
		"description":  func(o *tokenstore.Order, s string) { o.Description = s },
		"groups":       func(o *tokenstore.Order, s string) { o.Groups = []string{"eng", s} },
		"hosts":        func(o *tokenstore.Order, s string) { o.Hosts = []string{s} },
		"paths":        func(o *tokenstore.Order, s string) { o.Paths = []string{"/" + s} },
		"sources":      func(o *tokenstore.Order, s string) { o.Sources = []string{s} },
		"expires":      func(o *tokenstore.Order, s string) { o.Expires = s },
		"token_sha256": func(o *tokenstore.Order, s string) { o.Hash = s },
	}
	everyStore(t, tokenstore.Limits{}, func(t *testing.T, o *office) {
		for field, set := range fields {
			texts := map[string]string{"a token": "my " + token.Reveal()}
			maps.Copy(texts, badTexts)
			if field == "user" || field == "groups" {
				texts["comma"] = "alice,admin"
			}
			for what, text := range texts {
				if field == "paths" && what == "space before" {
					continue // there is a / before it
				}
				order := tokenstore.Order{User: "alice", Name: "n"}
				set(&order, text)
				_, err := o.Import(t.Context(), "tester", []tokenstore.Order{order})
				if !errors.Is(err, tokenstore.ErrInvalid) || !strings.Contains(err.Error(), field) {
					t.Errorf("%s: %s: %.200v", field, what, err)
					continue
				}
				if strings.Contains(err.Error(), token.Reveal()[3:20]) || len(err.Error()) > 400 {
					t.Errorf("%s: %s: the error tells the value: %.500v", field, what, err)
				}
				if field != "token_sha256" {
					if _, err := o.Create(t.Context(), "tester", order); !errors.Is(err, tokenstore.ErrInvalid) {
						t.Errorf("%s: %s: create: %.200v", field, what, err)
					}
				}
			}
		}
		many := make([]string, 65)
		for i := range many {
			many[i] = fmt.Sprintf("g%d", i)
		}
		for what, order := range map[string]tokenstore.Order{
			"no user": {Name: "n"}, "no name": {User: "alice"},
			"many groups":  {User: "alice", Name: "n", Groups: many},
			"empty group":  {User: "alice", Name: "n", Groups: []string{""}},
			"no path":      {User: "alice", Name: "n", Paths: []string{"rest"}},
			"dots":         {User: "alice", Name: "n", Paths: []string{"/a/../b"}},
			"host bits":    {User: "alice", Name: "n", Sources: []string{"10.0.0.1/8"}},
			"mapped":       {User: "alice", Name: "n", Sources: []string{"::ffff:10.0.0.0/104"}},
			"zone":         {User: "alice", Name: "n", Sources: []string{"fe80::1%eth0"}},
			"not a source": {User: "alice", Name: "n", Sources: []string{"localhost"}},
			"short hash":   {User: "alice", Name: "n", Hash: "00"},
		} {
			if _, err := o.Import(t.Context(), "tester", []tokenstore.Order{order}); !errors.Is(err, tokenstore.ErrInvalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for _, id := range []string{"", "'; DROP TABLE tokens; --", strings.Repeat("a", 1<<20), "aaaaaaaaaaaaaaa\x00"} {
			f := tokenstore.Filter{ID: id}
			if _, err := o.Rotate(t.Context(), "tester", f, 0, ""); !errors.Is(err, tokenstore.ErrNotFound) {
				t.Errorf("rotate %.20q: %v", id, err)
			}
			if _, err := o.Show(t.Context(), f); !errors.Is(err, tokenstore.ErrNotFound) {
				t.Errorf("show %.20q: %v", id, err)
			}
			if _, err := o.Revoke(t.Context(), "tester", f); err == nil {
				t.Errorf("revoke %.20q: %v", id, err)
			}
		}
		if n := o.count(t); n != 0 || len(o.lines) != 0 {
			t.Errorf("%d tokens were stored, audited as %q", n, o.lines)
		}
	})
}

func TestNamesThatPeopleHave(t *testing.T) {
	o := newOffice(t, mustOpen(t, sqliteFile(t)), tokenstore.Limits{})
	for _, user := range []string{"alice", "alice@example.com", "o'brien", `CORP\alice`, "Zoë Müller", "李雷", "svc-build_7", "a+b@c.d", "x^y~z!"} {
		made := o.create(t, tokenstore.Order{User: user})
		if id, err := o.index.Lookup(authz.Credential{Kind: authz.Basic, User: user, Secret: made.Secret}, netip.Addr{}, new(authz.Room)); err != nil || id.User != user {
			t.Errorf("%q: %v", user, err)
		}
	}
}
