//go:build !linux

package secrets

// mountPoints is known on Linux only.
func mountPoints() map[string]bool { return nil }
