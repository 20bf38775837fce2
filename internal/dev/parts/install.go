package parts

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// recipe is raised when a part is put together differently at the same
// version, so that every .tools folder is brought up to date.
const recipe = "1"

const stampFile = ".installed"

func (p Part) stamp() string { return p.Version + " recipe " + recipe + "\n" }

func (p Part) installedIn(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, stampFile))
	return err == nil && string(b) == p.stamp()
}

// Names returns the names of all parts, in the order of installation.
func Names() []string {
	var names []string
	for _, p := range Table() {
		names = append(names, p.Name)
	}
	return names
}

// Install makes sure that the named part and what it needs are there, and
// tells out what it does. Several processes may call it at once, also in
// several work trees that share a .tools folder: one installs, the others
// wait. A part appears whole or not at all.
func Install(ctx context.Context, out io.Writer, name string) error {
	p, err := find(name)
	if err != nil {
		return err
	}
	for _, need := range p.Needs {
		if err := Install(ctx, out, need); err != nil {
			return err
		}
	}
	if p.Elsewhere != nil {
		if dir := p.Elsewhere(); dir != "" {
			fmt.Fprintf(out, "setup: %s: the machine's own, in %s\n", p.Name, dir)
			return nil
		}
	}
	root, err := Root()
	if err != nil {
		return err
	}
	tools := filepath.Join(root, ".tools")
	if err := os.MkdirAll(tools, 0o755); err != nil {
		return err
	}
	dir := filepath.Join(tools, p.Name)
	if p.installedIn(dir) {
		fmt.Fprintf(out, "setup: %s %s: there\n", p.Name, p.Version)
		return nil
	}
	unlock, err := lock(filepath.Join(tools, "."+p.Name+".lock"))
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	defer unlock()
	if p.installedIn(dir) { // by whoever held the lock
		return nil
	}
	return p.installInto(ctx, out, tools, dir)
}

func (p Part) installInto(ctx context.Context, out io.Writer, tools, dir string) error {
	began := time.Now()
	tmp, err := os.MkdirTemp(tools, "."+p.Name+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil { // PostgreSQL runs as another user
		return err
	}
	j := job{Context: ctx, out: out, part: p}
	if err := p.install(j, tmp); err != nil {
		return fmt.Errorf("%s %s: %w", p.Name, p.Version, err)
	}
	if err := os.WriteFile(filepath.Join(tmp, stampFile), []byte(p.stamp()), 0o644); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	j.say("ready after %.1f s", time.Since(began).Seconds())
	return nil
}

// lock waits for the file lock at path and returns what gives it back.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}

// A job is one installation under way.
type job struct {
	context.Context
	out  io.Writer
	part Part
}

func (j job) say(format string, args ...any) {
	fmt.Fprintf(j.out, "setup: %s %s: %s\n", j.part.Name, j.part.Version, fmt.Sprintf(format, args...))
}

// run runs a command to its end; when it fails, the error holds the end of
// what it printed.
func (j job) run(dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(j, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	b, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, tail(b, 2000))
	}
	return nil
}

func tail(b []byte, n int) string {
	if len(b) > n {
		b = b[len(b)-n:]
	}
	return string(b)
}
