package serve

import (
	"os"
	"runtime"
)

// The collector's pace, chosen by measurement (`make bench`): CPU a check with
// one hot token, as a ratio to Go's defaults, and resident memory with one and
// with 10,000 remembered identities.
//
//	GOGC=100, the default    1.00  36 MB  43 MB
//	GOGC=200                 0.89  40 MB  50 MB
//	GOGC=400                 0.84  48 MB  64 MB
//	GOGC=800                 0.78  65 MB  91 MB
//	GOGC=off                 1.4   1.2 GB: memory never used before is the dearest
//	headroom of 8 MB         0.84  45 MB  53 MB
//	headroom of 14 MB        0.80  52 MB  59 MB
//	headroom of 16 MB        0.84  54 MB  60 MB
//
// A server that has little to remember collects every 4 MB by default, hundreds
// of times a second. What helps is a floor under the heap, not a factor on it:
// a factor would also multiply the memory of 100,000 remembered identities.
const headroom = 14 << 20

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
