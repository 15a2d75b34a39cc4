package auditlog

import (
	"os"
	"syscall"
)

// syncData is fdatasync: it waits for the data and the size, not for the time
// of the last change.
func syncData(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := raw.Control(func(fd uintptr) {
		for {
			if serr = syscall.Fdatasync(int(fd)); serr != syscall.EINTR { // interrupted before it began is no failed sync
				return
			}
		}
	}); err != nil {
		return err
	}
	return os.NewSyscallError("fdatasync", serr)
}
