package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// userHeader is where the API finds the user.
const userHeader = "x-forwarded-user"

// A Result is what came of one request of the tour.
type Result struct {
	Request string `json:"request"`
	Status  int    `json:"status"`
	User    string `json:"user"` // as the API was told; "" where it was told none
	OK      bool   `json:"ok"`

	Problem string `json:"-"` // what came out wrong
}

// A stop is one request of the tour and what must come of it.
type stop struct {
	says   string
	path   string
	header func(w *World) (http.Header, error)
	before func(w *World) error // changes the world first
	within time.Duration        // how long the answer may take to come right; zero: at once

	status int
	user   string
}

const (
	content = "/rest/api/content/"
	// recoverWithin bounds how long a provider that is back may go unnoticed.
	recoverWithin = 20 * time.Second
)

// tour is the walk, in order: later stops stand in the world that earlier
// ones left.
func tour() []stop {
	alice, bob := Users[0], Users[1]
	idp := func(w *World) *IdP { return w.IdP }
	partner := func(w *World) *IdP { return w.Partner }
	return []stop{
		{says: "valid token", path: content, header: bearer(idp, alice, Sound), status: 200, user: "alice"},
		{says: "expired token", path: content, header: bearer(idp, alice, Expired), status: 401},
		{says: "token for another audience", path: content, header: bearer(idp, alice, WrongAudience), status: 401},
		{says: "token with a forged signature", path: content, header: bearer(idp, alice, Forged), status: 401},
		{says: "no token", path: content, header: none, status: 401},
		{
			says: "valid token, spoofed x-forwarded-user", path: content, status: 200, user: "alice",
			header: with(bearer(idp, alice, Sound), "X-Forwarded-User", "mallory"),
		},
		{
			says: "valid token, spoofed alias x_forwarded_user", path: content, status: 200, user: "alice",
			header: with(bearer(idp, alice, Sound), "x_forwarded_user", "mallory"),
		},
		{
			says: "public path, no token, spoofed x-forwarded-user", path: "/status", status: 200,
			header: with(none, "X-Forwarded-User", "mallory"),
		},
		{
			says: "two credentials", path: content, status: 400,
			header: with(bearer(idp, alice, Sound), "Authorization", "Basic YWxpY2U6YWxpY2U="),
		},
		{says: "no token, traversal from the public path", path: "/status/.." + content, header: none, status: 401},
		{says: "no token, encoded traversal", path: "/status/%2e%2e" + content, header: none, status: 401},
		{says: "no token, encoded slash", path: "/status/..%2f" + content[1:], header: none, status: 400},
		{says: "valid token, wrong group", path: "/rest/admin/users", header: bearer(idp, alice, Sound), status: 403},
		{says: "valid token, right group", path: "/rest/admin/users", header: bearer(idp, bob, Sound), status: 200, user: "bob"},
		{says: "app's token (client credentials)", path: content, header: app(idp), status: 200, user: "nightly-job"},
		{says: "provider down, its keys never seen", path: content, header: bearer(partner, alice, Sound), status: 503},
		{
			says: "provider down, its keys known", path: content, header: bearer(idp, bob, Sound), status: 200, user: "bob",
			before: func(w *World) error { return w.IdP.Down() },
		},
		{
			says: "provider back", path: content, header: bearer(partner, alice, Sound), status: 200, user: "alice",
			before: func(w *World) error { return errors.Join(w.IdP.Up(), w.Partner.Up()) }, within: recoverWithin,
		},
	}
}

// Tour makes every request of the tour, through Envoy, and tells each result
// as it comes. The error is of the tour itself, not of a wrong result.
func (w *World) Tour(ctx context.Context, tell func(Result)) ([]Result, error) {
	client := &http.Client{
		Transport:     &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       10 * time.Second,
	}
	defer client.CloseIdleConnections()
	var results []Result
	for i, s := range tour() {
		if s.before != nil {
			if err := s.before(w); err != nil {
				return results, fmt.Errorf("%s: %w", s.says, err)
			}
		}
		r, err := w.visit(ctx, client, strconv.Itoa(i+1), s)
		if err != nil {
			return results, fmt.Errorf("%s: %w", s.says, err)
		}
		results = append(results, r)
		tell(r)
	}
	return results, nil
}

