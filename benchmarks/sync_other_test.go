//go:build !linux

package benchmarks

import "os"

func syncData(f *os.File) error { return f.Sync() }
