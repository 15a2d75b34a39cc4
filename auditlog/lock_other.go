//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package auditlog

import (
	"errors"
	"io"
)

// lock refuses: two writers would destroy the log, and this system offers no
// lock that a crash releases.
func lock(string) (io.Closer, error) {
	return nil, errors.New("auditlog: no single-writer lock on this operating system")
}
