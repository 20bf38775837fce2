package tokenstore

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// pollEvery bounds how late a change is seen that nobody told us of.
	pollEvery = 250 * time.Millisecond
	// pollFor and loadFor bound one look at the store.
	pollFor = 2 * time.Second
	loadFor = 2 * time.Minute
	// relisten is the pause before listening again.
	relisten = time.Second
)

// Follow keeps the index equal to the store until ctx ends, and tells the
// store of uses. It is told of changes where the store can, and asks for them
// several times a second whether or not.
func (x *Index) Follow(ctx context.Context, s Store, log *slog.Logger) {
	wake := make(chan struct{}, 1)
	var all sync.WaitGroup
	defer all.Wait()
	if n, ok := s.(Notifier); ok {
		all.Go(func() { listen(ctx, n, wake, log) })
	}
	all.Go(func() { x.writeUses(ctx, s, log) })
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		x.note(ctx, x.Sync(ctx, s), log)
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-tick.C:
		}
	}
}

// listen wakes whenever the store tells of a change.
func listen(ctx context.Context, n Notifier, wake chan<- struct{}, log *slog.Logger) {
	for {
		err := n.Notify(ctx, func() {
			select {
			case wake <- struct{}{}:
			default: // somebody is about to look anyway
			}
		})
		if ctx.Err() != nil {
			return
		}
		log.Warn("token store: not told of changes; asking for them until that is mended", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(relisten):
		}
	}
}

// note logs when the store goes out of reach and when it is back.
func (x *Index) note(ctx context.Context, err error, log *slog.Logger) {
	if ctx.Err() != nil {
		return
	}
	var now *failure
	if err != nil {
		now = &failure{err}
	}
	before := x.failure.Swap(now)
	switch {
	case err != nil && before == nil:
		log.Error("token store: out of reach; going on with the tokens that are known", "error", err, "for", x.maxStaleness)
	case err == nil && before != nil:
		log.Info("token store: within reach again")
	}
}

// Sync takes over what has changed since the last time. When it returns nil,
// the index holds all that was committed before it was called.
func (x *Index) Sync(ctx context.Context, s Store) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.revision > 0 && !x.suspect {
		began := x.now()
		ctx, cancel := context.WithTimeout(ctx, pollFor)
		defer cancel()
		revision, err := s.Changes(ctx, x.revision, x.putNewer)
		if err != nil {
			// The store may be another when it is back: a stand-by that had
			// not heard the last of it, or a backup.
			x.suspect = true
			return err
		}
		if revision >= x.revision {
			x.current(revision, began)
			return nil
		}
	}
	return x.load(ctx, s)
}

// load takes over the whole store, and drops what is not there.
func (x *Index) load(ctx context.Context, s Store) error {
	began := x.now()
	ctx, cancel := context.WithTimeout(ctx, loadFor)
	defer cancel()
	x.suspect = true
	x.generation++
	revision, err := s.Changes(ctx, 0, x.put)
	if err != nil {
		return err
	}
	for id, k := range x.ids {
		if k.generation != x.generation {
			x.forget(id)
		}
	}
	x.suspect = false
	x.current(revision, began)
	return nil
}

// current notes that the index equals the store as it was at a time.
func (x *Index) current(revision int64, at time.Time) {
	x.revision = revision
	x.fresh.Store(max(int64(at.Sub(x.start)), 1))
}

// Health is how well the index knows the store.
type Health struct {
	Tokens int           // known, dead ones included
	Age    time.Duration // since the index was known to equal the store
	Usable bool          // requests are answered
	Err    error         // why the store could not be read the last time; nil: it could
}

// Health returns how well the index knows the store. It does no I/O and waits
// for nobody.
func (x *Index) Health() Health {
	now := x.now()
	h := Health{Tokens: int(x.count.Load()), Usable: x.stale(now) == nil}
	h.Age = now.Sub(x.start) - time.Duration(x.fresh.Load())
	if f := x.failure.Load(); f != nil {
		h.Err = f.err
	}
	return h
}
