package serve

import (
	"context"
	"sync/atomic"

	"github.com/gatelodge/gatelodge/authz"
)

// gate hands each request to the engine of the moment. A request that has
// begun under one configuration ends under it.
type gate struct{ engine atomic.Pointer[authz.Engine] }

// Decide implements envoy.Decider.
func (g *gate) Decide(ctx context.Context, q authz.Request) authz.Decision {
	return g.engine.Load().Decide(ctx, q)
}
