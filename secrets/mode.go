package secrets

import (
	"runtime"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/filepoll"
)

// judgeMode says who else may read a file ("" is nobody), or why it is
// refused. Windows has no such bits.
func judgeMode(f filepoll.File, secret, allowReadable bool) (open string, bad *flaw) {
	if runtime.GOOS == "windows" {
		return "", nil
	}
	mode := f.Info.Mode().Perm()
	if mode&0o022 != 0 {
		return "", &flaw{reason: "may be written by group or others", fix: "chmod 0400 the file, or set defaultMode: 0400 for the volume"}
	}
	if !secret || mode&0o004 == 0 {
		return "", nil
	}
	switch {
	case filepoll.InMemory(f.Real):
		return "everyone in the container", nil
	case allowReadable:
		return "every user of the machine", nil
	}
	return "", &flaw{reason: "may be read by every user of the machine", fix: "chmod 0400 the file"}
}

// judgeOwner refuses a file that someone other than root and this process can
// replace. In Development it is let through, as loose; so is it if it was before.
func judgeOwner(f filepoll.File, environment hardening.Environment, before bool) (loose bool, bad *flaw) {
	reason, fix := filepoll.Replaceable(f)
	switch {
	case reason == "":
		return before, nil
	case environment == hardening.Development:
		return true, nil
	}
	return false, &flaw{reason: reason, fix: fix}
}
