//go:build unix

package filepoll

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Replaceable says why someone other than root and this process can replace a
// file that was read, and what to do about it; "" if nobody can: its owner, that
// of a link that leads to it or of a directory that it or such a link stands in, or
// whoever may write to that directory. In a sticky directory only its owner and
// that of the file or link can replace it.
//
// What is in memory is let through: there an agent in a container beside this
// one, with a user of its own, writes for this process alone.
func Replaceable(f File) (reason, fix string) {
	if foreign(f.Info) && !InMemory(f.Real) {
		return "is owned by another user, who can change it", "give the file to root or to the user the service runs as"
	}
	dirs := []string{filepath.Dir(f.Path)}
	add := func(dir string) {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	add(filepath.Dir(f.Real))
	for _, link := range linksOf(f.Path) {
		add(filepath.Dir(link))
		if info, err := os.Lstat(link); err == nil && foreign(info) && !InMemory(filepath.Dir(link)) {
			return "is reached through a link that is owned by another user, who can let it lead elsewhere", "give the link to root or to the user the service runs as"
		}
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

// maxLinks is what Linux follows, too.
const maxLinks = 40

// linksOf returns the links by which path leads to its file, also those of
// directories.
func linksOf(path string) (links []string) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	here := "/"
	for rest := strings.Split(path, "/"); len(rest) > 0 && len(links) < maxLinks; {
		name := rest[0]
		rest = rest[1:]
		next := filepath.Join(here, name) // here holds no link, so .. is what it says
		target, err := os.Readlink(next)
		switch {
		case name == "":
		case err != nil: // no link
			here = next
		default:
			links = append(links, next)
			if filepath.IsAbs(target) {
				here = "/"
			}
			rest = append(strings.Split(target, "/"), rest...)
		}
	}
	return links
}

// foreign reports whether a file belongs to neither root nor this process.
func foreign(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || stat.Uid != 0 && int(stat.Uid) != os.Geteuid()
}
