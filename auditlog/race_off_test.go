//go:build !race

package auditlog

// raceDetector is whether allocations are inflated by the race detector.
const raceDetector = false
