package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// process is a running program under test.
type process struct {
	name  string
	log   string // path of what it printed
	cmd   *exec.Cmd
	ended chan struct{}
}

// launch starts a program; its output goes to a file in dir. It ends when ctx
// does. Where it runs is left to the system, and how it uses the machine to the
// program, as where somebody simply starts them.
func launch(ctx context.Context, dir, name, path string, args ...string) (*process, error) {
	f, err := os.CreateTemp(dir, name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{name: name, log: f.Name(), cmd: cmd, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is told by await and in its log
		close(p.ended)
	}()
	return p, nil
}

// stop ends the program and waits until it has.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// await returns once ready says so.
func (p *process) await(ready func() bool) error {
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready() {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %s", p.name, p.printed())
		case <-deadline:
			return fmt.Errorf("%s was not ready in time: %s", p.name, p.printed())
		case <-tick.C:
		}
	}
}

// printed returns the end of what the program printed.
func (p *process) printed() []byte {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	if n := 4000; len(b) > n {
		b = b[len(b)-n:]
	}
	return b
}

// memory is the resident set of the program in bytes.
func (p *process) memory() (int64, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(b, []byte("VmRSS:"))
	number, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
	kib, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	return kib << 10, nil
}

// cpu is the time that the kernel accounts to the program, all threads,
// in user and system mode; none to a nil process.
func (p *process) cpu() (time.Duration, error) {
	if p == nil {
		return 0, nil
	}
	return cpuOf(p.cmd.Process.Pid)
}
