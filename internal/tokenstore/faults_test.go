package tokenstore_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/realtest"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// aloneVariable is set in a process that alone runs one test.
const aloneVariable = "GATELODGE_TEST_ALONE"

// alone reports whether this process is one of its own for the test. If not,
// it runs one and takes its result: what the test does to its process would
// harm the others. Root may write everything, so it runs as nobody then.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(aloneVariable) != "" {
		return true
	}
	// Where nobody can read it, unlike what go test built.
	dir, err := os.MkdirTemp("", "alone-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Skipf("NOT RUN: needs Linux: %v", err)
	}
	program := filepath.Join(dir, "test")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env, cmd.Dir = append(os.Environ(), aloneVariable+"=1"), dir
	if os.Geteuid() == 0 {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a process of its own: %v\n%s", err, out)
	}
	return false
}

// A disk that takes no more: the caller is told that nothing happened, nothing
// has, and everything goes on once there is room.
func TestDiskFull(t *testing.T) {
	if !alone(t) {
		return
	}
	path := filepath.Join(t.TempDir(), "tokens.db")
	o := newOffice(t, mustOpen(t, "sqlite:"+path), tokenstore.Limits{MaxLifetime: time.Hour})
	before := []tokenstore.Issued{o.create(t, tokenstore.Order{User: "alice"}), o.create(t, tokenstore.Order{User: "bob"})}

	// A write beyond the limit fails as one to a full disk does; the signal
	// that comes with it would end the process.
	signal.Ignore(syscall.SIGXFSZ)
	var unlimited syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &unlimited); err != nil {
		t.Fatal(err)
	}
	log, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	for room := range 12 {
		limited := unlimited
		limited.Cur = uint64(log.Size()) + uint64(room)*1024 // less than one change needs
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limited); err != nil {
			t.Fatal(err)
		}
		_, created := o.Create(t.Context(), "tester", tokenstore.Order{User: "carol", Name: "n"})
		_, rotated := o.Rotate(t.Context(), "tester", tokenstore.Filter{ID: before[0].ID}, 0, "")
		_, revoked := o.Revoke(t.Context(), "tester", tokenstore.Filter{ID: before[1].ID})
		for what, err := range map[string]error{"create": created, "rotate": rotated, "revoke": revoked} {
			if err == nil || errors.Is(err, tokenstore.ErrUncertain) {
				t.Errorf("%s with %d KiB left: %v", what, room, err)
			}
		}
		if !o.good(before[0].Secret) || !o.good(before[1].Secret) || len(o.lines) != 2 {
			t.Errorf("with %d KiB left something was changed: %q", room, o.lines)
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &unlimited); err != nil {
		t.Fatal(err)
	}
	if n := o.count(t); n != 2 {
		t.Errorf("%d tokens are stored, want 2", n)
	}
	o.create(t, tokenstore.Order{User: "carol"})
	if _, err := o.Revoke(t.Context(), "tester", tokenstore.Filter{ID: before[1].ID}); err != nil || o.good(before[1].Secret) {
		t.Errorf("once there is room: %v", err)
	}
	another := newOffice(t, mustOpen(t, "sqlite:"+path), tokenstore.Limits{})
	if !another.good(before[0].Secret) || another.good(before[1].Secret) || another.count(t) != 3 {
		t.Error("the file tells another story")
	}
}

func TestReadOnlyFile(t *testing.T) {
	if !alone(t) {
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "tokens.db")
	s, err := tokenstore.Open(t.Context(), "sqlite:"+path, authz.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	made := newOffice(t, s, tokenstore.Limits{}).create(t, tokenstore.Order{User: "alice"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for what, modes := range map[string][2]os.FileMode{"file": {0o400, 0o700}, "folder": {0o600, 0o500}, "both": {0o400, 0o500}} {
		if err := errors.Join(os.Chmod(path, modes[0]), os.Chmod(dir, modes[1])); err != nil {
			t.Fatal(err)
		}
		s, err := tokenstore.Open(t.Context(), "sqlite:"+path, authz.Secret{})
		if err == nil {
			_, err = tokenstore.NewIssuer(s, nil, tokenstore.Limits{}, time.Now, nil).Revoke(t.Context(), "tester", tokenstore.Filter{ID: made.ID})
			_ = s.Close()
		}
		if err == nil || errors.Is(err, tokenstore.ErrUncertain) || !strings.Contains(err.Error(), "token store") {
			t.Errorf("%s: %v", what, err)
		}
		t.Logf("%s: %v", what, err)
	}
	if err := errors.Join(os.Chmod(dir, 0o700), os.Chmod(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if o := newOffice(t, mustOpen(t, "sqlite:"+path), tokenstore.Limits{}); !o.good(made.Secret) {
		t.Error("a change that was refused happened")
	}
}

// wire stands between a store and its database and can be cut at a chosen
// message: before it is passed on, or behind, so that only the answer is lost.
type wire struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	left  int  // messages until the cut; negative: never
	after bool // let the message pass, and cut at its answer
	mute  bool // the next answer is not passed on
	conns []net.Conn
}

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, target: target, left: -1}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.join(c)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); w.cut() })
	return w
}

