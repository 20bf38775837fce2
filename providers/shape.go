package providers

import (
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
)

// Shape is how the credentials of a provider are told from others', as far as
// its settings say.
type Shape struct {
	// CatchAll: any opaque token may be its own. Two of those under one rule
	// could not be told apart.
	CatchAll bool
	// Issuers are the issuers whose signed tokens it owns.
	Issuers []string
	// Prefixes are what its opaque tokens begin with.
	Prefixes []string
}

// ShapeOf returns the shape of the credentials that the provider would own.
func ShapeOf(c Config) Shape {
	k, ok := Find(c.Type)
	if !ok || k.Shape == nil {
		return Shape{}
	}
	return k.Shape(Prepare(c))
}

// owns reports whether a token has the shape. One that names an issuer belongs
// to that one alone, and one with a prefix that is known to be somebody's to
// him alone: a catch-all is never shown those.
func (s Shape) owns(c *authz.Credential) bool {
	token := c.Secret.Reveal()
	if slices.ContainsFunc(s.Prefixes, func(p string) bool { return strings.HasPrefix(token, p) }) {
		return true
	}
	if issuer := unverifiedIssuer(c); issuer != "" {
		return slices.Contains(s.Issuers, issuer)
	}
	return s.CatchAll && !slices.ContainsFunc(knownPrefixes, func(p string) bool { return strings.HasPrefix(token, p) })
}

// knownPrefixes are what tokens begin with whose issuer can be told by it, of
// whatever kind: also those that no provider of ours takes.
var knownPrefixes = []string{
	tokenPrefix,                                           // our own
	"gho_", "ghu_", "ghp_", "ghs_", "ghr_", "github_pat_", // GitHub
	"glpat-", "glcbt-", "gldt-", "glsoat-", "glft-", "glrt-", // GitLab, other than OAuth
	"xoxb-", "xoxp-", "xoxe.", "xoxe-", "xoxc-", "xoxd-", "xoxa-", "xoxr-", "xapp-", // Slack
	"ya29.", // Google
}
