package auditlog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/inovy/hardening/internal/durable"
)

// The reserve is room on the disk that is given up when there is no other, so
// that the log can still say why it ends.
const (
	reserveName  = "reserve"
	reserveBytes = 1 << 20
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

// lastWords ends the log on a full disk: what was written in part is taken
// back, and a record that there was no room for lost events takes its place. A
// write that found no space is not a failed sync: what is on the disk is known.
func (l *Log) lastWords(cause error, lost int) error {
	if err := os.Remove(reservePath(l.cfg.Dir)); err != nil {
		return errors.Join(cause, err)
	}
	if err := os.Truncate(l.live.path, l.live.size); err != nil {
		return errors.Join(cause, err)
	}
	var b batch
	tree := l.tree.clone()
	record := appendControl(nil, kindStopped, time.Now(), control{Reason: "disk full", Lost: int64(lost)})
	h := tlog.RecordHash(record)
	tree.add(h)
	signed, err := signCheckpoint(l.signer, l.key.Origin, &tree, l.tree.size)
	if err != nil {
		return errors.Join(cause, err)
	}
	b.lines = appendCheckpointLine(appendRecordLine(nil, l.tree.size, h, record), signed)
	if err := l.live.append(b.lines); err != nil {
		return errors.Join(cause, err)
	}
	l.tree = tree
	l.mu.Lock()
	l.extent = extent{l.live.first, l.live.size, l.tree.size}
	l.mu.Unlock()
	return cause
}
