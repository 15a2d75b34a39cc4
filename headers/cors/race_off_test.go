//go:build !race

package cors_test

// raceDetector is whether allocations are inflated by the race detector.
const raceDetector = false
