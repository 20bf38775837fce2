package serve

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/adminapi"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
	"github.com/gatelodge/gatelodge/providers"
)

// apiTokens is the provider of our own API tokens at work: the store, and the
// index that is kept equal to it.
type apiTokens struct {
	*providers.Local
	Issuer *tokenstore.Issuer

	store tokenstore.Store
	end   context.CancelFunc
	ended sync.WaitGroup
}

// firstSync bounds how long the start waits for the tokens. A store that is
// out of reach does not keep us from starting: until it is there, its tokens
// are answered 503.
const firstSync = 2 * time.Second

func openAPITokens(c *config.APITokens, env providers.Env, audit tokenstore.Audit) (*apiTokens, error) {
	store, err := OpenTokenStore(context.Background(), c)
	if err != nil {
		return nil, err
	}
	index := tokenstore.NewIndex(c.MaxStaleness, env.Now)
	t := &apiTokens{store: store, Issuer: tokenstore.NewIssuer(store, index, TokenLimits(c), env.Now, audit)}
	t.Local = providers.NewLocal(index, func() providers.Status { return tokenStatus(index.Health()) })

	first, cancel := context.WithTimeout(context.Background(), firstSync)
	defer cancel()
	if err := index.Sync(first, store); err != nil {
		env.Log.Error("the token store cannot be read yet", "error", err)
	}
	ctx, end := context.WithCancel(context.Background())
	t.end = end
	t.ended.Go(func() { index.Follow(ctx, store, env.Log) })
	t.ended.Go(func() { t.Issuer.EndIdle(ctx, env.Log) })
	return t, nil
}

// Close implements providers.Provider. Uses that were not written yet are.
func (t *apiTokens) Close() {
	t.end()
	t.ended.Wait()
	_ = t.store.Close()
}

func tokenStatus(h tokenstore.Health) providers.Status {
	s := providers.Status{Ready: h.Usable, Detail: fmt.Sprintf("%d tokens", h.Tokens)}
	if h.Err != nil {
		s.Detail += fmt.Sprintf("; store out of reach for %s: %v", h.Age.Round(time.Second), h.Err)
	}
	return s
}

// OpenTokenStore opens the store of the settings: for the server, and for the
// command line that changes it.
func OpenTokenStore(ctx context.Context, c *config.APITokens) (tokenstore.Store, error) {
	return tokenstore.Open(ctx, c.Store, c.StorePassword)
}

// TokenLimits are the limits that the settings put on those who make tokens.
func TokenLimits(c *config.APITokens) tokenstore.Limits {
	return tokenstore.Limits{
		MaxLifetime: c.MaxLifetime, AllowNever: c.AllowNever, PerUser: c.PerUser, IdleExpiry: c.IdleExpiry,
	}
}

// staticUsers is the provider of the htpasswd file.
type staticUsers struct {
	*providers.Htpasswd
	file string
}

func openStaticUsers(file string) (*staticUsers, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("htpasswd_file: %w", err)
	}
	h, err := providers.ReadHtpasswd(text)
	if err != nil {
		return nil, fmt.Errorf("htpasswd_file %s: %w", file, err)
	}
	return &staticUsers{h, file}, nil
}

// Tokens returns what makes and revokes API tokens; nil where the
// configuration has none.
func (g *Gate) Tokens() *tokenstore.Issuer {
	for _, p := range g.roster().running {
		if t, ok := p.Provider.(*apiTokens); ok {
			return t.Issuer
		}
	}
	return nil
}

// takeTokens puts API tokens and static users on the roster.
func (n *roster) takeTokens(old *roster, c *config.APITokens) error {
	if c == nil {
		return nil
	}
	err := n.take(old, authz.APITokens, c, 0, alone(func() (providers.Provider, error) { return openAPITokens(c, n.env, n.audit) }))
	if err != nil || c.Htpasswd == "" {
		return err
	}
	text, err := os.ReadFile(c.Htpasswd) // a change of its content is one of the settings
	if err != nil {
		return fmt.Errorf("htpasswd_file: %w", err)
	}
	settings := [2]string{c.Htpasswd, string(text)}
	return n.take(old, providers.StaticUsers, settings, 0, alone(func() (providers.Provider, error) { return openStaticUsers(c.Htpasswd) }))
}

// alone makes a provider of our own, which nobody tells anything about.
func alone(open func() (providers.Provider, error)) func() (*running, error) {
	return func() (*running, error) {
		p, err := open()
		return &running{Provider: p}, err
	}
}

// access says who may use the admin API under the configuration of the moment.
func (g *Gate) access() adminapi.Access {
	c := g.Config()
	a := adminapi.Access{Token: c.Admin.Token, Admins: c.Admin.Admins, Auditors: c.Admin.Auditors}
	if t := c.APITokens; t != nil {
		a.AdminsOnly, a.Creators = t.AdminsOnly, t.Creators
	}
	return a
}
