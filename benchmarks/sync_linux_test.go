package benchmarks

import (
	"os"
	"syscall"
)

// syncData waits for the data and the size of the file, which is all that a
// log needs.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
