package realtest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// guard runs a program as the child of a shell that ends it when the pipe on
// the shell's standard input closes. So it ends with this process however this
// process ends, a panic or the test's time limit included. $1 is the signal to
// end it with, $2 a folder to remove then, or empty.
const guard = `signal=$1; dir=$2; shift 2
exec 3<&0
"$@" </dev/null 3<&- &
p=$!
{ read -r _ <&3; kill -$signal $p; } 2>/dev/null &
w=$!
wait $p; s=$?
kill $w 2>/dev/null
[ -z "$dir" ] || rm -rf "$dir"
exit $s`

// A Process is one running program.
type Process struct {
	name  string
	log   string // path of what it printed
	stdin io.Closer
	done  chan struct{} // closed when it has ended
	err   error         // how it ended; read after done
	cmd   *exec.Cmd
	once  sync.Once
}

// A Command is a program to start.
type Command struct {
	Name string // for messages
	Path string
	Args []string
	Env  []string // added to this process's own
	Dir  string   // working folder

	// Signal is the one that Stop sends; default TERM.
	Signal string

	log     string // path for its output
	rmAfter string // folder removed when it has ended
	uid     uint32 // user to run as; 0: this one
}

// Start starts a program that ends with the test; if the test fails, the end
// of what it printed is shown.
func Start(t testing.TB, c Command) *Process {
	t.Helper()
	if c.log == "" {
		c.log = filepath.Join(t.TempDir(), c.Name+".log")
	}
	p, err := start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Stop()
		if t.Failed() {
			t.Logf("the end of what %s printed:\n%s", c.Name, p.tail())
		}
	})
	return p
}

func start(c Command) (*Process, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", guard, "guard", cmp.Or(c.Signal, "TERM"), c.rmAfter, c.Path}, c.Args...)...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Dir = c.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.uid, Gid: c.uid}
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	p := &Process{name: c.Name, log: c.log, stdin: stdin, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Stop asks the program to end (SIGTERM, unless its Command says otherwise) and returns how it did. It may be
// called again.
func (p *Process) Stop() error {
	p.once.Do(func() { _ = p.stdin.Close() })
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.Kill()
	}
	return p.err
}

// Kill ends the program without giving it a chance to tidy up.
func (p *Process) Kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// Await returns nil as soon as ready says true, or an error when the program
// ends first or the time is up.
func (p *Process) Await(limit time.Duration, ready func() bool) error {
	deadline := time.After(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready() {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready: %v\n%s", p.name, p.err, p.tail())
		case <-deadline:
			return fmt.Errorf("%s was not ready after %v\n%s", p.name, limit, p.tail())
		case <-tick.C:
		}
	}
}

// Output returns what the program printed so far.
func (p *Process) Output() string {
	b, err := os.ReadFile(p.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(b)
}

func (p *Process) tail() string {
	b := []byte(p.Output())
	if n := 4000; len(b) > n {
		b = b[len(b)-n:]
		b = b[bytes.IndexByte(b, '\n')+1:]
	}
	return string(b)
}
