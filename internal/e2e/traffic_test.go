package e2e

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A caller is one who sends the same request again and again, to the same end.
type caller struct {
	request
	right func(r reply, seen *received) bool // whether it ended as it must
}

// issues is a caller with a good token.
func issues(token, user string) caller {
	q := request{target: "/issues", headers: []field{bearer(token)}}
	return caller{q, func(r reply, seen *received) bool {
		return r.status == 200 && seen != nil && slices.Equal(seen.values("x-forwarded-user"), []string{user})
	}}
}

// intruder is a caller who must be refused, and by a decision.
func intruder(q request) caller {
	return caller{q, func(r reply, seen *received) bool { return r.status == 401 && seen == nil }}
}

// traffic is what callers send while something happens to the server: over
// each protocol, through each variant of Envoy in turn.
type traffic struct {
	end  func()
	done sync.WaitGroup
	sent atomic.Int64
	bad  atomic.Int64

	mu    sync.Mutex
	first string // the first wrong answer
}

// pace is the time between two requests of the same protocol: many enough to
// hit every moment, few enough to leave a small machine idle.
const pace = 10 * time.Millisecond

func startTraffic(t testing.TB, f *front, callers ...caller) *traffic {
	t.Helper()
	stop := make(chan struct{})
	tr := &traffic{end: sync.OnceFunc(func() { close(stop) })}
	for _, p := range protocols {
		tr.done.Go(func() {
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-tick.C:
					tr.ask(t, f, p, variants[n%len(variants)], callers[n/len(variants)%len(callers)])
				}
			}
		})
	}
	t.Cleanup(func() {
		tr.end()
		tr.done.Wait()
	})
	return tr
}

func (tr *traffic) ask(t testing.TB, f *front, p protocol, v variant, c caller) {
	r, seen := f.send(t, p, v, c.request)
	tr.sent.Add(1)
	if c.right(r, seen) || tr.bad.Add(1) > 1 {
		return
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.first = fmt.Sprintf("%s %s: %s: status %d %s", p.name, v.name, brief(c.request), r.status, r.body)
	if seen != nil {
		tr.first += fmt.Sprintf(", upstream got %q", seen.headers)
	}
}

// finish ends the traffic, of a hundred requests at least, and checks that every
// answer was right.
func (tr *traffic) finish(t testing.TB) {
	t.Helper()
	eventually(t, 30*time.Second, "a hundred requests are answered", func() bool { return tr.sent.Load() >= 100 })
	tr.end()
	tr.done.Wait()
	if bad := tr.bad.Load(); bad > 0 {
		t.Errorf("%d of %d requests got a wrong answer; the first: %s", bad, tr.sent.Load(), tr.first)
	}
	t.Logf("%d requests were answered meanwhile", tr.sent.Load())
}
