package providers

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/authz"
)

// TestForeign: an administrator is told what a token says of itself and what the
// provider's are known by, and nothing more of the token.
func TestForeign(t *testing.T) {
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	jwt := b64(`{"alg":"RS256"}`) + "." + b64(`{"iss":"https://sso.example.com/","sub":"a-secret-person"}`) + "." + b64("signature")
	for name, c := range map[string]struct {
		settings Config
		token    string
		want     string
	}{
		"slash":    {Config{Name: "sso", Type: "oidc", Issuer: "https://sso.example.com"}, jwt, `it names the issuer "https://sso.example.com/"; provider "sso" takes tokens of "https://sso.example.com"`},
		"opaque":   {Config{Name: "sso", Type: "oidc", Issuer: "https://sso.example.com"}, "opaque-1", `it names no issuer; provider "sso" takes tokens of "https://sso.example.com"`},
		"prefixes": {Config{Name: "gh", Type: "github"}, jwt, `it names the issuer "https://sso.example.com/"; provider "gh" takes tokens that begin with "gho_" or "ghu_"`},
		"all":      {Config{Name: "old", Type: "oauth2"}, jwt, `it names the issuer "https://sso.example.com/"; provider "old" takes opaque tokens that are nobody else's`},
	} {
		got := Foreign(c.settings, authz.Credential{Kind: authz.Bearer, Secret: authz.NewSecret(c.token)})
		if got != c.want || strings.Contains(got, "person") {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
