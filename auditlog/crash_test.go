package auditlog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/inovy/hardening/internal/testenv"
)

const crashDir = "HARDENING_TEST_CRASH_DIR"

// TestMain lets this binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// writeUntilKilled records with 64 writers and prints each event once it is
// acknowledged.
func writeUntilKilled(dir string) {
	cfg := testConfig(dir)
	cfg.SegmentBytes = minSegment
	l, err := Open(context.Background(), cfg)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("key", l.VerifierKey())
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
				if err := l.Record(context.Background(), read(id)); err != nil {
					return
				}
				_, _ = os.Stdout.WriteString("ack " + id + "\n") // one write: whole, or not at all
			}
		})
	}
	wg.Wait()
	os.Exit(1)
}

func TestNothingAcknowledgedIsLostWhenTheProcessIsKilled(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.5.3")
	if runtime.GOOS == "windows" {
		t.Skip("there is no kill -9")
	}
	self, err := os.Executable()
	must(t, err)
	dir := privateDir(t)
	acked := map[string]bool{}
	var key string
	for round := range 20 {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		in := bufio.NewScanner(out)
		seen := 0
		for in.Scan() {
			kind, rest, _ := strings.Cut(in.Text(), " ")
			switch kind {
			case "key":
				key = rest
			case "ack":
				acked[rest] = true
				if seen++; seen == 100+37*round {
					must(t, cmd.Process.Signal(syscall.SIGKILL))
				}
			case "error":
				t.Fatal(rest)
			}
		}
		_ = cmd.Wait() // it was killed
		if seen < 100 {
			t.Fatalf("round %d: only %d events", round, seen)
		}
	}
	l := open(t, testConfig(dir))
	for e, err := range l.Query(t.Context(), Filter{}) {
		must(t, err)
		delete(acked, e.Subject.ID)
	}
	if len(acked) > 0 {
		t.Errorf("%d acknowledged events are gone", len(acked))
	}
	if r := verify(t, dir, key); r.Status != StatusOK || r.Events < 2000 {
		t.Errorf("%v", r)
	}
}

// A real disk without room: a file system in memory of 3 MiB.
func TestARealDiskThatIsFull(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		testenv.Missing(t, "mounting a small tmpfs needs root on Linux; run as root, for example in a container")
	}
	mount := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "none", mount).CombinedOutput(); err != nil {
		testenv.Missing(t, fmt.Sprintf("a tmpfs can not be mounted here, give the container CAP_SYS_ADMIN: %v %s", err, bytes.TrimSpace(out)))
	}
	t.Cleanup(func() { _ = exec.CommandContext(context.WithoutCancel(t.Context()), "umount", mount).Run() })
	cfg := testConfig(filepath.Join(mount, "audit"))
	l := open(t, cfg)
	var stopped error
	n := 0
	for stopped == nil {
		e := read(fmt.Sprintf("p%d", n))
		e.Reason = strings.Repeat("r", 2000)
		if stopped = l.Record(t.Context(), e); stopped == nil {
			n++
		}
	}
	_ = l.Close()
	r := verify(t, cfg.Dir, l.VerifierKey())
	if r.Status != StatusOK || r.Events != int64(n) || r.Lost != 1 {
		t.Errorf("%v after %d events and %v: %d lost", r, n, stopped, r.Lost)
	}
	if l, err := Open(t.Context(), cfg); err == nil {
		_ = l.Close()
	}
	if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK && r.Status != StatusTornTail {
		t.Errorf("opened on the full disk: %v", r)
	}
	must(t, exec.CommandContext(t.Context(), "mount", "-o", "remount,size=32m", mount).Run())
	l = open(t, cfg)
	record(t, l, read("again"))
	if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK || r.Events != int64(n)+1 {
		t.Errorf("with room again: %v", r)
	}
	must(t, l.Close())
}

