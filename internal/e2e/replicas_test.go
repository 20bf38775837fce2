package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/realtest"
)

// fleet is several servers on one store behind one Envoy, which has a listener
// that asks them in turn, and one for each of them.
type fleet struct {
	t        *testing.T
	servers  []*gatelodge
	upstream *upstream
	envoy    *realtest.EnvoyProcess
	client   http.Client
	desk     *clerk
}

func newFleet(t *testing.T, size int, store, more string) *fleet {
	t.Helper()
	f := &fleet{t: t, upstream: newUpstream(t)}
	// Connections are kept, as many as there are callers at once.
	f.client = http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	t.Cleanup(f.client.CloseIdleConnections)
	var listeners, clusters strings.Builder
	var all []string
	for n := range size {
		g := serve(t, fmt.Sprintf("api_tokens: {store: %q%s}\nadmin: {token: %s}\nlimits: {drain_delay: 0.1s}\n", store, more, adminSecret))
		g.awaitReady(t)
		f.servers, all = append(f.servers, g), append(all, g.grpc)
		one := fmt.Sprintf("server-%d", n)
		listeners.WriteString(strings.ReplaceAll(listener(variant{name: one, raw: true}), "cluster_name: gatelodge", "cluster_name: "+one))
		clusters.WriteString(cluster(one, []string{g.grpc}, speaksHTTP2))
	}
	listeners.WriteString(listener(variant{name: "all", raw: true}))
	clusters.WriteString(cluster("gatelodge", all, speaksHTTP2) + cluster("upstream", []string{f.upstream.address}, ""))
	f.envoy = realtest.Envoy(t, "static_resources:\n  listeners:\n"+listeners.String()+"  clusters:\n"+clusters.String())
	f.desk = new(ledger).clerk(f.servers[0].admin, "alice")
	return f
}

// ask sends a request with a token through one of Envoy's listeners and returns
// the status; 0 when there was no answer.
func (f *fleet) ask(listener, token string) int {
	req, err := http.NewRequest(http.MethodGet, "http://"+f.envoy.Address(listener)+"/issues", nil)
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := f.client.Do(req)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// each is the listener of one server alone.
func each(n int) string { return fmt.Sprintf("server-%d", n) }

// everywhere waits until a token is answered with a status by every server, and
// returns how long that took on the slowest. From then on it never may be
// answered otherwise: it is asked a few times more.
func (f *fleet) everywhere(token string, status int, since time.Time, limit time.Duration) (slowest time.Duration) {
	f.t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for n := range f.servers {
		wg.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for ; ; <-tick.C {
				got := f.ask(each(n), token)
				took := time.Since(since)
				if got == status {
					mu.Lock()
					slowest = max(slowest, took)
					mu.Unlock()
					break
				}
				if took > limit {
					f.t.Errorf("server %d answers %d after %v, want %d", n, got, took, status)
					return
				}
			}
			for range 3 {
				if got := f.ask(each(n), token); got != status {
					f.t.Errorf("server %d answered %d, and then %d", n, status, got)
				}
			}
		})
	}
	wg.Wait()
	return slowest
}

// create makes tokens by the servers in turn; import makes many at once.
func (f *fleet) create(many int) (made []struct{ ID, Token string }) {
	f.t.Helper()
	for len(made) < many {
		n := min(many-len(made), 500)
		var orders []string
		for range n {
			orders = append(orders, `{"user": "alice", "name": "n"}`)
		}
		var answer struct{ Tokens []struct{ ID, Token string } }
		f.post(len(made)%len(f.servers), "tokens/import", "["+strings.Join(orders, ",")+"]", &answer)
		made = append(made, answer.Tokens...)
	}
	return made
}

// post sends a change to the admin API of one server.
func (f *fleet) post(server int, path, body string, answer any) {
	f.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+f.servers[server].admin+"/api/v1/"+path, bytes.NewReader([]byte(body)))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminSecret)
	req.Header.Set("Content-Type", "application/json")
	if strings.HasSuffix(path, "revoke-leaked") {
		req.Header.Set("Content-Type", "text/plain")
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Errorf("%s: %v", path, err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode < 300 && answer != nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil || resp.StatusCode >= 300 {
		f.t.Errorf("%s: %s %s %v", path, resp.Status, text, err)
	}
}

// load sends requests through all servers in turn until it is ended: with good
// tokens, each of which must pass, and with bad ones, none of which may.
type load struct {
	stop func()
	wg   sync.WaitGroup
	sent atomic.Int64
	bad  atomic.Int64
	from time.Time
}

func (f *fleet) startLoad(good, bad []string, workers int, pause time.Duration) *load {
	ctx, cancel := context.WithCancel(f.t.Context())
	l := &load{stop: cancel, from: time.Now()}
	for w := range workers {
		l.wg.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for n := w; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				token, want := good[n%len(good)], http.StatusOK
				if n%5 == 4 {
					token, want = bad[n%len(bad)], http.StatusUnauthorized
				}
				if got := f.ask("all", token); got != want {
					if l.bad.Add(1) == 1 {
						f.t.Errorf("under load: %d, want %d", got, want)
					}
				}
				l.sent.Add(1)
			}
		})
	}
	f.t.Cleanup(func() { cancel(); l.wg.Wait() })
	return l
}

