package auditlog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// rewrite changes records of a log as whoever can write to its files and has
// no key would: each changed record with its right leaf hash.
func rewrite(text []byte, change func(seq int64, record []byte) []byte) []byte {
	var out []byte
	seq := int64(0)
	for l := range bytes.Lines(text) {
		if l[0] != 'R' {
			out = append(out, l...)
			continue
		}
		_, rest, _ := bytes.Cut(l[2:], []byte{' '})
		record := change(seq, bytes.Clone(bytes.TrimSuffix(rest[hashText+1:], []byte("\n"))))
		out = appendRecordLine(out, seq, tlog.RecordHash(record), record)
		seq++
	}
	return out
}

// What looks like a record of a newer version, or like the log of another key,
// is a forgery unless a checkpoint says that it was written so: an attacker
// must not choose the word that the auditor reads.
func TestAForgedRecordIsNotTakenForANewerVersion(t *testing.T) {
	t.Attr("control", "BIO2 8.15.05")
	dir, key, text := smallLog(t, 3)
	stranger, err := newKey(strings.SplitN(key, "+", 2)[0])
	must(t, err)
	replace := func(seq int64, from, to string) []byte {
		return rewrite(text, func(n int64, record []byte) []byte {
			if n == seq {
				return bytes.Replace(record, []byte(from), []byte(to), 1)
			}
			return record
		})
	}
	for name, bad := range map[string][]byte{
		"an unknown kind":             replace(3, `"k":"event"`, `"k":"later"`),
		"a newer envelope":            replace(3, `{"v":1,`, `{"v":2,`),
		"no time":                     replace(3, `"t":"2`, `"t":"x`),
		"another first key":           replace(0, key, stranger.First),
		"another first key, all over": bytes.ReplaceAll(replace(0, key, stranger.First), []byte(key), []byte(stranger.First)),
	} {
		t.Run(name, func(t *testing.T) {
			if bytes.Equal(bad, text) {
				t.Fatal("nothing was changed")
			}
			must(t, os.WriteFile(filepath.Join(dir, segmentName(0)), bad, 0o600))
			if r := verify(t, dir, key); r.Status != StatusTampered || r.Line == 0 {
				t.Errorf("%v", r)
			}
		})
	}
}

// A record that a newer version did sign is not tampering.
func TestARecordOfAnUnknownKindThatIsSignedIsUnverifiable(t *testing.T) {
	cfg := testConfig(privateDir(t))
	l := open(t, cfg)
	record(t, l, read("p"))
	if _, err := l.control(t.Context(), "later", control{}); err != nil {
		t.Fatal(err)
	}
	record(t, l, read("p"))
	must(t, l.Close())
	r := verify(t, cfg.Dir, l.first)
	if r.Status != StatusUnverifiable || r.Seq != 3 || !strings.Contains(r.Reason, "newer version") {
		t.Errorf("%v", r)
	}
}

// An anchor that says nothing must not pass for one that agrees.
func TestAnAnchorThatCanNotSpeakIsNotAnAnchorThatAgrees(t *testing.T) {
	dir, key, _ := smallLog(t, 3)
	for name, bad := range map[string][]byte{"empty": {}, "a newline": []byte("\n"), "half": []byte("auditlog")} {
		if r, err := Verify(t.Context(), dir, key, VerifyOptions{Anchor: bad}); err == nil {
			t.Errorf("%s: %v", name, r)
		}
	}
}

func TestALogThatIsGoneIsBehindItsAnchor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "anchor")
	a, err := NewFileAnchor(path)
	must(t, err)
	cfg := testConfig(privateDir(t))
	cfg.Anchors = []Anchor{a}
	l := open(t, cfg)
	record(t, l, read("p"))
	must(t, l.Close())
	anchor, err := os.ReadFile(path)
	must(t, err)
	must(t, os.Remove(filepath.Join(cfg.Dir, segmentName(0))))
	r, err := Verify(t.Context(), cfg.Dir, l.first, VerifyOptions{Anchor: anchor})
	must(t, err)
	if r.Status != StatusBehindAnchor || r.Missing != 4 {
		t.Errorf("%v, %d missing", r, r.Missing)
	}
}

