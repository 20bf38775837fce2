package serve

import (
	"os"
	"runtime"
)

// The collector's pace, chosen by measurement (`make bench`): CPU a check with
// one hot token, as a ratio to Go's defaults, and resident memory with one and
// with 10,000 remembered identities.
//
//	GOGC=100, the default    1.00  35 MB  56 MB
//	GOGC=200                 0.87  39 MB
//	GOGC=400                 0.82  47 MB  over 100 MB
//	GOGC=800                 0.80  64 MB
//	GOGC=off                 1.4   1.2 GB: memory never used before is the dearest
//	headroom of 16 MB        0.80  54 MB  77 MB
//	headroom of 8 MB         0.82  44 MB  67 MB
//	headroom of 6 MB         0.88  42 MB  63 MB
//
// A server that has little to remember collects every 4 MB by default, hundreds
// of times a second. What helps is a floor under the heap, not a factor on it:
// a factor would also multiply the memory of 100,000 remembered identities.
const headroom = 8 << 20

// keepHeadroom gives the heap a floor until the returned function is called:
// memory that counts for the collector's pace, is never touched and so takes
// no room in RAM. Whoever sets GOGC or GOMEMLIMIT has chosen for themselves.
func keepHeadroom() (release func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	floor := make([]byte, headroom)
	return func() { runtime.KeepAlive(&floor[0]) }
}
