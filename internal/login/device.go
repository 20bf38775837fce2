package login

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// What RFC 8628 §3.2 and §3.5 say where the provider says nothing, and the
// least and longest that is waited whatever it says.
const (
	defaultInterval = 5 * time.Second
	slowDown        = 5 * time.Second
	minInterval     = 1 * time.Second
	maxLife         = 30 * time.Minute
)

// begun is the answer of a device authorization endpoint (RFC 8628 §3.2).
type begun struct {
	DeviceCode string `json:"device_code"`
	UserCode   string `json:"user_code"`
	Page       string `json:"verification_uri"`
	OtherPage  string `json:"verification_url"` // as Google spells it
	Complete   string `json:"verification_uri_complete"`
	ExpiresIn  int64  `json:"expires_in"`
	Interval   int64  `json:"interval"`
}

// Device fetches a token with a device code (RFC 8628): the person opens a page
// anywhere and types a code, and we ask until that is done.
func (s *Settings) Device(ctx context.Context) (authz.Secret, error) {
	m, err := s.discover(ctx, s.Endpoints.DeviceAuthorization, s.Endpoints.Token)
	if err != nil {
		return authz.Secret{}, err
	}
	body, err := s.post(ctx, "device_authorization", m.DeviceAuthorization, s.common(url.Values{}))
	if err != nil {
		return authz.Secret{}, err
	}
	var b begun
	if err := json.Unmarshal(body, &b); err != nil {
		return authz.Secret{}, fmt.Errorf("the device authorization endpoint's answer is not JSON: %w", err)
	}
	b.Page = cmp.Or(b.Page, b.OtherPage)
	if b.DeviceCode == "" || b.UserCode == "" || b.Page == "" {
		return authz.Secret{}, errors.New("the device authorization endpoint's answer has no code or no page")
	}
	s.showDevicePage(b)
	life := maxLife
	if b.ExpiresIn > 0 && b.ExpiresIn < int64(maxLife/time.Second) {
		life = time.Duration(b.ExpiresIn) * time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, life, errors.New("the code has expired"))
	defer cancel()
	return s.awaitDevice(ctx, m.Token, b)
}

func (s *Settings) showDevicePage(b begun) {
	if s.Open != nil {
		_ = s.Open(cmp.Or(b.Complete, b.Page)) // the page is told below either way
	}
	_, _ = fmt.Fprintf(s.Tell, "Open this page and type the code %s:\n%s\n", printable(b.UserCode), printable(b.Page))
	if b.Complete != "" {
		_, _ = fmt.Fprintf(s.Tell, "or this one, with the code in it:\n%s\n", printable(b.Complete))
	}
}

// awaitDevice asks for the token at the pace that the provider sets.
func (s *Settings) awaitDevice(ctx context.Context, endpoint string, b begun) (authz.Secret, error) {
	interval := defaultInterval
	if b.Interval > 0 && b.Interval < int64(maxLife/time.Second) {
		interval = max(minInterval, time.Duration(b.Interval)*time.Second)
	}
	form := url.Values{
		"grant_type":  {"urn:ietf:params:oauth:grant-type:device_code"},
		"device_code": {b.DeviceCode},
	}
	for {
		timer := time.NewTimer(interval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return authz.Secret{}, fmt.Errorf("waiting for the code to be typed: %w", context.Cause(ctx))
		case <-timer.C:
		}
		a, err := s.ask(ctx, endpoint, form)
		var refusal *Refusal
		switch {
		case err == nil:
			return authz.NewSecret(a.AccessToken), nil
		case !errors.As(err, &refusal):
			return authz.Secret{}, err
		case refusal.Code == "authorization_pending":
		case refusal.Code == "slow_down":
			interval += slowDown
		default:
			return authz.Secret{}, err
		}
	}
}

// printable keeps what a provider says from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
