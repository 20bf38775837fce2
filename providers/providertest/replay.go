package providertest

import (
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is a hosted provider for tests, over TLS on loopback: it replays the
// recorded answers of a Case, or fails. It notes what it is asked, and fails the
// test when that is something that the provider does not know.
type Server struct {
	URL     string
	CAFile  string        // PEM file of the authority that vouches for it
	Timeout time.Duration // that a provider is to have for a call to it

	t       testing.TB
	keys    *Issuer
	release chan struct{}

	mu       sync.Mutex
	plays    map[string]*exchange
	keyPaths []string // of its keys; none: /keys
	fault    Fault
	calls    []Call

	token     string // of the case that is played
	otherwise *Case  // answers about other tokens; nil: it is not asked about any
}

// patience is a timeout that no test comes to on a busy machine.
const patience = 10 * time.Second

// Call is one request that the server got.
type Call struct {
	Method, Target string // Target is path and query
	Header         http.Header
	Body           string
}

// NewServer starts a server. It ends with the test.
func NewServer(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, Timeout: patience, release: make(chan struct{}), keys: &Issuer{release: make(chan struct{})}}
	s.keys.keys = []Key{sharedKey(t)}
	server := httptest.NewUnstartedServer(s)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of every connection that a test cuts
	server.StartTLS()
	s.URL = server.URL
	s.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(s.CAFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(s.release)
		close(s.keys.release)
		server.Close()
	})
	return s
}

var shared struct {
	once sync.Once
	key  Key
}

// sharedKey is the RSA key of every Server of the process: making one takes
// longer than most tests.
func sharedKey(t testing.TB) Key {
	shared.once.Do(func() { shared.key = NewKey(t, "key-1", "RS256") })
	return shared.key
}

// Play makes the server answer as it is recorded in c.
func (s *Server) Play(c *Case) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plays, s.token = c.exchanges, c.Token
	s.keys.extra = c.keyMembers
}

// Answer makes the server answer a request, as "GET /path", with a JSON text.
func (s *Server) Answer(request string, status int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plays == nil {
		s.plays = map[string]*exchange{}
	}
	s.plays[request] = &exchange{status: status, replied: http.Header{"Content-Type": {"application/json"}}, answers: []byte(text)}
}

// ServeKeys makes the server show its keys at paths.
func (s *Server) ServeKeys(paths ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyPaths = paths
}

// Otherwise makes the server answer as it is recorded in c when it is asked about
// another token than that of the case it plays.
func (s *Server) Otherwise(c *Case) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.otherwise = c
}

// about reports whether a call brings a token.
func (c *Call) about(token string) bool {
	return strings.Contains(c.Target+c.Body+c.Header.Get("Authorization"), token)
}

// answerTo returns what the case answers at the call's path, whatever it is asked.
func (c *Case) answerTo(call *Call) *exchange {
	for name, e := range c.exchanges {
		if pathOf(name) == pathOf(call.Method+" "+call.Target) {
			return e
		}
	}
	return nil
}

// Fail makes every answer fail from now on; None ends that.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
	s.keys.Fail(f)
}

// Calls returns what the server was asked, in order, but for its keys.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}

// Sign makes a token with the server's key.
func (s *Server) Sign(header, claims map[string]any) string {
	k := sharedKey(s.t)
	h := map[string]any{"alg": k.Algorithm, "kid": k.ID}
	maps.Copy(h, header)
	return k.Sign(h, claims)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	keys := slices.Contains(s.keyPaths, r.URL.Path) || len(s.keyPaths) == 0 && r.URL.Path == "/keys"
	s.mu.Unlock()
	if keys {
		s.keys.serveKeys(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	call := Call{r.Method, r.URL.RequestURI(), r.Header, string(body)}
	s.mu.Lock()
	s.calls = append(s.calls, call)
	fault, played := s.fault, s.plays[call.Method+" "+call.Target]
	if played != nil {
		played.used = true
	}
	var other *exchange
	if s.otherwise != nil && !call.about(s.token) {
		other = s.otherwise.answerTo(&call)
	}
	s.mu.Unlock()
	switch {
	case other != nil:
		other.answer(w)
	case fault != None && fault != Untrusted:
		var good []byte
		if played != nil {
			good = played.answers
		}
		fail(w, r, fault, good, s.release)
	case played == nil:
		s.t.Errorf("the provider was asked %s %s, which is not recorded", call.Method, call.Target)
		w.WriteHeader(http.StatusNotFound)
	default:
		played.check(s.t, &call)
		played.answer(w)
	}
}

// exchange is a recorded answer, and what the request for it must be.
type exchange struct {
	header map[string]string // of the request
	form   url.Values        // that its body must have
	body   string            // exactly, unless empty

	status  int
	replied http.Header
	answers []byte
	used    bool
}

func (e *exchange) check(t testing.TB, c *Call) {
	for name, want := range e.header {
		if got := c.Header.Get(name); got != want {
			t.Errorf("%s %s: header %s is %q, want %q", c.Method, c.Target, name, got, want)
		}
	}
	if e.body != "" && e.body != c.Body {
		t.Errorf("%s %s: body %s, want %s", c.Method, c.Target, c.Body, e.body)
	}
	got, err := url.ParseQuery(c.Body)
	for name := range e.form {
		if err != nil || got.Get(name) != e.form.Get(name) {
			t.Errorf("%s %s: form value %s is %q, want %q", c.Method, c.Target, name, got.Get(name), e.form.Get(name))
		}
	}
	if c.Header.Get("User-Agent") == "" {
		t.Errorf("%s %s: no User-Agent", c.Method, c.Target)
	}
}

func (e *exchange) answer(w http.ResponseWriter) {
	maps.Copy(w.Header(), e.replied)
	w.WriteHeader(e.status)
	_, _ = w.Write(e.answers)
}

// Clock is a clock for tests that stands still until it is moved.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows the present.
func NewClock() *Clock { return &Clock{now: time.Now()} }

// Now returns what the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Move sets the clock forward.
func (c *Clock) Move(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
}

func pathOf(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}
