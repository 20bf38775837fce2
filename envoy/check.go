package envoy

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/authz"
)

// A Decider says what becomes of a request. *authz.Engine is one.
type Decider interface {
	Decide(ctx context.Context, q authz.Request) authz.Decision
}

// An Observer is told of every decision, once, before it is answered. It must
// not block, and must not keep q, d or what is in them: their memory is used
// again for the next request.
type Observer interface {
	Observe(q *authz.Request, d *authz.Decision, took time.Duration)
}

// check is the whole trip of one request: read, decide, tell, answer. It appends
// the answer to b. Whatever panics on the way, the answer is a denial.
func (s *Server) check(ctx context.Context, data []byte, t *trip, b []byte) (answer []byte) {
	if !s.enter() {
		return s.shed(t, b)
	}
	defer func() {
		s.leave()
		if p := recover(); p != nil {
			t.d = panicked(p)
			answer = s.answer(b, &t.q, &t.d)
		}
	}()

	start := s.now()
	t.d = s.decide(ctx, data, t, start)
	if s.observer != nil {
		s.observer.Observe(&t.q, &t.d, s.now().Sub(start))
	}
	return s.answer(b, &t.q, &t.d)
}

// shed answers a check that is one too many, without a look at it.
func (s *Server) shed(t *trip, b []byte) (answer []byte) {
	defer func() {
		if p := recover(); p != nil {
			t.d = panicked(p)
			answer = s.answer(b, &t.q, &t.d)
		}
	}()
	t.q = authz.Request{Headers: t.q.Headers[:0], Context: t.q.Context[:0]}
	t.d = authz.Decision{ID: authz.NewDecisionID(), Reason: authz.ReasonOverload, RetryAfter: time.Second}
	if s.observer != nil {
		s.observer.Observe(&t.q, &t.d, 0)
	}
	return s.answer(b, &t.q, &t.d)
}

// decide reads a check and has it decided.
func (s *Server) decide(ctx context.Context, data []byte, t *trip, now time.Time) (d authz.Decision) {
	defer func() {
		if p := recover(); p != nil {
			d = panicked(p)
		}
	}()
	read(data, &t.q)
	t.q.Now, t.q.Room = now, &t.room
	return s.decider.Decide(ctx, t.q)
}

// panicked is the decision where none was come to. Nothing of the panic's value
// is kept: it could hold a credential.
func panicked(p any) authz.Decision {
	return authz.Decision{ID: authz.NewDecisionID(), Reason: authz.ReasonPanic, Detail: fmt.Sprintf("panic of type %T", p)}
}

// trip is what one check needs of memory, used again for the next.
type trip struct {
	in   frame // as grpc-go has it
	q    authz.Request
	d    authz.Decision
	room authz.Room
}

var trips = sync.Pool{New: func() any { return new(trip) }}

// answer appends a decision, rendered with the policy that made it.
func (s *Server) answer(b []byte, q *authz.Request, d *authz.Decision) []byte {
	p := d.Policy
	if p == nil {
		// Decided before any policy was asked, or not decided at all: whatever
		// it says, it is a denial.
		p = &noPolicy
		if d.Outcome == authz.Allowed || d.Outcome == authz.Answered {
			d = &authz.Decision{ID: d.ID, Reason: authz.ReasonInternal}
		}
	}
	r := s.rendered.Load()
	if r == nil || r.policy != p {
		r = render(p)
		s.rendered.Store(r)
	}
	return r.write(b, q, d)
}

var noPolicy = authz.Policy{Realm: "gatelodge"}
