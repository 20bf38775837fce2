package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/providers"
)

// loadConfig reads a configuration for a command that is not the server, which
// tells the warnings. A fault ends the command with every fault on a line.
func loadConfig(path string) (*config.Config, error) {
	c, _, err := config.Load(path)
	var faults *config.Faults
	if errors.As(err, &faults) {
		return nil, fmt.Errorf("the configuration has faults:\n%w", err)
	}
	return c, err
}

// findProvider returns the settings of a provider by its name.
func findProvider(c *config.Config, name string) (providers.Config, error) {
	var names []string
	for _, p := range c.Providers {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return providers.Config{}, fmt.Errorf("the configuration has no provider %q; it has %s", name, strings.Join(names, ", "))
}

// A bench is what a configuration makes, put together to try things out on
// rather than to serve.
type bench struct {
	config    *config.Config
	engine    *authz.Engine
	keyHeader string
	providers []namedProvider
}

type namedProvider struct {
	name string
	providers.Provider
}

// openBench puts together what the configuration at path describes.
func openBench(_ context.Context, path string) (_ *bench, err error) {
	c, err := loadConfig(path)
	if err != nil {
		return nil, err
	}
	b := &bench{config: c}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	policy := c.Policy()
	b.keyHeader = policy.KeyHeader
	env := providers.Env{Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, settings := range c.Providers {
		p, err := providers.New(settings, env)
		if err != nil {
			return nil, fmt.Errorf("provider %s: %w", settings.Name, err)
		}
		b.providers = append(b.providers, namedProvider{settings.Name, p})
		policy.Providers = append(policy.Providers, authz.NamedProvider{Name: settings.Name, Provider: p})
	}
	cache, err := authz.NewCache(authz.CacheLimits{})
	if err != nil {
		return nil, err
	}
	b.engine, err = authz.New(policy, cache, time.Now)
	return b, err
}

func (b *bench) close() {
	for _, p := range b.providers {
		p.Close()
	}
}

// provider returns a provider by its name.
func (b *bench) provider(name string) (providers.Provider, error) {
	if _, err := findProvider(b.config, name); err != nil {
		return nil, err
	}
	for _, p := range b.providers {
		if p.name == name {
			return p.Provider, nil
		}
	}
	return nil, fmt.Errorf("provider %q was not made", name)
}

// ready reports whether every provider can decide, or never will: keys are
// fetched in the background, and a bench has only just been opened.
func (b *bench) ready() bool {
	for _, p := range b.providers {
		if s := p.Status(); !s.Ready && !s.Misconfigured {
			return false
		}
	}
	return true
}
