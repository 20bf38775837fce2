package socket

import "net"

// ordinary is the connection that ours was made of.
func ordinary(c net.Conn) net.Conn { return c.(*conn).stream }
