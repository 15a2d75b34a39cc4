//go:build !unix

package filepoll

import "os"

func openNonblocking(path string) (*os.File, error) { return os.Open(path) }
