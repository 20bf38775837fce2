package providers

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/authz"
	"github.com/gatelodge/gatelodge/providers/providertest"
)

func newTestGuard(clock *providertest.Clock, timeout time.Duration) *guard {
	return newGuard(Config{Name: "p", Timeout: timeout}, Env{Now: clock.Now, Log: slog.New(slog.DiscardHandler)})
}

// tries makes calls that all end with answer, and says how many were made.
func tries(g *guard, n int, answer error) (made int) {
	for range n {
		_ = g.do(context.Background(), func(context.Context) error { made++; return answer })
	}
	return made
}

func TestGuardLeavesAloneAfterFailures(t *testing.T) {
	clock := providertest.NewClock()
	g := newTestGuard(clock, time.Second)
	down := errors.New("connection refused")
	if n := tries(g, 10, down); n != tripAfter {
		t.Errorf("%d calls before it was left alone, want %d", n, tripAfter)
	}
	if st := g.status(); st.Ready || st.Misconfigured || st.Detail == "" {
		t.Errorf("%+v", st)
	}
	for i, pause := range []time.Duration{1, 2, 4, 8, 10, 10, 10} {
		pause *= time.Second
		clock.Move(pause - time.Millisecond)
		if n := tries(g, 3, down); n != 0 {
			t.Errorf("pause %d: %d calls in it", i, n)
		}
		clock.Move(time.Millisecond)
		if n := tries(g, 3, down); n != 1 {
			t.Errorf("pause %d: %d calls after it, want one", i, n)
		}
	}
	clock.Move(maxPause)
	if n := tries(g, 3, nil); n != 3 || !g.status().Ready || g.status().Detail != "" {
		t.Errorf("%d calls went through once it answered: %+v", n, g.status())
	}
}

func TestGuardTakesRefusalsForAnswers(t *testing.T) {
	g := newTestGuard(providertest.NewClock(), time.Second)
	tries(g, tripAfter-1, errors.New("down"))
	tries(g, 1, authz.Reject(authz.ReasonInactive, ""))
	if n := tries(g, tripAfter, errors.New("down")); n != tripAfter {
		t.Errorf("%d calls: the refusal did not count as an answer", n)
	}
}

func TestGuardHonoursRetryAfter(t *testing.T) {
	for name, c := range map[string]struct {
		said error
		want time.Duration
	}{
		"throttled":            {&authz.Unavailable{Throttled: true, RetryAfter: 17 * time.Second, Cause: errors.New("429")}, 17 * time.Second},
		"throttled, no word":   {&authz.Unavailable{Throttled: true, Cause: errors.New("429")}, firstPause},
		"down for so long":     {&authz.Unavailable{RetryAfter: time.Minute, Cause: errors.New("503")}, time.Minute},
		"longer than believed": {&authz.Unavailable{Throttled: true, RetryAfter: 48 * time.Hour, Cause: errors.New("429")}, maxBackOff},
	} {
		t.Run(name, func(t *testing.T) {
			clock := providertest.NewClock()
			g := newTestGuard(clock, time.Second)
			tries(g, 1, c.said)
			clock.Move(c.want - time.Second)
			var down *authz.Unavailable
			err := g.do(t.Context(), func(context.Context) error { t.Error("asked before its time"); return nil })
			if c.want > time.Second && (!errors.As(err, &down) || down.RetryAfter != time.Second || down.Throttled != unavailable(c.said).Throttled) {
				t.Errorf("%v, want to be told to wait one more second", err)
			}
			clock.Move(time.Second)
			if n := tries(g, 2, nil); n != 2 {
				t.Errorf("%d calls when the time was over", n)
			}
		})
	}
}

// A call that began before the provider asked to be left alone may end well
// after it: that is no leave to go on.
func TestGuardOldAnswersDoNotReopen(t *testing.T) {
	g := newTestGuard(providertest.NewClock(), time.Second)
	_ = g.do(t.Context(), func(context.Context) error {
		tries(g, 1, &authz.Unavailable{Throttled: true, RetryAfter: time.Minute, Cause: errors.New("429")})
		return nil
	})
	if n := tries(g, 1, nil); n != 0 {
		t.Error("asked while throttled")
	}
}

func TestGuardProbesOnce(t *testing.T) {
	clock := providertest.NewClock()
	g := newTestGuard(clock, time.Second)
	tries(g, tripAfter, errors.New("down"))
	clock.Move(time.Minute)
	_ = g.do(t.Context(), func(context.Context) error {
		if n := tries(g, 5, nil); n != 0 {
			t.Errorf("%d calls beside the probe", n)
		}
		return nil
	})
	if n := tries(g, 5, nil); n != 5 {
		t.Errorf("%d calls after the probe", n)
	}
}