func (w *wire) join(client net.Conn) {
	server, err := net.Dial("tcp", w.target)
	if err != nil {
		_ = client.Close()
		return
	}
	w.mu.Lock()
	w.conns = append(w.conns, client, server)
	w.mu.Unlock()
	go w.carry(client, server, w.passMessage)
	go w.carry(server, client, w.passAnswer)
}

// carry passes on what it may, and then cuts the wire.
func (w *wire) carry(from, to net.Conn, pass func() bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			_ = to.Close()
			return
		}
		if !pass() {
			w.cut()
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (w *wire) passMessage() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left < 0 {
		return true
	}
	w.left--
	w.mute = w.left < 0 && w.after
	return w.left >= 0 || w.after
}

func (w *wire) passAnswer() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	pass := !w.mute
	w.mute = false
	return pass
}

// cutAt arms the wire: so many messages from now it is cut. Negative: it is not.
func (w *wire) cutAt(n int, after bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left, w.after = n, after
}

func (w *wire) armed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.left >= 0
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// The connection breaks at each message of each change, before the database has
// it or behind: what the caller is told is what happened.
func TestConnectionBreaksHalfWay(t *testing.T) {
	at := realtest.Postgres(t)
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(t, u.Host)
	u.Host = w.listener.Addr().String()
	broken, sound := newOffice(t, mustOpen(t, u.String()), tokenstore.Limits{}), newOffice(t, mustOpen(t, at), tokenstore.Limits{})
	broken.create(t, tokenstore.Order{User: "warm"})

	is := func(s authz.Secret) bool {
		t.Helper()
		if err := sound.index.Sync(t.Context(), sound.store); err != nil {
			t.Fatal(err)
		}
		return sound.good(s)
	}
	told := map[bool]int{}
	for _, after := range []bool{false, true} {
		for cut := 0; ; cut++ {
			what := fmt.Sprintf("cut at message %d, behind it: %t", cut, after)
			w.cutAt(cut, after)
			name := fmt.Sprintf("t%d-%t", cut, after)
			made, err := broken.Create(t.Context(), "tester", tokenstore.Order{User: "alice", Name: name})
			there := named(t, sound, name)
			switch {
			case errors.Is(err, tokenstore.ErrUncertain):
				t.Errorf("create: %s: %v though the database can be reached", what, err)
			case (err == nil) != (there == 1), err == nil && (!is(made.Secret) || !broken.good(made.Secret)):
				t.Errorf("create: %s: %v, and %d stored", what, err, there)
			}
			told[err == nil]++
			fired := !w.armed()
			w.cutAt(-1, false)

			old := broken.create(t, tokenstore.Order{User: "bob"})
			w.cutAt(cut, after)
			_, err = broken.Revoke(t.Context(), "tester", tokenstore.Filter{ID: old.ID})
			if errors.Is(err, tokenstore.ErrUncertain) || (err == nil) == is(old.Secret) || (err == nil) == broken.good(old.Secret) {
				t.Errorf("revoke: %s: %v, usable %t", what, err, is(old.Secret))
			}
			told[err == nil]++
			fired = fired || !w.armed()
			w.cutAt(-1, false)
			if !fired {
				break // no change has so many messages
			}
		}
	}
	t.Logf("told of %d changes, and of %d that did not happen", told[true], told[false])
	if told[true] < 3 || told[false] < 3 {
		t.Error("the wire was not cut where it matters")
	}
}

func named(t *testing.T, o *office, name string) (n int) {
	t.Helper()
	list, err := o.List(t.Context(), tokenstore.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		if list[i].Name == name {
			n++
		}
	}
	return n
}

// The database goes away in the middle of a change and stays away.
func TestDatabaseStopsHalfWay(t *testing.T) {
	server := realtest.NewPostgres(t)
	o := newOffice(t, mustOpen(t, server.Database(t)), tokenstore.Limits{})
	made := o.create(t, tokenstore.Order{User: "alice"})
	_, err := o.store.Update(t.Context(), tokenstore.Change{Actor: "t", Action: tokenstore.ActionRevoke, At: o.clock.now()}, tokenstore.Filter{ID: made.ID},
		func(r *tokenstore.Record) error {
			r.Revoked = o.clock.now()
			server.Stop()
			return nil
		})
	if err == nil || errors.Is(err, tokenstore.ErrUncertain) {
		t.Errorf("%v", err)
	}
	if _, err := o.index.Lookup(authz.Credential{Kind: authz.Bearer, Secret: made.Secret}, netip.Addr{}, new(authz.Room)); err != nil {
		t.Errorf("a token that is known: %v", err)
	}
	server.Start(t)
	if err := o.index.Sync(t.Context(), o.store); err != nil && o.index.Sync(t.Context(), o.store) != nil {
		t.Fatal(err)
	}
	if !o.good(made.Secret) {
		t.Error("a change that was refused happened")
	}
}
