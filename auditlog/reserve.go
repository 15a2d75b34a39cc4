package auditlog

import (
	"context"
	"os"
	"path/filepath"

	"github.com/inovy/hardening/internal/durable"
)

func reservePath(dir string) string { return filepath.Join(dir, reserveName) }

// keepReserve sets room on the disk apart. Without it the log works, but ends
// without a word on a full disk.
func (l *Log) keepReserve() {
	path := reservePath(l.cfg.Dir)
	info, err := os.Lstat(path)
	if err == nil && info.Mode().IsRegular() && info.Size() == reserveBytes {
		l.reserved = true
		return
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil || os.IsNotExist(err) {
		// Written out: a file of holes would set nothing apart.
		err = durable.Create(path, make([]byte, reserveBytes))
	}
	if err != nil {
		l.report.minded(context.Background(), "no room could be set apart for the log's last words", err)
		return
	}
	l.reserved = true
}
