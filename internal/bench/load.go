package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// load sends HTTP requests to Envoy over a number of connections, one request
// at a time on each, and judges every answer.
type load struct {
	lines []*line
	judge verdict
}

// verdict returns an error for an answer that is not the right one: its status,
// and the user that the upstream would have been told.
type verdict func(r *request, status int, user string) error

// line is one connection.
type line struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

// open connects to a listener of Envoy.
func open(address string, judge verdict) (*load, error) {
	l := &load{judge: judge}
	for range inFlight {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			l.close()
			return nil, err
		}
		l.lines = append(l.lines, &line{conn: conn, in: bufio.NewReader(conn)})
	}
	return l, nil
}

func (l *load) close() {
	for _, c := range l.lines {
		_ = c.conn.Close()
	}
}

// full sends the requests as fast as they are answered. It returns how long
// each took.
func (l *load) full(list []request) ([]time.Duration, error) {
	work := make(chan *request, len(list))
	for i := range list {
		work <- &list[i]
	}
	close(work)
	return l.each(func(c *line) (took []time.Duration, err error) {
		for r := range work {
			began := time.Now()
			if err := c.ask(r, l.judge); err != nil {
				return nil, err
			}
			took = append(took, time.Since(began))
		}
		return took, nil
	})
}

// fixed sends the requests at so many a second. The time of one counts from
// when it was due, so that waiting for a free connection is in it.
func (l *load) fixed(list []request, perSecond int) ([]time.Duration, error) {
	type due struct {
		r  *request
		at time.Time
	}
	work := make(chan due, len(list))
	go func() {
		defer close(work)
		began := time.Now()
		for i := range list {
			at := began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
			time.Sleep(time.Until(at))
			work <- due{&list[i], at}
		}
	}()
	return l.each(func(c *line) (took []time.Duration, err error) {
		for d := range work {
			if err := c.ask(d.r, l.judge); err != nil {
				return nil, err
			}
			took = append(took, time.Since(d.at))
		}
		return took, nil
	})
}

// each runs f for all connections at once.
func (l *load) each(f func(c *line) ([]time.Duration, error)) ([]time.Duration, error) {
	var (
		mu   sync.Mutex
		took []time.Duration
		errs []error
		all  sync.WaitGroup
	)
	for _, c := range l.lines {
		all.Go(func() {
			t, err := f(c)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, t...)
			errs = append(errs, err)
		})
	}
	all.Wait()
	return took, errors.Join(errs...)
}

// ask sends one request and reads its answer.
func (c *line) ask(r *request, judge verdict) error {
	if err := c.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	c.out = append(c.out[:0], "GET "+requestPath+" HTTP/1.1\r\nHost: "+requestHost+"\r\n"...)
	for _, h := range requestHeaders {
		c.out = append(append(append(append(c.out, h[0]...), ": "...), h[1]...), "\r\n"...)
	}
	if r.credential != "" {
		c.out = append(append(append(c.out, "Authorization: Bearer "...), r.credential...), "\r\n"...)
	}
	if _, err := c.conn.Write(append(c.out, "\r\n"...)); err != nil {
		return err
	}
	status, user, err := c.answer()
	if err != nil {
		return fmt.Errorf("reading an answer of Envoy: %w", err)
	}
	if err := judge(r, status, user); err != nil {
		return fmt.Errorf("a wrong answer: %w", err)
	}
	return nil
}

// answer reads one HTTP/1.1 answer with a content-length.
func (c *line) answer() (status int, user string, err error) {
	first, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, "", err
	}
	if len(first) < 12 || !bytes.HasPrefix(first, []byte("HTTP/1.1 ")) {
		return 0, "", fmt.Errorf("%q", first)
	}
	if status, err = strconv.Atoi(string(first[9:12])); err != nil {
		return 0, "", err
	}
	length := 0
	for {
		h, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, "", err
		}
		name, value, ok := bytes.Cut(bytes.TrimRight(h, "\r\n"), []byte(": "))
		if !ok {
			_, err = io.CopyN(io.Discard, c.in, int64(length))
			return status, user, err
		}
		switch string(name) {
		case "content-length":
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, "", err
			}
		case "x-user":
			user = string(value)
		case "transfer-encoding":
			return 0, "", errors.New("an answer in chunks, which none of ours is")
		}
	}
}
