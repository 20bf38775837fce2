package adminapi

import (
	"context"
	_ "embed"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
	"github.com/gatelodge/gatelodge/internal/trial"
)

// Root is the path below which everything of the API lies.
const Root = "/api/v1/"

// Document is the API in OpenAPI 3.1.
//
//go:embed openapi.json
var Document []byte

// Options are what the API works on. The functions are asked for each request,
// so that a change of the configuration holds at once.
type Options struct {
	Tokens func() *tokenstore.Issuer // nil result: the configuration has no API tokens
	Gate   trial.Decider             // whose decisions are explained
	Login  func(ctx context.Context, q authz.Request) authz.Decision
	Access func() Access
	Now    func() time.Time
	Log    *slog.Logger
}

// Access is who may do what.
type Access struct {
	Token      authz.Secret // of the admin role; zero: there is none
	Admins     []string
	Auditors   []string
	AdminsOnly bool     // nobody makes tokens of their own
	Creators   []string // groups whose users make their own; empty: everybody's
}

type api struct{ Options }

// An action does what a route is for. It answers itself, or returns an error
// for problem.go to answer.
type action func(a *api, w http.ResponseWriter, r *request) error

// A route is one line of the API.
type route struct {
	method, path string
	least        role // that may use it
	do           action
	params       []string // of the query
	looks        bool     // changes nothing and needs no API tokens, whatever its method
}

var routes = []route{
	{method: http.MethodPost, path: "explain", least: auditor, do: (*api).explain, looks: true},
	{method: http.MethodGet, path: "tokens", least: self, do: (*api).list, params: []string{"user", "status", "older_than", "unused", "after", "limit"}},
	{method: http.MethodPost, path: "tokens", least: self, do: (*api).create},
	{method: http.MethodPost, path: "tokens/import", least: admin, do: (*api).importMany},
	{method: http.MethodPost, path: "tokens/revoke", least: self, do: (*api).revokeMany},
	{method: http.MethodPost, path: "tokens/revoke-leaked", least: self, do: (*api).revokeLeaked},
	{method: http.MethodGet, path: "tokens/{id}", least: self, do: (*api).show},
	{method: http.MethodPost, path: "tokens/{id}/rotate", least: self, do: (*api).rotate},
	{method: http.MethodPost, path: "tokens/{id}/revoke", least: self, do: (*api).revoke},
}

// New returns the handler of everything below Root.
func New(o Options) http.Handler {
	a := &api{o}
	mux := http.NewServeMux()
	mux.HandleFunc(Root, func(w http.ResponseWriter, r *http.Request) { a.fail(w, r, errNoRoute) })
	mux.HandleFunc(Root+"openapi.json", a.document)
	byPath := map[string][]route{}
	for _, r := range routes {
		byPath[r.path] = append(byPath[r.path], r)
	}
	for path, list := range byPath {
		mux.HandleFunc(Root+path, func(w http.ResponseWriter, r *http.Request) { a.dispatch(w, r, list) })
	}
	return http.NewCrossOriginProtection().Handler(harden(mux))
}

// harden sets what holds for every answer: some hold a token.
func harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// dispatch finds the route of a method, and lets through who may use it.
func (a *api) dispatch(w http.ResponseWriter, r *http.Request, list []route) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	at := slices.IndexFunc(list, func(one route) bool { return one.method == method })
	if at < 0 {
		w.Header().Set("Allow", allowed(list))
		a.fail(w, r, errMethod)
		return
	}
	if err := a.serve(w, r, &list[at]); err != nil {
		a.fail(w, r, err)
	}
}

func (a *api) serve(w http.ResponseWriter, r *http.Request, to *route) error {
	who, err := a.caller(r)
	if err != nil {
		return err
	}
	switch {
	case who.role < to.least && to.least == auditor:
		return denied("this is for admins and auditors")
	case who.role < to.least:
		return denied("this is for admins")
	case who.role == auditor && to.method != http.MethodGet && !to.looks:
		return denied("an auditor changes nothing")
	}
	tokens := a.Tokens()
	if tokens == nil && !to.looks {
		return errNoTokens
	}
	q, err := query(r, to.params...)
	if err != nil {
		return err
	}
	return to.do(a, w, &request{r, who, tokens, q})
}

func allowed(list []route) string {
	var methods []string
	for _, r := range list {
		if methods = append(methods, r.method); r.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
	}
	return strings.Join(methods, ", ")
}

// document answers what anybody may know.
func (a *api) document(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		a.fail(w, r, errMethod)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(Document)
}
