package providers

import (
	"fmt"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
)

// okta checks the access tokens of an Okta org: those of a custom authorization
// server by their signature, those of the org server by introspection alone,
// since the keys that sign them are not published
// (https://developer.okta.com/docs/concepts/auth-servers/).
var okta = Kind{
	Type: "okta",
	Keys: []string{"domain", "authorization_server", "issuer"},
	Defaults: func(c *Config) {
		c.Issuer = issuerOf(*c)
		if c.Issuer == "" && c.Domain != "" {
			c.Issuer = "https://" + c.Domain
			if c.AuthorizationServer != "" {
				c.Issuer += "/oauth2/" + c.AuthorizationServer
			}
		}
		if c.Validation == "" && !oktaCustom(*c) {
			c.Validation = "introspection"
		}
		if len(c.Audiences) == 0 && c.AuthorizationServer == "default" {
			c.Audiences = []string{"api://default"}
		}
		if len(c.Algorithms) == 0 {
			c.Algorithms = []string{"RS256"} // all that Okta signs with
		}
	},
	Check: checkOkta,
	Places: map[string]string{
		"domain":               "in the Admin Console's menu under your name, as dev-123456.okta.com",
		"authorization_server": "under Security → API → Authorization Servers, at the end of the Issuer URI",
		"issuer":               "under Security → API → Authorization Servers, as Issuer URI",
		"audiences":            "under Security → API → Authorization Servers, in the column Audience, as api://default",
		"client_id":            "under Applications → the app → General, as Client ID",
		"client_secret":        "under Applications → the app → General → Client Credentials",
	},
	Shape:  oktaShape,
	SignIn: func(c Config) Endpoints { return Endpoints{Issuer: issuerOf(c)} },
	New:    newOkta,
}

// oktaCustom reports whether the tokens are of a custom authorization server.
func oktaCustom(c Config) bool { return strings.Contains(issuerOf(c), "/oauth2/") }

// oktaShape: tokens of a custom server name it. Those of the org server do so
// too today, but are opaque by contract.
func oktaShape(c Config) Shape {
	return Shape{Issuers: []string{issuerOf(c)}, CatchAll: !oktaCustom(c)}
}

func checkOkta(c Config) []authz.Fault {
	faults := checkedFaults(c)
	host := strings.ToLower(c.Domain)
	label, _, _ := strings.Cut(host, ".")
	switch {
	case c.Domain == "" && issuerOf(c) == "":
		faults = append(faults, authz.Fault{Key: "domain", Problem: "is missing"})
	case strings.ContainsAny(c.Domain, "/: "), c.Domain != "" && !strings.Contains(c.Domain, "."):
		faults = append(faults, authz.Fault{Key: "domain", Problem: fmt.Sprintf("%q is not a domain, as dev-123456.okta.com: no https:// and no path", c.Domain)})
	case strings.HasSuffix(label, "-admin"):
		faults = append(faults, authz.Fault{Key: "domain", Problem: fmt.Sprintf("%q is that of the Admin Console; take it without -admin", c.Domain)})
	case strings.ContainsAny(c.AuthorizationServer, "/: "):
		faults = append(faults, authz.Fault{Key: "authorization_server", Problem: fmt.Sprintf("%q is not an id, as default or aus1a2b3c", c.AuthorizationServer)})
	}
	if c.Validation == "introspection" {
		return faults
	}
	if !oktaCustom(c) {
		return append(faults, authz.Fault{Key: "validation", Problem: "is to be introspection: the keys of the org authorization server's tokens are not published; or name an authorization_server (Security → API)"})
	}
	if len(c.Audiences) == 0 {
		faults = append(faults, authz.Fault{Key: "audiences", Problem: "is missing"})
	}
	return faults
}

func newOkta(c Config, env Env) (Provider, error) {
	rules := newJWTRules(c, issuerOf(c))
	if c.Validation != "introspection" {
		rules.extra = oktaAccessToken
		return newChecked(c, env, rules, func(m *mapper) { m.subject = oktaSubject }, "sub")
	}
	if c.Endpoints.Introspection == "" {
		c.Endpoints.Introspection = issuerOf(c) + "/oauth2/v1/introspect"
		if oktaCustom(c) {
			c.Endpoints.Introspection = issuerOf(c) + "/v1/introspect"
		}
	}
	rules.app = introspectedApp
	m, _ := newMapper(c, issuerOf(c), "username")
	m.subject = oktaSubject
	p, err := newIntrospected(c, env, oktaShape(c), rules, m, introspectionAt(c, env))
	if err != nil {
		return nil, err
	}
	p.never = "client_id is to be an app of the same org as the tokens; look it up under Applications → the app → General"
	return p, nil
}

// oktaAccessToken tells access tokens from ID tokens, which the same keys sign:
// only access tokens name their client in cid.
func oktaAccessToken(_ *signedToken, claims map[string]any) error {
	if textAt(claims, "cid") == "" {
		return authz.Reject(authz.ReasonTokenType, "no cid: not an access token")
	}
	return nil
}

// oktaSubject is the user's id, which stays when a login changes; of an app,
// its client id, which Okta gives as sub.
func oktaSubject(attrs map[string]any) string { return firstText(attrs, "uid", "sub") }
