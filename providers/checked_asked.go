package providers

import (
	"context"

	"github.com/gatelodge/gatelodge/authz"
)

// checkedAndAsked is a provider whose tokens are checked here first, and then
// shown to it: a signature tells nothing of a token that was revoked.
type checkedAndAsked struct {
	*asked
	signed *jwtProvider
}

func (p *checkedAndAsked) signingKeys() *keySet { return p.signed.keys }

// Status implements Provider: both ways must be open.
func (p *checkedAndAsked) Status() Status {
	if st := p.signed.Status(); !st.Ready {
		return st
	}
	return p.asked.Status()
}

// Close implements Provider.
func (p *checkedAndAsked) Close() {
	p.asked.Close()
	p.signed.Close()
}

// withProfile has each token that signed takes shown to the userinfo endpoint as
// well: that one notices a revocation or a logout, and has what the token lacks.
// fits refuses, before the call, a token that the endpoint would not take; nil:
// none.
func withProfile(c Config, env Env, signed *jwtProvider, fits func(*proof) error) (Provider, error) {
	a, err := newAsked(c, env, Shape{Issuers: signed.rules.issuers}, signed.mapper)
	if err != nil {
		signed.Close()
		return nil, err
	}
	info := &profile{client: a.client, now: env.Now, url: c.Endpoints.Userinfo, scope: "openid"}
	if info.url == "" {
		d := newDiscovery(a.client, env, signed.mapper.issuer, c.Endpoints.Discovery)
		info.locate = func(ctx context.Context) (string, error) { return d.endpoint(ctx, "userinfo_endpoint") }
	}
	a.screen = func(ctx context.Context, token string) (*proof, error) {
		claims, err := signed.rules.verify(ctx, authz.Credential{Kind: authz.Bearer, Secret: authz.NewSecret(token)}, signed.keys.find, signed.now())
		if err != nil {
			return nil, err
		}
		found, err := signed.rules.proof(claims)
		if err == nil && !found.app && fits != nil {
			err = fits(found)
		}
		return found, err
	}
	a.prove = info.add
	return &checkedAndAsked{a, signed}, nil
}
