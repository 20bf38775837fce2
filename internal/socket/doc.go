// Package socket makes connections whose reads and writes the Go runtime is not told of.
//
// Before a system call the runtime prepares for a thread that does not come back: it
// wakes its monitor, which then looks every 20 microseconds or so whether the
// processor is to be given to somebody else. A socket of package net never keeps a
// thread: it says EAGAIN, and is waited for elsewhere. So nothing is gained by that
// here; and where checks come one at a time it was a third of what the server did, and
// more. By raw system calls a thousand checks a second take six to seven tenths of
// the CPU time, on either transport.
//
//	listener.go     a listener whose connections are such
//	conn_linux.go   these
//	conn_other.go   elsewhere they stay what they are
package socket
