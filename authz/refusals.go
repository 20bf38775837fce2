package authz

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// refusals is a shard of the refusals that a Cache remembers. The one that was
// not asked for the longest makes room for a new one.
type refusals struct {
	mu    sync.Mutex
	known *simplelru.LRU[cacheKey, *refused]
	bytes int64
	gone  uint64 // that made room or ended
}

type refused struct {
	refusal  *Rejection
	provider string
	ending
	bytes int64
}

// refusalCost is what a refusal takes in bytes, with the list and map cells that
// hold it, besides its detail.
const refusalCost = 400

func (s *refusals) init(entries int) (err error) {
	s.known, err = simplelru.NewLRU((entries+shardCount-1)/shardCount, func(_ cacheKey, r *refused) {
		s.bytes -= r.bytes
		s.gone++
	})
	return err
}

func (s *refusals) get(k cacheKey, now moment) (e entry, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.known.Get(k)
	if !ok {
		return e, false
	}
	if !r.live(now) {
		s.known.Remove(k)
		return e, false
	}
	return entry{provider: r.provider, refusal: r.refusal}, true
}

func (s *refusals) put(k cacheKey, e *entry, ends ending, limit int64) {
	r := &refused{refusal: e.refusal, provider: e.provider, ending: ends, bytes: refusalCost + int64(len(e.refusal.Detail))}
	if r.bytes > limit {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known.Remove(k) // so that its bytes are given back
	s.known.Add(k, r)
	for s.bytes += r.bytes; s.bytes > limit; {
		s.known.RemoveOldest()
	}
}

func (s *refusals) stats() (entries int, bytes int64, gone uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known.Len(), s.bytes, s.gone
}
