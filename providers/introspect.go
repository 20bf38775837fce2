package providers

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// introspector asks an authorization server about tokens (RFC 7662): the second
// block that providers are made of. The server proves that a token is good; that
// it is for us is checked here all the same.
type introspector struct {
	client *client
	auth   *clientAuth
	locate func(ctx context.Context) (string, error) // URL of the endpoint
	rules  *jwtRules                                 // no issuers: iss is not compared
	now    func() time.Time
}

// introspected is a provider that is asked by introspection.
type introspected struct {
	*asked
	introspector *introspector
}

// newIntrospected makes such a provider. locate finds the endpoint.
func newIntrospected(c Config, env Env, shape Shape, rules *jwtRules, m *mapper, locate func(*client) func(context.Context) (string, error)) (*introspected, error) {
	p, err := newAsked(c, env, shape, m)
	if err != nil {
		return nil, err
	}
	auth, err := newClientAuth(c, env, issuerOf(c))
	if err != nil {
		return nil, fmt.Errorf("client_key: %w", err)
	}
	rules.endless = true
	i := &introspector{client: p.client, auth: auth, rules: rules, now: env.Now, locate: locate(p.client)}
	p.dpop, p.prove = true, i.prove
	p.never = "many servers show a client only the tokens that were issued to it or are for it"
	return &introspected{p, i}, nil
}

// introspectionAt is the endpoint of the settings, else the metadata's.
func introspectionAt(c Config, env Env) func(*client) func(context.Context) (string, error) {
	return func(made *client) func(context.Context) (string, error) {
		if c.Endpoints.Introspection != "" {
			return func(context.Context) (string, error) { return c.Endpoints.Introspection, nil }
		}
		d := newDiscovery(made, env, issuerOf(c), c.Endpoints.Discovery)
		return func(ctx context.Context) (string, error) { return d.endpoint(ctx, "introspection_endpoint") }
	}
}

// prove asks about a token.
func (i *introspector) prove(ctx context.Context, token string, _ *proof) (*proof, error) {
	claims, err := i.ask(ctx, token)
	if err != nil {
		return nil, err
	}
	return i.judge(claims)
}

func (i *introspector) ask(ctx context.Context, token string) (map[string]any, error) {
	endpoint, err := i.locate(ctx)
	if err != nil {
		return nil, err
	}
	req, err := i.auth.request(endpoint, url.Values{"token": {token}, "token_type_hint": {"access_token"}})
	if err != nil {
		return nil, err
	}
	r, err := i.client.do(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := r.trouble(i.now()); err != nil {
		return nil, err
	}
	switch r.Status {
	case http.StatusOK:
		return r.object()
	case http.StatusUnauthorized:
		// Of us, not of the token (RFC 7662 §2.3).
		return nil, misconfigured("the introspection endpoint refuses our client (401 %s): is client_id right, and client_secret or client_key?", r.errorCode())
	case http.StatusForbidden:
		return nil, misconfigured("our client may not introspect (403 %s): it is to be a confidential client with that right", r.errorCode())
	case http.StatusBadRequest:
		code := r.errorCode()
		err := misconfigured("the introspection endpoint does not take the question (400 %s): are client_id, client_secret or client_key and client_auth right?", code)
		if code != "invalid_client" && code != "unauthorized_client" {
			err = withSome(err) // some servers say so of a token that they cannot read
		}
		return nil, err
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return nil, misconfigured("the introspection endpoint answers with status %d %s: is its address right, and client_auth?", r.Status, r.errorCode())
	}
	return nil, r.unexpected()
}

// judge makes sure that an answer says yes, and that the token is for us.
func (i *introspector) judge(claims map[string]any) (*proof, error) {
	active, ok := claims["active"].(bool)
	if !ok {
		return nil, misconfigured("the answer has no true or false in active: is that the introspection endpoint (RFC 7662)?")
	}
	if !active {
		return nil, authz.Reject(authz.ReasonInactive, "the provider says that the token is not active")
	}
	if err := i.check(claims); err != nil {
		return nil, err
	}
	found, err := i.rules.proof(claims)
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(textAt(claims, "token_type"), "dpop") && !found.keyed() {
		return nil, errNoKeyTold
	}
	if !found.expires.IsZero() {
		// An answer must not outlive exp, not even by the leeway (RFC 7662 §4).
		found.expires = found.expires.Add(-i.rules.leeway)
	}
	return found, nil
}

func (i *introspector) check(claims map[string]any) error {
	if iss, there := claims["iss"]; there && len(i.rules.issuers) > 0 {
		if s, ok := iss.(string); !ok || !slices.Contains(i.rules.issuers, s) {
			return authz.Reject(authz.ReasonIssuer, "iss is not the provider's")
		}
	}
	if v, there := claims["token_type"]; there {
		if s, ok := v.(string); !ok || !strings.EqualFold(s, "bearer") && !strings.EqualFold(s, "dpop") && !strings.EqualFold(s, "access_token") {
			return authz.Reject(authz.ReasonTokenType, "token_type is not that of an access token")
		}
	}
	if err := i.rules.checkBinding(&signedToken{header: map[string]any{}}, claims); err != nil {
		return err
	}
	expired, err := i.rules.checkTimes(claims, i.now())
	switch {
	case err != nil:
		return err
	case expired:
		return authz.Reject(authz.ReasonExpired, "exp is over")
	}
	return nil
}

// Claim implements Claimant.
func (p *introspected) Claim(claims map[string]any) (authz.Identity, error) {
	found, err := p.introspector.judge(claims)
	if err != nil {
		return authz.Identity{}, err
	}
	return found.identity(p.mapper)
}

// introspectedApp reports whether an answer is about a token without a user.
func introspectedApp(claims map[string]any) bool {
	nobody := textAt(claims, "sub") == "" && textAt(claims, "username") == ""
	return appOnly(claims) || nobody && clientOf(claims) != ""
}

// introspectionFaults checks the settings of a provider that is asked.
func introspectionFaults(c Config) []authz.Fault {
	faults := append(endpointFaults(c), bindingFault(c)...)
	faults = append(faults, clientAuthFaults(c)...)
	_, mapping := newMapper(c, "")
	return append(faults, mapping...)
}
