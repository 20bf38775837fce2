package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// stored is a store full of API tokens.
type stored struct {
	setting string   // as the configuration names it
	tokens  []string // by number
}

// store makes the API tokens, once. They are put there as `gatelodge token`
// does it.
func (l *lab) store(ctx context.Context) (*stored, error) {
	if l.stored != nil {
		return l.stored, nil
	}
	s := &stored{setting: "sqlite:" + filepath.Join(l.dir, "tokens.db")}
	opened, err := tokenstore.Open(ctx, s.setting, authz.Secret{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }()
	issuer := tokenstore.NewIssuer(opened, nil, tokenstore.Limits{MaxLifetime: 365 * 24 * time.Hour}, time.Now, nil)
	const batch = 5000
	for len(s.tokens) < l.options.stored {
		var orders []tokenstore.Order
		for range min(batch, l.options.stored-len(s.tokens)) {
			orders = append(orders, tokenstore.Order{
				User: userOf(len(s.tokens) + len(orders)), Name: "nightly build", Groups: []string{"wiki-users", "engineering", "berlin", "on-call"},
			})
		}
		issued, err := issuer.Import(ctx, "bench", orders)
		if err != nil {
			return nil, fmt.Errorf("storing API tokens: %w", err)
		}
		for i := range issued {
			s.tokens = append(s.tokens, issued[i].Secret.Reveal())
		}
	}
	l.stored = s
	return s, nil
}
