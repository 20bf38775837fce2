package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

const (
	adminSecret = "the-admin-token-of-the-tests-0123456789"
	tokensOnly  = "api_tokens: {store: %q, per_user: 0}\nadmin: {token: " + adminSecret + "}\nlimits: {drain_delay: 0.1s}\n"
)

// startLimit is how long a server may take from its start to its first decision,
// after it was killed. In every run the machine may be busy with other tests.
func startLimit() time.Duration { return time.Duration(realtest.Scale(20, 2)) * time.Second }

// TestKilledWhileTokensChange kills the server with SIGKILL, again and again,
// while clients make, rotate and revoke tokens. What a client was told is so
// afterwards: no token is lost, no revocation undone; what it was not told is
// wholly so or not at all; and no secret is good without a record.
func TestKilledWhileTokensChange(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "tokens.db")
		k := newKilling(t, "sqlite:"+path)
		k.whole = func() error { return wholeFile(t, path) }
		k.run(realtest.Scale(10, 200))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		server := realtest.NewPostgres(t)
		at := server.Database(t)
		k := newKilling(t, at)
		k.whole = func() error { return nil } // it checks itself when it starts
		k.harm = func(round int) string { return harmPostgres(t, server, at, round) }
		k.run(realtest.Scale(10, 200))
	})
}

// wholeFile has SQLite check its file.
func wholeFile(t *testing.T, path string) error {
	db, err := sql.Open("sqlite", "file:"+path+"?mode=rw&_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var found string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&found); err != nil {
		return err
	}
	if found != "ok" {
		return fmt.Errorf("integrity_check: %s", found)
	}
	return nil
}

// harmPostgres harms the database too, in every fourth round: it ends one of
// its processes, or all of them, without a chance to tidy up.
func harmPostgres(t *testing.T, server *realtest.PostgresServer, at string, round int) string {
	t.Helper()
	switch round % 8 {
	case 3:
		conn, err := pgx.Connect(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		var pid int
		err = conn.QueryRow(t.Context(), `SELECT pid FROM pg_stat_activity WHERE application_name = 'gatelodge' AND backend_type = 'client backend'
			ORDER BY state = 'active' DESC, random() LIMIT 1`).Scan(&pid)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close(context.WithoutCancel(t.Context()))
		eventually(t, 20*time.Second, "the database recovers", func() bool { return reachable(t, at) })
		return "one process of the database"
	case 7:
		server.Crash(t)
		server.Start(t)
		return "the database"
	}
	return ""
}

func reachable(t *testing.T, at string) bool {
	conn, err := pgx.Connect(t.Context(), at)
	if err != nil {
		return false
	}
	return conn.Close(t.Context()) == nil
}

// killing is a server under clients, and what they know.
type killing struct {
	t     *testing.T
	store string
	g     *gatelodge
	asker *asker
	book  ledger
	desks []*clerk
	whole func() error           // checks the database
	harm  func(round int) string // does more harm than killing the server

	kills, harms   int
	open, happened int // changes that were not acknowledged, and those of them that are there
	slowest        time.Duration
}

func newKilling(t *testing.T, store string) *killing {
	t.Helper()
	k := &killing{t: t, store: store, harm: func(int) string { return "" }}
	k.g = newGatelodge(t, fmt.Sprintf(tokensOnly, store))
	k.g.start(t)
	k.g.awaitReady(t)
	k.asker = newAsker(t, k.g.grpc)
	for n := range 4 {
		k.desks = append(k.desks, k.book.clerk(k.g.admin, fmt.Sprintf("user-%d", n)))
	}
	return k
}

func (k *killing) run(rounds int) {
	for round := range rounds {
		k.round(round)
		if k.t.Failed() {
			k.t.Fatalf("after round %d", round)
		}
	}
	for _, e := range k.book.entries {
		e.touched = rounds
	}
	k.check(rounds) // every token there ever was
	k.g.Kill()
	realtest.Measured(k.t, "killed %d times (and the database %d times): %d changes acknowledged, all kept; %d were under way, of which %d happened wholly and the others not at all; started again within %v",
		k.kills, k.harms, k.book.acknowledged.Load(), k.open, k.happened, k.slowest.Round(time.Millisecond))
	if n := k.book.acknowledged.Load(); n < int64(2*rounds) || k.open < rounds/4 {
		k.t.Errorf("%d changes acknowledged and %d under way in %d rounds prove little", n, k.open, rounds)
	}
}

// round lets the clients work, kills the server, starts it and checks.
func (k *killing) round(round int) {
	t := k.t
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for _, d := range k.desks {
		wg.Go(func() { d.work(ctx, round) })
	}
	shell := k.commandLine(ctx, round)
	timer := time.NewTimer(time.Duration(rand.IntN(150_000)) * time.Microsecond)
	<-timer.C
	harmed := k.harm(round)
	k.g.Kill()
	k.kills++
	stop()
	wg.Wait()
	shell()
	if harmed != "" {
		k.harms++
	}
	began := time.Now()
	k.g.start(t)
	for statusOf("http://"+k.g.admin+"/readyz") != http.StatusOK {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("round %d, harmed: %s: not ready again:\n%s", round, harmed, k.g.Output())
		}
	}
	took := time.Since(began)
	k.slowest = max(k.slowest, took)
	if took > startLimit() {
		t.Errorf("round %d: ready %v after the start, want %v", round, took, startLimit())
	}
	if err := k.whole(); err != nil {
		t.Errorf("round %d: the store is broken: %v", round, err)
	}
	k.check(round)
}

