package providers_test

import (
	"encoding/base64"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
	"github.com/gatelodge/gatelodge/providers"
)

// localEngine decides on the API tokens of a real store.
func localEngine(t *testing.T, records ...tokenstore.Record) *authz.Engine {
	t.Helper()
	s, err := tokenstore.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "t.db"), authz.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Insert(t.Context(), tokenstore.Change{At: time.Now()}, 0, records); err != nil {
		t.Fatal(err)
	}
	x := tokenstore.NewIndex(time.Minute, time.Now)
	if err := x.Sync(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	cache, err := authz.NewCache(authz.CacheLimits{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := authz.New(&authz.Policy{
		Enabled: true, KeyHeader: "x-api-key", AllowBasic: true,
		Headers:   authz.HeaderNames{User: "x-forwarded-user"},
		Providers: []authz.NamedProvider{{Name: authz.APITokens, Provider: providers.NewLocal(x, func() providers.Status { return providers.Status{Ready: true} })}},
	}, cache, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestLocal(t *testing.T) {
	secret, err := tokenstore.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	token := secret.Reveal()
	e := localEngine(t, tokenstore.Record{
		ID: strings.Repeat("a", 16), Owner: "alice", Name: "n", CreatedBy: "alice", Created: time.Now(), Hash: tokenstore.HashOf(token),
		Limits: authz.Limits{
			ReadOnly: true, Hosts: []string{"api.example.com"}, Paths: []string{"/rest/**"},
			Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		},
	})
	c := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	for _, tc := range []struct {
		name, header, value string
		outcome             authz.Outcome
		reason              authz.Reason
	}{
		{"bearer", "authorization", "Bearer " + token, authz.Allowed, authz.ReasonVerified},
		{"key", "x-api-key", token, authz.Allowed, authz.ReasonVerified},
		{"basic", "authorization", c("alice", token), authz.Allowed, authz.ReasonVerified},
		{"basic of another", "authorization", c("bob", token), authz.Unauthenticated, authz.ReasonWrongUser},
		{"basic with a plain password", "authorization", c("alice", "secret"), authz.Unauthenticated, authz.ReasonNoOwner},
		{"token as the user", "authorization", c(token, "x"), authz.Unauthenticated, authz.ReasonNoOwner},
		{"cut", "authorization", "Bearer " + token[:51], authz.Unauthenticated, authz.ReasonChecksum},
		{"extended", "x-api-key", token + "0", authz.Unauthenticated, authz.ReasonChecksum},
		{"some key", "x-api-key", "0123456789", authz.Unauthenticated, authz.ReasonChecksum},
		{"two tokens", "x-api-key", token + "," + token, authz.Malformed, authz.ReasonMalformedCredential},
		{"another's bearer", "authorization", "Bearer ya29.x", authz.Unauthenticated, authz.ReasonNoOwner},
	} {
		q := authz.Request{
			Method: "GET", Host: "api.example.com", Path: "/rest/x", Source: netip.MustParseAddr("192.0.2.9"),
			Headers: []authz.Header{{Name: tc.header, Value: tc.value}},
		}
		d := e.Decide(t.Context(), q)
		if d.Outcome != tc.outcome || d.Reason != tc.reason {
			t.Errorf("%s: %v, %v", tc.name, d.Outcome, d.Reason)
		}
		if d.Outcome == authz.Allowed && (d.Identity.User != "alice" || d.Identity.TokenID != strings.Repeat("a", 16) || d.Cached) {
			t.Errorf("%s: %+v", tc.name, d.Identity)
		}
		if strings.Contains(d.Detail, token[:12]) {
			t.Errorf("%s: shows the token: %s", tc.name, d.Detail)
		}
		q.Source = netip.Addr{}
		if tc.outcome == authz.Allowed && e.Decide(t.Context(), q).Reason != authz.ReasonSourceNotAllowed {
			t.Errorf("%s: from nowhere is allowed", tc.name)
		}
	}
}

func TestLocalVerifies(t *testing.T) {
	secret, _ := tokenstore.NewSecret()
	l := providers.NewLocal(tokenstore.NewIndex(time.Minute, time.Now), func() providers.Status { return providers.Status{} })
	_, err := l.Verify(t.Context(), authz.Credential{Kind: authz.Bearer, Secret: secret})
	if err == nil || errors.Is(err, authz.ErrRejected) {
		t.Errorf("before the tokens are known: %v", err)
	}
	if l.Status().Ready {
		t.Error("ready before the tokens are known")
	}
}
