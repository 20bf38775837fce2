package tokenstore

import "sync/atomic"

// table numbers values that many tokens share, so that a token can name one
// without a pointer. It only grows: by the owners and the sets of limits that
// there ever were since the process started.
type table[T any] struct {
	list    atomic.Pointer[[]T]
	numbers map[string]uint32 // by key; one writer at a time
}

// number returns the number of the value with a key, which it gets if it has
// none.
func (t *table[T]) number(key string, value T) uint32 {
	if n, there := t.numbers[key]; there {
		return n
	}
	if t.numbers == nil {
		t.numbers = map[string]uint32{}
		t.list.Store(new([]T))
	}
	list := append(*t.list.Load(), value)
	n := uint32(len(list) - 1)
	t.numbers[key] = n
	t.list.Store(&list) // readers have the list before, or this one
	return n
}

// at returns the value of a number; it may be called while another is given.
func (t *table[T]) at(n uint32) T { return (*t.list.Load())[n] }
