package providers

import (
	"context"
	"slices"

	"github.com/gatelodge/gatelodge/authz"
)

// entraProvider has a provider for each version of tokens.
type entraProvider struct{ versions []*jwtProvider }

// of returns the one whose token it is, or nil.
func (p *entraProvider) of(c authz.Credential) *jwtProvider {
	for _, v := range p.versions {
		if v.Owns(c) {
			return v
		}
	}
	return nil
}

func (p *entraProvider) vouches() (issuers, names []string, subject func(map[string]any) string) {
	for _, v := range p.versions {
		own, _, of := v.vouches()
		issuers, subject = append(issuers, own...), of
	}
	return issuers, issuers, subject
}

var errNotOwned = authz.Reject(authz.ReasonIssuer, "iss is not the provider's")

// Owns implements authz.Provider.
func (p *entraProvider) Owns(c authz.Credential) bool { return p.of(c) != nil }

// Verify implements authz.Provider.
func (p *entraProvider) Verify(ctx context.Context, c authz.Credential) (authz.Identity, error) {
	if v := p.of(c); v != nil {
		return v.Verify(ctx, c)
	}
	return authz.Identity{}, errNotOwned
}

// VerifyOffline implements authz.Offline.
func (p *entraProvider) VerifyOffline(ctx context.Context, c authz.Credential) (authz.Identity, bool, error) {
	if v := p.of(c); v != nil {
		return v.VerifyOffline(ctx, c)
	}
	return authz.Identity{}, true, errNotOwned
}

// Attributes implements Provider.
func (p *entraProvider) Attributes(ctx context.Context, c authz.Credential) (map[string]any, error) {
	if v := p.of(c); v != nil {
		return v.Attributes(ctx, c)
	}
	return nil, errNotOwned
}

// Claim implements Claimant.
func (p *entraProvider) Claim(claims map[string]any) (authz.Identity, error) {
	for _, v := range p.versions {
		if slices.Contains(v.rules.issuers, textAt(claims, "iss")) {
			return v.Claim(claims)
		}
	}
	return authz.Identity{}, errNotOwned
}

// Status implements Provider: the first version that is not ready is told.
func (p *entraProvider) Status() (st Status) {
	for _, v := range p.versions {
		if st = v.Status(); !st.Ready {
			return st
		}
	}
	return st
}

// Close implements Provider.
func (p *entraProvider) Close() { closeAll(p.versions) }

func closeAll(list []*jwtProvider) {
	for _, p := range list {
		p.Close()
	}
}
