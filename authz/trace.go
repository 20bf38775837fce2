package authz

import (
	"context"
	"sync"
)

// A Step is one thing that was looked at on the way to a decision, for people
// who ask why. It holds no secret.
type Step struct {
	Name    string // "rule", "credential", "signature" …
	Outcome string // StepOK, StepFailed or StepSkipped
	Detail  string
}

// The outcomes of a Step.
const (
	StepOK      = "ok"
	StepFailed  = "failed"
	StepSkipped = "skipped"
)

// Steps collects what providers and the engine look at.
type Steps struct {
	mu   sync.Mutex
	list []Step
}

type stepsKey struct{}

// WithSteps returns a context under which Record keeps what it is told.
func WithSteps(ctx context.Context) (context.Context, *Steps) {
	s := new(Steps)
	return context.WithValue(ctx, stepsKey{}, s), s
}

// Record notes a step for whoever asked why; nobody asked: nothing happens.
// It is for the road of a cache miss: a cached decision records nothing.
func Record(ctx context.Context, name, outcome, detail string) {
	s, _ := ctx.Value(stepsKey{}).(*Steps)
	s.add(name, outcome, detail)
}

func (s *Steps) add(name, outcome, detail string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.list = append(s.list, Step{name, outcome, detail})
	s.mu.Unlock()
}

// List returns the steps so far, in order.
func (s *Steps) List() []Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Step(nil), s.list...)
}