func TestGuardCallerWhoLeavesSaysNothing(t *testing.T) {
	clock := providertest.NewClock()
	g := newTestGuard(clock, time.Second)
	tries(g, tripAfter, errors.New("down"))
	clock.Move(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	_ = g.do(ctx, func(ctx context.Context) error { cancel(); return ctx.Err() })
	if n := tries(g, 2, nil); n != 2 {
		t.Errorf("%d calls: the next one was no probe", n)
	}
}

func TestGuardPanic(t *testing.T) {
	g := newTestGuard(providertest.NewClock(), time.Second)
	for range tripAfter {
		func() {
			defer func() { _ = recover() }()
			_ = g.do(t.Context(), func(context.Context) error { panic("x") })
		}()
	}
	if len(g.slots) != 0 || tries(g, 1, nil) != 0 {
		t.Error("panics do not count as failures, or keep their slot")
	}
}

// TestGuardBounds: a provider that hangs gets maxCalls calls, the rest wait or
// are told to come back.
func TestGuardBounds(t *testing.T) {
	g := newTestGuard(providertest.NewClock(), 200*time.Millisecond)
	var at, most, busy atomic.Int32
	var all sync.WaitGroup
	for range 3 * maxCalls {
		all.Go(func() {
			err := g.do(context.Background(), func(ctx context.Context) error {
				n := at.Add(1)
				defer at.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				<-ctx.Done()
				return ctx.Err()
			})
			if err == nil || errors.Is(err, authz.ErrRejected) {
				t.Errorf("%v", err)
			}
			if errors.Is(err, errBusy) {
				busy.Add(1)
			}
		})
	}
	all.Wait()
	if most.Load() > maxCalls {
		t.Errorf("%d calls at a time", most.Load())
	}
	if g.waiting.Load() != 0 || len(g.slots) != 0 {
		t.Errorf("%d wait, %d slots are taken", g.waiting.Load(), len(g.slots))
	}
}

func TestGuardTellsEachThingOnce(t *testing.T) {
	var out strings.Builder
	g := newGuard(Config{Name: "p"}, Env{Now: time.Now, Log: slog.New(slog.NewTextHandler(&out, nil))})
	wrong := &authz.Unavailable{Misconfigured: true, Cause: errors.New("the secret is wrong")}
	tries(g, 3, wrong)
	if n := strings.Count(out.String(), "level=ERROR"); n != 1 {
		t.Errorf("told %d times:\n%s", n, &out)
	}
	if st := g.status(); st.Ready || !st.Misconfigured || st.Detail != "the secret is wrong" {
		t.Errorf("%+v", st)
	}
	tries(g, 1, nil)
	if !strings.Contains(out.String(), "answers again") {
		t.Errorf("the end is not told:\n%s", &out)
	}
}

// TestGuardFaultsOfSome: a fault that shows with some tokens alone is told, and
// keeps nobody else's from being asked about.
func TestGuardFaultsOfSome(t *testing.T) {
	var out strings.Builder
	clock := providertest.NewClock()
	g := newGuard(Config{Name: "p"}, Env{Now: clock.Now, Log: slog.New(slog.NewTextHandler(&out, nil))})
	some := withSome(misconfigured("a scope is missing"))
	for range 2 * tripAfter {
		if n := tries(g, 1, some); n != 1 {
			t.Fatal("it is left alone")
		}
		if st := g.status(); !st.Ready || !st.Misconfigured || st.Detail != "a scope is missing" {
			t.Errorf("%+v", st)
		}
		if n := tries(g, 1, nil); n != 1 || !g.status().Ready || g.status().Misconfigured {
			t.Errorf("a good one: %d %+v", n, g.status())
		}
	}
	if n := strings.Count(out.String(), "level=ERROR"); n != 1 || strings.Contains(out.String(), "again") {
		t.Errorf("told %d times:\n%s", n, &out)
	}
	clock.Move(tellAgain)
	tries(g, 1, some)
	if n := strings.Count(out.String(), "level=ERROR"); n != 2 {
		t.Errorf("told %d times after a while", n)
	}
	var down *authz.Unavailable
	if !errors.As(some, &down) || !down.Misconfigured || errors.Is(some, authz.ErrRejected) {
		t.Error(some)
	}
}
