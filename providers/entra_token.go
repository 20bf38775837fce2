package providers

import (
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
)

func newEntra(c Config, env Env) (Provider, error) {
	if c.Validation == "profile" {
		return newGraph(c, env)
	}
	// Each version has keys of its own, at an address of the directory's.
	keys := c.Endpoints.Authority + "/" + c.TenantID + "/discovery"
	var versions []*jwtProvider
	for _, v := range []struct{ suffix, keys string }{{"/v2.0", keys + "/v2.0/keys"}, {"/", keys + "/keys"}} {
		issuers := slices.DeleteFunc(entraIssuers(c), func(i string) bool { return strings.HasSuffix(i, "/v2.0") != (v.suffix == "/v2.0") })
		if len(issuers) == 0 {
			continue // the issuer is set, and is of the other version
		}
		own := c
		setDefault(&own.Endpoints.JWKS, v.keys)
		rules := entraRules(c, issuers)
		if v.suffix == "/" {
			rules.audienceHint = "; a token of version 1 names the API as its client asked for it: set requestedAccessTokenVersion (accessTokenAcceptedVersion) to 2 in the API's manifest, or list every form"
		}
		p, err := newSigned(own, env, rules, issuers[0], "preferred_username", "upn")
		if err != nil {
			closeAll(versions)
			return nil, err
		}
		p.mapper.subject, p.mapper.issuers = entraSubject, issuers
		versions = append(versions, p)
	}
	return &entraProvider{versions}, nil
}

func entraRules(c Config, issuers []string) *jwtRules {
	r := newJWTRules(c, issuers...)
	r.client = func(claims map[string]any) string { return firstText(claims, "azp", "appid") }
	r.app = entraApp
	r.extra = func(_ *signedToken, claims map[string]any) error {
		if issuerOf(c) == "" {
			if err := entraTenant(claims); err != nil {
				return err
			}
		}
		if !entraVouches(c, claims) {
			delete(claims, "email")
		}
		return entraAccessToken(claims)
	}
	r.groupsCut = entraGroupsCut
	r.keyFits = entraKeyFits
	return r
}

// entraTenant holds the tenant and the version that a token says it is of against
// its issuer.
func entraTenant(claims map[string]any) error {
	tid, iss := textAt(claims, "tid"), textAt(claims, "iss")
	if !guid.MatchString(tid) || !strings.Contains(iss+"/", "/"+tid+"/") {
		return authz.Reject(authz.ReasonTenant, "tid is not the tenant of the issuer")
	}
	version := "1.0"
	if strings.HasSuffix(iss, "/v2.0") {
		version = "2.0"
	}
	if textAt(claims, "ver") != version {
		return authz.Reject(authz.ReasonIssuer, "ver does not go with the issuer")
	}
	return nil
}

// entraVouches reports whether the address in email is of a domain whose owner
// is verified, as the optional claim xms_edov says. Without that claim the word of
// one directory is taken for its own users; of several, each could give its users
// the addresses of another's.
func entraVouches(c Config, claims map[string]any) bool {
	switch v := claims["xms_edov"]; v {
	case nil:
		return !entraShared(c.TenantID) && c.TenantID != personalTenant
	default:
		return v == true || v == "true" || v == int64(1) || v == "1"
	}
}

// entraAccessToken tells access tokens from ID tokens, which the same keys sign
// and whose type is the same: only an access token names its client, and says
// what it was granted.
func entraAccessToken(claims map[string]any) error {
	if textAt(claims, "azp") == "" && textAt(claims, "appid") == "" || claims["scp"] == nil && claims["roles"] == nil {
		return authz.Reject(authz.ReasonTokenType, "no azp or appid, or neither scp nor roles: not an access token, or the app was granted nothing (API permissions)")
	}
	return nil
}

// entraApp reports whether a token has no user: those alone have scp.
func entraApp(claims map[string]any) bool {
	return textAt(claims, "scp") == "" || textAt(claims, "idtyp") == "app"
}

// entraGroupsCut reports whether a user has more groups than a token holds. The
// address that such a token names is not asked: it is of an API that is gone.
func entraGroupsCut(claims map[string]any) bool {
	names, _ := claims["_claim_names"].(map[string]any)
	_, cut := names["groups"]
	return cut || claims["hasgroups"] == true || claims["hasgroups"] == "true"
}

// entraKeyFits holds a key against the issuer that it is published for: a key of
// personal accounts must not sign for a company.
func entraKeyFits(k *publicKey, claims map[string]any) bool {
	if k.issuer == "" {
		return true
	}
	tid, iss := textAt(claims, "tid"), textAt(claims, "iss")
	filled := strings.ReplaceAll(k.issuer, "{tenantid}", tid)
	if filled == iss {
		return true
	}
	// Keys of both versions may be published under the issuer of v2.0.
	_, path, _ := strings.Cut(strings.TrimPrefix(filled, "https://"), "/")
	return !strings.HasSuffix(iss, "/v2.0") && path == tid+"/v2.0"
}

// entraSubject is the key of a user or app that never changes nor passes to
// another: the object in its directory. sub differs from app to app.
func entraSubject(attrs map[string]any) string {
	if oid := textAt(attrs, "oid"); oid != "" {
		return textAt(attrs, "tid") + ":" + oid
	}
	return textAt(attrs, "sub")
}
