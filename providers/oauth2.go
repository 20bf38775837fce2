package providers

import (
	"context"

	"github.com/gatelodge/gatelodge/authz"
)

// oauth2 is any OAuth 2.0 server: its endpoints are given by hand. It is asked
// by introspection, and for the user's profile where there is a userinfo
// endpoint.
var oauth2 = Kind{
	Type: "oauth2",
	Keys: []string{"issuer"},
	Places: map[string]string{
		"issuer":                  "in the server's metadata (/.well-known/oauth-authorization-server), as issuer",
		"client_id":               "with our client in the server's console",
		"client_secret":           "with our client in the server's console",
		"audiences":               "in the server's answers as aud",
		"endpoints.introspection": "in the server's metadata (/.well-known/oauth-authorization-server), as introspection_endpoint",
		"endpoints.userinfo":      "in the server's metadata (/.well-known/openid-configuration), as userinfo_endpoint",
	},
	Check:  checkOAuth2,
	Shape:  oauth2Shape,
	SignIn: func(c Config) Endpoints { return Endpoints{Issuer: issuerOf(c)} },
	New: func(c Config, env Env) (Provider, error) {
		m, _ := newMapper(c, issuerOf(c), "username", "preferred_username", "sub")
		if c.Validation == "profile" {
			return newUserinfo(c, env, m)
		}
		rules := newJWTRules(c)
		rules.app = introspectedApp
		if issuer := issuerOf(c); issuer != "" {
			rules.issuers = []string{issuer}
		}
		p, err := newIntrospected(c, env, oauth2Shape(c), rules, m, introspectionAt(c, env))
		if err != nil || c.Endpoints.Userinfo == "" {
			return p, err
		}
		p.prove = withUserinfo(p.prove, &profile{client: p.client, now: env.Now, url: c.Endpoints.Userinfo, scope: "openid"})
		return p, nil
	},
	Defaults: func(c *Config) {
		if c.Validation == "" && c.Endpoints.Introspection == "" && c.Endpoints.Userinfo != "" && c.AppBinding == "none" {
			c.Validation = "profile"
		}
	},
}

func oauth2Shape(c Config) Shape {
	s := Shape{CatchAll: true}
	if issuer := issuerOf(c); issuer != "" {
		s.Issuers = []string{issuer}
	}
	return s
}

func checkOAuth2(c Config) (faults []authz.Fault) {
	switch c.Validation {
	case "", "introspection":
		faults = introspectionFaults(c)
		if c.Endpoints.Introspection == "" {
			faults = append(faults, authz.Fault{Key: "endpoints.introspection", Problem: "is missing: with endpoints.userinfo alone nobody could tell whose app a token was made for; to take the tokens of any app all the same, say app_binding: none"})
		}
	case "profile":
		_, faults = newMapper(c, "")
		faults = append(faults, endpointFaults(c)...)
		faults = append(faults, unboundFault(c)...)
		if c.Endpoints.Userinfo == "" {
			faults = append(faults, authz.Fault{Key: "endpoints.userinfo", Problem: "is missing; it tells who a token speaks for"})
		}
	default:
		faults = append(faults, validationFault(c, "introspection", "profile"))
	}
	return faults
}

// newUserinfo makes a provider that is asked for the profile alone. It takes
// the tokens of any app.
func newUserinfo(c Config, env Env, m *mapper) (Provider, error) {
	p, err := newAsked(c, env, oauth2Shape(c), m)
	if err != nil {
		return nil, err
	}
	info := &profile{client: p.client, now: env.Now, url: c.Endpoints.Userinfo, scope: "openid"}
	p.prove = func(ctx context.Context, token string, _ *proof) (*proof, error) {
		attrs, err := info.get(ctx, token)
		if err != nil {
			return nil, err
		}
		found := &proof{attrs: attrs}
		if textAt(attrs, "sub") == "" { // no OpenID provider
			found.subject = idText(attrs["id"])
		}
		return found, nil
	}
	return p, nil
}

// withUserinfo adds the profile of a proven token's user to what prove found. A
// token without a user has none.
func withUserinfo(prove proveFunc, info *profile) proveFunc {
	return func(ctx context.Context, token string, first *proof) (*proof, error) {
		found, err := prove(ctx, token, first)
		if err != nil || found.app {
			return found, err
		}
		return info.add(ctx, token, found)
	}
}

// unboundFault asks for the words that take the tokens of any app.
func unboundFault(c Config) []authz.Fault {
	if c.AppBinding == "none" {
		return nil
	}
	return []authz.Fault{{Key: "app_binding", Problem: "is to be none: a profile proves somebody by the token of some app, not that the token was made for us; whoever runs any app there could use its users' tokens here"}}
}
