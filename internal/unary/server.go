package unary

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// A Method answers one call. It appends its answer, a protobuf message, to out;
// in is the request's, and no more to be used once it returns. An error is told
// to the caller as status.Code and status.Message have it. ctx ends when
// the caller gives up, by its grpc-timeout or by a reset.
//
// While it runs nothing more of its connection is read: most answers are there
// before anybody else could have been asked to read on. One that waits, or computes
// for long, has to say so first, by ctx's method Slow, from the goroutine that it
// was called on. If it does not, that is noticed within two seconds.
type Method func(ctx context.Context, in, out []byte) ([]byte, error)

// Options are the settings of a Server.
type Options struct {
	Methods map[string]Method // by path: "/package.Service/Method"
	TLS     *tls.Config       // nil: plain text

	// Busy answers a call whose message there was no room for. nil: it ends with
	// RESOURCE_EXHAUSTED.
	Busy Method
}

// Server answers calls. Its methods have the meaning of those of *grpc.Server.
type Server struct {
	methods map[string]Method
	busy    Method
	tls     *tls.Config
	unread  chan *conn    // to somebody who has nothing to do: nobody reads them
	idle    chan struct{} // a place for each of these
	quit    chan struct{}
	ending  sync.Once
	looking sync.Once

	mu        sync.Mutex
	changed   sync.Cond // conns or serving did
	listeners map[net.Listener]bool
	conns     map[*conn]bool
	serving   int // calls of Serve
	stopping  bool
}

// readers is how many goroutines wait for something to read. A goroutine made
// anew would have to grow its stack each time. It is no limit: where all are at
// work more are made.
const readers = 32

// NewServer makes a Server.
func NewServer(o Options) *Server {
	s := &Server{
		methods: o.Methods, busy: o.Busy, tls: overHTTP2(o.TLS), unread: make(chan *conn), idle: make(chan struct{}, readers), quit: make(chan struct{}),
		listeners: map[net.Listener]bool{}, conns: map[*conn]bool{},
	}
	s.changed.L = &s.mu
	return s
}

// overHTTP2 has a TLS configuration offer HTTP/2.
func overHTTP2(c *tls.Config) *tls.Config {
	if c == nil || slices.Contains(c.NextProtos, http2.NextProtoTLS) {
		return c
	}
	c = c.Clone()
	c.NextProtos = append(c.NextProtos, http2.NextProtoTLS)
	return c
}

// errStopped is the error of Serve where there is nothing to be served any more.
var errStopped = errors.New("the server has been stopped")

// Serve answers on l until GracefulStop or Stop, and closes it. It returns nil
// after these.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		_ = l.Close()
		return errStopped
	}
	s.listeners[l] = true
	s.serving++
	s.mu.Unlock()
	s.looking.Do(func() { go s.watch() })
	defer func() {
		_ = l.Close()
		s.mu.Lock()
		s.serving--
		delete(s.listeners, l)
		s.changed.Broadcast()
		s.mu.Unlock()
	}()
	var pause time.Duration
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			if c := s.add(nc); c != nil {
				go s.serve(c)
			}
			continue
		case s.stopped():
			return nil
		}
		// Too many files are open, say: it will pass.
		if temporary, ok := err.(interface{ Temporary() bool }); !ok || !temporary.Temporary() {
			return err
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		time.Sleep(pause)
	}
}

func (s *Server) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// add makes a connection of nc; nil: it came too late.
func (s *Server) add(nc net.Conn) *conn {
	c := newConn(s, nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		_ = nc.Close()
		return nil
	}
	s.conns[c] = true
	return c
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.changed.Broadcast()
}

// halt takes no more connections, and returns those that there are.
func (s *Server) halt() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for l := range s.listeners {
		_ = l.Close()
	}
	return s.all()
}

// all returns the connections; mu is held.
func (s *Server) all() []*conn {
	list := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c)
	}
	return list
}

// GracefulStop takes no more connections and no more calls, and returns when
// those that are under way are answered.
func (s *Server) GracefulStop() {
	for _, c := range s.halt() {
		c.drain()
	}
	s.end()
}

// Stop ends all connections at once. Methods that are still at work are told by
// their context; they are not waited for.
func (s *Server) Stop() {
	for _, c := range s.halt() {
		c.close()
	}
	s.end()
}

// end waits for the last connection, and lets those go who wait for work.
func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.conns) > 0 || s.serving > 0 {
		s.changed.Wait()
	}
	s.ending.Do(func() { close(s.quit) })
}

// watch looks after every connection, from time to time.
func (s *Server) watch() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.quit:
			return
		}
		s.mu.Lock()
		list := s.all()
		s.mu.Unlock()
		for _, c := range list {
			c.look()
		}
	}
}

// serve shakes hands with a peer and reads what it says.
func (s *Server) serve(c *conn) {
	if c.setup() {
		s.read(c)
		return
	}
	c.close()
	s.remove(c)
}

// readOn has a connection read by somebody else.
func (s *Server) readOn(c *conn) {
	select {
	case s.unread <- c:
	default:
		go s.read(c)
	}
}

// read reads a connection, and then whichever nobody reads, unless there are
// enough who wait for that already.
func (s *Server) read(c *conn) {
	c.read()
	select {
	case s.idle <- struct{}{}:
	default:
		return
	}
	defer func() { <-s.idle }()
	for {
		select {
		case c = <-s.unread:
			c.read()
		case <-s.quit:
			return
		}
	}
}

// keepBuffer is up to which size memory is kept for the next use.
const keepBuffer = 64 << 10
