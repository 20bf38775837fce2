package realtest

import (
	"fmt"
	"os"
	"testing"
)

// ProveVariable is the environment variable that asks for proofs at full size;
// `make prove` sets it to 1.
const ProveVariable = "GATELODGE_PROVE"

func proving() bool { return os.Getenv(ProveVariable) == "1" }

// Proof skips a test that is too long for every run, unless proofs are asked
// for. It is not counted among the tests that could not run: nothing is missing.
func Proof(t testing.TB) {
	t.Helper()
	if !proving() {
		t.Skip("a long proof: make prove runs it")
	}
}

// Scale is for a test that always runs: at a small size, and at full size when
// proofs are asked for.
func Scale(small, full int) int {
	if proving() {
		return full
	}
	return small
}

// Measured says what a test found out. `make prove` closes with all that its
// tests said this way.
func Measured(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Log(MeasuredMark + t.Name() + ": " + fmt.Sprintf(format, args...))
}

// MeasuredMark starts what Measured logs.
const MeasuredMark = "measured: "
