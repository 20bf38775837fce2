package login

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/gatelodge/gatelodge/authz"
)

// Settings are the provider and the client that a token is fetched with.
type Settings struct {
	// Discovery is the URL of the provider's metadata; Issuer what it must
	// call itself. Both are empty where Endpoints says everything.
	Discovery, Issuer string
	Endpoints         Endpoints // each one given wins over the metadata's

	ClientID     string
	ClientSecret authz.Secret // zero for a public client
	// ClientAuth is how the client proves itself: "basic" (also ""), or "post".
	ClientAuth string

	Scopes   []string
	Resource string // what the token is for (RFC 8707); "" leaves it to the provider
	Audience string // the same, for providers that know it by this name

	AllowHTTP bool // plain http beyond loopback

	HTTP *http.Client // must bound its calls in time; redirects are not followed
	Tell io.Writer    // what the person has to do is written here
	// Open shows a URL in a browser; nil, or an error: the person does it.
	Open func(url string) error
}

// Endpoints are the URLs that sign-in needs; "" for one that there is not.
type Endpoints struct {
	Authorization, Token, DeviceAuthorization string
}

// A Refusal is the provider's own word that there will be no token (RFC 6749
// §4.1.2.1, §5.2; RFC 8628 §3.5).
type Refusal struct {
	Code        string // access_denied, invalid_grant …
	Description string
}

func (r *Refusal) Error() string {
	text := "the provider refused: " + r.Code
	if r.Description != "" {
		text += ": " + r.Description
	}
	return printable(text)
}

// OurFault reports whether the provider found fault with the client or with
// what it asked for, rather than with whoever was to sign in.
func (r *Refusal) OurFault() bool {
	switch r.Code {
	case "invalid_client", "unauthorized_client", "invalid_request", "invalid_scope", "invalid_target",
		"unsupported_grant_type", "unsupported_response_type":
		return true
	}
	return false
}

// ErrSettings marks what has to be mended in the settings: it will not help to
// try again.
var ErrSettings = errors.New("wrong settings")

func settingsError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSettings, fmt.Sprintf(format, args...))
}

// checkURL refuses an endpoint that a secret must not be sent to.
func (s *Settings) checkURL(what, endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case endpoint == "":
		return settingsError("the provider has no %s endpoint; set endpoints.%s if it does", what, what)
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return settingsError("the %s endpoint is not a URL: %q", what, endpoint)
	case u.Scheme == "https", u.Scheme == "http" && (s.AllowHTTP || isLoopback(u.Hostname())):
		return nil
	}
	return settingsError("the %s endpoint is not https: %q", what, endpoint)
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
