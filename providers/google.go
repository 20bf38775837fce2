package providers

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// google asks Google's tokeninfo about access tokens, which are opaque; with
// validation: jwt it takes ID tokens that Google signed instead
// (https://developers.google.com/identity/openid-connect/reference).
var google = Kind{
	Type:     "google",
	Keys:     []string{"hosted_domains"},
	Defaults: func(c *Config) { setDefault(&c.Endpoints.TokenInfo, "https://oauth2.googleapis.com/tokeninfo") },
	Check:    checkGoogle,
	Places: map[string]string{
		"client_id":      "under Google Auth Platform → Clients, as 1234567890-abc123.apps.googleusercontent.com",
		"hosted_domains": "in the Admin console under Account → Domains → Manage domains",
	},
	Shape:  googleShape,
	SignIn: func(Config) Endpoints { return Endpoints{Issuer: googleIssuer} },
	New:    newGoogle,
}

const googleIssuer = "https://accounts.google.com"

func googleShape(c Config) Shape {
	if c.Validation == "jwt" {
		return Shape{Issuers: []string{googleIssuer, "accounts.google.com"}}
	}
	return Shape{Prefixes: []string{"ya29."}}
}

func checkGoogle(c Config) []authz.Fault {
	faults := append(endpointFaults(c), algorithmFaults(c)...)
	_, mapping := newMapper(c, googleIssuer)
	faults = append(faults, mapping...)
	if len(googleClients(c)) == 0 {
		faults = append(faults, authz.Fault{Key: "client_id", Problem: "is missing: without it tokens of any app would be taken"})
	}
	if c.ClientID != "" && !strings.HasSuffix(c.ClientID, ".apps.googleusercontent.com") {
		faults = append(faults, authz.Fault{Key: "client_id", Problem: fmt.Sprintf("%q is not a client id", c.ClientID)})
	}
	for i, d := range c.HostedDomains {
		if !strings.Contains(d, ".") || strings.ContainsAny(d, "@/: ") {
			faults = append(faults, authz.Fault{Key: fmt.Sprintf("hosted_domains[%d]", i), Problem: fmt.Sprintf("%q is not a domain of Google Workspace, as example.com", d)})
		}
	}
	if c.Validation != "" && c.Validation != "jwt" && c.Validation != "profile" {
		faults = append(faults, validationFault(c, "profile (tokeninfo)", "jwt (ID tokens)"))
	}
	return faults
}

// googleClients are the clients whose tokens are taken: Google calls them the
// audience.
func googleClients(c Config) []string {
	list := slices.Concat(c.AllowedClients, c.Audiences)
	if len(list) == 0 && c.ClientID != "" {
		list = []string{c.ClientID}
	}
	return list
}

func newGoogle(c Config, env Env) (Provider, error) {
	if c.Validation == "jwt" {
		return newGoogleID(c, env)
	}
	m, _ := newMapper(c, googleIssuer, "email")
	p, err := newAsked(c, env, googleShape(c), m)
	if err != nil {
		return nil, err
	}
	g := googleTokens{client: p.client, now: env.Now, tokenInfo: c.Endpoints.TokenInfo, clients: googleClients(c)}
	p.prove = g.prove
	if len(c.HostedDomains) > 0 {
		info := &profile{client: p.client, now: env.Now, url: c.Endpoints.Userinfo, scope: "openid"}
		setDefault(&info.url, "https://openidconnect.googleapis.com/v1/userinfo")
		g.domains, g.info = c.HostedDomains, info
		p.prove = g.proveDomain
	}
	return p, nil
}

// googleTokens asks about access tokens.
type googleTokens struct {
	client    *client
	now       func() time.Time
	tokenInfo string
	clients   []string
	domains   []string // hd must be one of these; empty: not asked for
	info      *profile // has hd
}

