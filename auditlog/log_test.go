package auditlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/inovy/hardening"
)

// quiet is a logger that keeps what the room says about itself.
func quiet() (*slog.Logger, *lockedBuffer) {
	b := &lockedBuffer{}
	return slog.New(slog.NewTextHandler(b, nil)), b
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// privateDir is a directory that only its owner may enter.
func privateDir(t testing.TB) string { return filepath.Join(t.TempDir(), "audit") }

func testConfig(dir string) Config {
	log, _ := quiet()
	return Config{Dir: dir, ErrorLog: log, Next: slog.DiscardHandler}
}

func open(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// read is a valid event.
func read(patient string) Event {
	return Event{Type: SensitiveRead, Action: Read, Outcome: Success, Actor: Actor{ID: "vermeer"}, Subject: Subject{ID: patient}, Object: Object{Type: "record", ID: "r1"}}
}

func record(t testing.TB, l *Log, e Event) {
	t.Helper()
	if err := l.Record(context.Background(), e); err != nil {
		t.Fatal(err)
	}
}

func entries(t testing.TB, l *Log, f Filter) (all []Entry) {
	t.Helper()
	for e, err := range l.Query(context.Background(), f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func verify(t testing.TB, dir, key string) *VerifyReport {
	t.Helper()
	r, err := Verify(context.Background(), dir, key, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

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

func TestQueryChooses(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	for i := range 10 {
		e := read(fmt.Sprintf("p%d", i%2))
		e.Actor.ID = fmt.Sprintf("a%d", i%3)
		record(t, l, e)
	}
	all := entries(t, l, Filter{})
	for _, c := range []struct {
		name string
		f    Filter
		want int
	}{
		{"all", Filter{}, 10},
		{"by subject", Filter{Subject: "p1"}, 5},
		{"by actor", Filter{Actor: "a0"}, 4},
		{"by both", Filter{Subject: "p0", Actor: "a0"}, 2},
		{"at most", Filter{Limit: 3}, 3},
		{"from a time on", Filter{From: all[4].Time}, 6},
		{"before a time", Filter{To: all[4].Time}, 4},
		{"of another type", Filter{Type: Export}, 0},
	} {
		if got := entries(t, l, c.f); len(got) != c.want {
			t.Errorf("%s: %d entries, want %d", c.name, len(got), c.want)
		}
	}
	for range l.Query(t.Context(), Filter{}) {
		break // stopping early must not panic
	}
	for _, f := range []Filter{{Limit: -1}, {From: all[4].Time, To: all[2].Time}} {
		n := 0
		for _, err := range l.Query(t.Context(), f) {
			if n++; err == nil {
				t.Errorf("%+v was accepted", f)
			}
		}
		if n != 1 {
			t.Errorf("%+v: %d results", f, n)
		}
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

func TestALogThatIsTakenAwayIsSeenAtTheNextRecord(t *testing.T) {
	t.Attr("control", "BIO2 8.15.05")
	for name, harm := range map[string]func(path string) error{
		"removed":   os.Remove,
		"renamed":   func(p string) error { return os.Rename(p, p+".old") },
		"truncated": func(p string) error { return os.Truncate(p, 100) },
		"grown":     func(p string) error { return appendTo(p, "R 9 x\n") },
		"replaced": func(p string) error {
			b, err := os.ReadFile(p)
			return errors.Join(err, os.Remove(p), os.WriteFile(p, b, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(privateDir(t))
			var said *lockedBuffer
			cfg.ErrorLog, said = quiet()
			l := open(t, cfg)
			record(t, l, read("p"))
			if err := harm(filepath.Join(cfg.Dir, segmentName(0))); err != nil {
				t.Fatal(err)
			}
			err := l.Record(t.Context(), read("q"))
			if !errors.Is(err, ErrTampered) || !errors.Is(err, ErrFailed) {
				t.Errorf("got %v", err)
			}
			if l.Healthy() == nil || !strings.Contains(said.String(), "the log has stopped") {
				t.Errorf("healthy: %v; said %s", l.Healthy(), said)
			}
		})
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// faulty lets writes or syncs fail.
type faulty struct {
	appendFile
	short, sync *atomic.Bool
	syncs       *atomic.Int64
}

var errDisk = errors.New("input/output error")

func (f faulty) Write(p []byte) (int, error) {
	if f.short.Load() {
		n, err := f.appendFile.Write(p[:len(p)/2])
		return n, errors.Join(err, errDisk)
	}
	return f.appendFile.Write(p)
}

func (f faulty) Sync() error {
	f.syncs.Add(1)
	if f.sync.Load() {
		return errDisk
	}
	return f.appendFile.Sync()
}

func TestADiskThatFailsStopsTheLogAndNothingIsTriedAgain(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.5.3")
	for _, kind := range []string{"short write", "failed sync"} {
		t.Run(kind, func(t *testing.T) {
			var short, sync atomic.Bool
			var syncs atomic.Int64
			cfg := testConfig(privateDir(t))
			cfg.openFile = func(path string) (appendFile, error) {
				f, err := openAppend(path)
				return faulty{f, &short, &sync, &syncs}, err
			}
			l := open(t, cfg)
			record(t, l, read("before"))
			short.Store(kind == "short write")
			sync.Store(kind == "failed sync")
			for range 3 {
				if err := l.Record(t.Context(), read("lost")); !errors.Is(err, ErrFailed) || !errors.Is(err, errDisk) {
					t.Errorf("got %v", err)
				}
			}
			n := syncs.Load()
			short.Store(false)
			sync.Store(false)
			if err := l.Record(t.Context(), read("lost")); !errors.Is(err, ErrFailed) {
				t.Errorf("it came back to life: %v", err)
			}
			if err := l.Close(); !errors.Is(err, ErrFailed) {
				t.Errorf("Close hides the failure: %v", err)
			}
			if syncs.Load() != n {
				t.Error("a sync was tried again")
			}
			l = open(t, cfg)
			for _, e := range entries(t, l, Filter{}) {
				if kind == "short write" && e.Subject.ID == "lost" {
					t.Error("a record that was refused is there")
				}
			}
			r := verify(t, cfg.Dir, l.VerifierKey())
			if r.Status != StatusOK || kind == "short write" && r.Recovered != 1 {
				t.Errorf("%v recovered %d", r, r.Recovered)
			}
		})
	}
}

func TestATornTailIsQuarantinedCountedAndRecorded(t *testing.T) {
	for name, tear := range map[string]struct {
		garbage string
		records int
	}{
		"half a record":        {"R 4 abcd", 0},
		"an unsigned record":   {"", 1},
		"zeros":                {strings.Repeat("\x00", 4096), 0},
		"zeros and a line end": {strings.Repeat("\x00", 100) + "\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(privateDir(t))
			l := open(t, cfg)
			record(t, l, read("p"))
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(cfg.Dir, segmentName(0))
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			torn := string(whole)
			if tear.garbage == "" { // everything but the last checkpoint
				torn = torn[:strings.LastIndex(torn[:len(torn)-1], "\n")+1]
			} else {
				torn += tear.garbage
			}
			if err := os.WriteFile(path, []byte(torn), 0o600); err != nil {
				t.Fatal(err)
			}
			if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusTornTail || r.TornRecords != tear.records || r.Line == 0 {
				t.Errorf("before: %+v", r)
			}
			var said *lockedBuffer
			cfg.ErrorLog, said = quiet()
			l = open(t, cfg)
			r := verify(t, cfg.Dir, l.VerifierKey())
			if r.Status != StatusOK || r.Recovered != 1 || r.Events != 1 {
				t.Errorf("after: %+v", r)
			}
			if !strings.Contains(said.String(), "quarantine") {
				t.Errorf("said %q", said)
			}
			files, _ := filepath.Glob(filepath.Join(cfg.Dir, quarantinePrefix+"*"))
			if len(files) != 1 || strings.HasSuffix(files[0], pendingSuffix) {
				t.Fatalf("%v", files)
			}
			kept, _ := os.ReadFile(files[0])
			text, _ := os.ReadFile(path)
			if !strings.HasSuffix(torn, string(kept)) || !strings.Contains(string(text), filepath.Base(files[0])) || len(kept) == 0 {
				t.Errorf("kept %q", kept)
			}
			if f := l.checkTail(); f.Passed {
				t.Error("the finding passes")
			}
		})
	}
}

func TestAQuarantineThatACrashLeftUnaccountedIsRecordedLater(t *testing.T) {
	cfg := testConfig(privateDir(t))
	l := open(t, cfg)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.Dir, quarantinePrefix+"x"+pendingSuffix), []byte("R 3 x\nR 4"), 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, cfg)
	if r := verify(t, cfg.Dir, l.VerifierKey()); r.Recovered != 1 {
		t.Errorf("%+v", r)
	}
}

func TestOpenRefusesWhatItDidNotWrite(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(t *testing.T, dir string)
		want error
	}{
		"a changed record": {func(t *testing.T, dir string) {
			edit(t, dir, func(s string) string { return strings.Replace(s, "vermeer", "vermees", 1) })
		}, ErrTampered},
		"a changed checkpoint": {func(t *testing.T, dir string) {
			edit(t, dir, func(s string) string { return s[:len(s)-9] + "x" + s[len(s)-8:] })
		}, ErrTampered},
		"no key": {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, keyName))) }, ErrKey},
		"no segment": {func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, segmentName(0))))
		}, ErrTampered},
		"a key that others can read": {func(t *testing.T, dir string) { must(t, os.Chmod(filepath.Join(dir, keyName), 0o644)) }, ErrKey},
		"a key that is none": {func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, keyName), []byte(`{"secret":"hunter2`), 0o600))
		}, ErrKey},
		"a renamed segment": {func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(dir, segmentName(0)), filepath.Join(dir, segmentName(7))))
		}, ErrTampered},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(privateDir(t))
			l := open(t, cfg)
			record(t, l, read("p"))
			must(t, l.Close())
			c.harm(t, cfg.Dir)
			_, err := Open(t.Context(), cfg)
			if !errors.Is(err, c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func edit(t testing.TB, dir string, change func(string) string) {
	t.Helper()
	path := filepath.Join(dir, segmentName(0))
	text, err := os.ReadFile(path)
	must(t, err)
	changed := change(string(text))
	if changed == string(text) {
		t.Fatal("nothing changed")
	}
	must(t, os.WriteFile(path, []byte(changed), 0o600))
}

func TestAnInterruptedBeginningIsFinished(t *testing.T) {
	for name, undo := range map[string]func(dir string) error{
		"key written, no segment yet": func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, keyName), filepath.Join(dir, keyName+nextSuffix)), os.Remove(filepath.Join(dir, segmentName(0))))
		},
		"segment written, key not yet in force": func(dir string) error {
			return os.Rename(filepath.Join(dir, keyName), filepath.Join(dir, keyName+nextSuffix))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(privateDir(t))
			l := open(t, cfg)
			must(t, l.Close())
			must(t, undo(cfg.Dir))
			again := open(t, cfg)
			record(t, again, read("p"))
			if r := verify(t, cfg.Dir, again.VerifierKey()); r.Status != StatusOK || again.VerifierKey() != l.VerifierKey() {
				t.Errorf("%v", r)
			}
		})
	}
}

// A crash or a full disk while the very first key is written leaves half a
// file. Nothing was signed with it, so it must not stop the log for ever.
func TestHalfAKeyFromTheVeryFirstStartIsReplaced(t *testing.T) {
	for _, half := range []string{"", "{", `{"origin":"auditlog-x"}`} {
		cfg := testConfig(privateDir(t))
		must(t, os.Mkdir(cfg.Dir, 0o700))
		must(t, os.WriteFile(filepath.Join(cfg.Dir, keyName+nextSuffix), []byte(half), 0o600))
		l := open(t, cfg)
		record(t, l, read("p"))
		if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK {
			t.Errorf("%q: %v", half, r)
		}
	}
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
