package socket

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// ordinary is the connection that ours was made of.
func ordinary(c net.Conn) net.Conn { return c.(*conn).stream }

// A peer that takes nothing does not keep its connection for ever.
func TestUnacknowledged(t *testing.T) {
	ours, _ := pair(t, "tcp")
	var got int
	var err error
	if e := ours.(*conn).raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	if got != 10_000 {
		t.Errorf("%d ms", got)
	}
}
