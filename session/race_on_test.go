//go:build race

package session_test

// The race detector makes sync.Pool drop what it holds, so allocations differ.
const raceEnabled = true
