package demo

import "syscall"

// childAttributes put a process into a group of its own, so that Ctrl-C reaches
// us alone and we end things in order, and end it with us, however we end.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
