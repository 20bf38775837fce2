package trial

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/providers"
)

// vouched stands in a provider's place: its credentials are numbers of tokens
// that the built-in issuer vouches for, and what the real provider makes of
// their claims is the answer. It lives in a trial alone.
type vouched struct {
	name     string
	settings providers.Config
	made     providers.Provider // nil: API tokens
	tokens   []*CaseToken
}

// issue returns the credential of a token.
func (v *vouched) issue(t *CaseToken, now time.Time) (authz.Secret, error) {
	switch apiToken := v.made == nil; {
	case apiToken && t.User == "":
		return authz.Secret{}, errors.New("token.user is missing: an API token has an owner")
	case apiToken && t.Claims != nil:
		return authz.Secret{}, errors.New("token.claims: an API token has none; give user, groups, read_only, paths, sources")
	case !apiToken && (t.User != "" || t.Groups != nil || t.ReadOnly || t.Paths != nil || t.Sources != nil):
		return authz.Secret{}, errors.New("token: user, groups, read_only, paths and sources are of API tokens; give claims")
	}
	if v.made != nil {
		if _, ok := v.made.(providers.Claimant); !ok {
			return authz.Secret{}, fmt.Errorf("tokens of type %s cannot be made up: its answers have no claims", v.settings.Type)
		}
	}
	filled := *t
	filled.Claims = v.claims(t.Claims, now)
	v.tokens = append(v.tokens, &filled)
	return authz.NewSecret(fmt.Sprintf("case.%s.%d", strings.Map(tokenByte, v.name), len(v.tokens)-1)), nil
}

func tokenByte(r rune) rune {
	if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
		return r
	}
	return '~'
}

// claims fills in what a good token of the provider would have, as numbers and
// texts of the kinds that a JSON answer has.
func (v *vouched) claims(given map[string]any, now time.Time) map[string]any {
	c := map[string]any{
		"sub": "subject", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "active": true, "client_id": "app",
		"typ": "Bearer", "token_use": "access", // as Keycloak's and Cognito's are; nobody else looks
	}
	if issuers := providers.ShapeOf(v.settings).Issuers; len(issuers) > 0 {
		c["iss"] = issuers[0]
	}
	if len(v.settings.Audiences) > 0 {
		c["aud"] = v.settings.Audiences[0]
	}
	switch {
	case len(v.settings.AllowedClients) > 0:
		c["client_id"] = v.settings.AllowedClients[0]
	case v.settings.ClientID != "":
		c["client_id"] = v.settings.ClientID
	}
	for name, value := range given {
		if value == nil {
			delete(c, name)
			continue
		}
		c[name] = plain(value)
	}
	return c
}

// plain turns what YAML reads into what JSON would have read.
func plain(v any) any {
	switch v := v.(type) {
	case int:
		return int64(v)
	case uint64:
		return float64(v)
	case time.Time:
		return v.Unix()
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = plain(e)
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = plain(e)
		}
		return m
	}
	return v
}

// Owns implements authz.Provider.
func (v *vouched) Owns(c authz.Credential) bool {
	return c.Kind == authz.Bearer && v.find(c) != nil
}

func (v *vouched) find(c authz.Credential) *CaseToken {
	for i, t := range v.tokens {
		if c.Secret.Reveal() == fmt.Sprintf("case.%s.%d", strings.Map(tokenByte, v.name), i) {
			return t
		}
	}
	return nil
}

// Verify implements authz.Provider.
func (v *vouched) Verify(_ context.Context, c authz.Credential) (authz.Identity, error) {
	t := v.find(c)
	if v.made != nil {
		return v.made.(providers.Claimant).Claim(t.Claims)
	}
	limits := &authz.Limits{ReadOnly: t.ReadOnly, Paths: t.Paths}
	for _, s := range t.Sources {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return authz.Identity{}, fmt.Errorf("token.sources: %q is no address or network", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		limits.Sources = append(limits.Sources, p)
	}
	return authz.Identity{User: t.User, Subject: t.User, Groups: t.Groups, TokenID: "case", Limits: limits}, nil
}
