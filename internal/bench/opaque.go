package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// asked is a provider of opaque tokens, which has to be asked about each
// (RFC 7662). It counts how often it is.
type asked struct {
	tokens []string // by number
	url    string   // of introspection
	calls  atomic.Int64
	server *http.Server
}

const opaquePrefix = "opaque-"

// newAsked starts a provider with so many tokens. They are as long as API
// tokens, so that one fits into a check that was captured with one of those.
func newAsked(tokens int) (*asked, error) {
	shape, err := tokenstore.NewSecret()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &asked{url: "http://" + l.Addr().String() + "/introspect"}
	for n := range tokens {
		a.tokens = append(a.tokens, fmt.Sprintf("%s%0*d", opaquePrefix, len(shape.Reveal())-len(opaquePrefix), n))
	}
	a.server = &http.Server{Handler: http.HandlerFunc(a.introspect), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = a.server.Serve(l) }() // ends with close
	return a, nil
}

// unknown is a token that the provider does not know, of a length with those
// that it does.
func (a *asked) unknown(n int) string {
	return fmt.Sprintf("unknown%0*d", len(a.tokens[0])-len("unknown"), n)
}

// count is how often the provider was asked; none was asked never.
func (a *asked) count() int64 {
	if a == nil {
		return 0
	}
	return a.calls.Load()
}

func (a *asked) close() {
	if a != nil {
		_ = a.server.Close()
	}
}

func (a *asked) introspect(w http.ResponseWriter, r *http.Request) {
	a.calls.Add(1)
	answer := map[string]any{"active": false}
	if n, err := strconv.Atoi(strings.TrimPrefix(r.PostFormValue("token"), opaquePrefix)); err == nil && n < len(a.tokens) {
		answer = map[string]any{
			"active": true, "token_type": "Bearer", "username": userOf(n), "sub": "6f1c1de0-5b1f-4b56-8e1c-" + userOf(n),
			"client_id": "wiki-frontend", "aud": "api", "scope": "openid profile email read write", "email": userOf(n) + "@example.com",
			"groups": []string{"wiki-users", "engineering", "berlin", "on-call"}, "exp": time.Now().Add(time.Hour).Unix(),
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// opaque returns the provider of opaque tokens; it is started once.
func (l *lab) opaque() (*asked, error) {
	if l.asked == nil {
		var err error
		if l.asked, err = newAsked(l.options.tokens); err != nil {
			return nil, err
		}
	}
	return l.asked, nil
}

// askedOnce returns an error unless there was one call for each of the tokens
// that were sent since before, and none more.
func (a *asked) askedOnce(before int64, servers int, list []request) error {
	distinct := map[string]bool{}
	for i := range list {
		distinct[list[i].credential] = true
	}
	if calls := a.calls.Load() - before; calls != int64(servers*len(distinct)) {
		return fmt.Errorf("%d calls of the provider for %d tokens, by %d servers", calls, len(distinct), servers)
	}
	return nil
}