// Whoever has the key of this minute could claim that everything before was
// pruned. An anchor from before must not be passed over then.
func TestAnAnchorOfRecordsThatWerePrunedSinceIsNotPassedOver(t *testing.T) {
	l := prunedLog(t)
	c, start, err := startChain(l.cfg.Dir, l.first)
	must(t, err)
	at := func(size int64, tr *tree) []byte {
		signed, err := signCheckpoint(l.signer, l.key.Origin, &tree{size, tr.roots}, 1)
		must(t, err)
		return signed
	}
	r, err := Verify(t.Context(), l.cfg.Dir, l.first, VerifyOptions{Anchor: at(start.size, &c.signed.tree)})
	must(t, err)
	if r.Status != StatusOK {
		t.Errorf("the very place where the log begins: %v", r)
	}
	var other tree
	for i := range start.size {
		other.add(tlog.RecordHash([]byte{byte(i)}))
	}
	r, err = Verify(t.Context(), l.cfg.Dir, l.first, VerifyOptions{Anchor: at(start.size, &other)})
	must(t, err)
	if r.Status != StatusTampered {
		t.Errorf("another history before it: %v", r)
	}
	r, err = Verify(t.Context(), l.cfg.Dir, l.first, VerifyOptions{Anchor: at(start.size-1, &other)})
	must(t, err)
	if r.Status != StatusUnverifiable || !strings.Contains(r.Reason, "anchor") {
		t.Errorf("an older anchor: %v", r)
	}
}

func TestTheFileAnchorRefusesAnotherHistoryOfTheSameLength(t *testing.T) {
	a, err := NewFileAnchor(filepath.Join(t.TempDir(), "anchor"))
	must(t, err)
	k, err := newKey("auditlog-x")
	must(t, err)
	signer, err := k.signer()
	must(t, err)
	put := func(record string) error {
		var tr tree
		tr.add(tlog.RecordHash([]byte(record)))
		signed, err := signCheckpoint(signer, k.Origin, &tr, 0)
		must(t, err)
		return a.Put(t.Context(), signed)
	}
	must(t, put("one"))
	must(t, put("one"))
	if err := put("two"); !errors.Is(err, ErrTampered) {
		t.Errorf("%v", err)
	}
}

// The age is that of the newest record. A clock that was wrong for a minute, a
// year ago, must not make the log look alive for ever.
func TestARecordFromTheFutureDoesNotHideThatALogIsStale(t *testing.T) {
	cfg := testConfig(privateDir(t))
	l := open(t, cfg)
	at := func(at time.Time) {
		if _, err := l.commit(t.Context(), appendControl(nil, kindOpen, at, control{}), false); err != nil {
			t.Fatal(err)
		}
	}
	at(time.Now().Add(10 * 365 * day))
	at(time.Now().Add(-3 * time.Hour))
	if r, err := Verify(t.Context(), cfg.Dir, l.first, VerifyOptions{MaxAge: time.Hour}); err != nil || r.Status != StatusStale {
		t.Errorf("%v, newest %v, %v", r, r.Newest, err)
	}
	at(time.Now().Add(10 * 365 * day))
	if r, err := Verify(t.Context(), cfg.Dir, l.first, VerifyOptions{MaxAge: time.Hour}); err != nil || r.Status != StatusStale || !strings.Contains(r.Reason, "clock") {
		t.Errorf("%v, newest %v, %v", r, r.Newest, err)
	}
	at(time.Now().Add(time.Minute)) // two machines' clocks never agree
	if r, err := Verify(t.Context(), cfg.Dir, l.first, VerifyOptions{MaxAge: time.Hour}); err != nil || r.Status != StatusOK {
		t.Errorf("%v, newest %v, %v", r, r.Newest, err)
	}
}

// limited fails whoever reads more than so many bytes.
type limited struct {
	r io.Reader
	n int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.n -= int64(n); l.n < 0 {
		return 0, errors.New("too much was read")
	}
	return n, err
}

// A hole of a terabyte costs nothing to make.
func TestAHoleBehindTheLogIsNeitherWaitedForNorCopied(t *testing.T) {
	dir, key, text := smallLog(t, 3)
	path := filepath.Join(dir, segmentName(0))
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Skip("this file system has no sparse files: ", err)
	}
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	c, err := newChain(key)
	must(t, err)
	most := int64(len(text)) + maxTail + 4*maxLine
	if _, f, err := c.segment(t.Context(), segmentName(0), &limited{file, most}, true); err != nil || f == nil || f.status != StatusTampered {
		t.Errorf("%+v, %v", f, err)
	}
	if r := verify(t, dir, key); r.Status != StatusTampered {
		t.Errorf("%v", r)
	}
	if _, err := Open(t.Context(), testConfig(dir)); !errors.Is(err, ErrTampered) {
		t.Errorf("opened: %v", err)
	}
	must(t, os.Truncate(path, int64(len(text))))
	if r := verify(t, dir, key); r.Status != StatusOK {
		t.Errorf("%v", r)
	}
}

