//go:build race

package envoy

// raceDetector: sync.Pool then throws things away on purpose.
const raceDetector = true