// commandLine makes a token with the command line too, in every fourth round,
// and kills that at random as well. The function that it returns waits.
func (k *killing) commandLine(ctx context.Context, round int) func() {
	t := k.t
	t.Helper()
	if round%4 != 1 {
		return func() {}
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	e := k.book.begin(round)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, "token", "create", "--config", k.g.config, "--user", "carol", "--name", e.name)
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(time.Duration(rand.IntN(200))*time.Millisecond, func() { _ = cmd.Process.Kill() })
	return func() {
		_ = cmd.Wait()
		kill.Stop()
		if token := strings.TrimSpace(out.String()); tokenstore.Valid(token) {
			// It was shown: so it was made. Its id is on standard error.
			fields := strings.Fields(told.String())
			e.made(fields[1], token)
			k.book.acknowledged.Add(1)
		}
	}
}

// check compares what clients know of the tokens that changed in a round, and
// of some others, with the store, with an index made from it, and with the
// decisions of the server that was started again.
func (k *killing) check(round int) {
	t := k.t
	t.Helper()
	store, err := tokenstore.Open(t.Context(), k.store, authz.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	index := tokenstore.NewIndex(time.Hour, time.Now)
	if err := index.Sync(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	list, err := store.List(t.Context(), tokenstore.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]*tokenstore.Record{}
	for i := range list {
		if rows[list[i].Name] != nil {
			t.Errorf("two records are called %s", list[i].Name)
		}
		rows[list[i].Name] = &list[i]
	}
	for _, name := range k.book.refused {
		if rows[name] != nil {
			t.Errorf("%s is there, though we were told that nothing was changed", name)
		}
	}
	k.book.refused = nil
	good := func(token string) bool {
		t.Helper()
		status := k.asker.ask(t.Context(), token)
		if status != http.StatusOK && status != http.StatusUnauthorized {
			t.Errorf("asked about a token: %d", status)
		}
		_, err := index.Lookup(authz.Credential{Kind: authz.Bearer, Secret: authz.NewSecret(token)}, netip.Addr{}, new(authz.Room))
		if (err == nil) != (status == http.StatusOK) {
			t.Errorf("the server answers %d, an index made from the store: %v", status, err)
		}
		return status == http.StatusOK
	}
	for _, e := range append([]*entry(nil), k.book.entries...) {
		if e.touched != round && rand.IntN(20) > 0 {
			continue
		}
		if problem := k.compare(e, rows[e.name], good); problem != "" {
			t.Errorf("round %d: %s (%+v): %s", round, e.name, *e, problem)
			continue
		}
		if row := rows[e.name]; row != nil && e.touched == round {
			shown, err := store.List(t.Context(), tokenstore.Filter{ID: row.ID, History: true})
			if err != nil || len(shown) != 1 || len(shown[0].History) != e.changes {
				t.Errorf("round %d: %s: %d changes, audited as %+v (%v)", round, e.name, e.changes, shown, err)
			}
		}
	}
}

// compare says what is wrong with one entry, and settles what was open.
func (k *killing) compare(e *entry, row *tokenstore.Record, good func(string) bool) string {
	open := e.open
	if open != "" {
		k.open++
		e.open = ""
	}
	if open == creating {
		// Nobody has its secret, so all that can be is that it is listed.
		k.book.forget(e, false)
		if row != nil {
			k.happened++
			e.changes = 1
		}
		return ""
	}
	if row == nil || row.ID != e.id {
		return "an acknowledged token is lost"
	}
	if slices.ContainsFunc(e.dead[max(0, len(e.dead)-3):], good) {
		return "a secret that was rotated away is good again"
	}
	same := row.Hash == tokenstore.HashOf(e.secret)
	switch {
	case open == rotating && !same:
		k.happened++
		e.changes++
		e.over = true
		if good(e.secret) {
			return "a secret is good without a record"
		}
		return ""
	case e.over:
		if same || good(e.secret) {
			return "a secret that was rotated away is good again"
		}
		return ""
	case !same:
		return "the record holds the hash of another secret"
	case open == revoking && !row.Revoked.IsZero():
		k.happened++
		e.changes++
		e.revoked = true
	}
	switch {
	case e.revoked && row.Revoked.IsZero(), e.revoked && good(e.secret):
		return "an acknowledged revocation is undone"
	case !e.revoked && !row.Revoked.IsZero():
		return "it is revoked, and nobody asked for that"
	case !e.revoked && !good(e.secret):
		return "an acknowledged token is refused"
	}
	return ""
}