func (l *load) end() (perSecond float64) {
	took := time.Since(l.from)
	l.stop()
	l.wg.Wait()
	return float64(l.sent.Load()) / took.Seconds()
}

func texts(list []struct{ ID, Token string }) (out []string) {
	for _, one := range list {
		out = append(out, one.Token)
	}
	return out
}

// revocations revokes tokens, several at a time and by each server in turn, and
// checks that every server refuses each within the limit and for good.
func (f *fleet) revocations(tokens []struct{ ID, Token string }, limit time.Duration) (took []time.Duration) {
	f.t.Helper()
	queue := make(chan int)
	took = make([]time.Duration, len(tokens))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := range queue {
				for server := range f.servers {
					if got := f.ask(each(server), tokens[n].Token); got != http.StatusOK {
						f.t.Errorf("before it was revoked server %d answers %d", server, got)
					}
				}
				began := time.Now() // before it is sent: stricter than when it is acknowledged
				f.post(n%len(f.servers), "tokens/"+tokens[n].ID+"/revoke", "", nil)
				took[n] = f.everywhere(tokens[n].Token, http.StatusUnauthorized, began, limit)
			}
		})
	}
	for n := range tokens {
		queue <- n
	}
	close(queue)
	wg.Wait()
	for n := range tokens {
		for server := range f.servers {
			if got := f.ask(each(server), tokens[n].Token); got != http.StatusUnauthorized {
				f.t.Errorf("in the end server %d answers %d to a revoked token", server, got)
			}
		}
	}
	slices.Sort(took)
	return took
}

// aSecond is the promise. In every run the machine may be busy with other tests,
// and the servers have the race detector: what they take then says little.
func aSecond() time.Duration { return time.Duration(realtest.Scale(4, 1)) * time.Second }

// Three servers on one database obey a revocation within a second, wherever it
// was made, under load; and so they do a rotation, and a new token.
func TestReplicasObeyWithinASecond(t *testing.T) {
	server := realtest.NewPostgres(t)
	f := newFleet(t, 3, server.Database(t), "")
	good, doomed := f.create(200), f.create(realtest.Scale(30, 1000))
	bad := f.create(50)
	f.post(0, "tokens/revoke-leaked", strings.Join(texts(bad), "\n"), nil)
	for _, list := range [][]struct{ ID, Token string }{good[len(good)-1:], doomed[len(doomed)-1:]} {
		f.everywhere(list[0].Token, http.StatusOK, time.Now(), aSecond())
	}
	f.everywhere(bad[len(bad)-1].Token, http.StatusUnauthorized, time.Now(), aSecond())
	l := f.startLoad(texts(good), texts(bad), realtest.Scale(4, 8), time.Duration(realtest.Scale(20, 5))*time.Millisecond)
	took := f.revocations(doomed, aSecond())

	var rotated, made time.Duration
	for n := range realtest.Scale(5, 100) {
		began := time.Now()
		var one struct{ ID, Token string }
		f.post(n%3, "tokens", `{"user": "alice", "name": "n"}`, &one)
		made = max(made, f.everywhere(one.Token, http.StatusOK, began, aSecond()))
		began = time.Now()
		var next struct{ ID, Token string }
		f.post((n+1)%3, "tokens/"+one.ID+"/rotate", `{"overlap": "0s"}`, &next)
		rotated = max(rotated, f.everywhere(one.Token, http.StatusUnauthorized, began, aSecond()))
		rotated = max(rotated, f.everywhere(next.Token, http.StatusOK, began, aSecond()))
	}
	rate := l.end()
	realtest.Measured(t, "%d revocations, 3 servers behind Envoy, %.0f requests a second beside (%d, none answered wrongly): obeyed everywhere after %v in the middle, %v at the slowest; new tokens %v, rotations %v at the slowest",
		len(took), rate, l.sent.Load(), took[len(took)/2].Round(time.Millisecond/10), took[len(took)-1].Round(time.Millisecond/10), made.Round(time.Millisecond/10), rotated.Round(time.Millisecond/10))
}

