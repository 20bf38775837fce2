//go:build !linux

package realtest

import "time"

// CPU returns how long f takes.
func CPU(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}
