package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// inFlight is how many checks are under way at once: a busy worker thread of
// Envoy.
const inFlight = 32

// direct compares the servers on one workload, without Envoy: the captured
// check is sent by us.
func (l *lab) direct(ctx context.Context, w *workload) (*comparison, error) {
	if err := l.prepare(ctx, w); err != nil {
		return nil, err
	}
	warm, rounds := l.requests(w, w.warm(l.options)), l.rounds(w, l.options.rounds, l.options.checks)
	servers, err := l.start(ctx, w)
	defer func() { stop(servers) }()
	if err != nil {
		return nil, err
	}
	c := l.check(w)
	var contestants []*contestant
	calls := l.asked.count()
	for _, s := range servers {
		sender, err := dial(s.address, c)
		if err != nil {
			return nil, err
		}
		defer sender.close()
		if s.name != noopName {
			if _, err := sender.run(c, warm[:min(len(warm), 200)], 1, judgeWhole); err != nil {
				return nil, fmt.Errorf("%s is not timed: %w", w.name, err)
			}
		}
		if _, err := sender.run(c, warm, inFlight, s.judge); err != nil {
			return nil, fmt.Errorf("%s, %s: %w", w.name, s.name, err)
		}
		contestants = append(contestants, &contestant{
			name: s.name, server: s.process,
			send: func(list []request) ([]time.Duration, error) { return sender.run(c, list, inFlight, s.judge) },
		})
	}
	result, err := compare(w, contestants, rounds)
	if err == nil && w.opaque && l.options.against == "" {
		err = l.asked.askedOnce(calls, len(servers)-1, append(warm, slices.Concat(rounds...)...))
	}
	return result, err
}

// prepare makes what the requests of a workload are made of.
func (l *lab) prepare(ctx context.Context, w *workload) (err error) {
	switch {
	case w.local:
		_, err = l.store(ctx)
	case w.opaque:
		_, err = l.opaque()
	}
	return err
}
