package serve

import (
	"fmt"
	"reflect"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/providers"
)

// A running is one provider at work, with the settings it was made of.
type running struct {
	providers.Provider
	config   providers.Config
	instance uint64
}

// roster makes the providers of a configuration. One whose settings did not
// change goes on as it is: it keeps its keys, its connections and what it has
// proven, so that a change elsewhere in the file costs nobody a refusal.
type roster struct {
	env     providers.Env
	running []*running
}

// next returns the roster of a new configuration; r stays as it is until
// retire is called on it.
func (r *roster) next(configs []providers.Config) (*roster, error) {
	n := &roster{env: r.env}
	for _, c := range configs {
		if old := r.find(c); old != nil {
			n.running = append(n.running, old)
			continue
		}
		p, err := providers.New(c, r.env)
		if err != nil {
			n.retire(r)
			return nil, fmt.Errorf("provider %s: %w", c.Name, err)
		}
		n.running = append(n.running, &running{p, c, authz.NewInstance()})
	}
	return n, nil
}

func (r *roster) find(c providers.Config) *running {
	for _, p := range r.running {
		if reflect.DeepEqual(p.config, c) {
			return p
		}
	}
	return nil
}

// retire ends the providers of r that do not go on in kept.
func (r *roster) retire(kept *roster) {
	for _, p := range r.running {
		if kept == nil || kept.find(p.config) == nil {
			p.Close()
		}
	}
}

// named returns the providers as an engine takes them, in order.
func (r *roster) named() (list []authz.NamedProvider) {
	for _, p := range r.running {
		list = append(list, authz.NamedProvider{
			Name: p.config.Name, Provider: p.Provider, CacheFor: p.config.Cache.TTL, Instance: p.instance,
		})
	}
	return list
}
