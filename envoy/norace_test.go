//go:build !race

package envoy

const raceDetector = false
