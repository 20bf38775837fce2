package realtest

import (
	"net"
	"testing"
)

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on. Where a
// program can be told to take port 0 and say which it got, do that instead.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
