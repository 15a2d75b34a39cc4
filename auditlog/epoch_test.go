package auditlog

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// threeEpochs writes a log of three epochs and n records, four to a commit,
// closes it, and returns it as text, with the signing key of its last epoch.
func threeEpochs(t testing.TB, n int) (dir, key string, text []byte, last *keyFile) {
	t.Helper()
	dir = privateDir(t)
	l := open(t, testConfig(dir))
	for i := 0; i < n; i += 4 {
		e := read(fmt.Sprintf("p%d", i))
		s, err := l.subjects.of(e.Subject.ID)
		must(t, err)
		l.mu.Lock()
		if i >= n/3 && l.key.Epoch == 0 || i >= 2*n/3 && l.key.Epoch == 1 {
			l.epochEnd = time.Now()
		}
		var b *batch
		for range min(4, n-i) {
			b, _ = l.addLocked(appendEvent(nil, &e, time.Now(), 0, nil, s))
			b.events++
		}
		l.mu.Unlock()
		<-b.done
		must(t, b.err)
	}
	must(t, l.Close())
	text, err := os.ReadFile(filepath.Join(dir, segmentName(0)))
	must(t, err)
	last, err = readKey(filepath.Join(dir, keyName))
	must(t, err)
	return dir, l.VerifierKey(), text, last
}

// Every bit of every byte, over 60 records and 3 epochs. What stands before a
// changed commit is verified once, so that this takes seconds and not an hour.
func TestEveryFlippedBitOfThreeEpochsIsDetectedOnItsLine(t *testing.T) {
	t.Parallel()
	t.Attr("control", "BIO2 8.15.03")
	_, key, text, last := threeEpochs(t, 60)
	if last.Epoch != 2 {
		t.Fatalf("%d epochs", last.Epoch+1)
	}
	c, tl, f := verifyText(t, key, text)
	if f != nil || tl.bytes > 0 || c.signed.events != 60 || c.signed.epoch.n != 2 {
		t.Fatalf("untouched: %+v %+v", f, c.signed)
	}
	// commits[i] is what the i-th adds; states[i] is the chain before it.
	var commits [][]byte
	start := bytes.IndexByte(text, '\n') + 1 // the header has a test of its own
	for rest := text[start:]; len(rest) > 0; {
		c := bytes.Index(rest, []byte("\nC ")) + 1
		end := c + bytes.IndexByte(rest[c:], '\n') + 1
		commits, rest = append(commits, rest[:end]), rest[end:]
	}
	flips := 0
	for i := 1; i < len(commits); i++ { // the first stands in the first segment with its header
		before, err := newChain(key)
		must(t, err)
		_, f, err := before.segment(t.Context(), segmentName(0), bytes.NewReader(slices.Concat(text[:start], bytes.Join(commits[:i], nil))), true)
		must(t, err)
		if f != nil {
			t.Fatal(f)
		}
		head := appendHeader(nil, before.origin, &before.signed.tree, before.signed.epoch)
		head = append(append(head, before.last...), '\n')
		follows := []byte(nil)
		if i+1 < len(commits) {
			follows = commits[i+1]
		}
		good := slices.Concat(head, commits[i], follows)
		check := func(bad []byte) (tail, *flaw) {
			again := *before
			again.read, again.signed = before.signed.clone(), before.signed.clone()
			tl, f, err := again.segment(t.Context(), segmentName(before.signed.tree.size), bytes.NewReader(bad), true)
			must(t, err)
			return tl, f
		}
		if tl, f := check(good); f != nil || tl.bytes > 0 {
			t.Fatalf("commit %d, untouched: %+v", i, f)
		}
		line := 3
		for at := len(head); at < len(head)+len(commits[i]); at++ {
			for bit := range 8 {
				if raceDetector && (at%8 != 0 || bit != at/8%8) {
					continue // ten times slower; without it all bits are flipped
				}
				flips++
				good[at] ^= 1 << bit
				tl, f := check(good)
				switch {
				case f == nil && tl.bytes == 0:
					t.Fatalf("commit %d line %d: %q is taken for ok", i, line, good[at])
				case f == nil && follows != nil && bytes.IndexByte(good[tl.offset:], 0) < 0:
					t.Fatalf("commit %d line %d: reported as a torn tail from line %d", i, line, tl.line)
				case f != nil && f.line != line && !(good[at]^1<<bit == '\n' && f.line == line+1):
					t.Fatalf("commit %d line %d: reported line %d (%s)", i, line, f.line, f.reason)
				}
				good[at] ^= 1 << bit
			}
			if good[at] == '\n' {
				line++
			}
		}
	}
	t.Logf("%d bits flipped", flips)
}

