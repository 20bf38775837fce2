package providers

import (
	"context"
	"errors"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// proof is what a provider said of a credential that is proven to be for us.
type proof struct {
	attrs   map[string]any // its whole answer
	subject string         // stable key; "": attrs' sub
	client  string         // OAuth client, "": not known
	app     bool           // no user

	expires       time.Time
	bound         *authz.Binding
	groupsUnknown bool
	cacheFor      time.Duration // zero: the configuration's
}

// asked is a provider that has to be asked about each credential: what the
// introspection and the profile blocks have in common.
type asked struct {
	shape    Shape
	dpop     bool // its tokens may be bound to a key
	client   *client
	guard    *guard
	mapper   *mapper
	negative time.Duration

	// screen refuses, before any call, what can be no token of ours; nil: only
	// what is too long.
	screen func(token string) error
	// prove asks. Its error is a rejection, or says that it could not be told.
	prove func(ctx context.Context, token string) (*proof, error)
	// doubt is a thing to tell though all calls are answered; nil: nothing.
	doubt func() string
}

const (
	// maxAsked bounds a token that a provider is asked about, in bytes: a longer
	// one would make servers refuse the call, and that looks like a fault.
	maxAsked = 16 << 10
	// defaultNegative is how long a provider's refusal is remembered.
	defaultNegative = 10 * time.Second
)

func newAsked(c Config, env Env, shape Shape, m *mapper) (*asked, error) {
	made, err := newClient(c)
	if err != nil {
		return nil, err
	}
	p := &asked{shape: shape, client: made, guard: newGuard(c, env), mapper: m, negative: c.Cache.NegativeTTL}
	if p.negative <= 0 {
		p.negative = defaultNegative
	}
	return p, nil
}

// Owns implements authz.Provider.
func (p *asked) Owns(c authz.Credential) bool {
	return (c.Kind == authz.Bearer || p.dpop && c.Kind == authz.DPoP) && p.shape.owns(c.Secret.Reveal())
}

// Verify implements authz.Provider.
func (p *asked) Verify(ctx context.Context, c authz.Credential) (authz.Identity, error) {
	found, err := p.ask(ctx, c.Secret.Reveal())
	if err != nil {
		return authz.Identity{}, err
	}
	id, err := p.identity(found)
	return id, p.remember(err)
}

// identity makes the identity of what was proven.
func (p *asked) identity(found *proof) (authz.Identity, error) {
	id, err := p.mapper.identity(found.attrs, found.app, found.client)
	if err != nil {
		return authz.Identity{}, err
	}
	if found.subject != "" {
		id.Subject = found.subject
	}
	id.Expires, id.Bound, id.CacheFor = found.expires, found.bound, found.cacheFor
	id.GroupsUnknown = found.groupsUnknown
	return id, nil
}

// Attributes implements Provider.
func (p *asked) Attributes(ctx context.Context, c authz.Credential) (map[string]any, error) {
	found, err := p.ask(ctx, c.Secret.Reveal())
	if err != nil {
		return nil, err
	}
	return found.attrs, nil
}

func (p *asked) ask(ctx context.Context, token string) (found *proof, err error) {
	if len(token) > maxAsked {
		return nil, authz.Reject(authz.ReasonMalformedToken, "larger than 16 KiB")
	}
	if p.screen != nil {
		if err := p.screen(token); err != nil {
			return nil, err
		}
	}
	err = p.guard.do(ctx, func(ctx context.Context) error {
		found, err = p.prove(ctx, token)
		return err
	})
	if err != nil {
		return nil, p.remember(err)
	}
	authz.Record(ctx, "provider asked", authz.StepOK, "it vouches for the credential")
	return found, nil
}

// remember says how long a refusal that cost a call may be remembered.
func (p *asked) remember(err error) error {
	var r *authz.Rejection
	if errors.As(err, &r) && r.CacheFor == 0 {
		r.CacheFor = p.negative
	}
	return err
}

// Status implements Provider.
func (p *asked) Status() Status {
	st := p.guard.status()
	if st.Detail == "" && p.doubt != nil {
		st.Detail = p.doubt()
	}
	return st
}

// Close implements Provider.
func (p *asked) Close() { p.client.close() }
