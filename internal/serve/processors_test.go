package serve

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	const most = 8
	for _, c := range []struct {
		name string
		from int
		used []float64 // in turn
		want int
	}{
		{"idle", 8, []float64{0}, 4},
		{"a little", 2, []float64{0.4}, 1},
		{"enough for one", 2, []float64{0.6}, 2},
		{"busy", 1, []float64{0.8}, 8},
		{"more than there are", 8, []float64{8}, 8},
		{"one is left", 1, []float64{0}, 1},
		{"an odd number", 3, []float64{0.3}, 1},
		{"now and then busy", 2, []float64{0.1, 0.9}, 2},
	} {
		var p pace
		n := c.from
		for i := range quietFor {
			n = p.next(n, most, c.used[i%len(c.used)])
		}
		if n != c.want {
			t.Errorf("%s: from %d to %d, want %d", c.name, c.from, n, c.want)
		}
	}
	// It is not given back before it was quiet for a while.
	var p pace
	for i := range 10 * quietFor {
		used := 0.0
		if i%quietFor == quietFor-1 {
			used = 1
		}
		if n := p.next(2, 2, used); n != 2 {
			t.Fatalf("gave one back after %d looks", i)
		}
	}
}

// The program itself: nothing to do, then more than one processor can do, then
// nothing again.
func TestProcessorsFollowTheLoad(t *testing.T) {
	all := runtime.GOMAXPROCS(0)
	if all == 1 {
		t.Skip("NOT RUN: one processor cannot be given back")
	}
	t.Setenv("GOMAXPROCS", "")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		keepProcessors(ctx)
	}()
	reach := func(what string, n int) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for runtime.GOMAXPROCS(0) != n {
			select {
			case <-deadline:
				t.Fatalf("%s: %d processors, want %d", what, runtime.GOMAXPROCS(0), n)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	reach("idle", 1)
	var stop atomic.Bool
	defer stop.Store(true)
	for range all {
		go func() {
			for !stop.Load() {
			}
		}()
	}
	reach("busy", all)
	stop.Store(true)
	reach("idle again", 1)
	cancel()
	<-ended
	if n := runtime.GOMAXPROCS(0); n != all {
		t.Errorf("%d processors at the end, %d at the beginning", n, all)
	}
}
