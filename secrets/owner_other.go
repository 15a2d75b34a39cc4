//go:build !unix

package secrets

import "github.com/inovy/hardening/internal/filepoll"

// judgeOwner: owners are no numbers here.
func judgeOwner(filepoll.File) *flaw { return nil }
