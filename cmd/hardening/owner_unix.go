//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package main

import (
	"io/fs"
	"os"
	"syscall"
)

// ownedByAnother reports whether a file belongs to another user than the one
// that runs the command, and to whom.
func ownedByAnother(info fs.FileInfo) (uid uint32, other bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return s.Uid, int(s.Uid) != os.Geteuid()
}
