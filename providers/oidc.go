package providers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
)

// oidc is any OpenID Connect provider: its access tokens are signed JWTs, RFC
// 9068 or near it, or are opaque and it is asked by introspection. With
// validation: profile its userinfo is asked about the signed ones as well.
var oidc = Kind{
	Type: "oidc",
	Keys: []string{"issuer"},
	Places: map[string]string{
		"issuer":        "in the provider's metadata (/.well-known/openid-configuration), as issuer",
		"client_id":     "with our client in the provider's console",
		"client_secret": "with our client in the provider's console",
		"audiences":     "in the tokens as aud, and in the provider's console as the audience, resource or identifier of the API",
	},
	Check: func(c Config) []authz.Fault {
		faults := checkedFaults(c)
		if c.Issuer == "" && c.Endpoints.Issuer == "" {
			faults = append(faults, authz.Fault{Key: "issuer", Problem: "is missing; it is the iss of the provider's tokens, as https://sso.example.com"})
		}
		return faults
	},
	Shape:  oidcShape,
	SignIn: func(c Config) Endpoints { return Endpoints{Issuer: issuerOf(c)} },
	New: func(c Config, env Env) (Provider, error) {
		rules := newJWTRules(c, issuerOf(c))
		rules.extra = forAPIs
		usernames := []string{"preferred_username", "username", "upn", "sub"}
		if c.Validation != "introspection" {
			return newChecked(c, env, rules, nil, usernames...)
		}
		rules.app = introspectedApp
		m, _ := newMapper(c, issuerOf(c), usernames...)
		return newIntrospected(c, env, oidcShape(c), rules, m, introspectionAt(c, env))
	},
}

// oidcShape: its tokens name it; opaque ones, which only introspection takes,
// do not.
func oidcShape(c Config) Shape {
	return Shape{Issuers: []string{issuerOf(c)}, CatchAll: c.Validation == "introspection"}
}

// forAPIs refuses the other tokens that an issuer signs, with the same keys and
// mostly the same type in the header: ID tokens (OpenID Connect Core §2), which
// are for the client and are shown about freely, logout tokens (OpenID Connect
// Back-Channel Logout §2.4), and what Keycloak and Cognito say is no access token.
func forAPIs(_ *signedToken, claims map[string]any) error {
	refused := authz.Reject(authz.ReasonTokenType, "an ID token, or another that is not for APIs")
	for _, name := range []string{"at_hash", "c_hash", "s_hash", "events"} {
		if _, there := claims[name]; there {
			return refused
		}
	}
	if _, there := claims["nonce"]; there && claims["scope"] == nil && claims["scp"] == nil {
		return refused
	}
	typ, use := textAt(claims, "typ"), textAt(claims, "token_use")
	if slices.Contains([]string{"ID", "Refresh", "Offline", "Logout"}, typ) || use != "" && use != "access" {
		return refused
	}
	return nil
}

// issuerOf is the issuer that tokens must name.
func issuerOf(c Config) string {
	if c.Endpoints.Issuer != "" {
		return c.Endpoints.Issuer
	}
	return c.Issuer
}

// signedFaults checks the settings of providers that issue signed tokens.
func signedFaults(c Config) []authz.Fault {
	faults := append(endpointFaults(c), bindingFault(c)...)
	faults = append(faults, algorithmFaults(c)...)
	_, mapping := newMapper(c, "")
	return append(faults, mapping...)
}

// validationFault says which ways of checking a kind has.
func validationFault(c Config, ways ...string) authz.Fault {
	return authz.Fault{Key: "validation", Problem: fmt.Sprintf("%q is not a way that this type has; it has %s", c.Validation, strings.Join(ways, ", "))}
}

// checkedFaults checks the settings of a kind that has all ways: signed tokens
// checked here, with userinfo or without, and introspection.
func checkedFaults(c Config) []authz.Fault {
	switch c.Validation {
	case "", "jwt", "profile":
		return signedFaults(c)
	case "introspection":
		return introspectionFaults(c)
	}
	return append(signedFaults(c), validationFault(c, "jwt", "introspection", "profile (jwt, and userinfo asked)"))
}

// newChecked makes a provider of signed tokens for a kind that has all ways: with
// validation: profile userinfo is asked as well. change fits the mapper to the
// kind; nil: it fits.
func newChecked(c Config, env Env, rules *jwtRules, change func(*mapper), username ...string) (Provider, error) {
	p, err := newSigned(c, env, rules, rules.issuers[0], username...)
	if err != nil {
		return nil, err
	}
	if change != nil {
		change(p.mapper)
	}
	if c.Validation == "profile" {
		return withProfile(c, env, p, nil)
	}
	return p, nil
}

// newSigned makes a provider of signed tokens whose keys are found by OpenID
// discovery, or at the configured place.
func newSigned(c Config, env Env, rules *jwtRules, issuer string, username ...string) (*jwtProvider, error) {
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	m, _ := newMapper(c, issuer, username...)
	locate := func(context.Context) (string, error) { return c.Endpoints.JWKS, nil }
	if c.Endpoints.JWKS == "" {
		d := newDiscovery(client, env, issuer, c.Endpoints.Discovery)
		locate = func(ctx context.Context) (string, error) { return d.endpoint(ctx, "jwks_uri") }
	}
	env.Log = env.Log.With("provider", c.Name)
	return &jwtProvider{rules: rules, mapper: m, client: client, now: env.Now, keys: newKeySet(client, env, locate)}, nil
}
