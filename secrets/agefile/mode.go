package agefile

import (
	"io/fs"
	"runtime"
)

// open reports whether others than the owner and the group that runs the
// service may read an identity. Windows has no such bits.
func open(info fs.FileInfo) bool {
	return runtime.GOOS != "windows" && info.Mode().Perm()&0o027 != 0
}
