//go:build !linux

package secrets

// scrubInitial does what it can elsewhere: nothing. Other users of the machine
// can not read the initial environment of a process on these systems either,
// unless they are privileged.
func scrubInitial([]string) (trace string) { return "" }

// doubledVariables is known on Linux only.
func doubledVariables() map[string]bool { return nil }