// visit makes the request of a stop, again and again where it may take a while
// to come right.
func (w *World) visit(ctx context.Context, client *http.Client, step string, s stop) (Result, error) {
	header, err := s.header(w)
	if err != nil {
		return Result{}, err
	}
	header.Set(stepHeader, step)
	var last Result
	ask := func() error {
		if last, err = w.ask(ctx, client, s, header); err != nil {
			return stopPolling{err}
		}
		if last.Problem != "" {
			return errors.New(last.Problem)
		}
		return nil
	}
	if s.within == 0 {
		_ = ask() // told by last and err
		return last, err
	}
	limited, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	_ = poll(limited, ask) // told by last and err
	return last, err
}

// ask makes one request and judges what came of it, at the caller's side and
// at the API's.
func (w *World) ask(ctx context.Context, client *http.Client, s stop, header http.Header) (Result, error) {
	u, err := url.Parse(w.Front)
	if err != nil {
		return Result{}, err
	}
	u.Opaque = s.path // goes out byte for byte
	req := (&http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: header}).WithContext(ctx)
	res, err := client.Do(req)
	if err != nil {
		return Result{}, err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20)); err != nil {
		return Result{}, err
	}
	got, reached := w.API.received(header.Get(stepHeader))
	r := Result{Request: s.says, Status: res.StatusCode}
	var problems []string
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if r.Status != s.status {
		wrong("status %d, want %d", r.Status, s.status)
	}
	if reached {
		r.User = strings.Join(got.Headers[userHeader], ",")
		judgeReceived(got, wrong)
	}
	if want := s.status == http.StatusOK; reached != want {
		wrong("reached the API: %t, want %t", reached, want)
	}
	if r.User != s.user {
		wrong("user %q, want %q", r.User, s.user)
	}
	judgeDenial(res, wrong)
	r.Problem = strings.Join(problems, "; ")
	r.OK = r.Problem == ""
	return r, nil
}

// judgeReceived looks for what must never reach an API: a second spelling of
// the user's header, or the token that has done its work.
func judgeReceived(got Received, wrong func(string, ...any)) {
	for name := range got.Headers {
		if name != userHeader && strings.ReplaceAll(name, "_", "-") == userHeader {
			wrong("%s reached the API", name)
		}
	}
	if len(got.Headers["authorization"]) > 0 {
		wrong("the credential reached the API")
	}
}

// judgeDenial looks for what a denial owes to the caller.
func judgeDenial(res *http.Response, wrong func(string, ...any)) {
	switch res.StatusCode {
	case http.StatusUnauthorized:
		if res.Header.Get("WWW-Authenticate") == "" {
			wrong("401 without WWW-Authenticate")
		}
	case http.StatusServiceUnavailable:
		if res.Header.Get("Retry-After") == "" {
			wrong("503 without Retry-After")
		}
	}
}

type headers = func(w *World) (http.Header, error)

func none(*World) (http.Header, error) { return http.Header{}, nil }

func bearer(idp func(*World) *IdP, u User, flaw Flaw) headers {
	return func(w *World) (http.Header, error) {
		token, err := idp(w).AccessToken(u, flaw)
		return http.Header{"Authorization": {"Bearer " + token}}, err
	}
}

func app(idp func(*World) *IdP) headers {
	return func(w *World) (http.Header, error) {
		token, err := idp(w).appToken()
		return http.Header{"Authorization": {"Bearer " + token}}, err
	}
}

// with adds a header line, its name exactly as spelled.
func with(base headers, name, value string) headers {
	return func(w *World) (http.Header, error) {
		h, err := base(w)
		if err != nil {
			return nil, err
		}
		h[name] = append(h[name], value)
		return h, nil
	}
}
