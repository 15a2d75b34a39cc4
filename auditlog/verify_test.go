package auditlog

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// smallLog writes and closes a log of n events and returns its directory, key
// and first segment.
func smallLog(t testing.TB, n int) (dir, key string, text []byte) {
	t.Helper()
	dir = privateDir(t)
	l := open(t, testConfig(dir))
	for i := range n {
		record(t, l, read(fmt.Sprintf("p%d", i)))
	}
	must(t, l.Close())
	text, err := os.ReadFile(filepath.Join(dir, segmentName(0)))
	must(t, err)
	return dir, l.VerifierKey(), text
}

// verifyText verifies a log of one segment that is held in memory.
func verifyText(t testing.TB, key string, text []byte) (*chain, tail, *flaw) {
	t.Helper()
	c, err := newChain(key)
	must(t, err)
	tl, f, err := c.segment(context.Background(), segmentName(0), bytes.NewReader(text), true)
	must(t, err)
	return c, tl, f
}

// The first segment's header and first commit; what follows them has its test
// in TestEveryFlippedBitOfThreeEpochsIsDetectedOnItsLine.
func TestEveryFlippedBitOfTheBeginningIsDetectedOnItsLine(t *testing.T) {
	t.Parallel()
	t.Attr("control", "BIO2 8.15.03")
	_, key, text := smallLog(t, 1)
	line := 1
	for i := range text {
		if line > 5 {
			return
		}
		for bit := range 8 {
			if raceDetector && bit != i%8 {
				continue // ten times slower; without it all bits are flipped
			}
			bad := slices.Clone(text)
			bad[i] ^= 1 << bit
			_, tl, f := verifyText(t, key, bad)
			switch {
			case f == nil && tl.bytes == 0:
				t.Fatalf("byte %d bit %d, line %d: %q is taken for ok", i, bit, line, text[i])
			case f == nil && i < len(text)-1:
				// Only the file's last line end and zero bytes near it look like a crash.
				if rest := bad[tl.offset:]; bytes.IndexByte(rest, 0) < 0 && bytes.HasSuffix(rest, []byte("\n")) {
					t.Fatalf("byte %d bit %d, line %d: reported as a torn tail from line %d", i, bit, line, tl.line)
				}
			case f != nil && f.line != line && (text[i] != '\n' || f.line != line):
				t.Fatalf("byte %d bit %d: reported line %d (%s), changed line %d", i, bit, f.line, f.reason, line)
			}
		}
		if text[i] == '\n' {
			line++
		}
	}
}