// A subject whose key can not be read is not a subject of whom nothing is known.
func TestAQueryWithoutTheSubjectsKeyIsAnError(t *testing.T) {
	cfg := testConfig(privateDir(t))
	l := open(t, cfg)
	record(t, l, read("jansen"))
	clear(l.subjects.open)
	_, err := l.subjects.file.WriteAt([]byte("damage"), l.subjects.header)
	must(t, err)
	var got error
	for _, err := range l.Query(t.Context(), Filter{Subject: "jansen"}) {
		got = err
	}
	if !errors.Is(got, ErrKey) {
		t.Errorf("%v", got)
	}
}

// Rows that this library never writes: half of an erasure.
func TestARowThatIsHalfErasedIsDamage(t *testing.T) {
	var mac [32]byte
	var key [32]byte
	mac[0] = 1
	if _, _, _, err := parseRow(appendRow(nil, mac, ref{1}, key)); err == nil {
		t.Error("a person is sealed under a key of zeros")
	}
	mac[0], key[0] = 0, 1
	if _, _, _, err := parseRow(appendRow(nil, mac, ref{1}, key)); err == nil {
		t.Error("an erased person has a key")
	}
}

// Pruning and verifying go on at the same time.
func TestVerifyingWhileSegmentsArePruned(t *testing.T) {
	cfg := testConfig(privateDir(t))
	cfg.SegmentBytes = minSegment
	l := open(t, cfg)
	l.cfg.Retention = -1
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		e := read("p")
		e.Reason = strings.Repeat("r", 2000)
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := l.Record(context.Background(), e); err != nil {
				done <- err
				return
			}
			if i%40 == 0 {
				if _, err := l.Prune(context.Background()); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	for range 60 {
		r, err := Verify(t.Context(), cfg.Dir, l.first, VerifyOptions{})
		if err != nil || r.Status != StatusOK {
			t.Errorf("%v, %v", r, err)
		}
		if _, err := Prove(t.Context(), cfg.Dir, l.first, r.Size-1); err != nil && !errors.Is(err, ErrNoRecord) {
			t.Error(err)
		}
		for _, err := range l.Query(t.Context(), Filter{}) {
			if err != nil {
				t.Error(err)
			}
		}
		if t.Failed() {
			break
		}
	}
	close(stop)
	must(t, <-done)
}

// Whoever cuts the newest records off can leave some bytes, as a crash does: the
// age still tells.
func TestATornTailHidesNoAge(t *testing.T) {
	cfg := testConfig(privateDir(t))
	l := open(t, cfg)
	record(t, l, read("p"))
	must(t, l.Close())
	must(t, appendTo(l.live.path, "R 4 half"))
	r, err := Verify(t.Context(), cfg.Dir, l.first, VerifyOptions{MaxAge: time.Nanosecond})
	must(t, err)
	if r.Status != StatusStale || r.TornBytes != 8 || !strings.Contains(r.Reason, "old") || !strings.Contains(r.Reason, "8 bytes") {
		t.Errorf("%+v", r)
	}
	r, err = Verify(t.Context(), cfg.Dir, l.first, VerifyOptions{MaxAge: time.Hour})
	must(t, err)
	if r.Status != StatusTornTail {
		t.Errorf("%+v", r)
	}
}

func TestATailsFileIsNotInTheDirectoryOfTheLog(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	sink := sinkFunc(func(context.Context, []Line) error { return nil })
	t.Chdir(filepath.Dir(l.cfg.Dir))
	for _, file := range []string{filepath.Join(l.cfg.Dir, "place"), filepath.Join(l.cfg.Dir, "sub/place"), filepath.Base(l.cfg.Dir) + "/place"} {
		if tail, err := l.Tail(TailConfig{Sink: sink, File: file}); err == nil {
			t.Errorf("%s is taken", file)
			_ = tail.Close()
		}
	}
}
