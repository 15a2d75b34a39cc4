//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package auditlog

import (
	"errors"
	"os"
)

// lock refuses: two writers would destroy the log, and this system offers no
// lock that a crash releases.
func lock(string) (*os.File, error) {
	return nil, errors.New("auditlog: no single-writer lock on this operating system")
}
