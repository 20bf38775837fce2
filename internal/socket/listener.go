package socket

import "net"

// Listener returns l with other connections. They do what they did, deadlines and
// errors included; those of TCP and of Unix sockets, on Linux, for less.
func Listener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return direct(c), nil
}
