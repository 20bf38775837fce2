package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
)

// The flood: so many bad tokens, none like another, with one good request to
// every tenth of them. One in ten is opaque, so that its provider has to be
// asked; the others have a wrong signature.
const (
	floodSize  = 1_000_000
	floodChunk = 50_000
)

// flooded is what a flood of bad tokens came to.
type flooded struct {
	identities            int // remembered before
	bad, good             int // sent
	cold, warm, most, end int64
	hits                  float64 // share of the good that were still remembered
}

// flood sends bad tokens to a server that remembers good ones; answers are judged
// as always.
func (l *lab) flood(ctx context.Context) (*flooded, error) {
	if _, err := l.opaque(); err != nil {
		return nil, err
	}
	w := &workload{name: "flood", rules: 20, opaque: true}
	good := l.requests(&workload{}, sequence(l.options.tokens))
	s, err := l.startGatelodge(ctx, w, gatelodgeName)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	f := &flooded{identities: len(good)}
	if f.cold, err = s.memory(); err != nil {
		return nil, err
	}
	jwts, err := dial(s.address, &l.bearer)
	if err != nil {
		return nil, err
	}
	defer jwts.close()
	opaques, err := dial(s.address, &l.short)
	if err != nil {
		return nil, err
	}
	defer opaques.close()
	if _, err := jwts.run(&l.bearer, good, inFlight, s.judge); err != nil {
		return nil, err
	}
	if f.warm, err = s.memory(); err != nil {
		return nil, err
	}
	before, err := s.cacheHits()
	if err != nil {
		return nil, err
	}
	size := min(floodSize, 100*l.options.checks)
	random := rand.New(rand.NewPCG(3, 3))
	for f.bad < size {
		if err := f.wave(l, s, jwts, opaques, good, random, min(floodChunk, size)); err != nil {
			return nil, err
		}
	}
	after, err := s.cacheHits()
	if err != nil {
		return nil, err
	}
	f.hits = (after - before) / float64(f.good)
	return f, f.judge()
}

// cacheBytes is cache.max_bytes, where it is not set.
const cacheBytes = 128 << 20

// bound is what the settings allow: a server that has just started, and a cache
// that is full.
func (f *flooded) bound() int64 { return f.cold + cacheBytes }

// judge wants memory within the bound and a tenth, and good tokens remembered.
func (f *flooded) judge() error {
	switch {
	case f.most > f.bound()*11/10:
		return fmt.Errorf("flood: %s MB, where the settings allow %s", megabytes(f.most), megabytes(f.bound()))
	case f.hits < 0.99:
		return fmt.Errorf("flood: of the good tokens only %.1f %% were still remembered", 100*f.hits)
	}
	return nil
}

// wave sends one part of the flood.
func (f *flooded) wave(l *lab, s *server, jwts, opaques *sender, good []request, random *rand.Rand, size int) error {
	var signed, asked []request
	for n := range size {
		if n%10 == 0 {
			asked = append(asked, request{credential: l.asked.unknown(f.bad + n)})
			signed = append(signed, good[random.IntN(len(good))])
			f.good++
			continue
		}
		signed = append(signed, request{credential: forged(good[n%len(good)].credential)})
	}
	f.bad += size
	if _, err := jwts.run(&l.bearer, signed, inFlight, s.judge); err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	if _, err := opaques.run(&l.short, asked, inFlight, s.judge); err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	var err error
	if f.end, err = s.memory(); err != nil {
		return err
	}
	f.most = max(f.most, f.end)
	return nil
}

var hitsLine = regexp.MustCompile(`(?m)^gatelodge_cache_lookups_total\{result="hit"\} (\S+)$`)

// cacheHits reads how often an answer was remembered, off the server's metrics.
func (s *server) cacheHits() (float64, error) {
	resp, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	m := hitsLine.FindSubmatch(text)
	if m == nil {
		return 0, errors.New("the metrics do not tell of the cache")
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// markdown tells of the flood.
func (f *flooded) markdown() string {
	t := table{"the server", "RSS MB"}.head()
	t.row("has just started", megabytes(f.cold))
	t.row(fmt.Sprintf("remembers %d identities", f.identities), megabytes(f.warm))
	t.row(fmt.Sprintf("at most, during %d different bad tokens", f.bad), megabytes(f.most))
	t.row("after them", megabytes(f.end))
	t.row("may have by its settings (`cache.max_bytes`)", megabytes(f.bound()))
	return fmt.Sprintf("## Memory, and a flood of bad tokens\n\nNine in ten have a wrong signature, of the tenth the provider has to be asked. Of %d good requests between\n"+
		"them %.2f %% were still remembered.\n\n%s\n", f.good, 100*f.hits, t)
}