func TestAReadOnlyDiskIsAFault(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		testenv.Missing(t, "mounting needs root on Linux; run as root, for example in a container")
	}
	mount := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=3m,mode=0700,ro", "none", mount).CombinedOutput(); err != nil {
		testenv.Missing(t, fmt.Sprintf("a tmpfs can not be mounted here, give the container CAP_SYS_ADMIN: %v %s", err, bytes.TrimSpace(out)))
	}
	t.Cleanup(func() { _ = exec.CommandContext(context.WithoutCancel(t.Context()), "umount", mount).Run() })
	for _, dir := range []string{mount, filepath.Join(mount, "audit")} {
		l, err := Open(t.Context(), testConfig(dir))
		if err == nil {
			_ = l.Close()
			t.Errorf("%s: a log was opened on a disk that can not be written", dir)
		}
	}
}

// What stands before the newest segment is not read when a log is opened: so
// it opens as fast with a million records as with a thousand.
func TestOnlyTheNewestSegmentIsReadToOpenALog(t *testing.T) {
	cfg := testConfig(privateDir(t))
	cfg.SegmentBytes = minSegment
	l := open(t, cfg)
	var firsts []int64
	for len(firsts) < 6 {
		e := read("p")
		e.Reason = strings.Repeat("r", 2000)
		record(t, l, e)
		var err error
		firsts, err = segments(cfg.Dir)
		must(t, err)
	}
	must(t, l.Close())
	for _, first := range firsts[:len(firsts)-1] { // what is not read can not be missed
		must(t, os.WriteFile(filepath.Join(cfg.Dir, segmentName(first)), nil, 0o600))
	}
	l = open(t, cfg)
	record(t, l, read("q"))
}

// A disk writes the blocks of a commit in any order: after a power failure its
// checkpoint may be there and a block before it not. That is no tampering, as
// the commit was not acknowledged; anything less regular is.
func TestABlockThatTheDiskLostInTheLastCommitIsATornTail(t *testing.T) {
	cfg := testConfig(privateDir(t))
	l := open(t, cfg)
	key := l.VerifierKey()
	wide := read("p")
	for i := range 60 {
		wide.Attrs = append(wide.Attrs, slog.String(fmt.Sprintf("field_%d", i), "value"))
	}
	record(t, l, wide)
	record(t, l, wide)
	whole, err := os.ReadFile(l.live.path)
	must(t, err)
	must(t, l.Close())
	hole := func(at, n int) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[at : at+n]); return b }
	}
	last := bytes.LastIndex(whole, []byte("\nR ")) + 100
	before := bytes.LastIndex(whole[:last-100], []byte("\nR ")) + 100
	for name, tt := range map[string]struct {
		damage func([]byte) []byte
		want   Status
	}{
		"a block":                      {hole(last, 1024), StatusTornTail},
		"the least block":              {hole(last, len(lostBlock)), StatusTornTail},
		"less than a block":            {hole(last, len(lostBlock)-1), StatusTampered},
		"a block of an earlier commit": {hole(before, 1024), StatusTampered},
		"a block, and a line more":     {func(b []byte) []byte { return append(hole(last, 1024)(b), "R 99 x\n"...) }, StatusTampered},
		"a block, and half a line":     {func(b []byte) []byte { return append(hole(last, 1024)(b), "R 9"...) }, StatusTornTail},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.WriteFile(l.live.path, tt.damage(bytes.Clone(whole)), 0o600))
			r := verify(t, cfg.Dir, key)
			if r.Status != tt.want {
				t.Fatalf("%v", r)
			}
			again, err := Open(t.Context(), cfg)
			if tt.want == StatusTampered {
				if !errors.Is(err, ErrTampered) {
					t.Errorf("%v", err)
				}
				return
			}
			must(t, err)
			must(t, again.Close())
			if after := verify(t, cfg.Dir, key); after.Status != StatusOK || after.Recovered != 1 || after.Events != 1 {
				t.Errorf("after: %+v", after)
			}
		})
	}
}
