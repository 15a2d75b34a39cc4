package tlsconfig

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// writeAtomic replaces a file: readers see the old content or the new, never a
// part.
func writeAtomic(name string, data []byte, mode fs.FileMode) error {
	return placeFile(name, data, mode, os.Rename)
}

// createAtomic is writeAtomic that fails with fs.ErrExist if the file exists.
func createAtomic(name string, data []byte, mode fs.FileMode) error {
	return placeFile(name, data, mode, os.Link) // a link, unlike a rename, never replaces
}

func placeFile(name string, data []byte, mode fs.FileMode, place func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".tmp-*") // mode 0600
	if err != nil {
		return fmt.Errorf("tlsconfig: %w", err)
	}
	defer os.Remove(f.Name()) // of no effect after a rename
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = place(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("tlsconfig: %w", err)
	}
	return nil
}
