package auditlog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnAnchorTellsHowManyRecordsAreMissing(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.4.3")
	path := filepath.Join(t.TempDir(), "anchor")
	a, err := NewFileAnchor(path)
	must(t, err)
	cfg := testConfig(privateDir(t))
	cfg.Anchors = []Anchor{a}
	l := open(t, cfg)
	for range 10 {
		record(t, l, read("p"))
	}
	must(t, l.Close())
	anchor, err := os.ReadFile(path)
	must(t, err)
	check := func(want Status, missing int64, words string) {
		t.Helper()
		r, err := Verify(t.Context(), cfg.Dir, l.VerifierKey(), VerifyOptions{Anchor: anchor})
		must(t, err)
		if r.Status != want || r.Missing != missing || !strings.Contains(r.Reason, words) {
			t.Errorf("%v, %d missing", r, r.Missing)
		}
	}
	check(StatusOK, 0, "")
	file := filepath.Join(cfg.Dir, segmentName(0))
	whole, err := os.ReadFile(file)
	must(t, err)
	lines := strings.SplitAfter(string(whole), "\n")
	// Each of the last four records with its checkpoint: three events and the close.
	must(t, os.WriteFile(file, []byte(strings.Join(lines[:len(lines)-1-8], "")), 0o600))
	check(StatusBehindAnchor, 4, "4 were removed")
	other := open(t, func() Config { c := testConfig(privateDir(t)); c.Origin = l.key.Origin; return c }())
	for range 20 {
		record(t, other, read("p"))
	}
	must(t, other.Close())
	r, err := Verify(t.Context(), other.cfg.Dir, other.VerifierKey(), VerifyOptions{Anchor: anchor})
	must(t, err)
	if r.Status != StatusTampered || !strings.Contains(r.Reason, "anchor") {
		t.Errorf("another history of the same name: %v", r)
	}
	if err := a.Put(t.Context(), anchor[:20]); err == nil {
		t.Error("the anchor takes what is no checkpoint")
	}
	note, err := decodeCheckpointLine([]byte(strings.TrimSpace(lines[2])))
	must(t, err)
	if err := a.Put(t.Context(), note); !errors.Is(err, ErrTampered) {
		t.Errorf("the anchor goes back: %v", err)
	}
	for _, bad := range []string{"x", "a\nb\nc\n\n", strings.Repeat("x\n", 1<<16)} {
		if _, err := Verify(t.Context(), cfg.Dir, l.VerifierKey(), VerifyOptions{Anchor: []byte(bad)}); err == nil {
			t.Errorf("%.20q is taken for an anchor", bad)
		}
	}
}

// stuck is an anchor that never answers.
type stuck struct{ calls atomic.Int64 }

func (s *stuck) Put(ctx context.Context, _ []byte) error {
	s.calls.Add(1)
	<-ctx.Done()
	return ctx.Err()
}

func TestAnAnchorIsNeverInTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(privateDir(t))
		s := &stuck{}
		cfg.Anchors = []Anchor{s}
		l := open(t, cfg)
		start := time.Now()
		for range 20 {
			record(t, l, read("p"))
		}
		if waited := time.Since(start); waited > 0 {
			t.Errorf("waited %v", waited)
		}
		must(t, l.Close())
		if s.calls.Load() == 0 {
			t.Error("it was never called")
		}
		if waited := time.Since(start); waited > defaultReplicaTimeout {
			t.Errorf("Close waited %v", waited)
		}
	})
}
