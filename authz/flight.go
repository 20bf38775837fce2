package authz

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// flights joins requests that wait for the answer about one credential: the
// provider is asked once, however many wait.
type flights struct {
	mu     sync.Mutex
	flying map[cacheKey]*flight
}

type flight struct {
	done  chan struct{}
	entry *entry // set before done is closed, unless err is
	err   error
}

var errPanic = errors.New("provider panicked")

// join returns ask's answer, from a call that is under way where there is one.
// ask runs apart from ctx: a caller who gives up does not spoil the answer for
// the others. Its deadline is its own.
func (f *flights) join(ctx context.Context, k cacheKey, ask func(context.Context) (*entry, error)) (*entry, error) {
	f.mu.Lock()
	fl, flying := f.flying[k]
	if !flying {
		fl = &flight{done: make(chan struct{})}
		if f.flying == nil {
			f.flying = map[cacheKey]*flight{}
		}
		f.flying[k] = fl
	}
	f.mu.Unlock()
	if !flying {
		go f.fly(context.WithoutCancel(ctx), k, fl, ask)
	}
	select {
	case <-fl.done:
		return fl.entry, fl.err
	case <-ctx.Done():
		return nil, &Unavailable{Cause: ctx.Err(), RetryAfter: time.Second}
	}
}

func (f *flights) fly(ctx context.Context, k cacheKey, fl *flight, ask func(context.Context) (*entry, error)) {
	defer func() {
		if p := recover(); p != nil {
			// Nothing of the panic's value is kept: it could hold the token.
			fl.entry, fl.err = nil, fmt.Errorf("%w: %T", errPanic, p)
		}
		f.mu.Lock()
		delete(f.flying, k)
		f.mu.Unlock()
		close(fl.done)
	}()
	fl.entry, fl.err = ask(ctx)
}
