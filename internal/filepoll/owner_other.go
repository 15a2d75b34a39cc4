//go:build !unix

package filepoll

// Replaceable is known on Unix only: elsewhere owners are no numbers.
func Replaceable(File) (reason, fix string) { return "", "" }
