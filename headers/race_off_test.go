//go:build !race

package headers_test

// raceDetector is whether allocations are inflated by the race detector.
const raceDetector = false
