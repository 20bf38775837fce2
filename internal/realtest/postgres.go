package realtest

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/dev/parts"
)

// A PostgresServer is a PostgreSQL cluster of its own in a temporary folder.
type PostgresServer struct {
	bin, dir string
	port     int
	uid      uint32 // whom it runs as; PostgreSQL refuses root
	p        *Process
}

var sharedPostgres = sync.OnceValues(func() (*PostgresServer, error) { return newPostgres(true) })

// Postgres returns the connection string of a new, empty database. Its server
// is shared by the tests of this process and ends with it.
func Postgres(t testing.TB) string {
	t.Helper()
	if _, err := parts.Postgres(); err != nil {
		missing(t, err)
	}
	s, err := sharedPostgres()
	if err != nil {
		t.Fatal(err)
	}
	return s.Database(t)
}

// NewPostgres starts a server of the test's own, to stop and start again.
func NewPostgres(t testing.TB) *PostgresServer {
	t.Helper()
	if _, err := parts.Postgres(); err != nil {
		missing(t, err)
	}
	s, err := newPostgres(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(); _ = os.RemoveAll(s.dir) })
	return s
}

// newPostgres makes and starts a cluster; a shared one is removed when this
// process ends, whatever way it ends.
func newPostgres(shared bool) (*PostgresServer, error) {
	bin, err := parts.Postgres()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "postgres-")
	if err != nil {
		return nil, err
	}
	s := &PostgresServer{bin: bin, dir: dir}
	if os.Geteuid() == 0 {
		if s.uid, err = nobody(); err != nil {
			return nil, err
		}
		if err := os.Chown(dir, int(s.uid), int(s.uid)); err != nil {
			return nil, err
		}
		if err := s.reachable(); err != nil {
			return nil, err
		}
	}
	out, err := s.run("initdb", "--pgdata", s.data(), "--username=gatelodge", "--auth=trust",
		"--encoding=UTF8", "--no-locale", "--no-sync")
	if err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	if shared {
		return s, s.start(dir)
	}
	return s, s.start("")
}

// reachable makes sure that the server's user may run the programs: those below
// the home folder of root he may not, and then gets a copy.
func (s *PostgresServer) reachable() error {
	if _, err := s.run("initdb", "--version"); err == nil {
		return nil
	}
	tree, err := parts.Dir("postgres")
	if err != nil {
		return err
	}
	s.bin = filepath.Join(s.dir, "programs", "bin")
	return os.CopyFS(filepath.Join(s.dir, "programs"), os.DirFS(tree))
}

func nobody() (uint32, error) {
	u, err := user.Lookup("nobody")
	if err != nil {
		return 0, err
	}
	id, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(id), err
}

func (s *PostgresServer) data() string { return filepath.Join(s.dir, "data") }

// run runs one of PostgreSQL's programs to its end, as the server's user.
func (s *PostgresServer) run(program string, args ...string) ([]byte, error) {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "TZ=UTC")
	if s.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: s.uid, Gid: s.uid}}
	}
	return cmd.CombinedOutput()
}

func (s *PostgresServer) start(rmAfter string) error {
	p, err := start(Command{
		Name: "postgres", Path: filepath.Join(s.bin, "postgres"), Dir: s.dir, uid: s.uid,
		Signal:  "INT", // cuts the connections; TERM waits for the clients to leave
		rmAfter: rmAfter, log: filepath.Join(s.dir, "log"),
		Args: []string{
			"-D", s.data(), "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1",
			"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=200",
		},
		Env: []string{"TZ=UTC"},
	})
	if err != nil {
		return err
	}
	s.p = p
	return p.Await(30*time.Second, func() bool {
		_, err := s.run("pg_isready", "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port))
		return err == nil
	})
}

// Stop ends the server; connections are cut.
func (s *PostgresServer) Stop() { _ = s.p.Stop() }

// Crash ends the server at once and in the middle of everything, as its
// immediate mode does: it must recover when it is started again.
func (s *PostgresServer) Crash(t testing.TB) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-s.p.done
}

// Start starts a stopped server on the same port with the same data.
func (s *PostgresServer) Start(t testing.TB) {
	t.Helper()
	if err := s.start(""); err != nil {
		t.Fatal(err)
	}
}

// Database makes a new, empty database and returns its connection string.
func (s *PostgresServer) Database(t testing.TB) string {
	t.Helper()
	name := "db_" + strings.ToLower(rand.Text())
	if out, err := s.run("createdb", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "gatelodge", name); err != nil {
		t.Fatalf("createdb: %v\n%s", err, out)
	}
	return fmt.Sprintf("postgres://gatelodge@127.0.0.1:%d/%s?sslmode=disable", s.port, name)
}
