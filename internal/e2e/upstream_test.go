package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// caseHeader names a request, so that what the upstream saw can be found again.
const caseHeader = "x-case"

// received is the head of one request as it reached the upstream, byte by byte.
type received struct {
	method, target string
	headers        []field // names as sent, in order
	trailers       []field
}

type field struct{ name, value string }

// values returns the values of every header whose name is name, or would be
// taken for it by a server that does not tell "_" from "-" (CGI, WSGI …).
func (r *received) values(name string) []string {
	alike := strings.NewReplacer("_", "-", ".", "-")
	var all []string
	for _, list := range [][]field{r.headers, r.trailers} {
		for _, h := range list {
			if strings.EqualFold(alike.Replace(h.name), name) {
				all = append(all, h.value)
			}
		}
	}
	return all
}

// upstream is the API behind Envoy. It reads HTTP/1.1 itself, so that no
// library tidies up what arrives, and answers every request with 200.
type upstream struct {
	address string

	mu   sync.Mutex
	seen map[string]*received
}

func newUpstream(t testing.TB) *upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{address: l.Addr().String(), seen: map[string]*received{}}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go u.serve(c)
		}
	}()
	return u
}

// take returns what arrived under a case's name; nil: nothing did.
func (u *upstream) take(name string) *received {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.seen[name]
	delete(u.seen, name)
	return r
}

func (u *upstream) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		r, err := readRequest(in)
		if err != nil {
			return
		}
		name := "unnamed"
		for _, h := range r.headers {
			if strings.EqualFold(h.name, caseHeader) {
				name = h.value
			}
		}
		u.mu.Lock()
		u.seen[name] = r
		u.mu.Unlock()
		body := "reached"
		if r.method == "HEAD" {
			body = ""
		}
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s", len(body), body); err != nil {
			return
		}
	}
}

func readRequest(in *bufio.Reader) (*received, error) {
	line, err := readLine(in)
	if err != nil {
		return nil, err
	}
	method, rest, _ := strings.Cut(line, " ")
	target, _, _ := strings.Cut(rest, " HTTP/")
	r := &received{method: method, target: target}
	if r.headers, err = readFields(in); err != nil {
		return nil, err
	}
	for _, h := range r.headers {
		switch strings.ToLower(h.name) {
		case "content-length":
			n, err := strconv.Atoi(h.value)
			if err != nil {
				return nil, err
			}
			if _, err := io.CopyN(io.Discard, in, int64(n)); err != nil {
				return nil, err
			}
		case "transfer-encoding":
			if r.trailers, err = skipChunks(in); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

func skipChunks(in *bufio.Reader) (trailers []field, err error) {
	for {
		line, err := readLine(in)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseInt(line, 16, 64)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return readFields(in)
		}
		if _, err := io.CopyN(io.Discard, in, n+2); err != nil {
			return nil, err
		}
	}
}

func readFields(in *bufio.Reader) ([]field, error) {
	var all []field
	for {
		line, err := readLine(in)
		if err != nil || line == "" {
			return all, err
		}
		name, value, _ := strings.Cut(line, ":")
		all = append(all, field{name, strings.TrimPrefix(value, " ")})
	}
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), err
}
