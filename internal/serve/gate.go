package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
	"github.com/gatelodge/gatelodge/providers"
)

// Gate is a configuration at work: the engine of the moment and what it is
// made of. A request that has begun under one configuration ends under it.
type Gate struct {
	engine  atomic.Pointer[authz.Engine]
	cache   *authz.Cache
	audit   tokenstore.Audit
	current atomic.Pointer[standing]
	env     providers.Env
}

// standing is what belongs to one configuration.
type standing struct {
	config *config.Config
	roster *roster
	prover *providers.DPoP // nil: bound tokens are not taken
	login  *authz.Engine   // decides who uses the admin API
}

// Open makes a gate of a configuration. Close it to end what its providers do
// in the background. audit is told of every change of an API token that is made
// by this process; nil: nobody is.
func Open(c *config.Config, log *slog.Logger, audit tokenstore.Audit) (*Gate, error) {
	cache, err := authz.NewCache(authz.CacheLimits{
		Entries: c.Cache.Entries, Bytes: c.Cache.Bytes, NegativeEntries: c.Cache.NegativeEntries,
		Revocations: c.Cache.Revocations, KeepRevocations: c.Cache.KeepRevocations,
	})
	if err != nil {
		return nil, err
	}
	g := &Gate{cache: cache, audit: audit, env: providers.Env{Now: time.Now, Log: log}}
	return g, g.Change(c)
}

// Change goes over to another configuration, whole or not at all.
func (g *Gate) Change(c *config.Config) error {
	old := g.roster()
	next, err := old.next(c)
	if err != nil {
		return err
	}
	policy := c.Policy()
	policy.Providers = next.named()
	prover, err := g.prover(c.DPoP)
	if err != nil {
		next.retire(old)
		return err
	}
	if prover != nil {
		policy.Prover = prover
	}
	engine, err := authz.New(policy, g.cache, g.env.Now)
	if err != nil {
		next.retire(old)
		return err
	}
	login, err := authz.New(loginPolicy(c, next), g.cache, g.env.Now)
	if err != nil {
		next.retire(old)
		return err
	}
	g.engine.Store(engine)
	g.current.Store(&standing{c, next, prover, login})
	old.retire(next)
	return nil
}

// prover returns what checks DPoP proofs. The one of old goes on where its
// settings did not change: with it would go the memory of the proofs seen.
func (g *Gate) prover(d *config.DPoP) (*providers.DPoP, error) {
	if d == nil {
		return nil, nil
	}
	if old := g.current.Load(); old != nil && reflect.DeepEqual(old.config.DPoP, d) {
		return old.prover, nil
	}
	p, err := providers.NewDPoP(providers.DPoPSettings{
		Origins: d.Origins, MaxAge: d.MaxAge, MaxProofs: d.MaxProofs, Nonce: d.Nonce, NonceKey: d.NonceKey,
	})
	if err != nil {
		return nil, fmt.Errorf("dpop: %w", err)
	}
	if old := g.current.Load(); old != nil {
		p.Remember(old.prover, g.env.Now())
	}
	return p, nil
}

func (g *Gate) roster() *roster {
	if s := g.current.Load(); s != nil {
		return s.roster
	}
	return &roster{env: g.env, audit: g.audit}
}

// Config returns the configuration of the moment.
func (g *Gate) Config() *config.Config { return g.current.Load().config }

// Decide implements envoy.Decider.
func (g *Gate) Decide(ctx context.Context, q authz.Request) authz.Decision {
	return g.engine.Load().Decide(ctx, q)
}

// Login decides who a request to the admin API is from: the way Decide does,
// by the providers of admin.providers alone and under no rules.
func (g *Gate) Login(ctx context.Context, q authz.Request) authz.Decision {
	return g.current.Load().login.Decide(ctx, q)
}

// loginPolicy takes bearer tokens of the providers whose users may log in.
// API tokens and passwords are not among them: what was made for a script must
// not make more of its kind. Rules, shadow mode and the global switch are about
// the protected API, and say nothing here.
func loginPolicy(c *config.Config, r *roster) *authz.Policy {
	p := &authz.Policy{Enabled: true, Realm: c.Realm, Headers: c.Headers}
	for _, named := range r.named() {
		if slices.Contains(c.Admin.Providers, named.Name) {
			p.Providers = append(p.Providers, named)
		}
	}
	return p
}

// Explain decides and tells each step.
func (g *Gate) Explain(ctx context.Context, q authz.Request) (authz.Decision, []authz.Step) {
	return g.engine.Load().Explain(ctx, q)
}

// ErrNoProvider is the error of a name that no provider has.
var ErrNoProvider = errors.New("there is no such provider")

// Provider returns the provider of a name.
func (g *Gate) Provider(name string) (providers.Provider, error) {
	for _, p := range g.roster().running {
		if p.name == name {
			return p.Provider, nil
		}
	}
	return nil, ErrNoProvider
}

// Revoke obeys what an identity provider tells, for every provider that vouches
// for the same issuer.
func (g *Gate) Revoke(r authz.Revocation) (dropped int) { return g.cache.Revoke(r, g.env.Now()) }

// Receiver returns what takes the events of a provider of the configuration of
// the moment; nil where it cannot tell any. known is false where there is no
// such provider.
func (g *Gate) Receiver(provider string) (r *providers.Receiver, known bool) {
	for _, p := range g.roster().running {
		if p.name == provider {
			return p.receiver, true
		}
	}
	return nil, false
}

// Close ends the providers.
func (g *Gate) Close() { g.roster().retire(nil) }
