package main

import (
	"os"
	"path/filepath"
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
