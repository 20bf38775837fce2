package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/internal/tokenstore"
)

// stored is a store full of API tokens.
type stored struct {
	setting string   // as the configuration names it
	tokens  []string // by number
	ids     []string // of the same tokens, in the order of ids
}

// store makes the API tokens, once. They are put there as `gatelodge token`
// does it, and are in steady use: each was used a moment ago.
func (l *lab) store(ctx context.Context) (*stored, error) {
	setting := "sqlite:" + filepath.Join(l.dir, "tokens.db")
	opened, err := tokenstore.Open(ctx, setting, authz.Secret{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }()
	if l.stored == nil {
		if l.stored, err = l.fill(ctx, opened, setting); err != nil {
			return nil, err
		}
	}
	var uses []tokenstore.Use
	for _, id := range l.stored.ids {
		uses = append(uses, tokenstore.Use{ID: id, At: time.Now()})
	}
	return l.stored, opened.Use(ctx, uses)
}

func (l *lab) fill(ctx context.Context, opened tokenstore.Store, setting string) (*stored, error) {
	s := &stored{setting: setting}
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
			s.ids = append(s.ids, issued[i].Record.ID)
		}
	}
	slices.Sort(s.ids)
	return s, nil
}
