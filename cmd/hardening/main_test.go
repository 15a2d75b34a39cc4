package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inovy/hardening/auditlog"
)

func call(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want int
	}{
		{nil, 64}, {[]string{"help"}, 0}, {[]string{"audit"}, 64}, {[]string{"nonsense", "verify"}, 64}, {[]string{"nonsense", "-h"}, 64}, {[]string{"audit", "-h"}, 0}, {[]string{"audit", "nonsense", "-h"}, 64},
		{[]string{"audit", "verify"}, 64}, {[]string{"audit", "verify", "-h"}, 0}, {[]string{"audit", "verify", "-bogus"}, 64},
		{[]string{"audit", "verify", "-dir", "x", "-key", "y", "more"}, 64},
		{[]string{"audit", "verify", "-dir", "/nonexistent", "-key", "y"}, 3},
	} {
		status, stdout, stderr := call(t, tt.args...)
		if status != tt.want || (tt.want != 0) != (stderr != "" && stdout == "") && tt.args != nil && tt.args[0] == "help" {
			t.Errorf("%q: status %d, want %d\n%s%s", tt.args, status, tt.want, stdout, stderr)
		}
		if stdout+stderr == "" {
			t.Errorf("%q says nothing", tt.args)
		}
	}
}

// aLog makes a log of a few events and returns its directory and key.
func aLog(t *testing.T) (dir, key string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "audit")
	log, err := auditlog.Open(t.Context(), auditlog.Config{Dir: dir, ErrorLog: slog.New(slog.DiscardHandler), Next: slog.DiscardHandler})
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(log.Handler())
	for range 3 {
		logger.Warn("config_changed", "actor", "alice", "field", "limits")
	}
	key = log.VerifierKey()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, key
}

func segment(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "seg-*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	return files[0]
}

func TestAuditVerifyExitStatusSaysWhatWasFound(t *testing.T) {
	t.Attr("control", "BIO2 8.15.06")
	dir, key := aLog(t)
	if status, out, errs := call(t, "audit", "verify", "-dir", dir, "-key", key); status != 0 || !strings.HasPrefix(out, "ok") {
		t.Fatalf("status %d\n%s%s", status, out, errs)
	}
	if status, out, _ := call(t, "audit", "verify", "-dir", dir, "-key", key, "-max-age", "1ns"); status != 4 {
		t.Errorf("stale: status %d\n%s", status, out)
	}
	_, other := aLog(t)
	if status, out, _ := call(t, "audit", "verify", "-dir", dir, "-key", other); status != 3 {
		t.Errorf("another log's key: status %d\n%s", status, out)
	}
	file := segment(t, dir)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	put := func(b []byte) {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(append(bytes.Clone(whole), "R 99 half a rec"...))
	if status, out, _ := call(t, "audit", "verify", "-dir", dir, "-key", key); status != 2 {
		t.Errorf("torn: status %d\n%s", status, out)
	}
	put(bytes.Replace(whole, []byte("alice"), []byte("mallo"), 1))
	status, out, _ := call(t, "audit", "verify", "-dir", dir, "-key", key)
	if status != 1 || !strings.Contains(out, "line ") || strings.Contains(out, "mallo") {
		t.Errorf("tampered: status %d\n%s", status, out)
	}
	status, out, _ = call(t, "audit", "verify", "-dir", dir, "-key", key, "-json")
	var r auditlog.VerifyReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != 1 || r.Status != auditlog.StatusTampered || r.Line == 0 {
		t.Errorf("-json: status %d, %+v, %v", status, r, err)
	}
}
