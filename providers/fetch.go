package providers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// Bounds of a call to a provider.
const (
	defaultTimeout = 5 * time.Second
	maxBody        = 1 << 20 // bytes, after decompression
)

// client makes calls to one provider: bounded in time and size, never
// following a redirect, trusting the system's authorities or those of ca_file.
type client struct {
	http      *http.Client
	allowHTTP bool
}

// reply is what a provider answered.
type reply struct {
	Status int
	Header http.Header
	Body   []byte
}

func newClient(c Config) (*client, error) {
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConns:           maxCalls, // all that may be under way at once: what is closed is opened again
		MaxIdleConnsPerHost:    maxCalls,
		MaxConnsPerHost:        64,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    3 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading ca_file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no PEM certificate", c.CAFile)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return &client{allowHTTP: c.AllowHTTP, http: &http.Client{
		Transport: transport,
		Timeout:   timeout,
		// A redirect would take the credential, or our trust, elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// close gives idle connections back.
func (c *client) close() { c.http.CloseIdleConnections() }

var errTooLarge = fmt.Errorf("the answer is larger than %d bytes", maxBody)

// do makes a call. Its error tells the host and the cause, never the query,
// the headers or the body: those can hold a credential.
func (c *client) do(ctx context.Context, req *http.Request) (*reply, error) {
	if err := checkURL(req.URL.String(), c.allowHTTP); err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "gatelodge")
	resp, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // u.Error() has the whole URL
		}
		return nil, fmt.Errorf("asking %s: %w", req.URL.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", req.URL.Host, err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("asking %s: %w", req.URL.Host, errTooLarge)
	}
	return &reply{resp.StatusCode, resp.Header, body}, nil
}

// get fetches a public document.
func (c *client) get(ctx context.Context, address string, header http.Header) (*reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("the address of a document: %w", err)
	}
	maps.Copy(req.Header, header)
	return c.do(ctx, req)
}

// checkURL says what is wrong with the URL of an endpoint: it must be https,
// or http on loopback or with the setting that allows it.
func checkURL(raw string, allowHTTP bool) error {
	u, err := url.Parse(raw)
	switch {
	case strings.Contains(raw, "@") && (err != nil || u.User != nil):
		return errors.New("has a user or a password in it; take them out")
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("is not a URL, as https://sso.example.com")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("has the scheme %q; it is to be https", u.Scheme)
	case allowHTTP || isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("is plain http, which anybody on the way can read and change; use https, or say allow_insecure_http: true")
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// urlFault is checkURL for a setting; an empty one is no fault.
func urlFault(key, value string, allowHTTP bool) []authz.Fault {
	if value == "" {
		return nil
	}
	if err := checkURL(value, allowHTTP); err != nil {
		shown := strconv.Quote(value)
		if strings.Contains(value, "@") {
			shown = "the URL" // there may be a password in it
		}
		return []authz.Fault{{Key: key, Problem: shown + " " + err.Error()}}
	}
	return nil
}

// endpointFaults checks every URL of the settings.
func endpointFaults(c Config) (faults []authz.Fault) {
	for _, e := range []struct{ key, value string }{
		{"issuer", c.Issuer},
		{"base_url", c.BaseURL},
		{"endpoints.discovery", c.Endpoints.Discovery},
		{"endpoints.jwks", c.Endpoints.JWKS},
		{"endpoints.introspection", c.Endpoints.Introspection},
		{"endpoints.userinfo", c.Endpoints.Userinfo},
		{"endpoints.authorization", c.Endpoints.Authorization},
		{"endpoints.token", c.Endpoints.Token},
		{"endpoints.device_authorization", c.Endpoints.DeviceAuthorization},
		{"endpoints.revocation", c.Endpoints.Revocation},
		{"endpoints.authority", c.Endpoints.Authority},
		{"endpoints.graph", c.Endpoints.Graph},
		{"endpoints.tokeninfo", c.Endpoints.TokenInfo},
		{"endpoints.api", c.Endpoints.API},
	} {
		faults = append(faults, urlFault(e.key, e.value, c.AllowHTTP)...)
	}
	return faults
}
