package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inovy/hardening/auditlog"
)

func TestAuditProve(t *testing.T) {
	dir, key := aLog(t)
	out := filepath.Join(t.TempDir(), "record.tlog-proof")
	if status, _, errs := call(t, "audit", "prove", "-dir", dir, "-key", key, "-seq", "1", "-out", out); status != 0 {
		t.Fatalf("status %d\n%s", status, errs)
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	p := auditlog.Proof{Text: read(out), Record: read(out + ".record"), Key: strings.TrimSpace(string(read(out + ".key")))}
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	if status, text, _ := call(t, "audit", "prove", "-dir", dir, "-key", key, "-seq", "0"); status != 0 || !strings.HasPrefix(text, "c2sp.org/tlog-proof@v1\nindex 0\n") || !strings.Contains(text, "\nkey: "+key) {
		t.Errorf("status %d\n%s", status, text)
	}
	_, other := aLog(t)
	for want, args := range map[int][]string{
		64: {"-dir", dir, "-key", key}, 65: {"-dir", dir, "-key", key, "-seq", "99999"}, 3: {"-dir", dir, "-key", other, "-seq", "0"},
	} {
		if status, _, errs := call(t, append([]string{"audit", "prove"}, args...)...); status != want || errs == "" {
			t.Errorf("%v: status %d, want %d: %s", args, status, want, errs)
		}
	}
}

func TestAuditPrune(t *testing.T) {
	dir, key := aLog(t)
	if status, out, errs := call(t, "audit", "prune", "-dir", dir, "-nl-healthcare"); status != 0 || !strings.HasPrefix(out, "0 segments") {
		t.Errorf("status %d %s%s", status, out, errs)
	}
	if status, _, _ := call(t, "audit", "verify", "-dir", dir, "-key", key); status != 0 {
		t.Errorf("the log does not verify afterwards: status %d", status)
	}
	for _, tt := range []struct {
		want int
		args []string
	}{
		{64, nil}, {64, []string{"-dir", dir, "-nl-healthcare", "-retention", "9000h"}},
		{74, []string{"-dir", filepath.Join(dir, "none")}}, {64, []string{"-dir", dir, "-retention", "1h"}},
		{74, []string{"-dir", t.TempDir()}},
	} {
		if status, _, errs := call(t, append([]string{"audit", "prune"}, tt.args...)...); status != tt.want || errs == "" {
			t.Errorf("%v: status %d, want %d: %s", tt.args, status, tt.want, errs)
		}
	}
	if there, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Errorf("%v was made", there.Name())
	}
}

func TestAuditVerifyWithAnAnchor(t *testing.T) {
	dir, key := aLog(t)
	anchor := filepath.Join(t.TempDir(), "anchor")
	a, err := auditlog.NewFileAnchor(anchor)
	if err != nil {
		t.Fatal(err)
	}
	log, err := auditlog.Open(t.Context(), auditlog.Config{Dir: dir, Anchors: []auditlog.Anchor{a}})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if status, out, _ := call(t, "audit", "verify", "-dir", dir, "-key", key, "-anchor", anchor); status != 0 {
		t.Fatalf("status %d %s", status, out)
	}
	file := segment(t, dir)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := strings.LastIndex(string(whole), "\nR ") + 1
	if err := os.WriteFile(file, whole[:cut], 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, _ := call(t, "audit", "verify", "-dir", dir, "-key", key, "-anchor", anchor); status != 1 || !strings.Contains(out, "1 were removed") {
		t.Errorf("status %d %s", status, out)
	}
	if status, _, _ := call(t, "audit", "verify", "-dir", dir, "-key", key, "-anchor", anchor+"x"); status != 74 {
		t.Errorf("no anchor: status %d", status)
	}
}

func TestTheBarOfALongRun(t *testing.T) {
	for _, tt := range []struct {
		done, total int64
		want        string
	}{
		{0, 100, "[..............................]   0 %"}, {50, 100, "[###############...............]  50 %"}, {100, 100, "   "}, {5, 0, "   "},
	} {
		if got := bar(tt.done, tt.total); !strings.Contains(got, tt.want) || !strings.HasPrefix(got, "\r") {
			t.Errorf("%d of %d: %q", tt.done, tt.total, got)
		}
	}
}

func TestAuditStatusesOfWrongArguments(t *testing.T) {
	dir, key := aLog(t)
	for name, tt := range map[string]struct {
		want int
		args []string
	}{
		"verify: malformed key":    {3, []string{"verify", "-dir", dir, "-key", "x"}},
		"verify: negative age":     {64, []string{"verify", "-dir", dir, "-key", key, "-max-age", "-1h"}},
		"verify: no directory":     {74, []string{"verify", "-dir", filepath.Join(dir, "x"), "-key", key}},
		"verify: empty anchor":     {65, []string{"verify", "-dir", dir, "-key", key, "-anchor", os.DevNull}},
		"prove: malformed key":     {3, []string{"prove", "-dir", dir, "-key", "x", "-seq", "0"}},
		"prove: no directory":      {74, []string{"prove", "-dir", filepath.Join(dir, "x"), "-key", key, "-seq", "0"}},
		"check-proof: no argument": {64, []string{"check-proof"}},
		"check-proof: no file":     {74, []string{"check-proof", "-proof", filepath.Join(dir, "x"), "-key", key}},
	} {
		if status, _, errs := call(t, append([]string{"audit"}, tt.args...)...); status != tt.want || errs == "" {
			t.Errorf("%s: status %d, want %d: %s", name, status, tt.want, errs)
		}
	}
}

func TestAuditCheckProof(t *testing.T) {
	dir, key := aLog(t)
	proof := filepath.Join(t.TempDir(), "proof")
	if status, _, errs := call(t, "audit", "prove", "-dir", dir, "-key", key, "-seq", "2", "-out", proof); status != 0 {
		t.Fatalf("status %d\n%s", status, errs)
	}
	status, out, _ := call(t, "audit", "verify", "-dir", dir, "-key", key)
	_, after, _ := strings.Cut(out, "key of the newest checkpoint: ")
	newest, _, _ := strings.Cut(after, "\n")
	if status != 0 || newest == "" {
		t.Fatalf("status %d %s", status, out)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, foreign := aLog(t)
	for name, tt := range map[string]struct {
		want int
		args []string
	}{
		"as it is":       {0, []string{"-proof", proof, "-key", newest}},
		"another record": {1, []string{"-proof", proof, "-key", newest, "-record", other}},
		"another key":    {3, []string{"-proof", proof, "-key", foreign}},
		"malformed key":  {3, []string{"-proof", proof, "-key", "x"}},
		"no proof":       {65, []string{"-proof", other, "-key", newest, "-record", other}},
	} {
		if status, out, errs := call(t, append([]string{"audit", "check-proof"}, tt.args...)...); status != tt.want || (status == 0) != strings.HasPrefix(out, "ok") || (status != 0) != (errs != "") {
			t.Errorf("%s: status %d, want %d: %s%s", name, status, tt.want, out, errs)
		}
	}
}
