package authz

import "context"

// TellSlow tells whoever waits for a decision that it takes its time: a signature
// is computed, or somebody is asked. A context that has a method Slow is one of
// those who want to know. Slow is called on the goroutine of Decide, perhaps more
// than once.
func TellSlow(ctx context.Context) {
	if s, ok := ctx.(interface{ Slow() }); ok {
		s.Slow()
	}
}
