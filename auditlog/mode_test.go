package auditlog

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// gated returns a config whose disk hangs once shut is called, until opened is.
func gated(t testing.TB) (cfg Config, shut, opened func()) {
	cfg = testConfig(privateDir(t))
	var mu sync.Mutex
	free := make(chan struct{})
	close(free)
	now := free
	cfg.openFile = func(path string) (appendFile, error) {
		f, err := openAppend(path)
		return hung{f, func() chan struct{} { mu.Lock(); defer mu.Unlock(); return now }}, err
	}
	shut = func() { mu.Lock(); now = make(chan struct{}); mu.Unlock() }
	opened = func() {
		mu.Lock()
		defer mu.Unlock()
		if now != free {
			close(now)
			now = free
		}
	}
	t.Cleanup(opened)
	return cfg, shut, opened
}

type hung struct {
	appendFile
	gate func() chan struct{}
}

func (h hung) Write(p []byte) (int, error) { <-h.gate(); return h.appendFile.Write(p) }

func TestBoundedGivesUpAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, shut, opened := gated(t)
		cfg.Mode = Bounded
		l := open(t, cfg)
		shut()
		start := time.Now()
		err := l.Record(context.Background(), read("p"))
		if waited := time.Since(start); !errors.Is(err, ErrBusy) || waited != defaultMaxWait {
			t.Errorf("after %v: %v", waited, err)
		}
		opened()
		synctest.Wait()
		record(t, l, read("q"))
		must(t, l.Close())
	})
}

func TestStrictWaitsAndIsBoundedInMemory(t *testing.T) {
	cfg, shut, opened := gated(t)
	cfg.MaxWaiting = 64
	l := open(t, cfg)
	shut()
	ctx, cancel := context.WithCancel(t.Context())
	var busy, cancelled atomic.Int64
	var wg sync.WaitGroup
	for range 300 {
		wg.Go(func() {
			switch err := l.Record(ctx, read("p")); {
			case errors.Is(err, ErrBusy):
				busy.Add(1)
			case errors.Is(err, context.Canceled):
				cancelled.Add(1)
			default:
				t.Errorf("got %v", err)
			}
		})
	}
	for busy.Load() < 300-2*64-1 { // at most a batch that is being written, and one that waits
		if err := ctx.Err(); err != nil {
			t.Fatal(err)
		}
		syscall.Getpid() // gives way
	}
	cancel()
	wg.Wait()
	if busy.Load()+cancelled.Load() != 300 {
		t.Errorf("%d busy, %d gave up", busy.Load(), cancelled.Load())
	}
	opened()
	err := l.Record(t.Context(), read("q"))
	for errors.Is(err, ErrBusy) { // what waited is being written
		err = l.Record(t.Context(), read("q"))
	}
	must(t, err)
	must(t, l.Close())
	if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK || r.Lost != 0 {
		t.Errorf("%v", r)
	}
}

func TestBestEffortCountsWhatItDropsInTheLog(t *testing.T) {
	cfg, shut, opened := gated(t)
	cfg.Mode, cfg.MaxWaiting = BestEffort, 64
	l := open(t, cfg)
	shut()
	const n = 1000
	for range n {
		if err := l.Record(t.Context(), read("p")); err != nil {
			t.Fatalf("it waits or refuses: %v", err)
		}
	}
	opened()
	must(t, l.Close())
	r := verify(t, cfg.Dir, l.VerifierKey())
	if r.Status != StatusOK || r.Events+r.Lost != n || r.Lost == 0 || r.Events < 64 {
		t.Errorf("%v: %d lost", r, r.Lost)
	}
	for _, f := range l.Check() {
		if f.ID == "HDN-AUDITLOG-009" && f.Passed {
			t.Error("the finding passes")
		}
	}
}

// fullDisk is a disk that has no room left after some bytes, but for what
// the removal of a file frees.
type fullDisk struct {
	appendFile
	room    *atomic.Int64
	reserve string
}

func (f fullDisk) Write(p []byte) (int, error) {
	left := f.room.Load()
	if there, _ := exists(f.reserve); !there {
		left += reserveBytes
	}
	if int64(len(p)) <= left {
		f.room.Add(-int64(len(p)))
		return f.appendFile.Write(p)
	}
	n, err := f.appendFile.Write(p[:left])
	f.room.Store(0)
	return n, errors.Join(err, &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
}

func TestAFullDiskIsToldOfInTheLog(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.5.3")
	var room atomic.Int64
	room.Store(1 << 40)
	cfg := testConfig(privateDir(t))
	cfg.openFile = func(path string) (appendFile, error) {
		f, err := openAppend(path)
		return fullDisk{f, &room, reservePath(cfg.Dir)}, err
	}
	var told []error
	cfg.OnError = func(err error) { told = append(told, err) }
	l := open(t, cfg)
	record(t, l, read("before"))
	room.Store(100) // less than a record
	err := l.Record(t.Context(), read("lost"))
	if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if err := l.Record(t.Context(), read("lost")); !errors.Is(err, ErrFailed) {
		t.Errorf("it goes on: %v", err)
	}
	_ = l.Close()
	if len(told) == 0 || !errors.Is(told[0], ErrFailed) {
		t.Errorf("OnError was told %v", told)
	}
	r := verify(t, cfg.Dir, l.VerifierKey())
	if r.Status != StatusOK || r.Lost != 1 || r.Events != 1 {
		t.Errorf("%v: %d lost", r, r.Lost)
	}
	room.Store(1 << 40)
	l = open(t, cfg)
	record(t, l, read("after"))
	if info, err := os.Stat(reservePath(cfg.Dir)); err != nil || info.Size() != reserveBytes {
		t.Errorf("the reserve is not kept again: %v", err)
	}
	if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK || r.Events != 2 {
		t.Errorf("%v", r)
	}
}

// memory is a replica that can be made to fail.
type memory struct {
	mu   sync.Mutex
	got  map[string][]byte
	fail error
}

func (m *memory) Size(_ context.Context, segment string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.got[segment])), m.fail
}

