package providers

import (
	"context"

	"github.com/gatelodge/gatelodge/authz"
)

// oidc is any OpenID Connect provider whose access tokens are signed JWTs,
// RFC 9068 or near it.
var oidc = Kind{
	Type: "oidc",
	Keys: []string{"issuer"},
	Check: func(c Config) []authz.Fault {
		faults := signedFaults(c)
		if c.Issuer == "" && c.Endpoints.Issuer == "" {
			faults = append(faults, authz.Fault{Key: "issuer", Problem: "is missing; it is the iss of the provider's tokens, as https://sso.example.com"})
		}
		return faults
	},
	Shape:  func(c Config) Shape { return Shape{Issuers: []string{issuerOf(c)}} },
	SignIn: func(c Config) Endpoints { return Endpoints{Issuer: issuerOf(c)} },
	New: func(c Config, env Env) (Provider, error) {
		return newSigned(c, env, newJWTRules(c, issuerOf(c)), issuerOf(c), "preferred_username", "username", "upn", "sub")
	},
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
	faults = append(faults, mapping...)
	if c.Validation != "" && c.Validation != "jwt" {
		faults = append(faults, authz.Fault{Key: "validation", Problem: c.Validation + " is not a way that this type has; it has jwt"})
	}
	return faults
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
