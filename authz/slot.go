package authz

import (
	"strings"
	"time"
)

// slot is what a Cache keeps of one credential and of the identity behind it,
// but for what that has in common with others. It has no pointer, and is four
// cache lines long.
type slot struct {
	key cacheKey
	ending
	issued   int64 // of the credential, in Unix seconds; 0: not known
	authTime int64 // likewise
	began    uint64
	moved    uint32 // Unix seconds, when it was last moved to the front

	next, prev uint32 // in the order in which they were asked for; see remembered
	alike      uint32 // the next whose key begins alike
	shape      uint32

	lengths [ownTexts]uint16 // of the texts
	used    bool             // not free
	long    bool             // the texts do not fit, and are in remembered.long
	offline bool
	text    [slotText]byte
}

// slotText is how many bytes of text a slot has room for: that is more than a
// name, an address and three UUIDs.
const slotText = 167

// moment is a point in time by both clocks.
type moment struct {
	since   int64 // nanoseconds of the monotonic clock, since the Cache was made
	seconds int64 // Unix seconds by the wall clock
}

// ending is when something that is remembered ends.
type ending struct {
	until   int64 // as moment.since: setting the clock back revives nothing
	expires int64 // wall clock in Unix seconds, of the credential itself; 0: none
}

// live reports whether it may still be used.
func (e *ending) live(now moment) bool {
	return now.since < e.until && (e.expires == 0 || now.seconds < e.expires)
}

// The texts that each identity has of its own.
const ownTexts = 5

type texts [ownTexts]string

func textsOf(id *Identity) texts {
	return texts{id.User, id.Subject, id.Email, id.TokenID, id.Session}
}

func (t *texts) size() (n int) {
	for _, s := range t {
		n += len(s)
	}
	return n
}

// write keeps an entry's identity in a slot that is free. It shares no memory
// with it.
func (s *remembered) write(n uint32, at *slot, e *entry) {
	id := e.identity
	at.issued, at.authTime = unixSeconds(id.Issued), unixSeconds(id.AuthTime)
	at.used, at.began, at.offline = true, e.began, e.offline
	shape, cost := s.shapes.take(e.provider, id)
	at.shape = shape
	s.bytes += slotCost + cost

	own := textsOf(id)
	if size := own.size(); size > slotText {
		for i := range own {
			own[i] = strings.Clone(own[i])
		}
		if s.long == nil {
			s.long = map[uint32]texts{}
		}
		at.long, s.long[n] = true, own
		s.bytes += longCost + int64(size)
		return
	}
	to := at.text[:0]
	for i, t := range own {
		to = append(to, t...)
		at.lengths[i] = uint16(len(t))
	}
}

// longCost is what texts take that are not in a slot, besides their letters.
const longCost = 3 * ownTexts * 16

// forget gives back what write took besides the slot.
func (s *remembered) forget(n uint32, at *slot) {
	s.bytes -= slotCost + s.shapes.leave(at.shape)
	if at.long {
		own := s.long[n]
		delete(s.long, n)
		s.bytes -= longCost + int64(own.size())
	}
}

// read makes the entry that write was given, its identity in room. Times are
// those of before to the second, rounded down.
func (s *remembered) read(n uint32, at *slot, room *Room, e *entry) {
	id := &room.Identity
	e.provider = s.shapes.read(at.shape, id)
	e.identity, e.offline, e.began = id, at.offline, at.began
	id.Issued, id.Expires, id.AuthTime = fromSeconds(at.issued), fromSeconds(at.expires), fromSeconds(at.authTime)

	own := [ownTexts]*string{&id.User, &id.Subject, &id.Email, &id.TokenID, &id.Session}
	if at.long {
		for i, t := range s.long[n] {
			*own[i] = t
		}
		return
	}
	size := 0
	for _, n := range at.lengths {
		size += int(n)
	}
	rest := room.Keep(at.text[:size])
	for i, n := range at.lengths {
		*own[i], rest = rest[:n], rest[n:]
	}
}

// unixSeconds is 0 for no time, and for one that no clock will show.
func unixSeconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func fromSeconds(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}
