// Package durable writes small files so that a crash at any moment leaves the
// old content, or the new, or none: never a part.
package durable

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Create writes a file that did not exist, for its owner only, and returns when
// it and its name are on the disk. It fails with fs.ErrExist if the file, or a
// link of that name, is there; after another error there is none.
func Create(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- the caller's own path
	if err != nil {
		return err
	}
	if err := fill(f, all(data), 0o600); err != nil {
		_ = os.Remove(path) // half a file is in the way of the next try
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Replace puts data in place of a file, with mode, and returns when it is on the
// disk. Readers see the old content or the new.
func Replace(path string, data []byte, mode fs.FileMode) error {
	return place(path, all(data), mode, os.Rename)
}

// ReplaceWith is Replace for content that is too large to hold: write writes it.
func ReplaceWith(path string, mode fs.FileMode, write func(io.Writer) error) error {
	return place(path, write, mode, os.Rename)
}

// CreateWhole is Create for files that others read while they are made: they
// see nothing or everything. It needs a file system with hard links.
func CreateWhole(path string, data []byte, mode fs.FileMode) error {
	return place(path, all(data), mode, os.Link) // a link, unlike a rename, never replaces
}

func all(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

func place(path string, write func(io.Writer) error, mode fs.FileMode, put func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*") // mode 0600, a new name, never through a link
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // of no effect after a rename
	if err := fill(f, write, mode); err != nil {
		return err
	}
	if err := put(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

func fill(f *os.File, write func(io.Writer) error, mode fs.FileMode) error {
	err := write(f)
	if err == nil && runtime.GOOS != "windows" {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" { // directories can not be synced there
		return nil
	}
	d, err := os.Open(dir) // #nosec G304 -- the caller's own path
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
