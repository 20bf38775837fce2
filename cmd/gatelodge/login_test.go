package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLoginClient: how the client proves itself, and by which secret.
func TestLoginClient(t *testing.T) {
	t.Setenv("FOREIGN", "other")
	for name, c := range map[string]struct {
		provider      string
		flags         loginFlags
		id, secret    string
		auth          string
		wantDiscovery bool
	}{
		"github": {
			provider: "type: github, client_id: Iv1.1, client_secret: {env: HOME}",
			id:       "Iv1.1", secret: os.Getenv("HOME"), auth: "post",
		},
		"github, another client": {
			provider: "type: github, client_id: Iv1.1, client_secret: {env: HOME}",
			flags:    loginFlags{client: "Iv1.2", secret: secretFlags{name: "client secret", env: "FOREIGN"}},
			id:       "Iv1.2", secret: "other", auth: "post",
		},
		"oidc": {
			provider: "type: oidc, issuer: \"https://sso.example.com\", client_id: wiki, client_secret: {env: HOME}",
			id:       "wiki", secret: os.Getenv("HOME"), wantDiscovery: true,
		},
		"oidc, another client": {
			provider: "type: oidc, issuer: \"https://sso.example.com\", client_id: wiki, client_secret: {env: HOME}, client_auth: post",
			flags:    loginFlags{client: "cli"},
			id:       "cli", wantDiscovery: true,
		},
		"said": {
			provider: "type: github, client_id: Iv1.1, client_secret: {env: HOME}, client_auth: basic",
			id:       "Iv1.1", secret: os.Getenv("HOME"), auth: "basic",
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "gatelodge.yaml")
			if err := os.WriteFile(file, []byte("providers: [{name: sso, "+c.provider+"}]\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			c.flags.config, c.flags.provider = file, "sso"
			s, err := loginSettings(newLogin(), &c.flags)
			if err != nil {
				t.Fatal(err)
			}
			if s.ClientID != c.id || s.ClientSecret.Reveal() != c.secret || s.ClientAuth != c.auth || (s.Discovery != "") != c.wantDiscovery {
				t.Errorf("%q %q %q %q", s.ClientID, s.ClientSecret.Reveal(), s.ClientAuth, s.Discovery)
			}
		})
	}
}

// TestLoginAtGitHub plays GitHub's part of the device flow in its own ways: id and
// secret in the body, answers in JSON only if they are asked for so, and a refusal
// for now with status 200.
func TestLoginAtGitHub(t *testing.T) {
	t.Parallel()
	asked := 0
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Header.Get("Accept") != "application/json" || r.Header.Get("Authorization") != "" ||
			r.PostForm.Get("client_id") != "Iv1.1" || r.PostForm.Get("client_secret") == "" {
			t.Errorf("%s is asked with %v %v: %v", r.URL.Path, r.PostForm, r.Header, err)
		}
		switch r.URL.Path {
		case "/login/device/code":
			if r.PostForm.Get("scope") != "read:user read:org" {
				t.Errorf("scope %q", r.PostForm.Get("scope"))
			}
			_, _ = fmt.Fprintf(w, `{"device_code":"d-1","user_code":"WDJB-MJHT","verification_uri":"%s/login/device","expires_in":899,"interval":1}`, server.URL)
		case "/login/oauth/access_token":
			if asked++; asked == 1 {
				_, _ = fmt.Fprint(w, `{"error":"authorization_pending","error_description":"not yet"}`)
				return
			}
			_, _ = fmt.Fprint(w, `{"access_token":"gho_0123456789","token_type":"bearer","scope":"read:org,read:user"}`)
		default:
			t.Errorf("%s is asked for", r.URL.Path)
		}
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "gatelodge.yaml")
	text := "providers: [{name: github, type: github, base_url: \"" + server.URL + "\", client_id: Iv1.1, client_secret: {env: HOME}}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"login", "--config", file, "--provider", "github", "--flow", "device", "--scope", "read:user,read:org", "--no-browser"}, nil, &stdout, &stderr)
	if code != exitYes || stdout.String() != "gho_0123456789\n" || !strings.Contains(stderr.String(), "WDJB-MJHT") {
		t.Errorf("status %d, %q, %q", code, stdout.String(), stderr.String())
	}
}
