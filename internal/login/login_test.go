package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/demo"
)

// provider starts a demo identity provider and returns settings for it, with a
// person who signs in as alice.
func provider(t *testing.T) (*demo.IdP, *Settings) {
	t.Helper()
	p, err := demo.NewIdP()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Up(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Down() })
	s := settings(p.Issuer())
	s.ClientSecret = authz.NewSecret(p.Secret())
	s.Open = browse(t, "alice")
	return p, s
}

func settings(issuer string) *Settings {
	return &Settings{
		Discovery: issuer + "/.well-known/openid-configuration",
		Issuer:    issuer,
		ClientID:  demo.Client,
		Scopes:    []string{"openid", "profile"},
		HTTP:      &http.Client{Timeout: 10 * time.Second},
		Tell:      io.Discard,
	}
}

// browse returns a browser that signs in as user and follows where it is sent.
func browse(t *testing.T, user string) func(string) error {
	return func(page string) error {
		go func() {
			res, err := http.Get(page + "&login_hint=" + user)
			if err != nil {
				t.Errorf("browser: %v", err)
				return
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("browser: status %d", res.StatusCode)
			}
		}()
		return nil
	}
}

// user returns the claim that a token's user stands in.
func user(t *testing.T, token authz.Secret, claim string) string {
	t.Helper()
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	name, _ := claims[claim].(string)
	return name
}

func TestCode(t *testing.T) {
	for _, redirect := range []string{DefaultRedirect, "http://127.0.0.1", "http://[::1]:0/x/y"} {
		t.Run(redirect, func(t *testing.T) {
			_, s := provider(t)
			token, err := s.Code(t.Context(), redirect)
			if err != nil {
				t.Fatal(err)
			}
			if got := user(t, token, "preferred_username"); got != "alice" {
				t.Errorf("signed in as %q", got)
			}
		})
	}
}

func TestCodeAsPublicClient(t *testing.T) {
	_, s := provider(t)
	s.ClientSecret = authz.Secret{}
	if _, err := s.Code(t.Context(), DefaultRedirect); err != nil {
		t.Fatal(err)
	}
}

func TestClientCredentials(t *testing.T) {
	for _, auth := range []string{"", "basic", "post"} {
		_, s := provider(t)
		s.ClientAuth, s.Scopes = auth, nil
		token, err := s.ClientCredentials(t.Context())
		if err != nil {
			t.Fatalf("%q: %v", auth, err)
		}
		if got := user(t, token, "sub"); got != demo.Client {
			t.Errorf("%q: a token of %q", auth, got)
		}
	}
}

func TestClientCredentialsRefused(t *testing.T) {
	_, s := provider(t)
	s.ClientSecret = authz.NewSecret("wrong")
	_, err := s.ClientCredentials(t.Context())
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Code != "invalid_client" {
		t.Errorf("got %v", err)
	}
	s.ClientSecret = authz.Secret{}
	if _, err := s.ClientCredentials(t.Context()); !errors.Is(err, ErrSettings) {
		t.Errorf("without a secret: %v", err)
	}
}

func TestDevice(t *testing.T) {
	p, s := provider(t)
	s.Open = func(page string) error {
		u, err := url.Parse(page)
		if err != nil {
			return err
		}
		res, err := http.PostForm(p.Issuer()+"/device", url.Values{
			"user": {"bob"}, "user_code": {u.Query().Get("user_code")},
		})
		if err != nil {
			return err
		}
		return res.Body.Close()
	}
	token, err := s.Device(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := user(t, token, "preferred_username"); got != "bob" {
		t.Errorf("signed in as %q", got)
	}
}

func TestDeviceTellsWhatToDo(t *testing.T) {
	_, s := provider(t)
	var told strings.Builder
	s.Tell, s.Open = &told, nil
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("enough"))
	defer cancel()
	if _, err := s.Device(ctx); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(told.String(), "/device\n") || !strings.Contains(told.String(), "type the code ") {
		t.Errorf("told %q", told.String())
	}
}

