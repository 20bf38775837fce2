package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf reads the CPU clock of a process. It counts nanoseconds, and threads
// that have ended; /proc/PID/stat has hundredths of a second, too coarse for a
// measurement of one.
func cpuOf(pid int) (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED of clock_getcpuclockid(3)
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &t); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}
