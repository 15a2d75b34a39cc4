//go:build unix

package filepoll_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/internal/filepoll"
)

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadRefusesWhatIsNoSmallRegularFile(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	put(t, big, strings.Repeat("x", 101))
	exact := filepath.Join(dir, "exact")
	put(t, exact, strings.Repeat("x", 100))
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(dir, "dangling")
	loop := filepath.Join(dir, "loop")
	viaFIFO := filepath.Join(dir, "via-fifo")
	for link, target := range map[string]string{dangling: "nowhere", loop: loop, viaFIFO: fifo} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, path string
		want       error
	}{
		{"missing", filepath.Join(dir, "none"), filepoll.ErrMissing},
		{"a dangling link", dangling, filepoll.ErrMissing},
		{"a link to itself", loop, filepoll.ErrMissing},
		{"a directory", dir, filepoll.ErrNotRegular},
		{"a FIFO, without waiting for a writer", fifo, filepoll.ErrNotRegular},
		{"a link to a FIFO", viaFIFO, filepoll.ErrNotRegular},
		{"a device", "/dev/zero", filepoll.ErrNotRegular},
		{"one byte too large", big, filepoll.ErrTooLarge},
		{"exactly as large as allowed", exact, nil},
		{"an empty path", "", filepoll.ErrMissing},
		{"a path with NUL", "a\x00b", filepoll.ErrMissing},
	} {
		f := filepoll.Read([]string{tt.path}, 100).Files[0]
		if !errors.Is(f.Err, tt.want) || (tt.want == nil) != (f.Data != nil) {
			t.Errorf("%s: %v", tt.name, f.Err)
		}
	}
}

// A Kubernetes volume swaps all its files by one rename of ..data. No snapshot
// may mix two generations.
func TestSnapshotsNeverMixGenerations(t *testing.T) {
	dir := t.TempDir()
	generation := func(i int) {
		name := fmt.Sprintf("..gen%d", i)
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Error(err)
		}
		for _, f := range []string{"user", "password", "host"} {
			put(t, filepath.Join(dir, name, f), fmt.Sprint(i))
		}
		tmp := filepath.Join(dir, "..data_tmp")
		if err := errors.Join(os.Symlink(name, tmp), os.Rename(tmp, filepath.Join(dir, "..data"))); err != nil {
			t.Error(err)
		}
		if i > 0 {
			_ = os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..gen%d", i-1)))
		}
	}
	generation(0)
	var paths []string
	for _, f := range []string{"user", "password", "host"} {
		p := filepath.Join(dir, f)
		if err := os.Symlink(filepath.Join("..data", f), p); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1; i <= 300; i++ {
			generation(i)
		}
		close(stop)
	})
	reads := 0
	for done := false; !done; reads++ {
		select {
		case <-stop:
			done = true
		default:
		}
		s := filepoll.Read(paths, 100)
		if errors.Is(s.Files[0].Err, filepoll.ErrUnsettled) {
			continue // said plainly; mixed would be the defect
		}
		for _, f := range s.Files {
			if f.Err != nil || !bytes.Equal(f.Data, s.Files[0].Data) {
				t.Fatalf("mixed: %s=%q %v, %s=%q", f.Path, f.Data, f.Err, s.Files[0].Path, s.Files[0].Data)
			}
		}
	}
	wg.Wait()
	if got := string(filepoll.Read(paths, 100).Files[2].Data); got != "300" {
		t.Errorf("the last generation reads %q after %d reads", got, reads)
	}
}

func TestSumTellsContentsAndFailuresApart(t *testing.T) {
	file := func(data string, err error) filepoll.File { return filepoll.File{Data: []byte(data), Err: err} }
	seen := map[[32]byte]int{}
	for i, s := range []filepoll.Snapshot{
		{}, {Files: []filepoll.File{file("", nil)}}, {Files: []filepoll.File{file("ab", nil)}},
		{Files: []filepoll.File{file("a", nil), file("b", nil)}}, {Files: []filepoll.File{file("b", nil), file("a", nil)}},
		{Files: []filepoll.File{file("", filepoll.ErrMissing)}}, {Files: []filepoll.File{file("", filepoll.ErrRead)}},
		{Files: []filepoll.File{file("", nil), file("ab", nil)}},
	} {
		if j, ok := seen[s.Sum()]; ok {
			t.Errorf("snapshots %d and %d have one sum", i, j)
		}
		seen[s.Sum()] = i
	}
}