// The same with notifications cut: the connections stay open, and nothing ever
// comes. Then the database goes away: what is known goes on up to max_staleness,
// then nobody is told anything but 503, until it is back.
func TestReplicasWithoutNotificationsAndDatabase(t *testing.T) {
	server := realtest.NewPostgres(t)
	at, err := url.Parse(server.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	m := newMute(t, at.Host)
	at.Host = m.address
	const staleness = 3 * time.Second
	f := newFleet(t, 3, at.String(), ", max_staleness: 3s")
	good, doomed := f.create(20), f.create(realtest.Scale(12, 300))
	f.everywhere(doomed[len(doomed)-1].Token, http.StatusOK, time.Now(), 5*time.Second)
	l := f.startLoad(texts(good), []string{"gl_nobody"}, 4, 20*time.Millisecond)
	took := f.revocations(doomed, 5*time.Second)
	rate := l.end()
	if n := m.muted.Load(); n < 3 {
		t.Errorf("%d of 3 connections that listen were cut", n)
	}
	realtest.Measured(t, "%d revocations with notifications cut, %.0f requests a second beside: obeyed everywhere after %v in the middle, %v at the slowest",
		len(took), rate, took[len(took)/2].Round(time.Millisecond/10), took[len(took)-1].Round(time.Millisecond/10))

	began := time.Now()
	server.Stop()
	gone := time.Now()
	var wg sync.WaitGroup
	var until, first [3]time.Duration
	for n := range f.servers {
		wg.Go(func() {
			for {
				// What a request finds was so at some time between these.
				before := time.Now()
				known, revoked := f.ask(each(n), good[0].Token), f.ask(each(n), doomed[0].Token)
				switch {
				case known == http.StatusOK && before.Sub(gone) < staleness+500*time.Millisecond:
					until[n] = before.Sub(began)
					if revoked != http.StatusUnauthorized && revoked != http.StatusServiceUnavailable {
						t.Errorf("server %d: a revoked token, with the database gone: %d", n, revoked)
					}
				case known == http.StatusServiceUnavailable && revoked == http.StatusServiceUnavailable:
					first[n] = time.Since(began)
					return
				case known != http.StatusOK && known != http.StatusServiceUnavailable, time.Since(gone) > staleness+time.Second:
					t.Errorf("server %d, %v after the database went: a known token %d, a revoked one %d", n, time.Since(gone), known, revoked)
					return
				}
			}
		})
	}
	wg.Wait()
	for n := range f.servers {
		// The last look at the database may have been a poll before it went.
		if until[n] < staleness-time.Second || f.ask(each(n), good[0].Token) != http.StatusServiceUnavailable {
			t.Errorf("server %d went on for %v with max_staleness %v", n, until[n], staleness)
		}
	}
	server.Start(t)
	back := f.everywhere(good[0].Token, http.StatusOK, time.Now(), 5*time.Second)
	for _, one := range doomed {
		for n := range f.servers {
			if got := f.ask(each(n), one.Token); got != http.StatusUnauthorized {
				t.Errorf("server %d: a revoked token, with the database back: %d", n, got)
			}
		}
	}
	realtest.Measured(t, "the database gone, max_staleness %v: known tokens go on for %v, 503 from %v on; all well %v after it is back",
		staleness, slices.Min(until[:]).Round(time.Millisecond), slices.Max(first[:]).Round(time.Millisecond), back.Round(time.Millisecond))
}

// The command line changes the file that a server runs on.
func TestCommandLineIsObeyedWithinASecond(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, "sqlite:"+t.TempDir()+"/tokens.db", "")
	g := f.servers[0]
	var slowest time.Duration
	rounds := realtest.Scale(3, 50)
	for range rounds {
		var one, next struct{ ID, Token string }
		run := func(answer any, args ...string) time.Time {
			t.Helper()
			out := g.run(t, append([]string{"token"}, args...)...)
			ended := time.Now()
			if err := json.Unmarshal(out, answer); err != nil {
				t.Fatal(err)
			}
			return ended
		}
		ended := run(&one, "create", "--user", "alice", "--name", "n", "--json")
		slowest = max(slowest, f.everywhere(one.Token, http.StatusOK, ended, aSecond()))
		ended = run(&next, "rotate", one.ID, "--overlap", "0s", "--json")
		slowest = max(slowest, f.everywhere(one.Token, http.StatusUnauthorized, ended, aSecond()), f.everywhere(next.Token, http.StatusOK, ended, aSecond()))
		ended = run(new([]any), "revoke", one.ID, "--json")
		slowest = max(slowest, f.everywhere(next.Token, http.StatusUnauthorized, ended, aSecond()))
	}
	realtest.Measured(t, "%d changes of the file by the command line: obeyed after %v at the slowest", 3*rounds, slowest.Round(time.Millisecond))
}

// mute stands before a database and lets everything through but notifications:
// once a connection listens, nothing comes back on it any more, and it stays
// open.
type mute struct {
	address string
	muted   atomic.Int64
}

func newMute(t *testing.T, target string) *mute {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mute{address: l.Addr().String()}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			go m.carry(client, server)
		}
	}()
	return m
}

func (m *mute) carry(client, server net.Conn) {
	var silent atomic.Bool
	go func() {
		defer func() { _, _ = client.Close(), server.Close() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if err != nil {
				return
			}
			if bytes.Contains(buf[:n], []byte("LISTEN ")) {
				// Its answer comes back yet; a notification does not.
				m.muted.Add(1)
				silent.Store(true)
			}
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	defer func() { _, _ = client.Close(), server.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		// NotificationResponse is a message of type A of its own.
		if silent.Load() && n > 0 && buf[0] == 'A' {
			continue
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}
