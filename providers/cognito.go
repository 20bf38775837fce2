package providers

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
)

// cognito checks the access tokens of an Amazon Cognito user pool by their
// signature; with validation: profile the pool's userInfo is asked as well,
// which notices a global sign-out
// (https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html).
var cognito = Kind{
	Type: "cognito",
	Keys: []string{"region", "user_pool_id", "domain", "issuer"},
	Defaults: func(c *Config) {
		if c.Region == "" {
			c.Region, _, _ = strings.Cut(c.UserPoolID, "_")
		}
		if len(c.Groups) == 0 {
			c.Groups = []string{"cognito:groups"}
		}
		if c.Endpoints.Userinfo == "" && c.Domain != "" {
			c.Endpoints.Userinfo = "https://" + c.Domain + "/oauth2/userInfo"
		}
	},
	Check: checkCognito,
	Places: map[string]string{
		"user_pool_id":    "in the Cognito console under User pools → the pool → Overview, as eu-west-1_AbCdEf123",
		"region":          "at the beginning of the pool id, under User pools → the pool → Overview",
		"domain":          "in the Cognito console under User pools → the pool → Branding → Domain",
		"issuer":          "in the Cognito console under User pools → the pool → Overview, as Token signing key URL, before /.well-known/",
		"allowed_clients": "in the Cognito console under User pools → the pool → App clients, as Client ID",
		"audiences":       "with the resource server under User pools → the pool → Domain → Resource servers; tokens without resource binding have only their client, so allowed_clients (App clients, Client ID) is what most want",
	},
	Shape:  func(c Config) Shape { return Shape{Issuers: cognitoIssuers(c)} },
	SignIn: func(c Config) Endpoints { return Endpoints{Issuer: cognitoIssuers(c)[0]} },
	New:    newCognito,
}

// userPool is the form of a pool's id.
var userPool = regexp.MustCompile(`^[a-z]{2}-(gov-)?[a-z]+-\d_[a-zA-Z0-9]+$`)

// cognitoIssuers are what a pool's tokens may name as their issuer: a pool is
// switched from the first form to the second in its settings, and both are its
// own.
func cognitoIssuers(c Config) []string {
	if issuer := issuerOf(c); issuer != "" {
		return []string{issuer}
	}
	top := ".amazonaws.com/"
	if strings.HasPrefix(c.Region, "cn-") {
		top = ".amazonaws.com.cn/"
	}
	return []string{
		"https://cognito-idp." + c.Region + top + c.UserPoolID,
		"https://issuer-cognito-idp." + c.Region + top + c.UserPoolID,
	}
}

func checkCognito(c Config) []authz.Fault {
	inner := c
	inner.Validation = ""
	faults := signedFaults(inner)
	switch {
	case c.UserPoolID == "":
		faults = append(faults, authz.Fault{Key: "user_pool_id", Problem: "is missing"})
	case !userPool.MatchString(c.UserPoolID):
		faults = append(faults, authz.Fault{Key: "user_pool_id", Problem: fmt.Sprintf("%q is not a pool id, as eu-west-1_AbCdEf123", c.UserPoolID)})
	case !strings.HasPrefix(c.UserPoolID, c.Region+"_"):
		faults = append(faults, authz.Fault{Key: "region", Problem: fmt.Sprintf("is %q, but the pool id begins with another; leave region out", c.Region)})
	}
	if strings.ContainsAny(c.Domain, "/: ") {
		faults = append(faults, authz.Fault{Key: "domain", Problem: fmt.Sprintf("%q is not a domain, as corp.auth.eu-west-1.amazoncognito.com", c.Domain)})
	}
	switch {
	case c.Validation != "" && c.Validation != "jwt" && c.Validation != "profile":
		faults = append(faults, validationFault(c, "jwt", "profile"))
	case c.Validation == "profile" && c.Endpoints.Userinfo == "":
		faults = append(faults, authz.Fault{Key: "domain", Problem: "is missing: userInfo is asked there"})
	}
	return faults
}

func newCognito(c Config, env Env) (Provider, error) {
	issuers := cognitoIssuers(c)
	rules := newJWTRules(c, issuers...)
	rules.extra = cognitoAccessToken
	rules.app = cognitoApp
	if c.Endpoints.JWKS == "" {
		c.Endpoints.JWKS = issuers[0] + "/.well-known/jwks.json" // of both issuers
	}
	p, err := newSigned(c, env, rules, issuers[0], "username")
	if err != nil {
		return nil, err
	}
	p.mapper.issuers = issuers
	if c.Validation != "profile" {
		return p, nil
	}
	return withProfile(c, env, p, cognitoShown)
}

// cognitoShown says whether userInfo takes a token.
func cognitoShown(found *proof) error {
	if !slices.Contains(scopes(found.attrs), "openid") {
		// Of InitiateAuth: it has only aws.cognito.signin.user.admin.
		return authz.Reject(authz.ReasonClaims, "userInfo needs a token with the scope openid")
	}
	return nil
}

// cognitoAccessToken tells access tokens from ID tokens.
func cognitoAccessToken(_ *signedToken, claims map[string]any) error {
	if use := textAt(claims, "token_use"); use != "access" {
		return authz.Reject(authz.ReasonTokenType, "token_use is %q, not access", shorten(use))
	}
	return nil
}

// cognitoApp reports whether a token is one of client credentials: it has no
// username, and its subject is its client.
func cognitoApp(claims map[string]any) bool {
	return textAt(claims, "username") == "" && appOnly(claims)
}
