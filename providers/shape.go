package providers

import (
	"fmt"
	"slices"
	"strconv"
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
	"glpat-", "gloas-", "glcbt-", "gldt-", "glsoat-", "glft-", "glrt-", "glptt-", "glimt-", "glagent-", "glffct-", // GitLab, other than OAuth
	"xoxb-", "xoxp-", "xoxe.", "xoxe-", "xoxc-", "xoxd-", "xoxa-", "xoxr-", "xapp-", // Slack
	"ya29.", // Google
}

// Foreign says to an administrator why a credential is none of the provider's:
// which issuer it names, which proves nothing, and what the provider's own are
// known by. Of the credential itself it tells nothing else.
func Foreign(c Config, cred authz.Credential) string {
	said := "it names no issuer"
	if issuer := unverifiedIssuer(&cred); issuer != "" {
		said = fmt.Sprintf("it names the issuer %q", shorten(issuer))
	}
	s := ShapeOf(c)
	var takes []string
	if len(s.Issuers) > 0 {
		takes = append(takes, "tokens of "+quoted(s.Issuers))
	}
	if len(s.Prefixes) > 0 {
		takes = append(takes, "tokens that begin with "+quoted(s.Prefixes))
	}
	if s.CatchAll {
		takes = append(takes, "opaque tokens that are nobody else's")
	}
	return fmt.Sprintf("%s; provider %q takes %s", said, c.Name, strings.Join(takes, ", and "))
}

func quoted(list []string) string {
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = strconv.Quote(s)
	}
	return strings.Join(words, " or ")
}
