package serve

import (
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
	"github.com/gatelodge/gatelodge/providers"
)

// running is one provider at work, with the settings that it was made of.
type running struct {
	providers.Provider
	receiver *providers.Receiver // of its events; nil: it cannot tell any
	name     string
	settings any
	ttl      time.Duration
	instance uint64
}

// roster is the providers of one configuration, in order.
type roster struct {
	env     providers.Env
	audit   tokenstore.Audit // of changes of API tokens
	running []*running
}

// next returns the roster of a new configuration. A provider whose settings did
// not change goes on as it is: it keeps its keys, its connections and what it
// has proven, so that a change elsewhere in the file costs nobody a refusal.
// r stays as it is until it is retired.
func (r *roster) next(c *config.Config) (*roster, error) {
	n := &roster{env: r.env, audit: r.audit}
	for _, settings := range c.Providers {
		trusted := contentOf(settings.CAFile)
		err := n.take(r, settings.Name, [2]any{settings, trusted}, settings.Cache.TTL, func() (*running, error) {
			p, err := providers.New(settings, r.env)
			if err != nil {
				return nil, err
			}
			receiver, err := providers.NewReceiver(settings, p, r.env)
			if err != nil {
				p.Close()
				return nil, err
			}
			return &running{Provider: p, receiver: receiver}, nil
		})
		if err != nil {
			n.retire(r)
			return nil, err
		}
	}
	if err := n.takeTokens(r, c.APITokens); err != nil {
		n.retire(r)
		return nil, err
	}
	return n, nil
}

// contentOf returns what a file holds: a change of it is one of the settings
// that name it. What cannot be read is told when the provider is made.
func contentOf(path string) string {
	if path == "" {
		return ""
	}
	text, _ := os.ReadFile(path)
	return string(text)
}

// take puts a provider on the roster: the one of old that has the same name
// and settings, or a new one.
func (n *roster) take(old *roster, name string, settings any, ttl time.Duration, open func() (*running, error)) error {
	for _, p := range old.running {
		if p.name == name && reflect.DeepEqual(p.settings, settings) {
			n.running = append(n.running, p)
			return nil
		}
	}
	p, err := open()
	if err != nil {
		return fmt.Errorf("provider %s: %w", name, err)
	}
	p.name, p.settings, p.ttl, p.instance = name, settings, ttl, authz.NewInstance()
	n.running = append(n.running, p)
	return nil
}

// retire ends the providers of r that do not go on in kept, which may be nil.
func (r *roster) retire(kept *roster) {
	going := map[*running]bool{}
	if kept != nil {
		for _, p := range kept.running {
			going[p] = true
		}
	}
	for _, p := range r.running {
		if !going[p] {
			if p.receiver != nil {
				p.receiver.Close()
			}
			p.Close()
		}
	}
}

// named returns the providers as an engine takes them.
func (r *roster) named() (list []authz.NamedProvider) {
	for _, p := range r.running {
		list = append(list, authz.NamedProvider{Name: p.name, Provider: p.Provider, CacheFor: p.ttl, Instance: p.instance})
	}
	return list
}
