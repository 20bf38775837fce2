package providers

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// jwtRules is what a signed token must satisfy to be taken: the first block
// that providers are made of.
type jwtRules struct {
	issuers    []string // iss is one of these, byte for byte
	audiences  []string // aud has one of these; empty: not asked for
	clients    []string // issued to one of these; empty: not asked for
	algorithms []string
	leeway     time.Duration
	strictType bool
	endless    bool // exp may be missing

	// audienceHint is what is told beside when aud is not ours.
	audienceHint string

	// typ looks at the type of a token; nil: it is to be that of an access token.
	typ func(t *signedToken) error

	// client names the OAuth client in the claims.
	client func(claims map[string]any) string
	// app reports whether a token has no user.
	app func(claims map[string]any) bool
	// extra is what the kind asks beyond; its error is a rejection.
	extra func(t *signedToken, claims map[string]any) error
	// groupsCut reports whether the list of groups is not whole; nil: it is.
	groupsCut func(claims map[string]any) bool
	// keyFits says whether a key may sign for these claims; nil: any.
	keyFits func(k *publicKey, claims map[string]any) bool
}

// Bounds of times in claims (RFC 7519 §2, NumericDate), in seconds.
const (
	defaultLeeway = 30 * time.Second
	lastSecond    = 253402300799 // end of the year 9999
)

// newJWTRules takes over what every kind's settings have in common.
func newJWTRules(c Config, issuers ...string) *jwtRules {
	r := &jwtRules{
		issuers: issuers, audiences: c.Audiences, clients: c.AllowedClients, algorithms: c.Algorithms,
		leeway: c.Leeway, strictType: c.StrictType, client: clientOf, app: appOnly,
	}
	if len(r.clients) == 0 && len(r.audiences) == 0 && c.ClientID != "" {
		r.clients = []string{c.ClientID}
	}
	if len(r.algorithms) == 0 {
		r.algorithms = allAlgorithms
	}
	if r.leeway == 0 {
		r.leeway = defaultLeeway
	}
	return r
}

// bindingFault asks for a proof that tokens were issued for us: without one,
// any app's tokens would be taken.
func bindingFault(c Config) []authz.Fault {
	if len(c.Audiences) > 0 || len(c.AllowedClients) > 0 || c.ClientID != "" {
		return nil
	}
	return []authz.Fault{{Key: "audiences", Problem: "is missing: without audiences, allowed_clients or client_id a token that was made for any other app would be taken"}}
}

// algorithmFaults checks the list of accepted algorithms.
func algorithmFaults(c Config) (faults []authz.Fault) {
	for _, a := range c.Algorithms {
		if !slices.Contains(allAlgorithms, a) {
			faults = append(faults, authz.Fault{Key: "algorithms", Problem: a + " is none of " + strings.Join(allAlgorithms, ", ")})
		}
	}
	return faults
}

// verify proves a token and returns its claims. The order is that of cost:
// what can be seen without a key comes first, so that most junk costs little.
// An expired token is told from a bad one only when its signature is good.
// find finds the keys that may have signed it.
func (r *jwtRules) verify(ctx context.Context, c authz.Credential, find findKeys, now time.Time) (map[string]any, error) {
	t, err := parseSignature(c.Secret.Reveal())
	if err != nil {
		return nil, err
	}
	if err := r.checkType(t); err != nil {
		return nil, err
	}
	if !slices.Contains(r.algorithms, t.algorithm) {
		return nil, authz.Reject(authz.ReasonAlgorithm, "%s is not among the provider's algorithms", t.algorithm)
	}
	read := claimsOf(&c)
	if read.err != nil {
		return nil, read.err
	}
	claims := read.all
	if err := r.checkClaims(t, claims); err != nil {
		return nil, err
	}
	expired, err := r.checkTimes(claims, now)
	if err != nil {
		return nil, err
	}
	if err := r.checkSignature(ctx, t, claims, find); err != nil {
		return nil, err
	}
	authz.Record(ctx, "signature", authz.StepOK, t.algorithm)
	if expired {
		return nil, authz.Reject(authz.ReasonExpired, "exp is over")
	}
	return claims, nil
}

func (r *jwtRules) checkType(t *signedToken) error {
	if r.typ != nil {
		return r.typ(t)
	}
	return t.checkType(r.strictType)
}

// findKeys is keySet.find, or keySet.findNow.
type findKeys func(ctx context.Context, t *signedToken) ([]*publicKey, error)

func (r *jwtRules) checkSignature(ctx context.Context, t *signedToken, claims map[string]any, find findKeys) error {
	found, err := find(ctx, t)
	if err != nil {
		return err
	}
	for _, k := range found {
		if (r.keyFits == nil || r.keyFits(k, claims)) && t.verify(k) {
			return nil
		}
	}
	return authz.Reject(authz.ReasonSignature, "no key of the provider made this signature")
}

