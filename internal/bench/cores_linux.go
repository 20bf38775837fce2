package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// startOn starts a program on one core. It sees no other, so that a server in
// Go has one thread for its goroutines, as beside an Envoy that is given a core.
func startOn(cmd *exec.Cmd, core int) error {
	if core < 0 || runtime.NumCPU() < 2 {
		return cmd.Start()
	}
	runtime.LockOSThread() // a child takes over the cores of the thread that starts it
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("asking for the cores: %w", err)
	}
	one.Set(core)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("choosing a core: %w", err)
	}
	err := cmd.Start()
	if back := unix.SchedSetaffinity(0, &before); back != nil {
		return fmt.Errorf("going back to all cores: %w", back)
	}
	return err
}

// stayOff moves this program to all cores but one, until it is called with none.
func stayOff(core int) error {
	if runtime.NumCPU() < 2 {
		return nil
	}
	var set unix.CPUSet
	for c := range runtime.NumCPU() {
		if c != core {
			set.Set(c)
		}
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil && !errors.Is(err, unix.ESRCH) { // one that has ended
			return fmt.Errorf("choosing cores: %w", err)
		}
	}
	return nil
}
