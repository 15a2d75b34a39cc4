package auditlog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

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
			if !strings.Contains(string(want), "\nR ") {
				continue // begun behind the last record: nothing in it was acknowledged yet
			}
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
	if _, err := NewDirReplica(dir); err == nil { // as below a mount point without its disk
		t.Error("a directory that is not there is taken")
	}
	must(t, os.Mkdir(dir, 0o700))
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
