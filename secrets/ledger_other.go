//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package secrets

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// tryLock makes a file that must not exist. One that is older than any holder
// keeps it was left by a process that was killed.
func tryLock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_ = f.Close()
		return func() { _ = os.Remove(path) }, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > 2*ledgerPatience {
		_ = os.Remove(path)
	}
	return nil, errLocked
}
