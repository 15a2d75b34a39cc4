//go:build !linux

package filepoll

// InMemory is known on Linux only; elsewhere every file counts as on disk.
func InMemory(string) bool { return false }