func TestCodeIsInterruptible(t *testing.T) {
	_, s := provider(t)
	var told strings.Builder
	s.Tell, s.Open = &told, func(string) error { return errNoBrowser }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.HTTP = &http.Client{Transport: detached{}}
	if _, err := s.Code(ctx, DefaultRedirect); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(told.String(), "Open this page to sign in:\nhttp://127.0.0.1:") {
		t.Errorf("told %q", told.String())
	}
}

// detached makes calls that an ended context does not end.
type detached struct{}

func (detached) RoundTrip(r *http.Request) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(r.WithContext(context.Background()))
}

func TestProviderGone(t *testing.T) {
	p, s := provider(t)
	if err := p.Down(); err != nil {
		t.Fatal(err)
	}
	_, err := s.ClientCredentials(t.Context())
	var refusal *Refusal
	if err == nil || errors.Is(err, ErrSettings) || errors.As(err, &refusal) {
		t.Errorf("got %v, want neither a refusal nor wrong settings", err)
	}
}

// fake serves metadata of its own making.
func fake(t *testing.T, change func(at string, m map[string]any)) *Settings {
	t.Helper()
	var at string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := map[string]any{"issuer": at, "authorization_endpoint": at + "/a", "token_endpoint": at + "/t"}
		change(at, m)
		_ = json.NewEncoder(w).Encode(m)
	}))
	t.Cleanup(srv.Close)
	at = srv.URL
	s := settings(at)
	s.ClientSecret = authz.NewSecret("secret")
	return s
}

func TestMetadataThatIsNotToBeFollowed(t *testing.T) {
	for name, change := range map[string]func(string, map[string]any){
		"another issuer":   func(_ string, m map[string]any) { m["issuer"] = "https://evil.example" },
		"plain http":       func(_ string, m map[string]any) { m["token_endpoint"] = "http://idp.example/t" },
		"no endpoint":      func(_ string, m map[string]any) { delete(m, "token_endpoint") },
		"not a URL":        func(_ string, m map[string]any) { m["token_endpoint"] = "://" },
		"user in the URL":  func(at string, m map[string]any) { m["token_endpoint"] = strings.Replace(at, "//", "//u@", 1) },
		"no PKCE with 256": func(_ string, m map[string]any) { m["code_challenge_methods_supported"] = []string{"plain"} },
	} {
		t.Run(name, func(t *testing.T) {
			s := fake(t, change)
			s.Open = func(string) error { return errors.New("not reached in most cases") }
			fetch := s.ClientCredentials
			if name == "no PKCE with 256" {
				fetch = func(ctx context.Context) (authz.Secret, error) { return s.Code(ctx, DefaultRedirect) }
			}
			if _, err := fetch(t.Context()); !errors.Is(err, ErrSettings) {
				t.Errorf("got %v, want wrong settings", err)
			}
		})
	}
}

func TestEndpointsWinOverMetadata(t *testing.T) {
	p, s := provider(t)
	s.Discovery = "https://nowhere.invalid/" // would fail if it were asked
	s.Endpoints.Token = p.Issuer() + "/token"
	if _, err := s.ClientCredentials(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	p, s := provider(t)
	srv := httptest.NewServer(http.RedirectHandler(p.Issuer()+"/token", http.StatusTemporaryRedirect))
	t.Cleanup(srv.Close)
	s.Endpoints.Token = srv.URL
	if _, err := s.ClientCredentials(t.Context()); err == nil || !strings.Contains(err.Error(), "answered 307") {
		t.Errorf("got %v", err)
	}
}

func TestWrongRedirect(t *testing.T) {
	_, s := provider(t)
	for _, redirect := range []string{
		"https://127.0.0.1:0/", "http://example.com/", "http://0.0.0.0:0/", "http://u@127.0.0.1/", "http://127.0.0.1/?a=b", ":",
	} {
		if _, err := s.Code(t.Context(), redirect); !errors.Is(err, ErrSettings) {
			t.Errorf("%s: got %v", redirect, err)
		}
	}
}
