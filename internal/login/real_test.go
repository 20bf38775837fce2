package login

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/realtest"
)

// signsIn returns a browser in which somebody signs in.
func signsIn(t *testing.T, p realtest.Person) func(string) error {
	return func(page string) error {
		go func() {
			if err := p.Visit(t.Context(), page); err != nil {
				t.Errorf("signing in: %v", err)
			}
		}()
		return nil
	}
}

func realSettings(issuer, client string) *Settings {
	return &Settings{
		Discovery: issuer + "/.well-known/openid-configuration",
		Issuer:    issuer,
		ClientID:  client,
		HTTP:      &http.Client{Timeout: 10 * time.Second},
		Tell:      io.Discard,
	}
}

func TestRealOIDCProvider(t *testing.T) {
	op := realtest.OIDCProvider(t)
	const resource = "urn:api:jwt"
	t.Run("code", func(t *testing.T) {
		s := realSettings(op.Issuer, "cli")
		s.Scopes, s.Resource = []string{"openid", "api:read"}, resource
		s.Open = signsIn(t, realtest.SignsInAs("alice", "any"))
		token, err := s.Code(t.Context(), DefaultRedirect)
		if err != nil {
			t.Fatal(err)
		}
		if user(t, token, "sub") != "alice" || user(t, token, "aud") != resource {
			t.Errorf("a token of %q for %q", user(t, token, "sub"), user(t, token, "aud"))
		}
	})
	t.Run("device", func(t *testing.T) {
		s := realSettings(op.Issuer, "cli")
		s.Scopes, s.Resource = []string{"openid", "api:read"}, resource
		s.Open = signsIn(t, realtest.SignsInAs("bob", "any"))
		token, err := s.Device(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if user(t, token, "sub") != "bob" {
			t.Errorf("a token of %q", user(t, token, "sub"))
		}
	})
	t.Run("client credentials", func(t *testing.T) {
		s := realSettings(op.Issuer, "svc")
		s.Resource, s.ClientSecret = resource, authz.NewSecret("svc-secret")
		token, err := s.ClientCredentials(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if user(t, token, "client_id") != "svc" {
			t.Errorf("a token of client %q", user(t, token, "client_id"))
		}
	})
	t.Run("wrong secret", func(t *testing.T) {
		s := realSettings(op.Issuer, "svc")
		s.ClientSecret = authz.NewSecret("wrong")
		var refusal *Refusal
		if _, err := s.ClientCredentials(t.Context()); !errors.As(err, &refusal) || refusal.Code != "invalid_client" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("nobody signs in", func(t *testing.T) {
		s := realSettings(op.Issuer, "cli")
		s.Scopes = []string{"openid"}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Code(ctx, DefaultRedirect); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestRealKeycloak(t *testing.T) {
	realm := realtest.Keycloak(t).Realm(t)
	for flow, fetch := range map[string]func(*Settings) (authz.Secret, error){
		"code":   func(s *Settings) (authz.Secret, error) { return s.Code(t.Context(), DefaultRedirect) },
		"device": func(s *Settings) (authz.Secret, error) { return s.Device(t.Context()) },
	} {
		t.Run(flow, func(t *testing.T) {
			s := realSettings(realm.Issuer(), "web")
			s.Scopes = []string{"openid", "profile"}
			s.Open = signsIn(t, realtest.SignsInAs("alice", "alice-pw"))
			token, err := fetch(s)
			if err != nil {
				t.Fatal(err)
			}
			if got := user(t, token, "preferred_username"); got != "alice" {
				t.Errorf("a token of %q", got)
			}
		})
	}
	t.Run("client credentials", func(t *testing.T) {
		s := realSettings(realm.Issuer(), "svc")
		s.ClientSecret = authz.NewSecret("svc-secret")
		token, err := s.ClientCredentials(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := user(t, token, "azp"); got != "svc" {
			t.Errorf("a token of client %q", got)
		}
	})
}