func (m *memory) Append(_ context.Context, segment string, offset int64, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		m.got[segment] = append(m.got[segment], data[:len(data)/2]...) // half of it arrived
		return m.fail
	}
	if int64(len(m.got[segment])) != offset {
		return errors.New("a gap")
	}
	m.got[segment] = append(m.got[segment], data...)
	return nil
}

func TestWhatIsAcknowledgedIsAtTheReplica(t *testing.T) {
	m := &memory{got: map[string][]byte{}}
	cfg := testConfig(privateDir(t))
	cfg.SegmentBytes = minSegment
	cfg.Replica = m
	l := open(t, cfg)
	same := func() {
		t.Helper()
		firsts, err := segments(cfg.Dir)
		must(t, err)
		for _, first := range firsts {
			want, err := os.ReadFile(filepath.Join(cfg.Dir, segmentName(first)))
			must(t, err)
			m.mu.Lock()
			got := m.got[segmentName(first)]
			m.mu.Unlock()
			l.mu.Lock()
			if first == l.extent.first {
				want = want[:l.extent.bytes]
			}
			l.mu.Unlock()
			if string(got) != string(want) {
				t.Fatalf("%s: the replica has %d bytes of %d", segmentName(first), len(got), len(want))
			}
		}
	}
	long := strings.Repeat("r", 2000)
	for range 80 {
		e := read("p")
		e.Reason = long
		record(t, l, e)
	}
	same()
	m.mu.Lock()
	m.fail = errors.New("the line is cut")
	m.mu.Unlock()
	if err := l.Record(t.Context(), read("q")); !errors.Is(err, ErrNotReplicated) || l.Healthy() != nil {
		t.Errorf("got %v, healthy %v", err, l.Healthy())
	}
	m.mu.Lock()
	m.fail = nil
	m.mu.Unlock()
	record(t, l, read("r"))
	same()
	must(t, l.Close())
	l = open(t, cfg)
	same()
	must(t, l.Close())
	// Somebody cut the log here; the replica knows better.
	edit(t, cfg.Dir, func(s string) string { return s[:strings.LastIndex(s[:len(s)-1], "\nR ")+1] })
	if _, err := Open(t.Context(), cfg); err == nil {
		t.Error("a log with fewer bytes than its replica was opened")
	}
}

func TestAReplicaInADirectoryIsALog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "copy")
	r, err := NewDirReplica(dir)
	must(t, err)
	cfg := testConfig(privateDir(t))
	cfg.Replica = r
	l := open(t, cfg)
	for range 10 {
		record(t, l, read("p"))
	}
	must(t, l.Close())
	if v := verify(t, dir, l.VerifierKey()); v.Status != StatusOK || v.Events != 10 {
		t.Errorf("%v", v)
	}
	for _, name := range []string{"../x", "seg-1.alog", "", "log.key"} {
		if _, err := r.Size(t.Context(), name); err == nil {
			t.Errorf("%q is taken for a segment", name)
		}
	}
	if _, err := NewDirReplica(""); err == nil {
		t.Error("a replica without a directory was made")
	}
}

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

// panicking is a Replica and an Anchor that panics once it is told to.
type panicking struct{ now atomic.Bool }

func (p *panicking) may() {
	if p.now.Load() {
		panic("123456782")
	}
}
func (p *panicking) Size(context.Context, string) (int64, error) { p.may(); return 0, nil }
func (p *panicking) Append(context.Context, string, int64, []byte) error {
	p.may()
	return nil
}
func (p *panicking) Put(context.Context, []byte) error { p.may(); return nil }

func TestAPanicInAReplicaOrAnchorIsAnErrorAndEndsNoProcess(t *testing.T) {
	t.Run("replica", func(t *testing.T) {
		cfg, p := testConfig(privateDir(t)), &panicking{}
		cfg.Replica = p
		l := open(t, cfg)
		record(t, l, read("p"))
		p.now.Store(true)
		for range 2 {
			if err := l.Record(t.Context(), read("p")); !errors.Is(err, ErrNotReplicated) || strings.Contains(err.Error(), "123456782") {
				t.Errorf("%v", err)
			}
		}
		p.now.Store(false)
		record(t, l, read("p"))
	})
	t.Run("anchor", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cfg, p := testConfig(privateDir(t)), &panicking{}
			cfg.Anchors = []Anchor{p}
			said, text := quiet()
			cfg.ErrorLog = said
			l := open(t, cfg)
			p.now.Store(true)
			record(t, l, read("p"))
			time.Sleep(24 * time.Hour)
			if n := l.anchors.failures(); n != 1 {
				t.Errorf("%d failures", n)
			}
			p.now.Store(false)
			must(t, l.Close())
			if s := text.String(); !strings.Contains(s, "anchor 0 did not take") || strings.Contains(s, "123456782") {
				t.Errorf("%s", s)
			}
		})
	})
}
