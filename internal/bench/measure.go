package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// sample is what one round of one server gave.
type sample struct {
	perCheck time.Duration // CPU of the server
	p50, p99 time.Duration
	rate     float64 // checks per second
}

// series is the rounds of one server.
type series struct {
	samples []sample
	memory  int64 // resident at the end, in bytes
}

// comparison is one workload, of Gatelodge and the no-op in turns.
type comparison struct {
	workload        *workload
	gatelodge, noop series
}

// ratio returns the CPU per check against the no-op's of the same round: the
// median, the least and the greatest.
func (c *comparison) ratio() (mid, low, high float64) {
	list := make([]float64, len(c.noop.samples))
	for i := range list {
		list[i] = float64(c.gatelodge.samples[i].perCheck) / float64(c.noop.samples[i].perCheck)
	}
	slices.Sort(list)
	return list[len(list)/2], list[0], list[len(list)-1]
}

// median returns the middle of what f reads off each round.
func median[T int64 | float64 | time.Duration](s *series, f func(*sample) T) T {
	list := make([]T, len(s.samples))
	for i := range s.samples {
		list[i] = f(&s.samples[i])
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// direct compares the servers on one workload, without Envoy: the captured
// check is sent by us.
func (l *lab) direct(ctx context.Context, w *workload) (*comparison, error) {
	gatelodge, err := l.startGatelodge(ctx, w)
	if err != nil {
		return nil, err
	}
	defer gatelodge.stop()
	noop, err := l.startOther(ctx, w)
	if err != nil {
		return nil, err
	}
	defer noop.stop()
	c := &l.bearer
	if w.silent {
		c = &l.silent
	}
	senders := map[*server]*sender{}
	for _, s := range []*server{gatelodge, noop} {
		if senders[s], err = dial(s.address, c); err != nil {
			return nil, err
		}
		defer senders[s].close()
	}

	warm := w.requests(l.issuer, w.warm(l.options))
	if _, err := senders[gatelodge].run(c, warm[:min(len(warm), 200)], 1, judgeWhole); err != nil {
		return nil, fmt.Errorf("%s is not timed: %w", w.name, err)
	}
	result := &comparison{workload: w}
	series := map[*server]*series{gatelodge: &result.gatelodge, noop: &result.noop}
	for s, sender := range senders {
		if _, err := sender.run(c, warm, inFlight, s.judge); err != nil {
			return nil, fmt.Errorf("%s, %s: %w", w.name, s.name, err)
		}
	}
	for round := range l.options.rounds {
		list := w.requests(l.issuer, w.draw(l.options, rand.New(rand.NewPCG(2, uint64(round)))))
		took := map[*server]*took{gatelodge: {}, noop: {}}
		for turn := range turns {
			order := []*server{gatelodge, noop}
			if turn%2 == 1 {
				slices.Reverse(order)
			}
			slice := list[turn*len(list)/turns : (turn+1)*len(list)/turns]
			for _, s := range order {
				err := took[s].run(s, func() ([]time.Duration, error) { return senders[s].run(c, slice, inFlight, s.judge) })
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", w.name, s.name, err)
				}
			}
		}
		for s, t := range took {
			series[s].samples = append(series[s].samples, t.sample())
		}
	}
	for s, list := range series {
		if list.memory, err = s.memory(); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// inFlight is how many checks are under way at once: a busy worker thread of
// Envoy.
const inFlight = 32

// turns of a round: the servers take turns in each, so that what else the
// machine does meets both.
const turns = 6

// took is what one server used in a round so far.
type took struct {
	cpu, wall time.Duration
	each      []time.Duration
}

// run takes the server's CPU time around send.
func (t *took) run(s *server, send func() ([]time.Duration, error)) error {
	before, err := s.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	each, err := send()
	if err != nil {
		return err
	}
	t.wall += time.Since(began)
	after, err := s.cpu()
	if err != nil {
		return err
	}
	t.cpu += after - before
	t.each = append(t.each, each...)
	return nil
}

func (t *took) sample() sample {
	n := len(t.each)
	return sample{
		perCheck: t.cpu / time.Duration(n), p50: quantile(t.each, 0.50), p99: quantile(t.each, 0.99),
		rate: float64(n) / t.wall.Seconds(),
	}
}
