//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package auditlog

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// lock takes the log for this process alone. The kernel lets go when the
// process ends, however it ends. The directory is locked besides: whoever
// removes a lock file that looks stale must not let a second writer in. Where
// a directory can not be locked, as on NFS, the file alone counts.
func lock(path string) (io.Closer, error) {
	f, err := lockFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	d, err := lockFile(filepath.Dir(path), os.O_RDONLY)
	switch {
	case errors.Is(err, ErrLocked):
		_ = f.Close()
		return nil, err
	case err != nil:
		return f, nil
	}
	return locks{d, f}, nil
}

func lockFile(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag, 0o600) // #nosec G304 -- inside the configured directory
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, err
	}
	return f, nil
}

type locks [2]*os.File

func (l locks) Close() error { return errors.Join(l[0].Close(), l[1].Close()) }
