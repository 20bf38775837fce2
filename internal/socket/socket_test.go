package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

// pair connects an ordinary connection with one of ours.
func pair(t testing.TB, network string) (ours, theirs net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "") // shorter than the test's own
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		address = filepath.Join(dir, "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if theirs, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if ours, err = Listener(l).Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return ours, theirs
}

// The connections do all that a net.Conn does.
func TestIsAConn(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, which := range []string{"first", "second"} {
			t.Run(network+"/"+which, func(t *testing.T) {
				nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
					ours, theirs := pair(t, network)
					if which == "second" {
						ours, theirs = theirs, ours
					}
					return ours, theirs, func() { _, _ = ours.Close(), theirs.Close() }, nil
				})
			})
		}
	}
}

// What fails says what it would have said.
func TestErrors(t *testing.T) {
	for name, do := range map[string]func(ours, theirs net.Conn) error{
		"end": func(ours, theirs net.Conn) error {
			_ = theirs.Close()
			_, err := ours.Read(make([]byte, 1))
			return err
		},
		"closed":  func(ours, _ net.Conn) error { _ = ours.Close(); _, err := ours.Read(make([]byte, 1)); return err },
		"written": func(ours, _ net.Conn) error { _ = ours.Close(); _, err := ours.Write([]byte("x")); return err },
		"late": func(ours, _ net.Conn) error {
			_ = ours.SetReadDeadline(time.Unix(1, 0))
			_, err := ours.Read(make([]byte, 1))
			return err
		},
		"reset": func(ours, theirs net.Conn) error {
			_ = theirs.(*net.TCPConn).SetLinger(0)
			_ = theirs.Close()
			_, err := ours.Read(make([]byte, 1))
			return err
		},
		"broken": func(ours, theirs net.Conn) error {
			_ = theirs.(*net.TCPConn).SetLinger(0)
			_ = theirs.Close()
			_, _ = ours.Read(make([]byte, 1))
			_, err := ours.Write([]byte("x"))
			return err
		},
		"nothing": func(ours, _ net.Conn) error { _, err := ours.Read(nil); return err },
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := pair(t, "tcp")
			got := do(ours, theirs)
			plain, other := pair(t, "tcp")
			want := do(ordinary(plain), other)
			if (got == nil) != (want == nil) {
				t.Fatalf("%v, want %v", got, want)
			}
			for _, kind := range []error{io.EOF, net.ErrClosed, os.ErrDeadlineExceeded} {
				if errors.Is(got, kind) != errors.Is(want, kind) {
					t.Errorf("%v, want %v: %v", got, want, kind)
				}
			}
			var a, b *os.SyscallError
			if errors.As(got, &a) != errors.As(want, &b) || a != nil && *a != *b {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
}

// More than fits into the buffers of the system is written whole.
func TestWritesAll(t *testing.T) {
	ours, theirs := pair(t, "tcp")
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MiB
	wrote := make(chan error, 1)
	go func() {
		n, err := ours.Write(sent)
		if err == nil && n != len(sent) {
			err = io.ErrShortWrite
		}
		wrote <- errors.Join(err, ours.Close())
	}()
	got, err := io.ReadAll(theirs)
	if err := errors.Join(err, <-wrote); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d came, or others", len(got), len(sent))
	}
}

// No memory is taken for what is read and written all the time.
func TestTakesNoMemory(t *testing.T) {
	ours, theirs := pair(t, "tcp")
	b := make([]byte, 64)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = theirs.Write(b)
		_, _ = ours.Read(b)
		_, _ = ours.Write(b)
		_, _ = theirs.Read(b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What is no socket is left alone.
func TestOthersStayWhatTheyAre(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	if direct(a) != a {
		t.Error("a pipe became something else")
	}
}
