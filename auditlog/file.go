package auditlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/inovy/hardening/internal/durable"
	"github.com/inovy/hardening/internal/faults"
)

// appendFile is the live segment.
type appendFile interface {
	Write([]byte) (int, error)
	Stat() (fs.FileInfo, error)
	// Sync returns when what was written is on the disk.
	Sync() error
	Close() error
}

// osFile syncs data and size, not the times of access.
type osFile struct{ *os.File }

func (f osFile) Sync() error { return syncData(f.File) }

func openAppend(path string) (appendFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600) // #nosec G304 -- inside the configured directory
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// live is the segment that is being written.
type live struct {
	file  appendFile
	path  string
	first int64 // seq of its first record
	size  int64 // bytes that we wrote and synced, or found signed

	records int64
	begun   time.Time // of its first record
}

// check finds out whether the file was taken away: a write to a file that was
// removed, renamed or truncated succeeds, and the records are gone.
func (s *live) check() error {
	open, err := s.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(s.path)
	if err != nil {
		return fmt.Errorf("%w: %s was removed or renamed while in use: %w", ErrTampered, s.path, err)
	}
	if !os.SameFile(open, there) {
		return fmt.Errorf("%w: %s was replaced by another file while in use", ErrTampered, s.path)
	}
	if open.Size() != s.size {
		return fmt.Errorf("%w: %s has %d bytes where %d were written", ErrTampered, s.path, open.Size(), s.size)
	}
	return nil
}

// append writes b and returns when it is on the disk.
func (s *live) append(b []byte) error {
	if err := s.check(); err != nil {
		return err
	}
	n, err := s.file.Write(b)
	if err == nil && n < len(b) {
		err = fmt.Errorf("wrote %d of %d bytes", n, len(b))
	}
	if err == nil {
		err = s.file.Sync()
	}
	if err == nil {
		s.size += int64(n)
	}
	return err
}

// prepareDir makes the directory or finds one that is ours alone.
func prepareDir(f *faults.Collector, dir string) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		f.Add("Dir", dir, "can not be made: "+reasonOf(err), "name a directory that the service's user may make or owns")
		return
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		f.Add("Dir", dir, "can not be entered: "+reasonOf(err), "name a directory that the service's user owns")
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0: // permission bits say nothing there
		f.Add("Dir", dir, fmt.Sprintf("can be entered by others (mode %v)", info.Mode().Perm()), "chmod 700 it; where it is a mount point, name a directory below it and it is made so")
	}
}

var errIrregular = errors.New("it is no regular file")

// openRegular opens a file to read. Whoever can write to the directory can put
// a pipe there, which would be waited for for ever.
func openRegular(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s: %w", ErrTampered, filepath.Base(path), errIrregular)
	}
	return os.Open(path) // #nosec G304 -- inside the directory of the log
}

// segments lists the first seqs of the segments in dir, in order.
func segments(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var firsts []int64
	for _, e := range entries {
		first, ok := parseSegmentName(e.Name())
		if ok && !e.Type().IsRegular() {
			return nil, fmt.Errorf("%w: %s: %w", ErrTampered, e.Name(), errIrregular)
		}
		if ok {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	return firsts, nil
}

// createSegment writes a new segment under another name and renames it when it
// is on the disk, so that a segment always has its header.
func createSegment(dir string, first int64, content []byte) (path string, err error) {
	path = filepath.Join(dir, segmentName(first))
	switch there, err := exists(path); {
	case err != nil:
		return "", err
	case there:
		return "", fmt.Errorf("%w: %s was there before it was begun", ErrTampered, path)
	}
	return path, durable.Replace(path, content, 0o600)
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
