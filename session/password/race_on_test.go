//go:build race

package password

// The race detector keeps memory of its own.
const raceEnabled = true
