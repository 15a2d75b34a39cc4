//go:build unix

package secrets_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/filepoll"
	"github.com/inovy/hardening/internal/testenv"
	"github.com/inovy/hardening/secrets"
)

func TestAFileThatAnotherUserCanReplaceIsRefused(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.2")
	if filepoll.InMemory(t.TempDir()) {
		t.Skip("needs TMPDIR on a disk: what is in memory is not asked who owns it")
	}
	const other = 54321
	tests := []struct {
		name   string
		root   bool // only root can set it up
		set    func(dir, file string) error
		reason string // "" is accepted
	}{
		{"a file and a directory of our own", false, func(_, _ string) error { return nil }, ""},
		{"a sticky directory open to all, as Kubernetes mounts it", false, func(dir, _ string) error { return os.Chmod(dir, 0o777|os.ModeSticky) }, ""},
		{"a directory that all may write", false, func(dir, _ string) error { return os.Chmod(dir, 0o777) }, "group or others may write"},
		{"a directory that the group may write", false, func(dir, _ string) error { return os.Chmod(dir, 0o775) }, "group or others may write"},
		{"a file of another user", true, func(_, file string) error { return os.Chown(file, other, -1) }, "is owned by another user"},
		{"dates of another user beside it", true, func(_, file string) error {
			if err := os.WriteFile(file+"_CREATED_AT", []byte("2026-01-02"), 0o400); err != nil {
				return err
			}
			return os.Chown(file+"_CREATED_AT", other, -1)
		}, "the file of its dates, API_TOKEN_CREATED_AT, is owned by another user"},
		{"a directory of another user", true, func(dir, _ string) error { return os.Chown(dir, other, -1) }, "directory that is owned by another user"},
		{"a link into a directory that all may write", false, func(dir, file string) error {
			open := filepath.Join(dir, "open")
			if err := os.Mkdir(open, 0o700); err != nil {
				return err
			}
			if err := os.Rename(file, filepath.Join(open, "x")); err != nil {
				return err
			}
			if err := os.Symlink(filepath.Join("open", "x"), file); err != nil {
				return err
			}
			return os.Chmod(open, 0o777)
		}, "group or others may write"},
		{"a link of another user in a sticky directory", true, func(dir, file string) error {
			real := filepath.Join(t.TempDir(), "real")
			return errors.Join(os.Rename(file, real), os.Symlink(real, file), os.Lchown(file, other, -1), os.Chmod(dir, 0o777|os.ModeSticky))
		}, "link that is owned by another user"},
		{"a link on the way, in a directory that all may write", false, func(dir, file string) error {
			open, real := filepath.Join(dir, "open"), filepath.Join(dir, "real")
			return errors.Join(os.Mkdir(open, 0o700), os.Rename(file, real), os.Symlink(real, filepath.Join(open, "x")), os.Symlink("open/../open/x", file), os.Chmod(open, 0o777))
		}, "group or others may write"},
		{"a link for a directory on the way, of another user", true, func(dir, file string) error {
			real, link := filepath.Join(dir, "real"), filepath.Join(dir, "current")
			return errors.Join(os.Mkdir(real, 0o700), os.Rename(file, filepath.Join(real, "x")), os.Symlink("real", link), os.Lchown(link, other, -1), os.Symlink("current/x", file))
		}, "link that is owned by another user"},
		{"links of our own", false, func(dir, file string) error {
			real, link := filepath.Join(dir, "real"), filepath.Join(dir, "current")
			return errors.Join(os.Mkdir(real, 0o700), os.Rename(file, filepath.Join(real, "x")), os.Symlink("real", link), os.Symlink("current/x", file))
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root && os.Geteuid() != 0 {
				testenv.Missing(t, "only root can give a file away")
			}
			dir := t.TempDir()
			if filepoll.InMemory(dir) {
				t.Skip("what is in memory is let through")
			}
			file := filepath.Join(dir, "API_TOKEN")
			if err := os.WriteFile(file, []byte("q7Wz9fKx3Lm8Tn2VbXcR4uY6"), 0o400); err != nil {
				t.Fatal(err)
			}
			if err := tt.set(dir, file); err != nil {
				t.Fatal(err)
			}
			for _, env := range []hardening.Environment{hardening.Production, hardening.Staging, hardening.Development} {
				var cfg struct {
					Token secrets.Secret `secret:"API_TOKEN,kind=token"`
				}
				l, err := secrets.Load(t.Context(), &cfg, secrets.Options{Environment: env, Sources: []secrets.Source{secrets.Dir(dir)}, Logger: quiet})
				if err == nil {
					if f := byID(t, l)["HDN-SECRETS-025"]; f.Passed != (tt.reason == "") {
						t.Errorf("%v: %s", env, f)
					}
					check(t, l.Close())
				}
				switch {
				case tt.reason == "" || env == hardening.Development:
					if err != nil {
						t.Errorf("%v: refused: %v", env, err)
					}
				case err == nil || !strings.Contains(err.Error(), tt.reason):
					t.Errorf("%v: got %v, want a fault with %q", env, err, tt.reason)
				}
			}
		})
	}
}
