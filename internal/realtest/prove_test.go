package realtest

import "testing"

func TestProofsAreRunWhenAskedFor(t *testing.T) {
	for value, want := range map[string]struct {
		skipped bool
		size    int
	}{"": {true, 1}, "0": {true, 1}, "1": {false, 9}} {
		t.Setenv(ProveVariable, value)
		skipped := false
		t.Run("proof", func(t *testing.T) {
			t.Cleanup(func() { skipped = t.Skipped() })
			Proof(t)
		})
		if size := Scale(1, 9); skipped != want.skipped || size != want.size {
			t.Errorf("%s=%q: skipped %t, size %d", ProveVariable, value, skipped, size)
		}
	}
}