func (r *jwtRules) checkClaims(t *signedToken, claims map[string]any) error {
	if iss, ok := claims["iss"].(string); !ok || !slices.Contains(r.issuers, iss) {
		return authz.Reject(authz.ReasonIssuer, "iss is not the provider's")
	}
	return r.checkBinding(t, claims)
}

// checkBinding makes sure that a token is for us: by its audience, by the
// client that it was issued to, and by what the kind asks beyond.
func (r *jwtRules) checkBinding(t *signedToken, claims map[string]any) error {
	if len(r.audiences) > 0 {
		found, err := audienceOf(claims)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(found, func(a string) bool { return slices.Contains(r.audiences, a) }) {
			return authz.Reject(authz.ReasonAudience, "aud has none of the configured audiences%s", r.audienceHint)
		}
	}
	if len(r.clients) > 0 {
		if client := r.client(claims); client == "" || !slices.Contains(r.clients, client) {
			return authz.Reject(authz.ReasonClient, "issued to client %q, which is not among the allowed ones", shorten(client))
		}
	}
	if r.extra != nil {
		return r.extra(t, claims)
	}
	return nil
}

// audienceOf reads aud: a text, or a list of nothing but text (RFC 7519 §4.1.3).
func audienceOf(claims map[string]any) ([]string, error) {
	switch v := claims["aud"].(type) {
	case string:
		return []string{v}, nil
	case []any:
		list := make([]string, 0, len(v))
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, authz.Reject(authz.ReasonAudience, "aud has something that is not text")
			}
			list = append(list, s)
		}
		return list, nil
	}
	return nil, authz.Reject(authz.ReasonAudience, "aud is missing")
}

// checkTimes looks at exp, nbf and iat. expired is for the caller to say, once
// the signature is known to be good.
func (r *jwtRules) checkTimes(claims map[string]any, now time.Time) (expired bool, err error) {
	exp, there, err := timeOf(claims, "exp")
	switch {
	case err != nil:
		return false, err
	case !there && !r.endless:
		return false, authz.Reject(authz.ReasonClaims, "exp is missing: the token would never end")
	}
	nbf, there, err := timeOf(claims, "nbf")
	if err != nil {
		return false, err
	}
	if there && nbf.After(now.Add(r.leeway)) {
		return false, authz.Reject(authz.ReasonNotYetValid, "nbf is still to come")
	}
	iat, there, err := timeOf(claims, "iat")
	if err != nil {
		return false, err
	}
	if there && iat.After(now.Add(time.Minute)) {
		return false, authz.Reject(authz.ReasonNotYetValid, "iat is still to come")
	}
	return !exp.IsZero() && !now.Before(exp.Add(r.leeway)), nil
}

// timeOf reads a NumericDate (RFC 7519 §2).
func timeOf(claims map[string]any, name string) (t time.Time, there bool, err error) {
	v, there := claims[name]
	if !there {
		return t, false, nil
	}
	seconds, ok := number(v)
	if !ok || !(seconds >= 0 && seconds <= lastSecond) {
		return t, true, authz.Reject(authz.ReasonClaims, "%s is not a time", name)
	}
	return time.Unix(int64(seconds), 0), true, nil
}

// clientOf names the client that a token was issued to: client_id (RFC 9068),
// azp (OpenID Connect), or cid (Okta). Where several are there they must agree.
func clientOf(claims map[string]any) string {
	client := ""
	for _, name := range []string{"client_id", "azp", "cid"} {
		switch v := textAt(claims, name); {
		case v == "":
		case client == "":
			client = v
		case client != v:
			return ""
		}
	}
	return client
}

// appOnly reports whether a token of client credentials is at hand: its
// subject is its client (RFC 9068 §2.2), or it says so in the way of a server
// that is widely used. A name in such a token is not a user's.
func appOnly(claims map[string]any) bool {
	client := clientOf(claims)
	switch sub := textAt(claims, "sub"); {
	case client != "" && (sub == client || sub == client+"@clients"), // Auth0
		slices.Contains(wordsAt(claims, "gty"), "client-credentials"), // Auth0
		textAt(claims, "idtyp") == "app",                              // Entra ID
		keycloakServiceAccount(claims):
		return true
	}
	return false
}

// finish makes the identity of proven claims: it ends with the token, and is
// bound to the key that the token is bound to.
func (r *jwtRules) finish(claims map[string]any, m *mapper) (authz.Identity, error) {
	found, err := r.proof(claims)
	if err != nil {
		return authz.Identity{}, err
	}
	return found.identity(m)
}

