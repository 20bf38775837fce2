package login

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
)

// answer is what a token endpoint says (RFC 6749 §5.1, §5.2), or a device
// authorization endpoint where it refuses.
type answer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	IDToken     string `json:"id_token"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// ask posts a form to the token endpoint, as the client, and returns its
// answer. A refusal is a *Refusal.
func (s *Settings) ask(ctx context.Context, endpoint string, form url.Values) (answer, error) {
	body, err := s.post(ctx, "token", endpoint, form)
	if err != nil {
		return answer{}, err
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return answer{}, fmt.Errorf("the token endpoint's answer is not JSON: %w", err)
	}
	switch {
	case a.Error != "": // some say so with status 200
		return answer{}, &Refusal{a.Error, a.Description}
	case a.AccessToken == "":
		return answer{}, fmt.Errorf("the token endpoint answered without an access token")
	case !strings.EqualFold(a.TokenType, "bearer"):
		return answer{}, fmt.Errorf("the token is of type %q, which cannot be sent as a bearer token", a.TokenType)
	}
	return a, nil
}

// post sends a form as the client and returns the body of a good answer.
func (s *Settings) post(ctx context.Context, what, endpoint string, form url.Values) ([]byte, error) {
	if err := s.checkURL(what, endpoint); err != nil {
		return nil, err
	}
	post := s.ClientSecret.IsZero() || s.ClientAuth == "post"
	if post {
		form.Set("client_id", s.ClientID)
		if !s.ClientSecret.IsZero() {
			form.Set("client_secret", s.ClientSecret.Reveal())
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if !post {
		// RFC 6749 §2.3.1: both are form-encoded first.
		req.SetBasicAuth(url.QueryEscape(s.ClientID), url.QueryEscape(s.ClientSecret.Reveal()))
	}
	status, body, err := s.send(req)
	if err != nil {
		return nil, fmt.Errorf("asking the %s endpoint: %w", what, err)
	}
	if status == http.StatusOK {
		return body, nil
	}
	var a answer
	if json.Unmarshal(body, &a) == nil && a.Error != "" {
		return nil, &Refusal{a.Error, a.Description}
	}
	return nil, fmt.Errorf("the %s endpoint answered %d", what, status)
}

// common are the form values of every request for a token.
func (s *Settings) common(form url.Values) url.Values {
	for key, value := range map[string]string{
		"scope":    strings.Join(s.Scopes, " "),
		"resource": s.Resource,
		"audience": s.Audience,
	} {
		if value != "" {
			form.Set(key, value)
		}
	}
	return form
}

// ClientCredentials fetches a token of the client itself (RFC 6749 §4.4).
func (s *Settings) ClientCredentials(ctx context.Context) (authz.Secret, error) {
	if s.ClientSecret.IsZero() {
		return authz.Secret{}, settingsError("client credentials need a client secret: client_secret in the configuration, or --client-secret-env NAME")
	}
	m, err := s.discover(ctx, s.Endpoints.Token)
	if err != nil {
		return authz.Secret{}, err
	}
	a, err := s.ask(ctx, m.Token, s.common(url.Values{"grant_type": {"client_credentials"}}))
	return authz.NewSecret(a.AccessToken), err
}
