package realtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
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

var given sync.Map // ports, that none is given twice

// freePort chooses below the ports that the system itself gives out: one of
// those may be somebody's before it is used.
func freePort() (int, error) {
	for range 1000 {
		port := 12_000 + rand.IntN(20_000)
		if _, before := given.LoadOrStore(port, true); before {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("no free port was found")
}
