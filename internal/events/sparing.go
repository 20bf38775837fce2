package events

import (
	"sync"
	"time"
)

// linesPerMinute is how many refusals are logged: anybody can cause them.
const linesPerMinute = 20

// sparing lets some lines of a minute through, and counts the others.
type sparing struct {
	mu      sync.Mutex
	began   time.Time
	lines   int
	skipped int
}

func (s *sparing) allows(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if since := now.Sub(s.began); since >= time.Minute || since < 0 {
		s.began, s.lines = now, 0
	}
	if s.lines >= linesPerMinute {
		s.skipped++
		return false
	}
	s.lines++
	return true
}

// untold is how many were not let through since it was last asked.
func (s *sparing) untold() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.skipped
	s.skipped = 0
	return n
}
