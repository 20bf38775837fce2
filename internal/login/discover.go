package login

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
)

// maxAnswer bounds what is read of any answer, in bytes.
const maxAnswer = 1 << 20

// metadata is the part of a provider's metadata that sign-in needs (OpenID
// Connect Discovery 1.0 §3, RFC 8414 §2).
type metadata struct {
	Issuer              string   `json:"issuer"`
	Authorization       string   `json:"authorization_endpoint"`
	Token               string   `json:"token_endpoint"`
	DeviceAuthorization string   `json:"device_authorization_endpoint"`
	Scopes              []string `json:"scopes_supported"`
	Challenges          []string `json:"code_challenge_methods_supported"`
	// SendsIssuer: every authorization answer names its issuer (RFC 9207 §3).
	SendsIssuer bool `json:"authorization_response_iss_parameter_supported"`
}

// discover fills in what the settings leave to the provider's metadata. Where
// they give every endpoint that is needed, it is not asked.
func (s *Settings) discover(ctx context.Context, needed ...string) (metadata, error) {
	m := metadata{Issuer: s.Issuer}
	if s.Discovery != "" && slices.Contains(needed, "") {
		if err := s.checkURL("discovery", s.Discovery); err != nil {
			return m, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Discovery, nil)
		if err != nil {
			return m, err
		}
		status, body, err := s.send(req)
		if err != nil {
			return m, fmt.Errorf("reading the provider's metadata: %w", err)
		}
		if status != http.StatusOK {
			return m, fmt.Errorf("reading the provider's metadata: %s answered %d", s.Discovery, status)
		}
		if err := json.Unmarshal(body, &m); err != nil {
			return m, fmt.Errorf("reading the provider's metadata: %s: %w", s.Discovery, err)
		}
		// Metadata that calls itself something else may be another provider's,
		// and its endpoints would be shown our secret (OpenID Connect
		// Discovery 1.0 §4.3).
		if s.Issuer != "" && m.Issuer != s.Issuer {
			return m, settingsError("%s calls its issuer %q, configured is %q", s.Discovery, m.Issuer, s.Issuer)
		}
	}
	m.Authorization = cmp.Or(s.Endpoints.Authorization, m.Authorization)
	m.Token = cmp.Or(s.Endpoints.Token, m.Token)
	m.DeviceAuthorization = cmp.Or(s.Endpoints.DeviceAuthorization, m.DeviceAuthorization)
	return m, nil
}

// send makes one call and returns status and bounded body. A redirect is an
// answer like any other: what we send is for the endpoint alone.
func (s *Settings) send(req *http.Request) (status int, body []byte, err error) {
	client := *s.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	req.Header.Set("Accept", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1)); err != nil {
		return 0, nil, err
	}
	if len(body) > maxAnswer {
		return 0, nil, fmt.Errorf("%s answered with more than %d bytes", req.URL.Redacted(), maxAnswer)
	}
	return res.StatusCode, body, nil
}
