package providers

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"github.com/gatelodge/gatelodge/authz"
)

// Tokens is what answers for our own API tokens: an index of them in memory.
type Tokens interface {
	// Lookup is that of authz.Immediate. For Basic the user must be the token's
	// owner.
	Lookup(c authz.Credential, source netip.Addr, room *authz.Room) (*authz.Identity, error)
}

// Local is the provider of our own API tokens: as Bearer, as the password of
// Basic, or in the key header. It answers from memory, so that a revocation
// holds at once.
type Local struct {
	tokens Tokens
	status func() Status
}

// NewLocal makes the provider. status says whether the tokens are known.
func NewLocal(tokens Tokens, status func() Status) *Local { return &Local{tokens, status} }

// tokenPrefix starts every API token.
const tokenPrefix = "gl_"

// Owns implements authz.Provider: by the prefix of our tokens, and every key,
// since nobody else issues those.
func (l *Local) Owns(c authz.Credential) bool {
	switch c.Kind {
	case authz.APIKey:
		return true
	case authz.Bearer, authz.Basic:
		return strings.HasPrefix(c.Secret.Reveal(), tokenPrefix)
	}
	return false
}

// Lookup implements authz.Immediate.
func (l *Local) Lookup(c authz.Credential, source netip.Addr, room *authz.Room) (*authz.Identity, error) {
	return l.tokens.Lookup(c, source, room)
}

// Verify implements authz.Provider.
func (l *Local) Verify(_ context.Context, c authz.Credential) (authz.Identity, error) {
	id, err := l.Lookup(c, netip.Addr{}, new(authz.Room))
	if err != nil {
		return authz.Identity{}, err
	}
	return *id, nil
}

// Attributes implements Provider: what is known of an API token is the identity.
func (l *Local) Attributes(context.Context, authz.Credential) (map[string]any, error) {
	return nil, errors.New("API tokens have no attributes: their user is their owner")
}

// Status implements Provider.
func (l *Local) Status() Status { return l.status() }

// Close implements Provider; the index is not ours to end.
func (l *Local) Close() {}

var (
	_ Provider        = (*Local)(nil)
	_ authz.Immediate = (*Local)(nil)
)
