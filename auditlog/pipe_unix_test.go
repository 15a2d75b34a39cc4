//go:build unix

package auditlog

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A pipe waits for whoever writes to it, for ever.
func TestAPipeInPlaceOfTheSegmentHoldsNoTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, firsts := segmented(t, 2)
		s := &seen{}
		tail, err := l.Tail(TailConfig{Sink: s, File: filepath.Join(t.TempDir(), "sink"), OnError: s.onError})
		must(t, err)
		time.Sleep(10 * time.Second)
		if seqs, said := s.got(); int64(len(seqs)) != l.size() || len(said) != 0 {
			t.Fatalf("sent %d, told %v", len(seqs), said)
		}
		path := filepath.Join(l.cfg.Dir, segmentName(firsts[1]))
		must(t, os.Remove(path))
		must(t, syscall.Mkfifo(path, 0o600))
		time.Sleep(10 * time.Second)
		if _, said := s.got(); len(said) == 0 || !errors.Is(said[0], ErrTampered) {
			t.Errorf("told %v", said)
		}
		must(t, tail.Close())
		if err := l.Record(t.Context(), read("p")); !errors.Is(err, ErrTampered) {
			t.Errorf("recorded into a pipe: %v", err)
		}
	})
}
