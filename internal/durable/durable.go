// Package durable writes small files so that a crash at any moment leaves the
// old content, or the new, or none: never a part.
package durable

import (
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
	if err := fill(f, data, 0o600); err != nil {
		_ = os.Remove(path) // half a file is in the way of the next try
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Replace puts data in place of a file, with mode, and returns when it is on the
// disk. Readers see the old content or the new.
func Replace(path string, data []byte, mode fs.FileMode) error {
	return place(path, data, mode, os.Rename)
}

// CreateWhole is Create for files that others read while they are made: they
// see nothing or everything. It needs a file system with hard links.
func CreateWhole(path string, data []byte, mode fs.FileMode) error {
	return place(path, data, mode, os.Link) // a link, unlike a rename, never replaces
}

func place(path string, data []byte, mode fs.FileMode, put func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*") // mode 0600, a new name, never through a link
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // of no effect after a rename
	if err := fill(f, data, mode); err != nil {
		return err
	}
	if err := put(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

func fill(f *os.File, data []byte, mode fs.FileMode) error {
	_, err := f.Write(data)
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
