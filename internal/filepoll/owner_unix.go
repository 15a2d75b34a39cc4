//go:build unix

package filepoll

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Replaceable says why someone other than root and this process can replace a
// file that was read, and what to do about it; "" if nobody can: its owner, that
// of a directory it stands in, or whoever may write to that directory. The directory is that of the path and, behind links, that of
// the file itself, which are two in a mount of Kubernetes. In a sticky directory
// only its owner and that of the file can replace it.
//
// What is in memory is let through: there an agent in a container beside this
// one, with a user of its own, writes for this process alone.
func Replaceable(f File) (reason, fix string) {
	if foreign(f.Info) && !InMemory(f.Real) {
		return "is owned by another user, who can change it", "give the file to root or to the user the service runs as"
	}
	dirs := []string{filepath.Dir(f.Path)}
	if real := filepath.Dir(f.Real); real != dirs[0] {
		dirs = append(dirs, real)
	}
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist): // a generation swapped away since it was read; the next look judges the new one
		case err != nil:
			return "stands in a directory that can not be looked at", "check the mount and the modes on the way"
		case InMemory(dir):
		case foreign(info):
			return "stands in a directory that is owned by another user, who can replace the file", "give the directory to root or to the user the service runs as"
		case info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0:
			return "stands in a directory that group or others may write, who can replace the file", "chmod 0755 the directory, or stricter"
		}
	}
	return "", ""
}

// foreign reports whether a file belongs to neither root nor this process.
func foreign(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || stat.Uid != 0 && int(stat.Uid) != os.Geteuid()
}
