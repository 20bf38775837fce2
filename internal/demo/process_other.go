//go:build !linux

package demo

import "syscall"

// childAttributes asks for nothing where the system has no words for it.
func childAttributes() *syscall.SysProcAttr { return nil }
