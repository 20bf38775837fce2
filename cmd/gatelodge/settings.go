package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/serve"
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

// A bench is a configuration at work, to try things out on rather than to
// serve.
type bench struct {
	*serve.Gate
	keyHeader string
}

// openBench puts together what the configuration at path describes. Close it
// after use.
func openBench(path string) (*bench, error) {
	c, err := loadConfig(path)
	if err != nil {
		return nil, err
	}
	gate, err := serve.Open(c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return nil, err
	}
	return &bench{Gate: gate, keyHeader: c.Policy().KeyHeader}, nil
}

// ready reports whether every provider can decide, or never will: keys are
// fetched in the background, and a bench has only just been opened.
func (b *bench) ready() bool {
	for _, p := range b.Config().Providers {
		if !settled(b.Gate, p.Name) {
			return false
		}
	}
	return true
}

func settled(g *serve.Gate, name string) bool {
	p, err := g.Provider(name)
	if err != nil {
		return true // there is none to wait for
	}
	s := p.Status()
	return s.Ready || s.Misconfigured
}
