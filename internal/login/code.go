package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// DefaultRedirect is where the browser is sent back to: a port that is free,
// on loopback (RFC 8252 §7.3).
const DefaultRedirect = "http://127.0.0.1:0/callback"

// Code fetches a token with an authorization code: a browser is opened, the
// person signs in, and the browser brings the code to redirect, a loopback URL
// whose port may be 0. PKCE with S256 always goes along (RFC 7636), and state,
// issuer (RFC 9207) and nonce must come back as they were sent.
func (s *Settings) Code(ctx context.Context, redirect string) (authz.Secret, error) {
	back, err := listenForCode(redirect)
	if err != nil {
		return authz.Secret{}, err
	}
	defer back.close()
	m, err := s.discover(ctx, s.Endpoints.Authorization, s.Endpoints.Token)
	if err != nil {
		return authz.Secret{}, err
	}
	if err := s.checkURL("authorization", m.Authorization); err != nil {
		return authz.Secret{}, err
	}
	if len(m.Challenges) > 0 && !slices.Contains(m.Challenges, "S256") {
		return authz.Secret{}, settingsError("the provider does not offer PKCE with S256")
	}

	verifier, state, nonce := rand.Text()+rand.Text(), rand.Text(), rand.Text()
	page, err := s.authorizationURL(m.Authorization, back.redirect, verifier, state, nonce)
	if err != nil {
		return authz.Secret{}, err
	}
	s.showPage(page)
	query, err := back.wait(ctx, state)
	if err != nil {
		return authz.Secret{}, err
	}
	code, err := readCallback(query, m)
	if err != nil {
		return authz.Secret{}, err
	}
	form := url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"redirect_uri":  {back.redirect},
		"code_verifier": {verifier},
	}
	if s.Resource != "" {
		form.Set("resource", s.Resource)
	}
	a, err := s.ask(ctx, m.Token, form)
	if err != nil {
		return authz.Secret{}, err
	}
	if s.openID() {
		if err := checkIDToken(a.IDToken, m.Issuer, s.ClientID, nonce, time.Now()); err != nil {
			return authz.Secret{}, err
		}
	}
	return authz.NewSecret(a.AccessToken), nil
}

// openID says whether this is an OpenID Connect sign-in, which an ID token and
// a nonce belong to.
func (s *Settings) openID() bool { return slices.Contains(s.Scopes, "openid") }

func (s *Settings) authorizationURL(endpoint, redirect, verifier, state, nonce string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", settingsError("the authorization endpoint is not a URL: %q", endpoint)
	}
	challenge := sha256.Sum256([]byte(verifier))
	q := s.common(u.Query()) // an endpoint may have a query of its own
	for key, value := range map[string]string{
		"response_type":         "code",
		"client_id":             s.ClientID,
		"redirect_uri":          redirect,
		"state":                 state,
		"code_challenge":        base64.RawURLEncoding.EncodeToString(challenge[:]),
		"code_challenge_method": "S256",
	} {
		q.Set(key, value)
	}
	if s.openID() {
		q.Set("nonce", nonce)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// showPage opens a page in a browser, or asks the person to.
func (s *Settings) showPage(page string) {
	if s.Open != nil && s.Open(page) == nil {
		_, _ = fmt.Fprintf(s.Tell, "A browser was opened to sign in. If none appears, open this page:\n%s\n", page)
		return
	}
	_, _ = fmt.Fprintf(s.Tell, "Open this page to sign in:\n%s\n", page)
}

// readCallback returns the code of an authorization answer whose state was
// already found good.
func readCallback(query url.Values, m metadata) (string, error) {
	// An answer of another provider must not be taken for this one's (RFC 9207).
	issuers := query["iss"]
	switch {
	case len(issuers) == 0 && m.SendsIssuer:
		return "", errors.New("the provider's answer does not name its issuer, as it said it would")
	case len(issuers) > 1, len(issuers) == 1 && m.Issuer != "" && issuers[0] != m.Issuer:
		return "", errors.New("the provider's answer names another issuer")
	}
	if word := query.Get("error"); word != "" {
		return "", &Refusal{word, query.Get("error_description")}
	}
	if len(query["code"]) != 1 || query.Get("code") == "" {
		return "", errors.New("the provider's answer has no code")
	}
	return query.Get("code"), nil
}

// callback is the loopback listener that the browser brings the answer to.
type callback struct {
	redirect string // with the port that it has got
	path     string
	server   *http.Server
	listener net.Listener
}

func listenForCode(redirect string) (*callback, error) {
	u, err := url.Parse(redirect)
	if err != nil || u.Scheme != "http" || !isLoopback(u.Hostname()) || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, settingsError("the redirect URI %q is not one of this machine alone, as %s", redirect, DefaultRedirect)
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "0"
	}
	bind := host
	if host == "localhost" {
		bind = "127.0.0.1" // never an address of the network, whatever the name means here
	}
	l, err := net.Listen("tcp", net.JoinHostPort(bind, port))
	if err != nil {
		return nil, settingsError("listening for the browser: %v", err)
	}
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, err
	}
	u.Host = net.JoinHostPort(host, port)
	if u.Path == "" {
		u.Path = "/"
	}
	return &callback{redirect: u.String(), path: u.Path, listener: l}, nil
}

func (c *callback) close() {
	_ = c.listener.Close()
	if c.server != nil {
		_ = c.server.Close()
	}
}

// wait returns the query that the browser brought with the right state.
// Requests without it are turned away and change nothing: any page may make
// the browser send one.
func (c *callback) wait(ctx context.Context, state string) (url.Values, error) {
	got := make(chan url.Values, 1)
	c.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			states := query["state"]
			if r.Method != http.MethodGet || r.URL.Path != c.path || len(states) != 1 ||
				subtle.ConstantTimeCompare([]byte(states[0]), []byte(state)) != 1 {
				http.Error(w, "not found", http.StatusNotFound)
				return
			}
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Connection", "close")
			_, _ = fmt.Fprintln(w, "Back to the terminal: this page may be closed.")
			select {
			case got <- query:
			default: // the first answer stands
			}
		}),
	}
	go func() {
		// It ends when close closes the listener; nobody waits for its error.
		_ = c.server.Serve(c.listener)
	}()
	select {
	case query := <-got:
		// Lets the page reach the browser before the process may end.
		stop, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_ = c.server.Shutdown(stop)
		return query, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the browser: %w", context.Cause(ctx))
	}
}