// prove asks tokeninfo, with the token in a header where it is in no log. In
// its answer numbers and truth values are text, in the older form they are not.
func (g *googleTokens) prove(ctx context.Context, token string, _ *proof) (*proof, error) {
	req, err := http.NewRequest(http.MethodPost, g.tokenInfo, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	markReplayable(req)
	r, err := g.client.do(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := r.trouble(g.now()); err != nil {
		return nil, err
	}
	switch {
	case r.Status == http.StatusOK:
		answer, err := r.object()
		if err != nil {
			return nil, err
		}
		return g.judge(answer)
	case r.Status == http.StatusBadRequest && r.errorCode() == "invalid_request", r.Status == http.StatusNotFound:
		return nil, misconfigured("tokeninfo does not understand the question (%d %s): is its address right?", r.Status, r.errorCode())
	case r.Status == http.StatusBadRequest, r.Status == http.StatusUnauthorized:
		return nil, authz.Reject(authz.ReasonInactive, "Google does not know the token, or no longer")
	}
	return nil, r.unexpected()
}

// judge makes sure that the token was issued to one of our clients.
func (g *googleTokens) judge(answer map[string]any) (*proof, error) {
	for newer, older := range map[string]string{"aud": "audience", "azp": "issued_to", "sub": "user_id", "email_verified": "verified_email"} {
		if _, there := answer[newer]; !there && answer[older] != nil {
			answer[newer] = answer[older]
		}
	}
	client := textAt(answer, "aud")
	if !slices.Contains(g.clients, client) {
		return nil, authz.Reject(authz.ReasonClient, "issued to client %q, which is not among the allowed ones", shorten(client))
	}
	found := &proof{attrs: answer, client: client, app: strings.HasSuffix(textAt(answer, "email"), ".gserviceaccount.com")}
	seconds, ok := numberOrText(answer["exp"])
	if !ok {
		left, known := numberOrText(answer["expires_in"])
		if !known {
			return nil, &authz.Unavailable{Cause: fmt.Errorf("tokeninfo does not say when the token ends")}
		}
		seconds = g.now().Unix() + left
	}
	if found.expires = time.Unix(seconds, 0); !g.now().Before(found.expires) {
		return nil, authz.Reject(authz.ReasonExpired, "exp is over")
	}
	dropUnverifiedEmail(answer)
	return found, nil
}

// proveDomain adds hd, which tokeninfo does not have: the domain of the user's
// account. The domain of an address says nothing about that.
func (g *googleTokens) proveDomain(ctx context.Context, token string, first *proof) (*proof, error) {
	found, err := g.prove(ctx, token, first)
	if err != nil || found.app {
		return found, err
	}
	if textAt(found.attrs, "sub") == "" {
		return nil, authz.Reject(authz.ReasonClaims, "the token does not tell its user; it needs the scope openid")
	}
	if found, err = g.info.add(ctx, token, found); err != nil {
		return nil, err
	}
	dropUnverifiedEmail(found.attrs)
	return found, hostedDomain(found.attrs, g.domains)
}

func hostedDomain(attrs map[string]any, domains []string) error {
	if hd := textAt(attrs, "hd"); len(domains) > 0 && !slices.Contains(domains, hd) {
		return authz.Reject(authz.ReasonTenant, "the account is of the domain %q, which is not among hosted_domains", shorten(hd))
	}
	return nil
}

// dropUnverifiedEmail takes out an address that its user did not prove to be
// theirs: it is nobody's name.
func dropUnverifiedEmail(attrs map[string]any) {
	if v := attrs["email_verified"]; v != true && v != "true" {
		delete(attrs, "email")
	}
}

// newGoogleID makes a provider of ID tokens (as IAP and Cloud Run use them).
func newGoogleID(c Config, env Env) (Provider, error) {
	setDefault(&c.Endpoints.JWKS, "https://www.googleapis.com/oauth2/v3/certs")
	rules := newJWTRules(c, googleShape(c).Issuers...)
	rules.audiences, rules.clients = googleClients(c), nil // of an ID token the audience is the client
	rules.client = func(claims map[string]any) string { return firstText(claims, "azp", "aud") }
	rules.app = func(claims map[string]any) bool {
		return strings.HasSuffix(textAt(claims, "email"), ".gserviceaccount.com")
	}
	rules.extra = func(_ *signedToken, claims map[string]any) error {
		dropUnverifiedEmail(claims)
		if rules.app(claims) {
			return nil
		}
		return hostedDomain(claims, c.HostedDomains)
	}
	return newSigned(c, env, rules, googleIssuer, "email")
}

// numberOrText reads a whole number that may be written as text.
func numberOrText(v any) (int64, bool) {
	if s, ok := v.(string); ok {
		n, err := strconv.ParseInt(s, 10, 64)
		return n, err == nil && n >= 0 && n <= lastSecond
	}
	n, ok := v.(int64)
	return n, ok && n >= 0 && n <= lastSecond
}

// setDefault fills in a setting that was left out.
func setDefault(setting *string, value string) {
	if *setting == "" {
		*setting = value
	}
}
