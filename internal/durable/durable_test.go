package durable_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/inovy/hardening/internal/durable"
)

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCreateNeverReplacesAndFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	for name, create := range map[string]func(string, []byte) error{
		"create": durable.Create,
		"whole":  func(p string, b []byte) error { return durable.CreateWhole(p, b, 0o600) },
	} {
		path := filepath.Join(dir, name)
		if err := create(path, []byte("one")); err != nil {
			t.Fatal(err)
		}
		if err := create(path, []byte("two")); !errors.Is(err, fs.ErrExist) || content(t, path) != "one" {
			t.Errorf("%s: %v, %q", name, err, content(t, path))
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, info.Mode())
		}
		link := filepath.Join(dir, name+"-link")
		if err := os.Symlink(filepath.Join(dir, "victim"), link); err != nil {
			t.Skip(err)
		}
		if err := create(link, []byte("x")); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s through a dangling link: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "victim")); err == nil {
			t.Errorf("%s wrote through a link", name)
		}
		if err := create(filepath.Join(dir, "none", "x"), nil); err == nil {
			t.Errorf("%s: a directory that is not there", name)
		}
	}
	leftovers(t, dir)
}

func TestReadersOfAReplacedFileSeeOneContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	a, b := strings.Repeat("a", 1<<16), strings.Repeat("b", 1<<16)
	if err := durable.Replace(path, []byte(a), 0o644); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 50 {
			if err := durable.Replace(path, []byte([]string{a, b}[i%2]), 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	for range 200 {
		if s := content(t, path); s != a && s != b {
			t.Fatalf("a part of %d bytes", len(s))
		}
	}
	wg.Wait()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v", info.Mode())
	}
	leftovers(t, filepath.Dir(path))
}

func leftovers(t *testing.T, dir string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(dir, ".tmp-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAReplacementThatFailsHalfWayLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := durable.Replace(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the source broke off")
	err := durable.ReplaceWith(path, 0o600, func(w io.Writer) error {
		_, _ = w.Write([]byte("half of what is n"))
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("ReplaceWith: %v", err)
	}
	if got, err := os.ReadFile(path); string(got) != "old" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if all, _ := os.ReadDir(dir); len(all) != 1 {
		t.Errorf("%d files are left", len(all))
	}
	if err := durable.ReplaceWith(path, 0o600, func(w io.Writer) error {
		_, err := w.Write([]byte("new"))
		return err
	}); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "new" {
		t.Errorf("%q", got)
	}
}
