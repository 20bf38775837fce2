package tokenstore_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// follow starts an index on a store of its own, as a replica does, and ends
// it with the test.
func follow(t testing.TB, s tokenstore.Store) *tokenstore.Index {
	t.Helper()
	x := tokenstore.NewIndex(time.Minute, time.Now)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { x.Follow(ctx, s, slog.New(slog.DiscardHandler)) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	await(t, "the first load", 10*time.Second, func() bool { return x.Health().Usable })
	return x
}

// await polls until a condition holds, and returns how long that took.
func await(t testing.TB, what string, limit time.Duration, holds func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Since(began) > limit {
			t.Fatalf("%s: not within %v", what, limit)
		}
		<-tick.C
	}
	return time.Since(began)
}

func newToken(t testing.TB, s tokenstore.Store, owner string) (tokenstore.Record, authz.Credential) {
	t.Helper()
	secret, err := tokenstore.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	hash := tokenstore.HashOf(secret.Reveal())
	id := make([]byte, 16)
	for i := range id {
		id[i] = 'a' + hash[i]%26
	}
	r := []tokenstore.Record{{ID: string(id), Owner: owner, Name: "n", CreatedBy: owner, Created: time.Now().Truncate(time.Second), Hash: hash}}
	if err := s.Insert(t.Context(), tokenstore.Change{Actor: "t", Action: "create", At: time.Now()}, 0, r); err != nil {
		t.Fatal(err)
	}
	return r[0], authz.Credential{Kind: authz.Bearer, Secret: secret}
}

func revoke(t testing.TB, s tokenstore.Store, f tokenstore.Filter) {
	t.Helper()
	_, err := s.Update(t.Context(), tokenstore.Change{Actor: "t", Action: "revoke", At: time.Now()}, f, func(r *tokenstore.Record) error {
		r.Revoked, r.RevokedBy = time.Now(), "t"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func allowed(x *tokenstore.Index, c authz.Credential) bool {
	_, err := x.Lookup(c, netip.MustParseAddr("192.0.2.1"), new(authz.Room))
	return err == nil
}

func TestReplicasFollow(t *testing.T) {
	for name, setting := range map[string]func(testing.TB) string{"SQLite": sqliteFile, "Postgres": realtest.Postgres} {
		t.Run(name, func(t *testing.T) {
			at := setting(t)
			x, writer := follow(t, mustOpen(t, at)), mustOpen(t, at)
			for range 5 {
				r, c := newToken(t, writer, "alice")
				seen := await(t, "a new token", time.Second, func() bool { return allowed(x, c) })
				revoke(t, writer, tokenstore.Filter{ID: r.ID})
				gone := await(t, "a revocation", time.Second, func() bool { return !allowed(x, c) })
				t.Logf("seen after %v, gone after %v", seen, gone)
			}
		})
	}
}

// deaf is a store without notifications.
type deaf struct{ tokenstore.Store }

func TestReplicasFollowWithoutNotifications(t *testing.T) {
	at := realtest.Postgres(t)
	x, writer := follow(t, deaf{mustOpen(t, at)}), mustOpen(t, at)
	r, c := newToken(t, writer, "alice")
	await(t, "a new token", 5*time.Second, func() bool { return allowed(x, c) })
	revoke(t, writer, tokenstore.Filter{ID: r.ID})
	await(t, "a revocation", 5*time.Second, func() bool { return !allowed(x, c) })
}

func TestPostgresGoesAndComes(t *testing.T) {
	server := realtest.NewPostgres(t)
	at := server.Database(t)
	s := mustOpen(t, at)
	x := follow(t, s)
	_, c := newToken(t, s, "alice")
	await(t, "a new token", time.Second, func() bool { return allowed(x, c) })
	server.Stop()
	await(t, "the outage", 10*time.Second, func() bool { return x.Health().Err != nil })
	if !allowed(x, c) {
		t.Error("a known token is refused while the database is away")
	}
	err := s.Insert(t.Context(), tokenstore.Change{}, 0, []tokenstore.Record{{ID: "x"}})
	if err == nil || errors.Is(err, tokenstore.ErrUncertain) {
		t.Errorf("a change while the database is away: %v", err)
	}
	server.Start(t)
	took := await(t, "the recovery", 5*time.Second, func() bool { return x.Health().Err == nil })
	t.Logf("recovered after %v", took)
	writer := mustOpen(t, at)
	_, c = newToken(t, writer, "bob")
	await(t, "a token of after the outage", 5*time.Second, func() bool { return allowed(x, c) })
}

// A replica may start before its database.
func TestPostgresIsDownAtStart(t *testing.T) {
	server := realtest.NewPostgres(t)
	at := server.Database(t)
	_, c := newToken(t, mustOpen(t, at), "alice")
	server.Stop()
	var log lockedBuffer
	x := tokenstore.NewIndex(time.Minute, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	s := mustOpen(t, at)
	wg.Go(func() { x.Follow(ctx, s, slog.New(slog.NewTextHandler(&log, nil))) })
	await(t, "the outage", 10*time.Second, func() bool { return x.Health().Err != nil })
	if _, err := x.Lookup(c, netip.Addr{}, new(authz.Room)); err == nil || errors.Is(err, authz.ErrRejected) {
		t.Errorf("before anything was loaded: %v", err)
	}
	server.Start(t)
	await(t, "the token", 5*time.Second, func() bool { return allowed(x, c) })
	cancel()
	wg.Wait()
	if n := bytes.Count(log.bytes(), []byte("out of reach")); n != 1 {
		t.Errorf("told %d times of one outage:\n%s", n, log.bytes())
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}
