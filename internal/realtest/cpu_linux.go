package realtest

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns what f takes of the processor: what else the machine is busy with
// is not in it. Only what runs on f's own goroutine counts.
func CPU(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := threadTime()
	f()
	return threadTime() - began
}

func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // every Linux has that clock
	}
	return time.Duration(t.Nano())
}
