package tokenstore

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// useGranularity is how coarse last uses are, in seconds: a token in steady
	// use is noted once in that time.
	useGranularity = 300
	// writeUsesEvery is how long a use may wait to be written; whoever kills
	// the process loses so much of them.
	writeUsesEvery = 30 * time.Second
	writeUsesFor   = 20 * time.Second
)

// uses collects last uses until they are written.
type uses struct {
	mu      sync.Mutex
	pending map[tokenID]use
}

type use struct {
	at     int64
	source netip.Addr
}

func (u *uses) add(id tokenID, at int64, source netip.Addr) {
	u.mu.Lock()
	if u.pending == nil {
		u.pending = map[tokenID]use{}
	}
	u.pending[id] = use{at, source.Unmap().WithZone("")}
	u.mu.Unlock()
}

// take returns what is pending, in the order of ids, and forgets it.
func (u *uses) take() []Use {
	u.mu.Lock()
	pending := u.pending
	u.pending = nil
	u.mu.Unlock()
	out := make([]Use, 0, len(pending))
	for _, id := range slices.SortedFunc(maps.Keys(pending), func(a, b tokenID) int { return strings.Compare(string(a[:]), string(b[:])) }) {
		out = append(out, Use{ID: string(id[:]), At: time.Unix(pending[id].at, 0), Source: pending[id].source})
	}
	return out
}

// back takes up again what could not be written.
func (u *uses) back(list []Use) {
	for _, one := range list {
		id := toID(one.ID)
		u.mu.Lock()
		_, later := u.pending[id]
		u.mu.Unlock()
		if !later {
			u.add(id, one.At.Unix(), one.Source)
		}
	}
}

// writeUses writes uses from time to time, and once more at the end.
func (x *Index) writeUses(ctx context.Context, s Store, log *slog.Logger) {
	tick := time.NewTicker(writeUsesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			x.flushUses(context.WithoutCancel(ctx), s, log)
			return
		case <-tick.C:
			x.flushUses(ctx, s, log)
		}
	}
}

func (x *Index) flushUses(ctx context.Context, s Store, log *slog.Logger) {
	list := x.uses.take()
	if len(list) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeUsesFor)
	defer cancel()
	if err := s.Use(ctx, list); err != nil {
		x.uses.back(list)
		log.Warn("token store: last uses could not be written; trying again", "error", err)
	}
}
