package auditlog

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening"
)

func TestAConfigFullOfFaultsYieldsThemAllAtOnce(t *testing.T) {
	old := slog.Default() // may be another test's; the built-in one is wanted
	builtIn := old.Handler()
	cfg := Config{
		Origin: "two words", Environment: 9, Retention: 364 * day, SegmentBytes: -1, Next: (*slog.JSONHandler)(nil),
		Redact: RedactorConfig{Keys: []string{"ok", "_-. "}, Safe: []string{"password"}, DangerouslyAllowKeys: []string{}, DangerouslyAllow: []Pattern{"pam"}},
	}
	want := "Dir Origin Environment Retention SegmentBytes Redact.Keys[1] Redact.DangerouslyAllowKeys Redact.Safe[0] Redact.DangerouslyAllow[0] Next"
	if isDefaultHandler(builtIn) {
		cfg.ErrorLog = old
		want += " ErrorLog"
	}
	_, err := Open(t.Context(), cfg)
	var got []string
	for f := range hardening.Faults(err) {
		got = append(got, f.Field)
		if f.Room != room || f.Reason == "" || f.Fix == "" {
			t.Errorf("%v", f)
		}
	}
	if strings.Join(got, " ") != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
	if _, err := NewRedactor(cfg.Redact); err == nil || strings.Contains(err.Error(), "Redact.") {
		t.Errorf("NewRedactor: %v", err)
	}
	for _, r := range []time.Duration{-1, 364 * day} {
		if _, err := Open(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "x"), Retention: r}); err == nil {
			t.Errorf("retention %v was accepted", r)
		}
	}
}

func TestOpenCopiesItsConfig(t *testing.T) {
	cfg := testConfig(privateDir(t))
	cfg.Redact.Keys = []string{"shoesize"}
	l := open(t, cfg)
	cfg.Redact.Keys[0] = "x"
	if l.cfg.Redact.Keys[0] != "shoesize" {
		t.Error("the caller's slice is in use")
	}
}

func finding(t *testing.T, fs []hardening.Finding, id string) hardening.Finding {
	t.Helper()
	for _, f := range fs {
		if f.ID == id {
			return f
		}
	}
	t.Fatalf("%s is not reported", id)
	return hardening.Finding{}
}

func TestEachFindingFlips(t *testing.T) {
	safe := func(t *testing.T) Config {
		cfg := testConfig(privateDir(t))
		cfg.KeyFile = filepath.Join(t.TempDir(), "key")
		anchor, err := NewFileAnchor(filepath.Join(t.TempDir(), "anchor"))
		must(t, err)
		cfg.Anchors = []Anchor{anchor}
		cfg.Redact.Pseudonyms = &keys{}
		return cfg
	}
	before := slog.Default()
	redacting := slog.New(newRedactor(RedactorConfig{}).Handler(slog.DiscardHandler))
	slog.SetDefault(redacting)
	t.Cleanup(func() { slog.SetDefault(before) })
	good := open(t, safe(t)).Check()
	seen := map[string]bool{}
	for _, f := range good {
		if !f.Passed || f.Component != "auditlog" || len(f.Controls) == 0 || f.Remedy == "" || f.Expected == "" || f.Title == "" || seen[f.ID] {
			t.Errorf("%v", f)
		}
		seen[f.ID] = true
	}
	for id, weaken := range map[string]func(t *testing.T, cfg *Config) (after func(*Log)){
		"HDN-AUDITLOG-001": func(_ *testing.T, c *Config) func(*Log) { c.Retention = 365 * day; return nil },
		"HDN-AUDITLOG-002": func(_ *testing.T, c *Config) func(*Log) { c.KeyFile = ""; return nil },
		"HDN-AUDITLOG-003": func(_ *testing.T, c *Config) func(*Log) { c.Redact.DangerouslyAllow = []Pattern{Email}; return nil },
		"HDN-AUDITLOG-004": func(_ *testing.T, c *Config) func(*Log) {
			c.Redact.DangerouslyAllowKeys = []string{"csrf_token"}
			return nil
		},
		"HDN-AUDITLOG-005": func(*testing.T, *Config) func(*Log) { return func(l *Log) { _ = l.Close() } },
		"HDN-AUDITLOG-006": func(_ *testing.T, c *Config) func(*Log) { c.SegmentBytes = 1 << 30; return nil },
		"HDN-AUDITLOG-007": func(_ *testing.T, c *Config) func(*Log) {
			c.Next = slog.NewTextHandler(&lockedBuffer{}, &slog.HandlerOptions{Level: slog.LevelDebug})
			return nil
		},
		"HDN-AUDITLOG-008": func(t *testing.T, c *Config) func(*Log) {
			l, err := Open(context.Background(), *c)
			must(t, err)
			must(t, l.Close())
			must(t, appendTo(filepath.Join(c.Dir, segmentName(0)), "R 3 torn"))
			return nil
		},
		"HDN-AUDITLOG-009": func(_ *testing.T, c *Config) func(*Log) { c.Mode = Bounded; return nil },
		"HDN-AUDITLOG-010": func(_ *testing.T, c *Config) func(*Log) { c.Anchors = nil; return nil },
		"HDN-AUDITLOG-020": func(_ *testing.T, c *Config) func(*Log) { c.Redact.Pseudonyms = nil; return nil },
		"HDN-AUDITLOG-021": func(t *testing.T, _ *Config) func(*Log) {
			slog.SetDefault(slog.New(slog.DiscardHandler))
			t.Cleanup(func() { slog.SetDefault(redacting) })
			return nil
		},
		"HDN-AUDITLOG-011": func(t *testing.T, c *Config) func(*Log) {
			must(t, os.MkdirAll(filepath.Join(reservePath(c.Dir), "in the way"), 0o700))
			must(t, os.Chmod(c.Dir, 0o700))
			return nil
		},
	} {
		t.Run(id, func(t *testing.T) {
			cfg := safe(t)
			cfg.Name = "second"
			after := weaken(t, &cfg)
			l := open(t, cfg)
			if after != nil {
				after(l)
			}
			for _, f := range l.Check() {
				if f.Passed == (f.ID == id) || f.Component != "second" {
					t.Errorf("%v", f)
				}
			}
		})
		delete(seen, id)
	}
	if len(seen) > 0 {
		t.Errorf("never flipped: %v", seen)
	}
	dev := safe(t)
	dev.Environment, dev.Next = hardening.Development, slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
	if f := finding(t, open(t, dev).Check(), "HDN-AUDITLOG-007"); !f.Passed {
		t.Errorf("%v", f)
	}
	r, err := NewRedactor(RedactorConfig{DangerouslyAllow: []Pattern{JWT}})
	must(t, err)
	if f := finding(t, r.Check(), "HDN-AUDITLOG-003"); f.Passed {
		t.Errorf("%v", f)
	}
}

func TestAKeyInALaterDirectoryOfTheSameNameIsOutside(t *testing.T) {
	cfg := testConfig(privateDir(t))
	must(t, os.MkdirAll(cfg.Dir+"-keys", 0o700))
	cfg.KeyFile = filepath.Join(cfg.Dir+"-keys", "k")
	if f := open(t, cfg).checkKey(); !f.Passed {
		t.Errorf("%v", f)
	}
}