// Whoever has the key of this epoch can not sign for the time before it.
func TestAnOldEpochCanNotBeSignedAgain(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.4.2")
	_, key, text, last := threeEpochs(t, 30)
	signer, err := last.signer()
	must(t, err)
	c, err := newChain(key)
	must(t, err)
	// Change a record of the first epoch, mend its hash and everything that
	// follows, and sign with what a thief has.
	var out []byte
	var tr tree
	after := int64(0)
	for l := range bytes.Lines(text) {
		switch l[0] {
		case 'R':
			_, rest, _ := bytes.Cut(l[2:], []byte{' '})
			body := bytes.TrimSuffix(rest[hashText+1:], []byte("\n"))
			body = bytes.Replace(body, []byte(`"id":"vermeer"`), []byte(`"id":"mallory"`), 1)
			h := tlog.RecordHash(body)
			out = appendRecordLine(out, tr.size, h, body)
			tr.add(h)
		case 'C':
			signed, err := signCheckpoint(signer, c.origin, &tr, after)
			must(t, err)
			out, after = appendCheckpointLine(out, signed), tr.size
		default:
			out = append(out, l...)
		}
	}
	_, _, f := verifyText(t, key, out)
	if f == nil || f.status != StatusTampered || !strings.Contains(f.reason, "key that is not known") || f.line != 3 {
		t.Errorf("%+v", f)
	}
}

// CVE-2023-31439: entries that were sealed again with a newer key passed.
func TestRecordsOfAnOldEpochSignedByTheKeyInForceAreRefused(t *testing.T) {
	_, key, text, last := threeEpochs(t, 30)
	signer, err := last.signer()
	must(t, err)
	lines := slices.Collect(bytes.Lines(text))
	for i, l := range lines {
		if l[0] != 'C' || i < 5 || i > 20 {
			continue
		}
		c, err := newChain(key)
		must(t, err)
		_, _, err = c.segment(t.Context(), segmentName(0), bytes.NewReader(bytes.Join(lines[:i], nil)), true)
		must(t, err)
		cp, err := openCheckpointLine(bytes.TrimSuffix(l, []byte("\n")), c.read.verifier, c.origin)
		must(t, err)
		again, err := note.Sign(&note.Note{Text: checkpointText(c.origin, cp.size, cp.root, cp.after)}, signer)
		must(t, err)
		bad := slices.Concat(bytes.Join(lines[:i], nil), appendCheckpointLine(nil, again), bytes.Join(lines[i+1:], nil))
		if _, _, f := verifyText(t, key, bad); f == nil || f.status != StatusTampered || f.line != i+1 {
			t.Fatalf("line %d: %+v", i+1, f)
		}
	}
}

// CVE-2023-31438: a log that was cut, and goes on being sealed, passed.
func TestALogThatWasCutDoesNotGoOn(t *testing.T) {
	dir, key, text, _ := threeEpochs(t, 30)
	path := filepath.Join(dir, segmentName(0))
	first := bytes.Index(text, []byte(`"k":"epoch"`))
	cut := first + bytes.IndexByte(text[first:], '\n') + 1
	cut += bytes.IndexByte(text[cut:], '\n') + 1 // with the checkpoint of the epoch's end
	must(t, os.WriteFile(path, text[:cut], 0o600))
	if r := verify(t, dir, key); r.Status != StatusOK || r.Epoch != 0 {
		t.Errorf("a beginning of a log verifies: %v", r)
	}
	if _, err := Open(t.Context(), testConfig(dir)); !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), "epoch") {
		t.Errorf("it was opened with the key of a later epoch: %v", err)
	}
}

func TestEpochsEndByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(privateDir(t))
		l := open(t, cfg)
		keys := map[string]bool{}
		for range 10 {
			record(t, l, read("p"))
			time.Sleep(cfg.Epoch + time.Minute)
			synctest.Wait()
			text, err := os.ReadFile(filepath.Join(cfg.Dir, keyName))
			must(t, err)
			keys[string(text)] = true
		}
		must(t, l.Close())
		r := verify(t, cfg.Dir, l.VerifierKey())
		if r.Status != StatusOK || r.Epoch < 9 || len(keys) < 9 || r.Key == l.VerifierKey() {
			t.Errorf("%v, epoch %d, %d keys", r, r.Epoch, len(keys))
		}
	})
}

