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

// A process is one running program.
type process struct {
	name  string
	log   string // path of what it printed
	stdin io.Closer
	done  chan struct{} // closed when it has ended
	err   error         // how it ended; read after done
	cmd   *exec.Cmd
	once  sync.Once
}

// command is what start runs.
type command struct {
	name    string // for messages
	path    string
	args    []string
	env     []string // added to this process's own
	dir     string   // working folder
	log     string   // path for its output
	signal  string   // that ends it well; default TERM
	rmAfter string   // folder removed when it has ended
	uid     uint32   // user to run as; 0: this one
}

func start(c command) (*process, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", guard, "guard", cmp.Or(c.signal, "TERM"), c.rmAfter, c.path}, c.args...)...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Dir = c.dir
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
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	p := &process{name: c.name, log: c.log, stdin: stdin, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// stop ends the program and returns when it has ended. It may be called again.
func (p *process) stop() {
	p.once.Do(func() { _ = p.stdin.Close() })
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.kill()
	}
}

// kill ends the program without giving it a chance to tidy up.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// await returns nil as soon as ready says true, or an error when the program
// ends first or the time is up.
func (p *process) await(limit time.Duration, ready func() bool) error {
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

// output returns what the program printed so far.
func (p *process) output() string {
	b, err := os.ReadFile(p.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(b)
}

func (p *process) tail() string {
	b := []byte(p.output())
	if n := 4000; len(b) > n {
		b = b[len(b)-n:]
		b = b[bytes.IndexByte(b, '\n')+1:]
	}
	return string(b)
}

// startForTest starts a program that ends with the test; if the test fails,
// the end of what it printed is shown.
func startForTest(t testing.TB, c command) *process {
	t.Helper()
	if c.log == "" {
		c.log = filepath.Join(t.TempDir(), c.name+".log")
	}
	p, err := start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("the end of what %s printed:\n%s", c.name, p.tail())
		}
	})
	return p
}
