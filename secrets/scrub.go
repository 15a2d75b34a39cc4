package secrets

import "os"

// scrubbed is how taking secrets out of the environment went.
type scrubbed struct {
	variables int    // that were taken out
	trace     string // what is still to be seen, or ""
}

// scrub takes variables out of the environment of the process, so that no child
// inherits them, and then out of the memory that the kernel shows as
// /proc/PID/environ, which os.Unsetenv does not touch. The copies that the Go
// runtime made at the start can not be reached; they are garbage from here on.
func scrub(variables []string) scrubbed {
	if len(variables) == 0 {
		return scrubbed{}
	}
	s := scrubbed{variables: len(variables)}
	for _, name := range variables {
		if err := os.Unsetenv(name); err != nil {
			s.trace = "a variable could not be unset"
		}
	}
	if trace := scrubInitial(variables); trace != "" {
		s.trace = trace
	}
	return s
}