// proof is what proven claims prove.
func (r *jwtRules) proof(claims map[string]any) (*proof, error) {
	bound, err := bindingOf(claims)
	if err != nil {
		return nil, err
	}
	found := &proof{attrs: claims, client: r.client(claims), app: r.app(claims), bound: bound}
	if exp, there, err := timeOf(claims, "exp"); err == nil && there {
		found.expires = exp.Add(r.leeway)
	}
	if r.groupsCut != nil {
		found.groupsUnknown = r.groupsCut(claims)
	}
	return found, nil
}

// keyed reports whether the key is known that a caller must hold.
func (f *proof) keyed() bool { return f.bound != nil && f.bound.KeyThumbprint != "" }

var errNoKeyTold = authz.Reject(authz.ReasonUnbound, "a token of the type DPoP, and nothing says to which key it is bound")

// bindingOf reads cnf (RFC 7800). A way to confirm that is not known cannot be
// checked, so the token is refused.
func bindingOf(claims map[string]any) (*authz.Binding, error) {
	v, there := claims["cnf"]
	if !there {
		return nil, nil
	}
	unbound := authz.Reject(authz.ReasonUnbound, "cnf asks for a proof that is not known")
	members, ok := v.(map[string]any)
	if !ok || len(members) == 0 {
		return nil, unbound
	}
	var b authz.Binding
	for name, member := range members {
		s, ok := member.(string)
		if !ok || s == "" {
			return nil, unbound
		}
		switch name {
		case "jkt":
			b.KeyThumbprint = s
		case "x5t#S256":
			b.CertificateHash = s
		case "kc-jkt-type":
			// Keycloak's own word beside jkt, for the kind of proof; there are others.
			if s != "DPoP" {
				return nil, unbound
			}
		default:
			return nil, unbound
		}
	}
	if b == (authz.Binding{}) {
		return nil, unbound
	}
	return &b, nil
}

// shorten keeps what a token says of itself from filling the log.
func shorten(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// jwtProvider is a provider whose tokens are checked here.
type jwtProvider struct {
	rules  *jwtRules
	mapper *mapper
	keys   *keySet
	client *client
	now    func() time.Time
}

// Owns implements authz.Provider: a signed token whose issuer is ours.
func (p *jwtProvider) Owns(c authz.Credential) bool {
	if c.Kind != authz.Bearer && c.Kind != authz.DPoP {
		return false
	}
	issuer := unverifiedIssuer(&c)
	return issuer != "" && slices.Contains(p.rules.issuers, issuer)
}

// Verify implements authz.Provider.
func (p *jwtProvider) Verify(ctx context.Context, c authz.Credential) (authz.Identity, error) {
	return p.identify(ctx, c, p.keys.find)
}

// VerifyOffline implements authz.Offline. A kind that adds to Verify must not
// take this over by embedding: it would be passed by.
func (p *jwtProvider) VerifyOffline(ctx context.Context, c authz.Credential) (authz.Identity, bool, error) {
	id, err := p.identify(ctx, c, p.keys.findNow)
	return id, !errors.Is(err, errNotAtHand), err
}

func (p *jwtProvider) identify(ctx context.Context, c authz.Credential, find findKeys) (authz.Identity, error) {
	claims, err := p.rules.verify(ctx, c, find, p.now())
	if err != nil {
		return authz.Identity{}, err
	}
	return p.rules.finish(claims, p.mapper)
}

// Attributes implements Provider.
func (p *jwtProvider) Attributes(ctx context.Context, c authz.Credential) (map[string]any, error) {
	return p.rules.verify(ctx, c, p.keys.find, p.now())
}

func (p *jwtProvider) vouches() (issuers, names []string, subject func(map[string]any) string) {
	issuers, _, subject = p.mapper.vouches()
	return issuers, p.rules.issuers, subject
}

func (p *jwtProvider) signingKeys() *keySet { return p.keys }

// Status implements Provider.
func (p *jwtProvider) Status() Status { return p.keys.status() }

// Close implements Provider.
func (p *jwtProvider) Close() {
	p.keys.close()
	p.client.close()
}

// Claim implements Claimant.
func (p *jwtProvider) Claim(claims map[string]any) (authz.Identity, error) {
	if err := p.rules.checkClaims(&signedToken{header: map[string]any{}, algorithm: p.rules.algorithms[0]}, claims); err != nil {
		return authz.Identity{}, err
	}
	expired, err := p.rules.checkTimes(claims, p.now())
	switch {
	case err != nil:
		return authz.Identity{}, err
	case expired:
		return authz.Identity{}, authz.Reject(authz.ReasonExpired, "exp is over")
	}
	return p.rules.finish(claims, p.mapper)
}
