package authz

import (
	"encoding/binary"
	"sync"
)

// remembered is a shard of the identities that a Cache remembers. The one that
// was not asked for the longest makes room for a new one.
//
// There may be a hundred thousand of them. What is kept of each holds no
// pointer, so that the garbage collector passes all of them by; what many have
// in common is kept once (shape.go). An identity is made anew, in the memory
// of the request, whenever it is asked for.
type remembered struct {
	mu    sync.Mutex
	limit int   // of entries
	bytes int64 // that they take
	count int
	gone  uint64 // that made room or ended

	chunks [][]slot // slot n is at n/chunk, n%chunk; 0 is none
	made   uint32   // slots, with 0
	free   uint32   // the first of the free, chained by next
	first  uint32   // the last that was asked for; chained by next and prev
	last   uint32
	heads  []uint32 // of the slots whose keys begin alike, chained by alike

	shapes shapes
	long   map[uint32]texts // what does not fit into a slot
}

const (
	chunk = 64 // slots, of a page of 16 KiB

	// slotCost is what a slot takes, with its part of heads and of a chunk that
	// is not full.
	slotCost = 256 + 40
)

func (s *remembered) init(entries int) { s.limit = (entries + shardCount - 1) / shardCount }

func (s *remembered) at(n uint32) *slot { return &s.chunks[n/chunk][n%chunk] }

// head is the chain that a key is in. Keys are random: any part is a hash.
func (s *remembered) head(k *cacheKey) *uint32 {
	return &s.heads[binary.LittleEndian.Uint32(k[4:])&uint32(len(s.heads)-1)]
}

// find returns the slot with a key, or 0.
func (s *remembered) find(k *cacheKey) uint32 {
	if s.count == 0 {
		return 0
	}
	n := *s.head(k)
	for n != 0 {
		at := s.at(n)
		if at.key == *k {
			break
		}
		n = at.alike
	}
	return n
}

// moveAfter is for how many seconds an entry stays where it is in the order: to
// move it takes three others in hand, none of them near.
const moveAfter = 10

// get makes the entry of k in room, and moves it to the front.
func (s *remembered) get(k *cacheKey, now moment, room *Room) (e entry, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.find(k)
	if n == 0 {
		return e, false
	}
	at := s.at(n)
	if !at.live(now) {
		s.gone++
		s.drop(n)
		return e, false
	}
	if second := uint32(now.seconds); second-at.moved >= moveAfter {
		at.moved = second
		s.unlink(at)
		s.lead(n, at)
	}
	s.read(n, at, room, &e)
	return e, true
}

// put remembers e, unless something was revoked since its identity was judged:
// it may be meant, and the sweep may have passed here already.
func (s *remembered) put(k *cacheKey, e *entry, now moment, ends ending, limit int64, r *revocations) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.epoch.Load() != e.judged {
		return
	}
	if n := s.find(k); n != 0 {
		s.drop(n)
	}
	n, before := s.take(), s.bytes
	at := s.at(n)
	at.key, at.ending, at.moved = *k, ends, uint32(now.seconds)
	s.write(n, at, e)
	s.count++
	s.grow()
	s.enter(n, at)
	s.lead(n, at)
	if s.bytes-before > limit {
		s.drop(n) // it would push all others out, and itself
	}
	for s.last != 0 && (s.bytes > limit || s.count > s.limit) {
		s.gone++
		s.drop(s.last)
	}
}

// remove drops what is remembered under k.
func (s *remembered) remove(k *cacheKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.find(k); n != 0 {
		s.gone++
		s.drop(n)
	}
}

// sweep drops every identity for which match is true. What comes meanwhile may be
// passed by.
func (s *remembered) sweep(match func(provider string, id *Identity) bool) (dropped int) {
	room := new(Room)
	for n, more := uint32(1), true; more; n += atOnce {
		some := 0
		some, more = s.sweepFrom(n, match, room)
		dropped += some
	}
	return dropped
}

// atOnce is how many slots a sweep looks at in a row: cached decisions wait for
// the lock.
const atOnce = 16

func (s *remembered) sweepFrom(first uint32, match func(provider string, id *Identity) bool, room *Room) (dropped int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := first; n < min(first+atOnce, s.made); n++ {
		at := s.at(n)
		if !at.used {
			continue
		}
		var e entry
		s.read(n, at, room, &e)
		if match(e.provider, e.identity) {
			s.gone++
			s.drop(n)
			dropped++
		}
	}
	return dropped, first+atOnce < s.made
}

func (s *remembered) stats() (entries int, bytes int64, gone uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count, s.bytes, s.gone
}

// take returns a slot that is free.
func (s *remembered) take() uint32 {
	if n := s.free; n != 0 {
		s.free = s.at(n).next
		s.at(n).next = 0
		return n
	}
	if s.made%chunk == 0 {
		s.chunks = append(s.chunks, make([]slot, chunk))
	}
	s.made = max(s.made, 1) + 1
	return s.made - 1
}

// drop frees a slot. Nothing of who was in it stays.
func (s *remembered) drop(n uint32) {
	at := s.at(n)
	for link := s.head(&at.key); ; link = &s.at(*link).alike {
		if *link == n {
			*link = at.alike
			break
		}
	}
	s.unlink(at)
	s.forget(n, at)
	*at = slot{next: s.free}
	s.free = n
	s.count--
}

// lead puts a slot in front of all others.
func (s *remembered) lead(n uint32, at *slot) {
	at.prev, at.next = 0, s.first
	if s.first != 0 {
		s.at(s.first).prev = n
	} else {
		s.last = n
	}
	s.first = n
}

// unlink takes a slot out of the order.
func (s *remembered) unlink(at *slot) {
	if at.prev != 0 {
		s.at(at.prev).next = at.next
	} else {
		s.first = at.next
	}
	if at.next != 0 {
		s.at(at.next).prev = at.prev
	} else {
		s.last = at.prev
	}
}

// enter puts a slot into the chain of its key.
func (s *remembered) enter(n uint32, at *slot) {
	head := s.head(&at.key)
	at.alike, *head = *head, n
}

// grow makes enough chains for the slots: about one each.
func (s *remembered) grow() {
	if s.count <= len(s.heads) {
		return
	}
	s.heads = make([]uint32, max(16, 2*len(s.heads)))
	for n := s.first; n != 0; n = s.at(n).next {
		s.enter(n, s.at(n))
	}
}
