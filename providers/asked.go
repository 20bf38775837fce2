package providers

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
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

	// screen refuses, before any call, what can be no token of ours, and returns
	// what the token itself proves; nil: only what is too long is refused.
	screen func(ctx context.Context, token string) (*proof, error)
	// prove asks. first is what screen returned. Its error is a rejection, or
	// says that it could not be told.
	prove proveFunc
	// never says what may be wrong when no token is ever vouched for.
	never    string
	log      *slog.Logger
	vouched  atomic.Bool
	inactive atomic.Int64
}

type proveFunc func(ctx context.Context, token string, first *proof) (*proof, error)

const (
	// maxAsked bounds a token that a provider is asked about, in bytes: a longer
	// one would make servers refuse the call, and that looks like a fault.
	maxAsked = 16 << 10
	// defaultNegative is how long a provider's refusal is remembered.
	defaultNegative = 10 * time.Second
	// doubtAfter is how many tokens have to be inactive, and none active, before
	// that is taken for a fault of the settings.
	doubtAfter = 20
)

func newAsked(c Config, env Env, shape Shape, m *mapper) (*asked, error) {
	made, err := newClient(c)
	if err != nil {
		return nil, err
	}
	p := &asked{shape: shape, client: made, guard: newGuard(c, env), mapper: m, negative: c.Cache.NegativeTTL, log: env.Log.With("provider", c.Name)}
	if p.negative <= 0 {
		p.negative = defaultNegative
	}
	return p, nil
}

// Owns implements authz.Provider.
func (p *asked) Owns(c authz.Credential) bool {
	return (c.Kind == authz.Bearer || p.dpop && c.Kind == authz.DPoP) && p.shape.owns(&c)
}

// Verify implements authz.Provider.
func (p *asked) Verify(ctx context.Context, c authz.Credential) (authz.Identity, error) {
	found, err := p.ask(ctx, c.Secret.Reveal())
	if err != nil {
		return authz.Identity{}, err
	}
	id, err := found.identity(p.mapper)
	return id, p.remember(err)
}

// identity makes the identity of what was proven.
func (f *proof) identity(m *mapper) (authz.Identity, error) {
	id, err := m.identity(f.attrs, f.app, f.client)
	if err != nil {
		return authz.Identity{}, err
	}
	if f.subject != "" {
		id.Subject = f.subject
	}
	id.Expires, id.Bound, id.GroupsUnknown = f.expires, f.bound, f.groupsUnknown
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
	var first *proof
	if p.screen != nil {
		first, err = p.screen(ctx, token)
		if err != nil || first != nil && first.app {
			return first, err // an app has no profile
		}
	}
	err = p.guard.do(ctx, func(ctx context.Context) error {
		found, err = p.prove(ctx, token, first)
		return err
	})
	p.count(err)
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

func (p *asked) vouches() (issuers, names []string, subject func(map[string]any) string) {
	return p.mapper.vouches()
}

// Status implements Provider.
func (p *asked) Status() Status {
	st := p.guard.status()
	if st.Detail == "" && p.doubtful() {
		st.Detail = "none of the tokens asked about was active: " + p.never
	}
	return st
}

// count keeps an eye on whether any token is ever good.
func (p *asked) count(err error) {
	var r *authz.Rejection
	switch {
	case err == nil:
		p.vouched.Store(true)
	case p.never == "" || p.vouched.Load() || !errors.As(err, &r):
	case r.Reason != authz.ReasonInactive:
		p.vouched.Store(true) // the provider knew the token
	case p.inactive.Add(1) == doubtAfter:
		p.log.Error("none of the tokens asked about was active; the settings may be wrong", "tokens", doubtAfter, "hint", p.never)
	}
}

func (p *asked) doubtful() bool { return p.inactive.Load() >= doubtAfter && !p.vouched.Load() }

// Close implements Provider.
func (p *asked) Close() { p.client.close() }