func TestVerifySaysWhatWasDone(t *testing.T) {
	dir, key, text := smallLog(t, 6)
	otherDir, otherKey, other := smallLog(t, 6)
	lines := strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
	lines[len(lines)-1] += "\n"
	join := func(l ...[]string) string { return strings.Join(slices.Concat(l...), "") }
	// Lines: 0 header, then R and C in turn: genesis, open, six events, close.
	for name, c := range map[string]struct {
		text string
		want Status
		line int
	}{
		"untouched":                     {string(text), StatusOK, 0},
		"a record removed":              {join(lines[:5], lines[6:]), StatusTampered, 6},
		"a record and its checkpoint":   {join(lines[:5], lines[7:]), StatusTampered, 6},
		"two records swapped":           {join(lines[:5], lines[7:9], lines[5:7], lines[9:]), StatusTampered, 6},
		"a record twice":                {join(lines[:7], lines[5:]), StatusTampered, 8},
		"a checkpoint twice":            {join(lines[:7], lines[6:]), StatusTampered, 8},
		"a checkpoint removed":          {join(lines[:6], lines[7:]), StatusTampered, 8},
		"an empty line":                 {join(lines[:5], []string{"\n"}, lines[5:]), StatusTampered, 6},
		"a line of the verifier's own":  {join(lines[:5], []string{"X 1\n"}, lines[5:]), StatusTampered, 6},
		"another log behind it":         {string(text) + string(other), StatusTampered, len(lines) + 1},
		"another log's records":         {join(lines[:7]) + join(strings.SplitAfter(string(other), "\n")[7:]), StatusTampered, 9},
		"the header of another log":     {strings.SplitAfter(string(other), "\n")[0] + join(lines[1:]), StatusTampered, 1},
		"no header":                     {join(lines[1:]), StatusTampered, 1},
		"a newer format":                {strings.Replace(string(text), magic+"1", magic+"2", 1), StatusUnverifiable, 1},
		"a format that never was":       {strings.Replace(string(text), magic+"1", magic+"01", 1), StatusTampered, 1},
		"half of the last checkpoint":   {string(text[:len(text)-30]), StatusTornTail, len(lines) - 1},
		"the last checkpoint removed":   {join(lines[:len(lines)-1]), StatusTornTail, len(lines) - 1},
		"the newest records cut off":    {join(lines[:9]), StatusOK, 0}, // only age or an anchor can tell
		"a megabyte of something":       {string(text) + strings.Repeat("x", 1<<20), StatusTampered, len(lines) + 1},
		"a megabyte in the middle":      {join(lines[:5]) + strings.Repeat("x", 1<<20) + "\n" + join(lines[5:]), StatusTampered, 6},
		"zeros in the middle":           {join(lines[:5]) + "\x00\x00\n" + join(lines[5:]), StatusTampered, 6},
		"an empty file":                 {"", StatusTampered, 1},
		"Windows line ends":             {strings.ReplaceAll(string(text), "\n", "\r\n"), StatusTampered, 1},
		"a file of the other log alone": {string(other), StatusUnverifiable, 2},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.WriteFile(filepath.Join(dir, segmentName(0)), []byte(c.text), 0o600))
			r := verify(t, dir, key)
			if r.Status != c.want || r.Line != c.line || (c.want == StatusOK) != (r.Reason == "") {
				t.Errorf("%v, want %s line %d", r, c.want, c.line)
			}
		})
	}
	if r := verify(t, otherDir, key); r.Status != StatusUnverifiable || r.Line != 2 {
		t.Errorf("the key of another log: %v", r)
	}
	if r := verify(t, otherDir, otherKey); r.Status != StatusOK {
		t.Errorf("%v", r)
	}
	if r := verify(t, t.TempDir(), key); r.Status != StatusUnverifiable {
		t.Errorf("an empty directory: %v", r)
	}
	for _, bad := range []string{"", "x", key + "x", "PRIVATE+KEY+" + key, strings.Repeat("a", 1<<20)} {
		if _, err := Verify(t.Context(), dir, bad, VerifyOptions{}); err == nil {
			t.Errorf("key %.40q was accepted", bad)
		}
	}
	if _, err := Verify(t.Context(), filepath.Join(dir, "none"), key, VerifyOptions{}); err == nil {
		t.Error("a directory that is not there was verified")
	}
	if _, err := Verify(t.Context(), dir, key, VerifyOptions{MaxAge: -1}); err == nil {
		t.Error("a negative age was accepted")
	}
}

func TestProgressEndsWithTheLastByte(t *testing.T) {
	dir, key, text := smallLog(t, 3)
	var done, total int64
	_, err := Verify(t.Context(), dir, key, VerifyOptions{Progress: func(d, all int64) { done, total = d, all }})
	must(t, err)
	if want := int64(len(text)); done != want || total != want {
		t.Errorf("%d of %d, want %d", done, total, want)
	}
}

func TestSegmentsThatAreMissingOrMovedAreTampering(t *testing.T) {
	cfg := testConfig(privateDir(t))
	cfg.SegmentBytes = minSegment
	l := open(t, cfg)
	for i := 0; ; i++ {
		record(t, l, read(strings.Repeat("p", 200)))
		if firsts, err := segments(cfg.Dir); err != nil || len(firsts) == 4 {
			must(t, err)
			break
		}
	}
	must(t, l.Close())
	firsts, err := segments(cfg.Dir)
	must(t, err)
	if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK || r.Segments != 4 {
		t.Fatalf("%v", r)
	}
	path := func(i int) string { return filepath.Join(cfg.Dir, segmentName(firsts[i])) }
	swap := func(i, j int) {
		a, err := os.ReadFile(path(i))
		must(t, err)
		b, err := os.ReadFile(path(j))
		must(t, err)
		must(t, os.WriteFile(path(i), b, 0o600))
		must(t, os.WriteFile(path(j), a, 0o600))
	}
	for name, harm := range map[string]func() (undo func()){
		"first missing": func() func() {
			must(t, os.Rename(path(0), path(0)+"x"))
			return func() { must(t, os.Rename(path(0)+"x", path(0))) }
		},
		"second missing": func() func() {
			must(t, os.Rename(path(1), path(1)+"x"))
			return func() { must(t, os.Rename(path(1)+"x", path(1))) }
		},
		"two swapped": func() func() { swap(1, 2); return func() { swap(1, 2) } },
		"cut in the middle": func() func() {
			b, err := os.ReadFile(path(1))
			must(t, err)
			cut := bytes.LastIndexByte(b[:len(b)-1], '\n') + 1
			must(t, os.WriteFile(path(1), b[:cut], 0o600))
			return func() { must(t, os.WriteFile(path(1), b, 0o600)) }
		},
	} {
		undo := harm()
		if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusTampered || r.File == "" {
			t.Errorf("%s: %v", name, r)
		}
		undo()
	}
	if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK {
		t.Errorf("undone: %v", r)
	}
}

func TestALogThatNobodyWritesToIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := privateDir(t)
		l := open(t, testConfig(dir))
		record(t, l, read("p"))
		opts := VerifyOptions{MaxAge: time.Hour}
		time.Sleep(3 * time.Hour) // a quiet log is seen to live: its epochs end
		if r, err := Verify(t.Context(), dir, l.VerifierKey(), opts); err != nil || r.Status != StatusOK || r.Epoch < 11 || r.Epoch > 14 || r.Events != 1 {
			t.Errorf("quiet: %v, epoch %d, %v", r, r.Epoch, err)
		}
		must(t, l.Close())
		for _, want := range []Status{StatusOK, StatusStale} {
			r, err := Verify(t.Context(), dir, l.VerifierKey(), opts)
			must(t, err)
			if r.Status != want {
				t.Errorf("%v, want %s", r, want)
			}
			time.Sleep(time.Hour + time.Second) // the bubble's clock
		}
	})
}

func TestVerifyingALogThatIsBeingWritten(t *testing.T) {
	cfg := testConfig(privateDir(t))
	cfg.SegmentBytes = minSegment
	l := open(t, cfg)
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := l.Record(context.Background(), read("p")); err != nil {
				done <- err
				return
			}
			runtime.Gosched()
		}
	}()
	for range 5 {
		if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK {
			t.Errorf("%v", r)
		}
		for _, err := range l.Query(t.Context(), Filter{}) {
			must(t, err)
		}
	}
	close(stop)
	must(t, <-done)
}

func TestTheTreeIsThatOfTlog(t *testing.T) {
	var tr tree
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(at))
		for i, k := range at {
			out[i] = stored[k]
		}
		return out, nil
	})
	for n := range int64(300) {
		want, err := tlog.TreeHash(n, reader)
		must(t, err)
		if got := tr.root(); got != want || !tr.wellFormed() {
			t.Fatalf("size %d: %v, want %v", n, got, want)
		}
		leaf := fmt.Append(nil, n)
		more, err := tlog.StoredHashes(n, leaf, reader)
		must(t, err)
		stored = append(stored, more...)
		tr.add(tlog.RecordHash(leaf))
	}
}

func FuzzVerifyNeverSaysOkForAChangedLog(f *testing.F) {
	_, key, text := smallLog(f, 4)
	f.Add(10, 20, []byte("x"))
	f.Add(0, len(text), []byte{})
	f.Add(len(text), 0, []byte("R 99 "))
	f.Fuzz(func(t *testing.T, at, cut int, insert []byte) {
		at = min(max(at, 0), len(text))
		cut = min(max(cut, 0), len(text)-at)
		bad := slices.Concat(text[:at], insert, text[at+cut:])
		c, tl, fl := verifyText(t, key, bad)
		if fl != nil || tl.bytes > 0 {
			return
		}
		if !bytes.HasPrefix(text, bad) { // cut behind a checkpoint: only age or an anchor can tell
			t.Errorf("%d records verify that were never written so", c.signed.tree.size)
		}
	})
}

func FuzzHeader(f *testing.F) {
	_, _, text := smallLog(f, 1)
	f.Add(text[:bytes.IndexByte(text, '\n')])
	f.Add([]byte("H hardening-auditlog/1 o 1 " + strings.Repeat("A", 43) + "= 0 o+00000000+AA=="))
	f.Fuzz(func(t *testing.T, line []byte) {
		origin, tr, e, err := parseHeader(line)
		if err == nil && !bytes.Equal(appendHeader(nil, origin, tr, e), append(slices.Clone(line), '\n')) {
			t.Errorf("%q does not round-trip", line)
		}
	})
}
