package auditlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// prunedLog is a closed log whose first segments were pruned, over several epochs.
func prunedLog(t testing.TB) *Log {
	t.Helper()
	cfg := testConfig(privateDir(t))
	cfg.SegmentBytes = minSegment
	l := open(t, cfg)
	l.cfg.Retention = -1 // everything is old enough: only tests can
	for i := 0; ; i++ {
		if i%20 == 0 {
			l.mu.Lock()
			l.epochEnd = time.Now()
			l.mu.Unlock()
		}
		e := read(fmt.Sprintf("p%d", i))
		e.Reason = strings.Repeat("r", 2000)
		record(t, l, e)
		if firsts, err := segments(cfg.Dir); err != nil || len(firsts) == 4 {
			must(t, err)
			break
		}
	}
	record(t, l, read("after the last rotation")) // which is over when this is answered
	r, err := l.Prune(t.Context())
	must(t, err)
	if r.Segments != 3 || r.Records == 0 || r.Upto != r.Records || r.Bytes < 3*minSegment {
		t.Fatalf("%+v", r)
	}
	must(t, l.Close())
	l.cfg.Retention = defaultRetention // so that its config opens it again
	return l
}

func TestAPrunedLogVerifiesGoesOnAndIsPrunedAgain(t *testing.T) {
	l := prunedLog(t)
	r := verify(t, l.cfg.Dir, l.first)
	if r.Status != StatusOK || r.Pruned == 0 || r.Segments != 1 {
		t.Fatalf("%v", r)
	}
	before := r.Pruned
	l = open(t, l.cfg)
	l.cfg.Retention = -1
	for i := 0; ; i++ {
		e := read(fmt.Sprintf("q%d", i))
		e.Reason = strings.Repeat("r", 2000)
		record(t, l, e)
		if firsts, err := segments(l.cfg.Dir); err != nil || len(firsts) == 3 {
			must(t, err)
			break
		}
	}
	if _, err := l.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = verify(t, l.cfg.Dir, l.first)
	if r.Status != StatusOK || r.Pruned <= before {
		t.Errorf("%v", r)
	}
	// What is left can still be proven, also across what is gone.
	for seq := r.Pruned; seq < r.Size; seq += 7 {
		p, err := l.Prove(t.Context(), seq)
		if err != nil {
			t.Fatalf("record %d: %v", seq, err)
		}
		must(t, p.Check())
	}
	if _, err := l.Prove(t.Context(), r.Pruned-1); err == nil {
		t.Error("a record that is gone was proven")
	}
	for _, err := range l.Query(t.Context(), Filter{}) {
		must(t, err)
	}
}

func TestOnlyWhatIsOlderThanTheRetentionIsPruned(t *testing.T) {
	t.Attr("control", "BIO2 8.15.04")
	for name, cfg := range map[string]Config{"400 days": {}, "five years": NLHealthcare()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test := testConfig(privateDir(t))
				cfg.Dir, cfg.ErrorLog, cfg.Next = test.Dir, test.ErrorLog, test.Next
				keep := cfg.Retention
				if keep == 0 {
					keep = defaultRetention
				}
				// A segment on each of three days.
				var key string
				for range 3 {
					l := open(t, cfg)
					key = l.VerifierKey()
					record(t, l, read("p"))
					must(t, l.Close())
					time.Sleep(day + time.Minute)
				}
				at := func(wait time.Duration, want int) {
					t.Helper()
					time.Sleep(wait)
					l := open(t, cfg)
					r, err := l.Prune(t.Context())
					must(t, err)
					must(t, l.Close())
					if r.Segments != want {
						t.Errorf("%d segments went, want %d", r.Segments, want)
					}
					if v := verify(t, cfg.Dir, key); v.Status != StatusOK {
						t.Errorf("%v", v)
					}
				}
				at(keep-4*day, 0) // the oldest is a day younger than the limit
				at(2*day, 1)      // and now a day older
				at(day, 1)
			})
		})
	}
}

func TestACrashInTheMidstOfAPruneIsFinished(t *testing.T) {
	l := prunedLog(t)
	// As if one of the removed segments had not been removed yet.
	leftover := filepath.Join(l.cfg.Dir, segmentName(0))
	must(t, os.WriteFile(leftover, []byte("whatever"), 0o600))
	if r := verify(t, l.cfg.Dir, l.first); r.Status != StatusOK {
		t.Errorf("%v", r)
	}
	l = open(t, l.cfg)
	if there, _ := exists(leftover); there {
		t.Error("it is still there")
	}
	if r := verify(t, l.cfg.Dir, l.first); r.Status != StatusOK {
		t.Errorf("%v", r)
	}
}

