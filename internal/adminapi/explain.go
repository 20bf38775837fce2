package adminapi

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/trial"
)

// asked is a request that somebody wants explained: what a caller would send,
// the credential in its header.
type asked struct {
	Method  string   `json:"method"`
	Host    string   `json:"host"`
	Path    string   `json:"path"`
	Headers []string `json:"headers"` // "Name: value"
	Source  string   `json:"source"`
	Context []string `json:"context"` // "name: value", as the route's context_extensions
}

// Bounds of what is explained: more than Envoy lets through.
const (
	maxLines    = 100
	explainTime = 10 * time.Second
)

// explain decides on a request as the gate would, and tells each step. It asks
// providers as the gate does; nothing is let through, and nothing recorded.
func (a *api) explain(w http.ResponseWriter, r *request) error {
	var one asked
	if err := readJSON(w, r.Request, &one); err != nil {
		return err
	}
	q, err := one.request()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), explainTime)
	defer cancel()
	settled := func() bool { return true } // the server has been running for longer than its providers need
	return answer(w, http.StatusOK, trial.Test(ctx, a.Gate, q, settled))
}

func (one *asked) request() (authz.Request, error) {
	q := authz.Request{Method: one.Method, Host: one.Host, Path: one.Path, Scheme: "https"}
	if q.Method == "" {
		q.Method = http.MethodGet
	}
	if !strings.HasPrefix(q.Path, "/") {
		return q, bad("path: is to start with /")
	}
	var err error
	if one.Source != "" {
		if q.Source, err = netip.ParseAddr(one.Source); err != nil || q.Source.Zone() != "" {
			return q, bad("source: is not an IP address")
		}
	}
	if q.Headers, err = readLines("headers", one.Headers); err != nil {
		return q, err
	}
	for i := range q.Headers {
		q.Headers[i].Name = strings.ToLower(q.Headers[i].Name)
	}
	q.Context, err = readLines("context", one.Context)
	return q, err
}

// readLines reads "Name: value". None of it is told back: it may be a credential.
func readLines(member string, lines []string) (list []authz.Header, err error) {
	if len(lines) > maxLines {
		return nil, bad(member + ": there are too many")
	}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.Contains(name, " ") || strings.ContainsFunc(line, unicode.IsControl) {
			return nil, bad(member + `: each is to be like "Name: value"`)
		}
		list = append(list, authz.Header{Name: name, Value: strings.Trim(value, " ")})
	}
	return list, nil
}
