package providers

import (
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
)

// keycloak checks the access tokens of a Keycloak realm: by their signature, or
// by introspection, which lightweight tokens need and which sees a logout.
var keycloak = Kind{
	Type: "keycloak",
	Keys: []string{"base_url", "realm", "issuer"},
	Defaults: func(c *Config) {
		if c.Issuer == "" && c.BaseURL != "" && c.Realm != "" {
			c.Issuer = keycloakRealm(*c)
		}
	},
	Places: map[string]string{
		"base_url":      "before /realms/ in the address that Realm settings → Endpoints → OpenID Endpoint Configuration has",
		"realm":         "behind /realms/ in the address that Realm settings → Endpoints → OpenID Endpoint Configuration has",
		"issuer":        "in Realm settings → Endpoints → OpenID Endpoint Configuration, as issuer",
		"client_id":     "under Clients, as Client ID",
		"client_secret": "under Clients → the client → Credentials, as Client Secret",
		"client_key":    "with whoever made the certificate under Clients → the client → Keys",
		"audiences":     "under Clients → the app's client → Client scopes → its dedicated scope → Add mapper → Audience",
	},
	Check: func(c Config) []authz.Fault {
		faults := checkedFaults(c)
		if issuerOf(c) == "" {
			faults = append(faults, authz.Fault{Key: "base_url", Problem: "is missing: give base_url and realm, or issuer"})
		}
		if slices.Contains(c.Audiences, "account") {
			faults = append(faults, authz.Fault{Key: "audiences", Problem: "account is in nearly every token of the realm and binds nothing; add an audience mapper to the client"})
		}
		return faults
	},
	Shape:  keycloakShape,
	SignIn: func(c Config) Endpoints { return Endpoints{Issuer: issuerOf(c)} },
	New:    newKeycloak,
}

// keycloakShape: every access token of a realm is signed and names it, also a
// lightweight one.
func keycloakShape(c Config) Shape { return Shape{Issuers: []string{issuerOf(c)}} }

func newKeycloak(c Config, env Env) (Provider, error) {
	rules := newJWTRules(c, issuerOf(c))
	rules.extra = keycloakAccessToken
	rules.app = keycloakServiceAccount
	if c.Validation == "introspection" {
		return newKeycloakIntrospection(c, env, rules)
	}
	if realm := keycloakRealm(c); c.Endpoints.Discovery == "" && realm != issuerOf(c) {
		c.Endpoints.Discovery = realm + "/.well-known/openid-configuration"
	}
	return newChecked(c, env, rules, func(m *mapper) { m.roles = keycloakRoles }, "preferred_username")
}

// keycloakRealm is where the realm is reached. base_url may be an inner address
// while tokens name the outer one.
func keycloakRealm(c Config) string {
	if c.BaseURL != "" && c.Realm != "" {
		return strings.TrimSuffix(c.BaseURL, "/") + "/realms/" + c.Realm
	}
	return issuerOf(c)
}

var keycloakRoles = []string{"realm_access.roles"}

func newKeycloakIntrospection(c Config, env Env, rules *jwtRules) (Provider, error) {
	if c.Endpoints.Introspection == "" {
		c.Endpoints.Introspection = keycloakRealm(c) + "/protocol/openid-connect/token/introspect"
	}
	m, _ := newMapper(c, issuerOf(c), "preferred_username", "username")
	m.roles = keycloakRoles
	p, err := newIntrospected(c, env, keycloakShape(c), rules, m, introspectionAt(c, env))
	if err != nil {
		return nil, err
	}
	p.never = "Keycloak from 26.6.2 on calls every token inactive that does not have our client in aud; add an audience mapper " +
		"(Clients → the app's client → Client scopes → Add mapper → Audience → Included Client Audience: our client)"
	return p, nil
}

// keycloakAccessToken tells access tokens from ID and refresh tokens, which
// the same keys sign: only the claim typ differs.
func keycloakAccessToken(_ *signedToken, claims map[string]any) error {
	switch typ := textAt(claims, "typ"); typ {
	case "Bearer":
		return nil
	case "DPoP":
		if cnf, _ := claims["cnf"].(map[string]any); textAt(cnf, "jkt") == "" {
			return errNoKeyTold
		}
		return nil
	default:
		return authz.Reject(authz.ReasonTokenType, "the claim typ is %q, not that of an access token", shorten(typ))
	}
}

// keycloakServiceAccount reports whether a token is one of a client's service
// account: its user has the name that Keycloak gives those.
func keycloakServiceAccount(claims map[string]any) bool {
	client := clientOf(claims)
	return client != "" && textAt(claims, "preferred_username") == "service-account-"+strings.ToLower(client)
}
