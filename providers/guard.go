package providers

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// What one provider may cost while it is slow or fails.
const (
	maxCalls   = 64   // at a time
	maxWaiting = 1024 // for one of those to end

	tripAfter  = 5 // failures in a row after which it is left alone
	firstPause = time.Second
	maxPause   = 10 * time.Second // so that its return is noticed within seconds

	// maxBackOff bounds what a provider's own Retry-After is believed.
	maxBackOff = time.Hour

	// tellAgain is how long an ofSome is not logged again.
	tellAgain = time.Minute
)

// guard stands before the calls to one provider, so that one that is slow or
// down costs the others nothing and is not asked in vain: at most maxCalls at a
// time, none while it asked to be left alone (Retry-After), and after tripAfter
// failures in a row only one now and then, until that one is answered.
//
// What it answers in the provider's stead is an authz.Unavailable, never a
// refusal.
type guard struct {
	now     func() time.Time
	log     *slog.Logger
	timeout time.Duration // of one use, with the wait for its turn
	slots   chan struct{}
	waiting atomic.Int32

	mu       sync.Mutex
	failures int           // in a row
	pause    time.Duration // the last one
	until    time.Time     // no call before; zero: not left alone
	probing  bool          // the one call after a pause is under way
	last     *authz.Unavailable
	toldSome time.Time // when an ofSome was logged last
}

// ofSome is the error of a fault that may show with some tokens alone. It is said
// as loudly as any, but the provider did answer: other tokens are not kept from
// it, or whoever can make strange ones could keep everybody out.
type ofSome struct{ down error }

func withSome(down error) error { return &ofSome{down} }

func (o *ofSome) Error() string { return o.down.Error() }
func (o *ofSome) Unwrap() error { return o.down }

func newGuard(c Config, env Env) *guard {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return &guard{now: env.Now, log: env.Log.With("provider", c.Name), timeout: timeout, slots: make(chan struct{}, maxCalls)}
}

// do makes a call to the provider, or says why not. call's error is a
// rejection, which is a good answer, or means that the provider cannot tell.
// ctx is bounded for it.
func (g *guard) do(ctx context.Context, call func(context.Context) error) error {
	if err := g.left(); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	if err := g.turn(limited); err != nil {
		return err
	}
	defer func() { <-g.slots }()
	if err := g.enter(); err != nil { // it may have been left alone meanwhile
		return err
	}
	err := error(errCallPanic)
	defer func() {
		if ctx.Err() != nil && !errors.Is(err, authz.ErrRejected) && err != nil {
			g.forgo() // the caller went away: that says nothing about the provider
			return
		}
		g.leave(err)
	}()
	err = call(limited)
	return err
}

var errCallPanic = errors.New("the check of an answer panicked")

// left says that the provider is left alone now, or nil.
func (g *guard) left() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.leftAlone()
}

func (g *guard) leftAlone() error {
	if g.until.IsZero() {
		return nil
	}
	wait := g.until.Sub(g.now())
	switch {
	case wait > 0:
	case g.probing:
		wait = time.Second
	default:
		return nil
	}
	said := *g.last
	said.RetryAfter = wait
	return &said
}

// turn waits for one of the slots.
func (g *guard) turn(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > maxWaiting {
		return &authz.Unavailable{Cause: errBusy, RetryAfter: time.Second}
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &authz.Unavailable{Cause: errBusy, RetryAfter: time.Second}
	}
}

var errBusy = errors.New("too many calls to the provider are under way")

func (g *guard) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.leftAlone(); err != nil {
		return err
	}
	g.probing = !g.until.IsZero()
	return nil
}

// forgo ends a call that came to nothing.
func (g *guard) forgo() {
	g.mu.Lock()
	g.probing = false
	g.mu.Unlock()
}

// leave takes note of how a call ended.
func (g *guard) leave(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil || errors.Is(err, authz.ErrRejected) {
		g.good()
		return
	}
	down := unavailable(err)
	if errors.As(err, new(*ofSome)) {
		if now := g.now(); now.Sub(g.toldSome) >= tellAgain {
			g.toldSome = now
			g.tell(down)
		}
		g.good()
		g.last = down
		return
	}
	g.tell(down)
	g.last = down
	g.failures++
	asked := down.RetryAfter > 0 // the provider said how long
	if !g.probing && !g.until.IsZero() && !asked {
		return // of a call that began before it was left alone
	}
	if down.Throttled || asked || g.probing || g.failures >= tripAfter {
		g.pause = min(max(2*g.pause, firstPause), maxPause)
		wait := g.pause
		if asked {
			wait = min(down.RetryAfter, maxBackOff)
		}
		if until := g.now().Add(wait); until.After(g.until) {
			g.until = until
		}
	}
	g.probing = false
}

// good takes note of an answer. One to a call that began before the provider
// was left alone does not end that.
func (g *guard) good() {
	if !g.until.IsZero() && !g.probing {
		return
	}
	if g.failures > 0 {
		g.log.Info("the provider answers again")
	}
	g.failures, g.pause, g.until, g.probing, g.last = 0, 0, time.Time{}, false, nil
}

// tell logs what is wrong, once for each new thing. A fault of ours is louder:
// it does not go away by itself.
func (g *guard) tell(down *authz.Unavailable) {
	if g.last != nil && g.last.Cause.Error() == down.Cause.Error() {
		return
	}
	level := slog.LevelWarn
	if down.Misconfigured {
		level = slog.LevelError
	}
	g.log.Log(context.Background(), level, "the provider cannot be asked", "error", down.Cause.Error(), "misconfigured", down.Misconfigured,
		"throttled", down.Throttled, "retry_after", down.RetryAfter)
}

// unavailable is err as an authz.Unavailable.
func unavailable(err error) *authz.Unavailable {
	var down *authz.Unavailable
	if errors.As(err, &down) {
		return down
	}
	return &authz.Unavailable{Cause: err}
}

// status says what was last seen of the provider. It is ready until it failed
// so often that it is left alone, or refused us; a fault that shows with some
// tokens alone takes nobody else's way.
func (g *guard) status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last == nil {
		return Status{Ready: true}
	}
	refused := g.last.Misconfigured && g.failures > 0
	return Status{Ready: g.until.IsZero() && !refused, Misconfigured: g.last.Misconfigured, Detail: g.last.Cause.Error()}
}