// A plain hash of a password can be guessed from a dump of what watches it.
func TestSumIsNoPlainHash(t *testing.T) {
	framed := append(make([]byte, 9), "hunter2"...)
	framed[8] = byte(len("hunter2"))
	sum := filepoll.Snapshot{Files: []filepoll.File{{Data: []byte("hunter2")}}}.Sum()
	for _, text := range [][]byte{framed, []byte("hunter2")} {
		if sum == sha256.Sum256(text) {
			t.Error("a hash that anybody can compute")
		}
	}
}

func TestSumTellsModesApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "1")
	before := filepoll.Read([]string{path}, 100).Sum()
	if again := filepoll.Read([]string{path}, 100).Sum(); again != before {
		t.Error("two looks at one file differ")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if filepoll.Read([]string{path}, 100).Sum() == before {
		t.Error("a new mode is not seen")
	}
}

type recorder struct {
	mu   sync.Mutex
	got  []string
	deny bool
}

func (r *recorder) apply(_ context.Context, s filepoll.Snapshot) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, string(s.Files[0].Data))
	if r.deny {
		return errors.New("refused")
	}
	return nil
}

func (r *recorder) seen() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.got, " ")
}

func TestPollerAppliesAChangeOnceItStoodStill(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	synctest.Test(t, func(t *testing.T) {
		put(t, path, "1")
		var r recorder
		p := filepoll.Start(t.Context(), filepoll.Config{Paths: []string{path}, Interval: time.Second, Apply: r.apply},
			filepoll.Read([]string{path}, 100))
		defer p.Close()
		tick := func() { time.Sleep(time.Second); synctest.Wait() } // virtual time
		tick()
		if r.seen() != "" {
			t.Errorf("nothing changed, but %q was applied", r.seen())
		}
		put(t, path, "2")
		tick()
		put(t, path, "22") // still being written
		tick()
		if r.seen() != "" {
			t.Errorf("applied %q while it still changed", r.seen())
		}
		tick()
		tick()
		tick()
		if r.seen() != "22" {
			t.Errorf("applied %q, want the settled content once", r.seen())
		}
		r.mu.Lock()
		r.deny = true
		r.mu.Unlock()
		put(t, path, "bad")
		tick()
		tick()
		tick()
		tick()
		if r.seen() != "22 bad" {
			t.Errorf("a refused content must be offered once: %q", r.seen())
		}
		if err := p.Poll(t.Context()); err == nil || r.seen() != "22 bad bad" {
			t.Errorf("Poll offers it again and returns the refusal: %v, %q", err, r.seen())
		}
	})
}

func TestCloseStopsTheGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble fails if a goroutine is left
		p := filepoll.Start(t.Context(), filepoll.Config{Paths: []string{"/nonexistent"}, Apply: func(context.Context, filepoll.Snapshot) error { return nil }}, filepoll.Snapshot{})
		p.Close()
		p.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Poll(ctx); err == nil {
			t.Error("a cancelled context must be honoured")
		}
	})
}

// What was refused for a reason outside the files is offered until it is taken.
func TestARetryIsOfferedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	synctest.Test(t, func(t *testing.T) {
		put(t, path, "1")
		var offered []string
		var refuse atomic.Bool
		refuse.Store(true)
		p := filepoll.Start(t.Context(), filepoll.Config{Paths: []string{path}, Interval: time.Second, Apply: func(_ context.Context, s filepoll.Snapshot) error {
			offered = append(offered, string(s.Files[0].Data))
			if refuse.Load() {
				return fmt.Errorf("the log is full: %w", filepoll.ErrRetry)
			}
			return nil
		}}, filepoll.Read([]string{path}, 100))
		defer p.Close()
		put(t, path, "2")
		if err := p.Poll(t.Context()); !errors.Is(err, filepoll.ErrRetry) {
			t.Errorf("Poll: %v", err)
		}
		time.Sleep(2*time.Second + time.Millisecond) // virtual time
		synctest.Wait()
		refuse.Store(false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := strings.Join(offered, " "); got != "2 2 2 2" {
			t.Errorf("offered %q", got)
		}
		refuse.Store(true)
		put(t, path, "3")
		_ = p.Poll(t.Context())
		refuse.Store(false)
		put(t, path, "2") // what was taken before the refusal is offered as a change too
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := strings.Join(offered, " "); got != "2 2 2 2 3 2" {
			t.Errorf("offered %q", got)
		}
	})
}
