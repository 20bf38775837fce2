package demo

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// A site is an HTTP server that can go down and come back under its address.
type site struct {
	handler http.Handler

	mu      sync.Mutex
	address string // host:port; the port is chosen when it first comes up
	server  *http.Server
	done    chan struct{}
}

// loopback is where everything of the demo listens unless told otherwise.
const loopback = "127.0.0.1:0"

// up starts the site. One that is up stays so.
func (s *site) up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return nil
	}
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", s.address, err)
	}
	s.address = l.Addr().String()
	s.server = &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second}
	s.done = make(chan struct{})
	go func(server *http.Server, done chan struct{}) {
		defer close(done)
		// Serve always ends with an error; ErrServerClosed is down's doing,
		// and any other shows as a site that does not answer.
		_ = server.Serve(l)
	}(s.server, s.done)
	return nil
}

// down ends the site at once, open connections with it. One that is down
// stays so.
func (s *site) down() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil
	}
	err := s.server.Close()
	<-s.done
	s.server = nil
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// addr returns host:port; before the site first came up, as it was given.
func (s *site) addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address
}
