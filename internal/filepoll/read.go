// Package filepoll reads small files that others replace while we run, and
// notices when their contents change.
//
// It polls contents instead of waiting for file system notifications: a swap
// of Kubernetes' ..data link, a replaced parent directory, a rename and an
// in-place write then all look alike, and nothing is missed when a watched
// inode disappears.
package filepoll

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Why a file could not be read. They wrap no operating system error text, so
// that nothing of the content can ride along.
var (
	ErrMissing    = errors.New("file does not exist, or a link on its way points nowhere")
	ErrNotRegular = errors.New("is not a regular file")
	ErrTooLarge   = errors.New("file is larger than allowed")
	ErrPermission = errors.New("file may not be read by this process")
	ErrRead       = errors.New("file could not be read")
	ErrUnsettled  = errors.New("files kept changing while they were read")
)

// File is what one path held at the moment of a [Snapshot].
type File struct {
	Path string      // as asked for
	Real string      // with all links resolved; "" if that failed
	Data []byte      // nil if Err is set
	Info fs.FileInfo // of the opened file; nil if Err is set
	Err  error       // one of the errors above
}

// Snapshot holds files that stood beside each other at one moment.
type Snapshot struct {
	Files []File // in the order asked for
}

// Sum is a digest of all contents, modes and failures, equal if and only if they
// are. Its key is that of this process: whoever sees it in a dump learns nothing
// about a short content by trying.
func (s Snapshot) Sum() [sha256.Size]byte {
	key := sumKey()
	h := sha256.New()
	_, _ = h.Write(key[:])
	var n [9]byte
	for _, f := range s.Files {
		if f.Err != nil {
			n[0] = 1
			binary.BigEndian.PutUint64(n[1:], uint64(len(f.Err.Error())))
			_, _ = h.Write(n[:])
			_, _ = io.WriteString(h, f.Err.Error())
			continue
		}
		if f.Info != nil {
			n[0] = 2
			binary.BigEndian.PutUint64(n[1:], uint64(f.Info.Mode()))
			_, _ = h.Write(n[:])
		}
		n[0] = 0
		binary.BigEndian.PutUint64(n[1:], uint64(len(f.Data)))
		_, _ = h.Write(n[:])
		_, _ = h.Write(f.Data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// sumKey is made once and never changed.
var sumKey = sync.OnceValue(func() (key [sha256.Size]byte) {
	_, _ = rand.Read(key[:]) // never fails, see crypto/rand
	return key
})

// Wipe overwrites the contents.
func (s Snapshot) Wipe() {
	for _, f := range s.Files {
		clear(f.Data)
	}
}

// tries is how often Read starts again when links moved under it. A swap takes
// microseconds, so a second collision in a row is already unlikely.
const tries = 8

// Read reads all paths, each up to maxBytes. It resolves every link first,
// reads the resolved files, resolves again, and starts over if anything moved
// in between: files behind one ..data link always come from the same
// generation. After 8 collisions each file's Err is [ErrUnsettled].
func Read(paths []string, maxBytes int64) Snapshot {
	for range tries {
		before := resolveAll(paths)
		s := Snapshot{Files: make([]File, len(paths))}
		for i, p := range paths {
			s.Files[i] = readOne(p, before[i], maxBytes)
		}
		if slices.Equal(before, resolveAll(paths)) {
			return s
		}
		s.Wipe()
	}
	s := Snapshot{Files: make([]File, len(paths))}
	for i, p := range paths {
		s.Files[i] = File{Path: p, Err: ErrUnsettled}
	}
	return s
}

func resolveAll(paths []string) []string {
	real := make([]string, len(paths))
	for i, p := range paths {
		if p == "" {
			continue // EvalSymlinks takes it for the working directory
		}
		if r, err := filepath.EvalSymlinks(p); err == nil {
			real[i] = r
		}
	}
	return real
}

func readOne(path, real string, maxBytes int64) File {
	f := File{Path: path, Real: real}
	if real == "" {
		f.Err = ErrMissing
		if _, err := os.Stat(path); errors.Is(err, fs.ErrPermission) {
			f.Err = ErrPermission
		}
		return f
	}
	// Opening a FIFO for reading would wait for a writer, so look first; the
	// descriptor is looked at again, because the name can change in between.
	if info, err := os.Lstat(real); err == nil && !info.Mode().IsRegular() {
		f.Err = fmt.Errorf("%w: %s", ErrNotRegular, kind(info.Mode()))
		return f
	}
	file, err := openNonblocking(real)
	if err != nil {
		f.Err = classify(err)
		return f
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		f.Err = ErrRead
		return f
	}
	if !info.Mode().IsRegular() {
		f.Err = fmt.Errorf("%w: %s", ErrNotRegular, kind(info.Mode()))
		return f
	}
	if info.Size() > maxBytes {
		f.Err = ErrTooLarge
		return f
	}
	var buf bytes.Buffer
	buf.Grow(int(info.Size()) + bytes.MinRead) // so that no copy of a secret is left behind by growing
	if _, err := io.Copy(&buf, io.LimitReader(file, maxBytes+1)); err != nil {
		f.Err = ErrRead
		return f
	}
	if int64(buf.Len()) > maxBytes {
		clear(buf.Bytes())
		f.Err = ErrTooLarge
		return f
	}
	f.Data, f.Info = buf.Bytes(), info
	return f
}

func classify(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrMissing
	case errors.Is(err, fs.ErrPermission):
		return ErrPermission
	}
	return ErrRead
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "of another kind"
}
