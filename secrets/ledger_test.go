package secrets

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func bookOf(t testing.TB) *book {
	t.Helper()
	b, err := newBook(bytes.Repeat([]byte{7}, ledgerKeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func date(t testing.TB, s string) time.Time {
	t.Helper()
	at, _, ok := parseDate([]byte(s))
	if !ok {
		t.Fatalf("%q is no date", s)
	}
	return at
}

// What was remembered must be readable by every later version.
func TestLedgersOfTheVectorsAreRead(t *testing.T) {
	text, err := os.ReadFile("testdata/ledger_v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	b := bookOf(t)
	if reason := b.decode(text); reason != "" {
		t.Fatal(reason)
	}
	if len(b.entries) != 3 || b.entries[0].name != "secrets/API_TOKEN" || !b.entries[2].created.Equal(date(t, "2026-08-01")) || !b.entries[1].created.IsZero() {
		t.Errorf("%+v", b.entries)
	}
	for i, s := range []sighting{{name: "secrets/API_TOKEN", material: []byte("first")}, {name: "secrets/API_TOKEN", material: []byte("second")}, {name: "web%20app/KEY", material: []byte{0, 1, 255}}} {
		if got := b.fingerprint(s); got != b.entries[i].print {
			t.Errorf("the fingerprint of %s is %x, not %x", s.name, got, b.entries[i].print)
		}
	}
	if again := b.encode(); !bytes.Equal(again, text) {
		t.Errorf("encoded again:\n%s", again)
	}
}

func TestABookTellsWhatItKnowsAboutAValue(t *testing.T) {
	type step struct {
		at, value, stated string
		first, created    string
		restamped         bool
		undated           bool
	}
	for name, steps := range map[string][]step{
		"a value without a date is at least as old as it was seen": {
			{at: "2026-01-01", value: "a", first: "2026-01-01"},
			{at: "2026-04-01", value: "a", first: "2026-01-01"},
		},
		"a date is remembered": {
			{at: "2026-01-10", value: "a", stated: "2026-01-01", first: "2026-01-10", created: "2026-01-01"},
			{at: "2026-04-01", value: "a", first: "2026-01-10", created: "2026-01-01"},
		},
		"a new date for an old value is a restamp, now and later": {
			{at: "2026-01-01", value: "a", stated: "2026-01-01", first: "2026-01-01", created: "2026-01-01"},
			{at: "2026-04-01", value: "a", stated: "2026-04-01", first: "2026-01-01", created: "2026-01-01", restamped: true},
			{at: "2026-04-02", value: "a", stated: "2026-04-01", first: "2026-01-01", created: "2026-01-01", restamped: true},
			{at: "2026-04-03", value: "b", stated: "2026-04-03", first: "2026-04-03", created: "2026-04-03"},
		},
		"a date after a value was seen without one is a restamp": {
			{at: "2026-01-01", value: "a", first: "2026-01-01"},
			{at: "2026-04-01", value: "a", stated: "2026-03-01", first: "2026-01-01", restamped: true},
		},
		"a date before a value was seen is taken late": {
			{at: "2026-01-01", value: "a", first: "2026-01-01"},
			{at: "2026-04-01", value: "a", stated: "2025-12-01", first: "2026-01-01", created: "2025-12-01"},
		},
		"an older date corrects a younger one, and not the other way": {
			{at: "2026-01-10", value: "a", stated: "2026-01-05", first: "2026-01-10", created: "2026-01-05"},
			{at: "2026-01-11", value: "a", stated: "2026-01-01", first: "2026-01-10", created: "2026-01-01"},
			{at: "2026-01-12", value: "a", stated: "2026-01-05", first: "2026-01-10", created: "2026-01-01", restamped: true},
		},
		"a time for a day is the same date": {
			{at: "2026-01-01T12:00:00Z", value: "a", stated: "2026-01-01", first: "2026-01-01T12:00:00Z", created: "2026-01-01"},
			{at: "2026-01-02", value: "a", stated: "2026-01-01T11:00:00Z", first: "2026-01-01T12:00:00Z", created: "2026-01-01"},
		},
		"a new value with the old date has none, now and later": {
			{at: "2026-01-01", value: "a", stated: "2026-01-01", first: "2026-01-01", created: "2026-01-01"},
			{at: "2026-04-01", value: "b", stated: "2026-01-01", first: "2026-04-01", undated: true},
			{at: "2026-04-02", value: "b", stated: "2026-01-01", first: "2026-04-01", undated: true},
			{at: "2026-04-03", value: "b", stated: "2026-04-01", first: "2026-04-01", created: "2026-04-01"},
		},
		"two rotations on one day share a date": {
			{at: "2026-01-01T08:00:00Z", value: "a", stated: "2026-01-01", first: "2026-01-01T08:00:00Z", created: "2026-01-01"},
			{at: "2026-01-01T09:00:00Z", value: "b", stated: "2026-01-01", first: "2026-01-01T09:00:00Z", created: "2026-01-01"},
		},
		"a value that comes back is as old as it was": {
			{at: "2026-01-01", value: "a", stated: "2026-01-01", first: "2026-01-01", created: "2026-01-01"},
			{at: "2026-04-01", value: "b", stated: "2026-04-01", first: "2026-04-01", created: "2026-04-01"},
			{at: "2026-07-01", value: "a", stated: "2026-07-01", first: "2026-01-01", created: "2026-01-01", restamped: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := bookOf(t)
			for _, s := range steps {
				now := date(t, s.at)
				sight := sighting{name: "n", material: []byte(s.value)}
				if s.stated != "" {
					sight.stated = date(t, s.stated)
				}
				want := verdict{first: date(t, s.first), restamped: s.restamped, undated: s.undated}
				if s.created != "" {
					want.created = date(t, s.created)
				}
				if got := b.see(sight, now); got != want {
					t.Errorf("on %s: %+v, want %+v", s.at, got, want)
				}
				next := bookOf(t) // as after a restart
				if reason := next.decode(b.encode()); reason != "" {
					t.Fatal(reason)
				}
				b = next
			}
		})
	}
}

func TestABookForgetsTheOldestValuesOfAName(t *testing.T) {
	b := bookOf(t)
	b.see(sighting{name: "other", material: []byte("x")}, date(t, "2020-01-01"))
	for i := range 100 {
		b.see(sighting{name: "n", material: []byte{byte(i)}}, date(t, "2026-01-01").AddDate(0, 0, i))
	}
	if len(b.entries) != maxPerName+1 {
		t.Errorf("%d entries", len(b.entries))
	}
	if v := b.see(sighting{name: "n", material: []byte{99}}, date(t, "2027-01-01")); !v.first.Equal(date(t, "2026-01-01").AddDate(0, 0, 99)) {
		t.Errorf("the current value was forgotten: %+v", v)
	}
}

func TestALedgerFileHoldsNoValueAndNoPlainHash(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.2")
	path := filepath.Join(t.TempDir(), "ledger")
	value := []byte("canary-PLAINTEXT-q7Wz_9fKx3Lm8Tn2")
	for range 2 {
		if _, err := FileLedger(path).see(t.Context(), "web app", []sighting{{name: "A", material: value}, {name: "B", material: value}}); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[1], "web%20app/A ") || !strings.HasPrefix(lines[2], "web%20app/B ") {
		t.Fatalf("%s", text)
	}
	if strings.Fields(lines[1])[1] == strings.Fields(lines[2])[1] {
		t.Error("one value under two names has one fingerprint")
	}
	for i := range len(value) - 8 {
		if bytes.Contains(text, value[i:i+8]) || strings.Contains(string(text), hex.EncodeToString(value[i:i+8])) {
			t.Fatalf("the ledger shows the value:\n%s", text)
		}
	}
	// Another key gives other fingerprints: they are no plain hashes.
	other := filepath.Join(t.TempDir(), "ledger")
	if _, err := FileLedger(other).see(t.Context(), "web app", []sighting{{name: "A", material: value}}); err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(second), strings.Fields(lines[1])[1]) {
		t.Error("the fingerprint does not depend on the key")
	}
	if runtime.GOOS == "windows" {
		return
	}
	for _, name := range []string{path, path + ".key"} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	if _, err := os.Stat(path + ".tmp"); err == nil {
		t.Error("a temporary file is left")
	}
}

// Whatever is wrong with a ledger, it is not used, and not overwritten either:
// what it remembered may still be rescued.
func TestADamagedLedgerIsNeitherUsedNorOverwritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger")
	l := FileLedger(path)
	see := func() ([]verdict, error) {
		return l.see(t.Context(), "s", []sighting{{name: "NEW", material: []byte(time.Now().String())}})
	}
	if _, err := l.see(t.Context(), "s", []sighting{{name: "A", material: []byte("a")}, {name: "B", material: []byte("b"), stated: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(path + ".key")
	if err != nil {
		t.Fatal(err)
	}
	damaged := map[string][]byte{
		"empty": {}, "cut": good[:len(good)-1], "cut in the middle": good[:len(good)/2], "a version of tomorrow": append([]byte("2"), good[1:]...),
		"a line more": append(bytes.Clone(good), "s/C 0011223344556677 2020-01-01T00:00:00Z 2020-01-01 -\n"...), "twice": append(bytes.Clone(good), good...), "zeros": make([]byte, 512),
	}
	raw, err := l.key()
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(good) * 8 {
		flipped := bytes.Clone(good)
		flipped[i/8] ^= 1 << (i % 8)
		b, err := newBook(raw)
		if err != nil {
			t.Fatal(err)
		}
		if b.decode(flipped) == "" {
			t.Fatalf("bit %d flipped: accepted", i)
		}
		if i%29 == 0 { // the file each time would take long
			damaged[fmt.Sprint("bit ", i)] = flipped
		}
	}
	for name, text := range damaged {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if v, err := see(); err == nil || v != nil || len(err.Error()) < 20 {
			t.Errorf("%s: %v, %v", name, v, err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, text) {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := see(); err != nil {
		t.Errorf("put back: %v", err)
	}
	other := bytes.Repeat([]byte("A"), 43)
	for name, text := range map[string][]byte{"empty": {}, "short": []byte("AAAA"), "another": other, "not base64": bytes.Repeat([]byte("!"), 43)} {
		if err := os.WriteFile(path+".key", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := see(); err == nil {
			t.Errorf("a key that is %s was accepted", name)
		}
	}
	if err := os.WriteFile(path+".key", key, 0o600); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(path+".key", 0o644); err != nil { //nolint:gosec // that is the fault
			t.Fatal(err)
		}
		if _, err := see(); err == nil || !strings.Contains(err.Error(), "chmod 0600") {
			t.Errorf("a key that everyone may read: %v", err)
		}
	}
	for name, bad := range map[string]string{"a directory that is not there": filepath.Join(dir, "no", "ledger"), "a directory": dir} {
		if _, err := FileLedger(bad).see(t.Context(), "s", nil); err == nil || strings.Contains(err.Error(), "locked") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALockedLedgerIsWaitedForAndThenGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	unlock, err := tryLock(path + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := FileLedger(path).see(t.Context(), "s", []sighting{{name: "A", material: []byte("a")}})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(30 * time.Millisecond):
	}
	unlock()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	unlock, err = tryLock(path + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := FileLedger(path).see(ctx, "s", nil); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("%v", err)
	}
}

func readLedger(t *testing.T, path string) []entryOfBook {
	t.Helper()
	key, err := FileLedger(path).key()
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBook(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := FileLedger(path).read(b); err != nil {
		t.Fatal(err)
	}
	return b.entries
}

func FuzzLedger(f *testing.F) {
	b := bookOf(f)
	b.see(sighting{name: "s/A", material: []byte("a"), stated: date(f, "2026-01-01")}, date(f, "2026-01-02"))
	good := b.encode()
	f.Add(good)
	f.Add([]byte(""))
	f.Add([]byte("1 secrets-ledger \nmac \n"))
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, text []byte) {
		b := bookOf(t)
		if b.decode(text) == "" && !bytes.Equal(b.encode(), text) {
			t.Fatalf("accepted, and encodes as\n%s", b.encode())
		}
		// The same entries under a valid frame, so that their parser is reached.
		b = bookOf(t)
		framed := fmt.Appendf(nil, "%s%x\n%s\n", bookVersion, b.mac([]byte("key"))[:8], bytes.TrimRight(text, "\n"))
		framed = fmt.Appendf(framed, "mac %x\n", b.mac(framed))
		if b.decode(framed) != "" {
			return
		}
		b.see(sighting{name: "s/A", material: text}, time.Now())
		if reason := bookOf(t).decode(b.encode()); reason != "" {
			t.Fatalf("what was encoded is not read back: %s", reason)
		}
	})
}