func TestSegmentsThatSomebodyRemovedAreNotPruned(t *testing.T) {
	l := prunedLog(t)
	pruned := filepath.Join(l.cfg.Dir, prunedName)
	text, err := os.ReadFile(pruned)
	must(t, err)
	lines := strings.SplitAfter(string(text), "\n")
	for name, bad := range map[string]string{
		"empty":             "",
		"without its links": strings.Join(lines[:2], ""),
		"one link missing":  strings.Join(slices.Delete(slices.Clone(lines), 2, 3), ""),
		"links swapped":     strings.Join(lines[:2], "") + lines[3] + lines[2] + strings.Join(lines[4:], ""),
		"another size":      strings.Replace(string(text), " "+strings.Fields(lines[0])[3]+" ", " 1 ", 1),
		"no checkpoint":     lines[0] + strings.Join(lines[2:], ""),
	} {
		must(t, os.WriteFile(pruned, []byte(bad), 0o600))
		if r := verify(t, l.cfg.Dir, l.first); r.Status != StatusTampered {
			t.Errorf("%s: %v", name, r)
		}
		if _, err := Open(t.Context(), l.cfg); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: opened: %v", name, err)
		}
	}
	must(t, os.Remove(pruned))
	if r := verify(t, l.cfg.Dir, l.first); r.Status != StatusTampered {
		t.Errorf("without the file: %v", r)
	}
	// A whole file that proves where the log begins, and no record that says so.
	small := testConfig(privateDir(t))
	small.SegmentBytes = minSegment
	whole := open(t, small)
	for range 60 {
		e := read("p")
		e.Reason = strings.Repeat("r", 2000)
		record(t, whole, e)
	}
	must(t, whole.Close())
	c, _, err := startChain(whole.cfg.Dir, whole.first)
	must(t, err)
	firsts, err := segments(whole.cfg.Dir)
	must(t, err)
	if _, f, err := c.file(t.Context(), whole.cfg.Dir, firsts[0], false); f != nil || err != nil {
		t.Fatal(f, err)
	}
	must(t, c.writePruned(whole.cfg.Dir, nil))
	must(t, os.Remove(filepath.Join(whole.cfg.Dir, segmentName(0))))
	if r := verify(t, whole.cfg.Dir, whole.first); r.Status != StatusTampered || !strings.Contains(r.Reason, "no record") {
		t.Errorf("%v", r)
	}
}

func TestEveryRecordCanBeProvenOffline(t *testing.T) {
	_, key, _, _ := threeEpochs(t, 20)
	dir := privateDir(t)
	l := open(t, testConfig(dir))
	for i := range 40 {
		record(t, l, read(fmt.Sprintf("p%d", i)))
		r := verify(t, dir, l.first)
		for _, seq := range []int64{0, 1, r.Size / 2, r.Size - 1} {
			p, err := Prove(t.Context(), dir, l.first, seq)
			if err != nil {
				t.Fatalf("%d of %d: %v", seq, r.Size, err)
			}
			must(t, p.Check())
			for what, bad := range map[string]Proof{
				"another record": {p.Text, append(slices.Clone(p.Record), ' '), p.Key},
				"another key":    {p.Text, p.Record, key},
				"another index":  {[]byte(strings.Replace(string(p.Text), fmt.Sprintf("index %d\n", seq), fmt.Sprintf("index %d\n", seq+1), 1)), p.Record, p.Key},
				"no hashes":      {[]byte(strings.Join(slices.Delete(strings.SplitAfter(string(p.Text), "\n"), 2, 3), "")), p.Record, p.Key},
				"nothing":        {nil, p.Record, p.Key},
			} {
				if bad.Check() == nil {
					t.Errorf("record %d of %d: %s is accepted", seq, r.Size, what)
				}
			}
		}
	}
	for _, seq := range []int64{-1, 1 << 40} {
		if _, err := l.Prove(t.Context(), seq); err == nil {
			t.Errorf("record %d was proven", seq)
		}
	}
	edit(t, dir, func(s string) string { return strings.Replace(s, "vermeer", "vermees", 1) })
	if _, err := Prove(t.Context(), dir, l.first, 3); !errors.Is(err, ErrTampered) {
		t.Errorf("a tampered log proves: %v", err)
	}
}

// The form is that of C2SP tlog-proof, so that other programs can check it.
func TestAProofHasTheFormOfTlogProof(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	for range 5 {
		record(t, l, read("p"))
	}
	p, err := l.Prove(t.Context(), 3)
	must(t, err)
	head, signed, _ := strings.Cut(string(p.Text), "\n\n")
	lines := strings.Split(head, "\n")
	if lines[0] != "c2sp.org/tlog-proof@v1" || lines[1] != "index 3" || len(lines) != 2+3 {
		t.Errorf("%q", lines)
	}
	for _, l := range lines[2:] {
		if _, err := tlog.ParseHash(l); err != nil {
			t.Errorf("%q: %v", l, err)
		}
	}
	if fields := strings.Split(signed, "\n"); fields[0] != l.key.Origin || fields[1] != "7" {
		t.Errorf("checkpoint %q", signed)
	}
}

// Opening takes the links as they stand, because a busy year has half a million
// of them; whoever verifies does not.
func TestALinkThatWasChangedIsSeenOnItsLine(t *testing.T) {
	l := prunedLog(t)
	path := filepath.Join(l.cfg.Dir, prunedName)
	text, err := os.ReadFile(path)
	must(t, err)
	lines := strings.SplitAfter(string(text), "\n")
	link := []byte(lines[3])
	at := &link[len(link)-20] // within the signature, and still base64
	if *at == 'A' {
		*at = 'B'
	} else {
		*at = 'A'
	}
	lines[3] = string(link)
	must(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600))
	if r := verify(t, l.cfg.Dir, l.first); r.Status != StatusTampered || r.File != prunedName || r.Line != 4 {
		t.Errorf("%v", r)
	}
	must(t, open(t, l.cfg).Close())
}
