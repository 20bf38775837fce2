package socket

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stream is a *net.TCPConn or a *net.UnixConn.
type stream interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// conn is a connection that is read and written by raw system calls. Where
// nothing has come yet, or there is no room, RawConn waits, at most until the
// deadline.
type conn struct {
	stream
	raw     syscall.RawConn
	in, out half
}

// half is one direction.
type half struct {
	mu  sync.Mutex
	try func(fd uintptr) (done bool) // made once: one for each call would be memory for each

	// Of the call under way.
	b     []byte // to be filled, or what is not yet written
	n     int    // bytes read or written
	errno syscall.Errno
}

// unacknowledged is how long the peer's system may leave what was written without
// an answer, or have no room for it, before the connection ends. grpc-go would set
// it, to its keepalive's time-out, but knows a TCP connection by its type alone.
const unacknowledged = 10 * time.Second

// direct returns c as such a connection, if it can be one.
func direct(c net.Conn) net.Conn {
	s, ok := c.(stream)
	if !ok {
		return c
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return c
	}
	if _, ok := c.(*net.TCPConn); ok {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged.Milliseconds()))
		})
	}
	d := &conn{stream: s, raw: raw}
	d.in.try, d.out.try = d.in.read, d.out.write
	return d
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, errno, err := c.in.call(c.raw.Read, b)
	if err == nil && errno == 0 && n == 0 {
		return 0, io.EOF
	}
	return n, c.failed("read", errno, err)
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	n, errno, err := c.out.call(c.raw.Write, b)
	return n, c.failed("write", errno, err)
}

func (c *conn) failed(what string, errno syscall.Errno, err error) error {
	if err != nil || errno == 0 {
		return err
	}
	return &net.OpError{Op: what, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(what, errno)}
}

// call lets RawConn's Read or Write try until there is a result.
func (h *half) call(wait func(func(fd uintptr) bool) error, b []byte) (int, syscall.Errno, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b, h.n, h.errno = b, 0, 0
	err := wait(h.try)
	h.b = nil
	return h.n, h.errno, err
}

func (h *half) read(fd uintptr) (done bool) {
	n, errno := h.system(syscall.SYS_READ, fd)
	if errno == syscall.EAGAIN {
		return false
	}
	h.n, h.errno = n, errno
	return true
}

func (h *half) write(fd uintptr) (done bool) {
	for len(h.b) > 0 {
		n, errno := h.system(syscall.SYS_WRITE, fd)
		switch errno {
		case 0:
			h.n += n
			h.b = h.b[n:]
		case syscall.EAGAIN:
			return false
		default:
			h.errno = errno
			return true
		}
	}
	return true
}

// system is read(2) or write(2). The socket is one that does not block: the runtime
// made it so.
func (h *half) system(number, fd uintptr) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(h.b))), uintptr(len(h.b)))
		if errno == 0 {
			return int(n), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}
