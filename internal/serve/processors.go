package serve

import (
	"context"
	"os"
	"runtime"
	"time"
)

// A Go program is ready to run on as many processors as there are. For a server
// of short answers that is dear: with each of them another thread is woken, and
// looks about for work, that one would have done in passing; and it runs where
// Envoy wants to. So we take one while one is enough.
//
// Beside Envoy with one worker on two cores, at full load, a check cost 16 µs
// with two processors and 13 µs with one; at 1,000 a second 129 µs and 96 µs
// (`make bench`, with and without GOMAXPROCS=1).
const (
	lookEvery = 50 * time.Millisecond
	lookLate  = 10 * time.Millisecond // and something kept us from looking, as it keeps others from what they do
	quietFor  = 20                    // looks, before one is given back

	// Shares of the processors that are in use. More are taken long before the
	// last is busy, and given back only where what is left will do easily.
	busy  = 0.7
	quiet = 0.55
)

// pace is how many processors to take.
type pace struct{ calm int } // looks in a row at which fewer would do

// next returns the number to go on with, when of n as much as used was busy
// lately. What is wanted comes at once, and goes by halves.
func (p *pace) next(n, most int, used float64) int {
	switch {
	case used > busy*float64(n):
		p.calm = 0
		return most
	case n > 1 && used < quiet*float64(n/2):
		if p.calm++; p.calm >= quietFor {
			p.calm = 0
			return n / 2
		}
	default:
		p.calm = 0
	}
	return n
}

// keepProcessors has the program run on as many processors as the load needs,
// until ctx is done. Whoever sets GOMAXPROCS has chosen for themselves.
func keepProcessors(ctx context.Context) {
	before, ok := cpuTime()
	if !ok || os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) == 1 {
		return
	}
	defer runtime.SetDefaultGOMAXPROCS()
	var p pace
	at := time.Now()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, n := time.Now(), runtime.GOMAXPROCS(0)
		cpu, _ := cpuTime()
		used := float64(cpu-before) / float64(now.Sub(at))
		if now.Sub(at) > lookEvery+lookLate {
			used = float64(n)
		}
		before, at = cpu, now
		next := p.next(n, runtime.NumCPU(), used)
		switch {
		case next > n:
			runtime.SetDefaultGOMAXPROCS() // all that the machine, or a container's limit, allows by now
		case next < n:
			runtime.GOMAXPROCS(next)
		}
	}
}
