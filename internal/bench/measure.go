package main

import (
	"fmt"
	"slices"
	"time"
)

// contestant is one thing that is measured: a server, or what stands in front
// of the same answer in Envoy.
type contestant struct {
	name   string
	server *process // nil: there is none
	proxy  *process // Envoy; nil: it is asked without
	send   func(list []request) ([]time.Duration, error)
}

// sample is what one round gave for one contestant.
type sample struct {
	server   time.Duration // CPU a check
	total    time.Duration // … with Envoy's
	p50, p99 time.Duration
	rate     float64 // checks per second
}

// series is the rounds of one contestant.
type series struct {
	name    string
	samples []sample
	memory  int64 // of the server at the end, resident, in bytes
}

// comparison is one workload, with all contestants taking turns.
type comparison struct {
	workload *workload
	series   []*series
}

func (c *comparison) of(name string) *series {
	for _, s := range c.series {
		if s.name == name {
			return s
		}
	}
	return nil
}

// ratio compares what f reads off each round with that of the no-op in the
// same round: the median, the least and the greatest.
func (c *comparison) ratio(s *series, f func(*sample) time.Duration) (mid, low, high float64) {
	base := c.of(noopName)
	list := make([]float64, len(s.samples))
	for i := range list {
		list[i] = float64(f(&s.samples[i])) / float64(f(&base.samples[i]))
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

// turns of a round: the contestants take turns within each, so that what else
// the machine does meets them all.
const turns = 6

// compare sends the requests of each round to all contestants.
func compare(w *workload, contestants []*contestant, rounds [][]request) (*comparison, error) {
	result := &comparison{workload: w}
	for _, c := range contestants {
		result.series = append(result.series, &series{name: c.name})
	}
	for round, list := range rounds {
		used := make([]use, len(contestants))
		for turn := range turns {
			part := list[turn*len(list)/turns : (turn+1)*len(list)/turns]
			for i := range contestants {
				i = (i + turn + round) % len(contestants)
				if err := used[i].add(contestants[i], part); err != nil {
					return nil, fmt.Errorf("%s, %s: %w", w.name, contestants[i].name, err)
				}
			}
		}
		for i := range used {
			result.series[i].samples = append(result.series[i].samples, used[i].sample())
		}
	}
	for i, c := range contestants {
		if c.server == nil {
			continue
		}
		var err error
		if result.series[i].memory, err = c.server.memory(); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// use is what one contestant used in a round so far.
type use struct {
	server, proxy, wall time.Duration
	took                []time.Duration
}

// add takes CPU time around one turn.
func (u *use) add(c *contestant, list []request) error {
	server, err := c.server.cpu()
	if err != nil {
		return err
	}
	proxy, err := c.proxy.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	took, err := c.send(list)
	if err != nil {
		return err
	}
	u.wall += time.Since(began)
	u.took = append(u.took, took...)
	after, err := c.server.cpu()
	if err != nil {
		return err
	}
	u.server += after - server
	if after, err = c.proxy.cpu(); err != nil {
		return err
	}
	u.proxy += after - proxy
	return nil
}

func (u *use) sample() sample {
	n := time.Duration(len(u.took))
	return sample{
		server: u.server / n, total: (u.server + u.proxy) / n,
		p50: quantile(u.took, 0.50), p99: quantile(u.took, 0.99),
		rate: float64(n) / u.wall.Seconds(),
	}
}

// quantile returns the time within which a share of the checks ended. It
// orders took.
func quantile(took []time.Duration, share float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(int(share*float64(len(took))), len(took)-1)]
}
