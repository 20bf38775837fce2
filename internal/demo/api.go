package demo

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
)

// stepHeader marks a request of the tour, so that what reached the API can be
// told from what did not.
const stepHeader = "x-demo-step"

// API is the sample upstream: a wiki's REST API that shows each caller the
// request it received.
type API struct {
	site site

	mu      sync.Mutex
	reached map[string]Received // by stepHeader
}

// Received is a request as it arrived at the API. It stands in the API's
// answers, and Users of the demo read it.
type Received struct {
	Method  string              `json:"method"`
	Path    string              `json:"path"`
	Headers map[string][]string `json:"headers"` // names in lower case
}

// NewAPI makes an API that will listen on address, host:port.
func NewAPI(address string) *API {
	a := &API{site: site{address: address}, reached: map[string]Received{}}
	a.site.handler = a
	return a
}

// Up starts answering.
func (a *API) Up() error { return a.site.up() }

// Down ends answering.
func (a *API) Down() error { return a.site.down() }

// Addr returns host:port.
func (a *API) Addr() string { return a.site.addr() }

// ServeHTTP answers GET /status with a word, and everything else with what
// arrived, in the form of a list of pages.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	got := Received{Method: r.Method, Path: r.RequestURI, Headers: map[string][]string{"host": {r.Host}}}
	for name, values := range r.Header {
		got.Headers[strings.ToLower(name)] = values
	}
	if step := r.Header.Get(stepHeader); step != "" {
		a.mu.Lock()
		a.reached[step] = got
		a.mu.Unlock()
	}
	answer := map[string]any{"request": got}
	switch {
	case r.URL.Path == "/status":
		answer["status"] = "up"
	case strings.HasPrefix(r.URL.Path, "/rest/api/content"):
		answer["results"] = []map[string]string{
			{"id": "1", "type": "page", "title": "Welcome"},
			{"id": "2", "type": "page", "title": "How we work"},
		}
		answer["size"] = 2
	}
	answerJSON(w, http.StatusOK, answer)
}

// received returns what arrived of a step of the tour, if anything did.
func (a *API) received(step string) (Received, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	got, ok := a.reached[step]
	return got, ok
}

// CheckLoopback returns an error for an address that other machines could
// reach. The demo's parts trust whoever asks.
func CheckLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("address %q: only a loopback address such as 127.0.0.1:8080 is taken", address)
	}
	return nil
}

// checkFree returns an error for an address that somebody listens on. Envoy
// would share it with another Envoy, and a caller would not know whom they ask.
func checkFree(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s cannot be listened on; name another with --listen: %w", address, err)
	}
	return l.Close()
}