// A crash between the steps of an epoch's end leaves a key that fits.
func TestACrashAtAnEpochsEndIsSurvived(t *testing.T) {
	for name, crash := range map[string]func(t *testing.T, dir string, before, after []byte){
		"the next key was written and not announced": func(t *testing.T, dir string, before, after []byte) {
			next, err := newKey("auditlog-none")
			must(t, err)
			k, err := readKey(filepath.Join(dir, keyName))
			must(t, err)
			next.Origin, next.First, next.Epoch = k.Origin, k.First, k.Epoch+1
			if next.Secret, next.Key, err = note.GenerateKey(nil, k.Origin); err != nil {
				t.Fatal(err)
			}
			must(t, writeKey(filepath.Join(dir, keyName), next))
		},
		"half of the next key was written": func(t *testing.T, dir string, _, _ []byte) {
			must(t, os.WriteFile(filepath.Join(dir, keyName+nextSuffix), []byte(`{"v":1,"orig`), 0o600))
		},
		"it was announced and not put in force": func(t *testing.T, dir string, before, after []byte) {
			must(t, os.WriteFile(filepath.Join(dir, keyName), before, 0o600))
			must(t, os.WriteFile(filepath.Join(dir, keyName+nextSuffix), after, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(privateDir(t))
			l := open(t, cfg)
			record(t, l, read("p"))
			before, err := os.ReadFile(filepath.Join(cfg.Dir, keyName))
			must(t, err)
			l.mu.Lock()
			l.epochEnd = time.Now()
			l.mu.Unlock()
			record(t, l, read("p"))
			must(t, l.Close())
			after, err := os.ReadFile(filepath.Join(cfg.Dir, keyName))
			must(t, err)
			if bytes.Equal(before, after) {
				t.Fatal("the key did not change")
			}
			crash(t, cfg.Dir, before, after)
			l = open(t, cfg)
			record(t, l, read("q"))
			if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK || r.Events != 3 {
				t.Errorf("%v", r)
			}
			if there, _ := exists(filepath.Join(cfg.Dir, keyName+nextSuffix)); there {
				t.Error("a second key was left behind")
			}
		})
	}
}

func TestTheKeyOfAnOldEpochIsGoneFromTheDisk(t *testing.T) {
	dir, _, _, last := threeEpochs(t, 9)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if n := bytes.Count(text, []byte("PRIVATE+KEY")); n > 0 && (filepath.Base(path) != keyName || n != 1) {
			t.Errorf("%s holds %d private keys", path, n)
		}
		return err
	})
	must(t, err)
	if !strings.HasPrefix(last.Secret, "PRIVATE+KEY") {
		t.Error("the test looks for the wrong words")
	}
}

func TestAForeignLinkIsRefused(t *testing.T) {
	_, key, _, _ := threeEpochs(t, 9)
	other, err := newKey(strings.SplitN(key, "+", 2)[0])
	must(t, err)
	signer, err := other.signer()
	must(t, err)
	link, err := signLink(signer, other.Origin, epoch{1, other.Key})
	must(t, err)
	c, err := newChain(key)
	must(t, err)
	for _, bad := range []string{"", "x", link, base64.StdEncoding.EncodeToString([]byte("x")), strings.Repeat("A", 1<<16)} {
		if openLink(bad, c.read.verifier, epoch{1, other.Key}) == nil {
			t.Errorf("%.40q was accepted", bad)
		}
	}
}

func FuzzPrunedFile(f *testing.F) {
	l := prunedLog(f)
	text, err := os.ReadFile(filepath.Join(l.cfg.Dir, prunedName))
	must(f, err)
	f.Add(0, 0, []byte("P"))
	f.Add(len(text)-20, 5, []byte{})
	f.Add(10, 1, []byte("\n"))
	f.Fuzz(func(t *testing.T, at, cut int, insert []byte) {
		at = min(max(at, 0), len(text))
		cut = min(max(cut, 0), len(text)-at)
		bad := slices.Concat(text[:at], insert, text[at+cut:])
		c, err := newChain(l.first)
		must(t, err)
		_, _, reason, err := c.readPruned(bytes.NewReader(bad))
		must(t, err)
		if reason == "" && !bytes.Equal(bad, text) {
			t.Errorf("accepted %q", bad)
		}
	})
}
