package auditlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/inovy/hardening"
)

func TestRecordsSurviveReopeningAndVerify(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.4.2")
	dir := privateDir(t)
	var key string
	for run := range 3 {
		l := open(t, testConfig(dir))
		if run > 0 && l.VerifierKey() != key {
			t.Fatal("the verifier key changed")
		}
		key = l.VerifierKey()
		for i := range 5 {
			record(t, l, read(fmt.Sprintf("p%d-%d", run, i)))
		}
		if r := verify(t, dir, key); r.Status != StatusOK || r.Events != int64(5*(run+1)) {
			t.Fatalf("while open: %v", r)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, testConfig(dir))
	all := entries(t, l, Filter{})
	if len(all) != 15 || all[14].Subject.ID != "p2-4" {
		t.Fatalf("%d entries, %v", len(all), all)
	}
	if !slices.IsSortedFunc(all, func(a, b Entry) int { return int(a.Seq - b.Seq) }) {
		t.Error("out of order")
	}
	// genesis, and an open and a close for each of three runs, and this open
	if r := verify(t, dir, key); r.Status != StatusOK || r.Size != 15+1+3*2+1 || r.Segments != 1 {
		t.Errorf("%v", r)
	}
	for path, want := range map[string]fs.FileMode{"": 0o700, segmentName(0): 0o600, keyName: 0o600, lockName: 0o600} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if there, _ := exists(filepath.Join(dir, keyName+nextSuffix)); there {
		t.Error("a second copy of the key was left behind")
	}
}

func TestManyWritersShareCommitsAndLoseNothing(t *testing.T) {
	dir := privateDir(t)
	cfg := testConfig(dir)
	cfg.SegmentBytes = minSegment
	l := open(t, cfg)
	const writers, each = 16, 40
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := l.Record(t.Context(), read(fmt.Sprintf("w%d-%d", w, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, e := range entries(t, l, Filter{}) {
		seen[e.Subject.ID] = true
	}
	if len(seen) != writers*each {
		t.Errorf("%d of %d records", len(seen), writers*each)
	}
	r := verify(t, dir, l.VerifierKey())
	if r.Status != StatusOK || r.Segments < 2 || r.Events != writers*each {
		t.Errorf("%v", r)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, cfg) // only the newest segment is read; the tree goes on
	record(t, l, read("after"))
	if r := verify(t, dir, l.VerifierKey()); r.Status != StatusOK || r.Events != writers*each+1 {
		t.Errorf("%v", r)
	}
}

func TestRecordAfterCloseAndWithACancelledContext(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the client left")
	cancel(why)
	if err := l.Record(ctx, read("p")); !errors.Is(err, why) {
		t.Errorf("cancelled: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if err := l.Record(t.Context(), read("p")); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := l.Healthy(); !errors.Is(err, ErrClosed) {
		t.Errorf("healthy after Close: %v", err)
	}
}

func TestCloseIsTheLastRecordWhoeverWritesMeanwhile(t *testing.T) {
	dir := privateDir(t)
	l := open(t, testConfig(dir))
	var acknowledged atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				err := l.Record(context.Background(), read("p"))
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				acknowledged.Add(1)
			}
		})
	}
	for acknowledged.Load() < 20 {
		record(t, l, read("p"))
		acknowledged.Add(1)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if r := verify(t, dir, l.VerifierKey()); r.Status != StatusOK || r.Events != acknowledged.Load() {
		t.Errorf("%d acknowledged: %v", acknowledged.Load(), r)
	}
	text, err := os.ReadFile(filepath.Join(dir, segmentName(0)))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if last := lines[len(lines)-2]; !strings.Contains(last, `"k":"close"`) {
		t.Errorf("the last record is %s", last)
	}
}

func TestASecondWriterIsRefused(t *testing.T) {
	dir := privateDir(t)
	l := open(t, testConfig(dir))
	if _, err := Open(t.Context(), testConfig(dir)); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
	record(t, l, read("p"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, testConfig(dir))
}

func TestDirectoriesOpenToOthersAreRefused(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	_, err := Open(t.Context(), testConfig(dir))
	var ce *hardening.ConfigError
	if !errors.As(err, &ce) || ce.Field != "Dir" || ce.Fix == "" {
		t.Errorf("got %v", err)
	}
}

func TestKeyAndOriginMayBeChosen(t *testing.T) {
	cfg := testConfig(privateDir(t))
	cfg.KeyFile = filepath.Join(t.TempDir(), "signing.key")
	cfg.Origin = "example.nl/records/audit"
	l := open(t, cfg)
	if !strings.HasPrefix(l.VerifierKey(), cfg.Origin+"+") {
		t.Errorf("key %s", l.VerifierKey())
	}
	must(t, l.Close())
	if there, _ := exists(filepath.Join(cfg.Dir, keyName)); there {
		t.Error("there is a key in Dir too")
	}
	cfg.Origin = "example.nl/other"
	if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrKey) {
		t.Errorf("another origin: %v", err)
	}
}
