package auditlog

import (
	"bytes"
	"encoding/json"
	"flag"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden vectors anew: a deliberate break of the format")

// The vectors of format 1. A later version of this library must read them for
// as long as anyone has to keep such logs: twenty years in health care.
func TestGoldenLogsAreRead(t *testing.T) {
	const dir = "testdata/format1"
	if *update {
		writeGolden(t, dir)
	}
	key, err := os.ReadFile(filepath.Join(dir, "verifier.key"))
	must(t, err)
	for _, name := range []string{"whole", "pruned"} {
		r, err := Verify(t.Context(), filepath.Join(dir, name), strings.TrimSpace(string(key)), VerifyOptions{})
		must(t, err)
		want, err := os.ReadFile(filepath.Join(dir, name+".report.json"))
		must(t, err)
		got, err := json.MarshalIndent(r, "", "  ")
		must(t, err)
		if string(got) != strings.TrimSpace(string(want)) {
			t.Errorf("%s verifies as\n%s", name, got)
		}
	}
	seen := map[string]bool{}
	text, err := os.ReadFile(filepath.Join(dir, "whole", segmentName(0)))
	must(t, err)
	for line := range bytes.Lines(text) {
		if line[0] == 'R' {
			_, rest, _ := bytes.Cut(line[2:], []byte{' '})
			kind, _, err := head(rest[hashText+1:])
			must(t, err)
			seen[kind] = true
		}
	}
	for _, kind := range []string{kindEvent, kindGenesis, kindOpen, kindClose, kindRecovered, kindEpoch, kindLost, kindStopped, kindPrune} {
		if !seen[kind] {
			t.Errorf("no vector of kind %s", kind)
		}
	}
	// The log is opened as a copy, because opening writes.
	cfg := testConfig(privateDir(t))
	must(t, os.CopyFS(cfg.Dir, os.DirFS(filepath.Join(dir, "whole"))))
	must(t, os.Chmod(cfg.Dir, 0o700))
	for _, name := range []string{keyName, subjectName} {
		must(t, os.Chmod(filepath.Join(cfg.Dir, name), 0o600))
	}
	l := open(t, cfg)
	all := entries(t, l, Filter{Subject: "patient-4711"})
	if len(all) != 1 {
		t.Fatalf("%d entries of the subject", len(all))
	}
	got, want := all[0].Event, goldenEvent()
	got.Time, want.Time = time.Time{}, time.Time{}
	if a, b := string(mustJSON(t, got)), string(mustJSON(t, want)); a != b {
		t.Errorf("came back as\n%s, was\n%s", a, b)
	}
	proof, err := os.ReadFile(filepath.Join(dir, "record7.tlog-proof"))
	must(t, err)
	record, err := os.ReadFile(filepath.Join(dir, "record7.json"))
	must(t, err)
	epochKey, err := os.ReadFile(filepath.Join(dir, "record7.key"))
	must(t, err)
	must(t, (&Proof{Text: proof, Record: record, Key: strings.TrimSpace(string(epochKey))}).Check())
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return b
}

// goldenEvent has every field.
func goldenEvent() Event {
	return Event{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Type: SensitiveRead, Code: "110110", Action: Read, Outcome: Success, Reason: "sudden pain",
		Actor:   Actor{ID: "vermeer", AltID: "big-99001234501", Kind: Person, Role: "doctor", Org: "ward 7", OnBehalfOf: "jonker", Session: "s-1f"},
		Subject: Subject{ID: "patient-4711"},
		Object:  Object{Type: "record", ID: "r1001", Part: "medication", Sensitivity: "normal", LifeCycle: "access"},
		Origin:  Origin{IP: netip.MustParseAddr("192.0.2.7"), AccessPoint: "ws-12", UserAgent: "Firefox", Host: "portal", Service: "portal"},
		Purpose: "TREAT", AuthProtocol: "role", Relation: "treatment", Consent: "optin",
		Controls: Controls{Authorisation: Passed, Relation: Passed, Consent: Failed}, BreakGlass: true,
		RequestID: "req-1", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Count: 3,
		Attrs: []slog.Attr{slog.String("ward", "7"), slog.Int("beds", 4)},
	}
}

func writeGolden(t *testing.T, dir string) {
	t.Helper()
	must(t, os.RemoveAll(dir))
	for _, name := range []string{"whole", "pruned"} {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o700))
	}
	cfg := testConfig(filepath.Join(dir, "whole"))
	cfg.Origin = "example.nl/golden"
	l := open(t, cfg)
	must(t, os.WriteFile(filepath.Join(dir, "verifier.key"), []byte(l.first+"\n"), 0o600))
	record(t, l, goldenEvent())
	slog.New(l.Handler()).Warn(AuthnLoginFail, "client_addr", "192.0.2.9", "reason", "wrong password")
	for range 2 {
		l.mu.Lock()
		l.epochEnd = time.Now()
		l.mu.Unlock()
		record(t, l, read("other"))
	}
	for kind, c := range map[string]control{
		kindRecovered: {Bytes: 10, Records: 1, Quarantine: "quarantine-x", SHA256: strings.Repeat("0", 64)},
		kindLost:      {Lost: 5, From: "2026-01-02T03:04:05Z", To: "2026-01-02T03:04:06Z"},
		kindStopped:   {Lost: 1, Reason: "disk full"},
		kindPrune:     {Upto: 1},
	} {
		_, err := l.control(t.Context(), kind, c)
		must(t, err)
	}
	must(t, l.Close())
	p, err := Prove(t.Context(), cfg.Dir, l.first, 7)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "record7.tlog-proof"), p.Text, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "record7.json"), p.Record, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "record7.key"), []byte(p.Key+"\n"), 0o600))
	must(t, os.Remove(reservePath(cfg.Dir)))
	must(t, os.Remove(filepath.Join(cfg.Dir, lockName)))

	// The same log goes on, rotates, and is pruned.
	pruned := testConfig(filepath.Join(dir, "pruned"))
	must(t, os.CopyFS(pruned.Dir, os.DirFS(cfg.Dir)))
	for _, name := range []string{keyName, subjectName} {
		must(t, os.Chmod(filepath.Join(pruned.Dir, name), 0o600))
	}
	pruned.SegmentBytes = minSegment
	l = open(t, pruned)
	l.cfg.Retention = -1
	for firsts := []int64(nil); len(firsts) < 2; {
		e := read("p")
		e.Reason = strings.Repeat("r", 2000)
		record(t, l, e)
		firsts, err = segments(pruned.Dir)
		must(t, err)
	}
	_, err = l.Prune(t.Context())
	must(t, err)
	must(t, l.Close())
	for _, name := range []string{reserveName, lockName, keyName, subjectName} {
		must(t, os.Remove(filepath.Join(pruned.Dir, name)))
	}
	for _, name := range []string{"whole", "pruned"} {
		r := verify(t, filepath.Join(dir, name), l.first)
		text, err := json.MarshalIndent(r, "", "  ")
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name+".report.json"), append(text, '\n'), 0o600))
	}
}
