package secrets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/inovy/hardening/internal/testenv"
)

// ledgerChild makes the test binary a process that writes to a ledger.
const ledgerChild = "SECRETS_TEST_LEDGER_CHILD"

func TestLedgerChild(t *testing.T) {
	path, names := os.Getenv(ledgerChild), os.Getenv(ledgerChild+"_NAMES")
	if path == "" {
		t.Skip("only as a child of the tests below")
	}
	for i := 0; ; i++ {
		name := fmt.Sprintf("%s%d", names, i%200)
		if names == "forever" {
			name = fmt.Sprintf("N%d", i)
		} else if i == 200 {
			return
		}
		if _, err := FileLedger(path).see(t.Context(), "s", []sighting{{name: "KEPT", material: []byte("kept")}, {name: name, material: []byte(name)}}); err != nil {
			t.Fatal(err)
		}
	}
}

func ledgerChildOf(t *testing.T, path, names string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLedgerChild$")
	cmd.Env = append(os.Environ(), ledgerChild+"="+path, ledgerChild+"_NAMES="+names)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestTwoProcessesShareALedgerAndLoseNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	var children []*exec.Cmd
	for _, names := range []string{"A", "B", "C"} {
		children = append(children, ledgerChildOf(t, path, names))
	}
	for _, c := range children {
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(readLedger(t, path)); n != 3*200+1 {
		t.Errorf("%d entries, want 601", n)
	}
}

// A process that is killed at any moment leaves a ledger that the next one can
// read, and that has forgotten nothing.
func TestALedgerSurvivesProcessesThatAreKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	seen := 0
	var first time.Time
	for i := range rounds {
		child := ledgerChildOf(t, path, "forever")
		before, _ := os.Stat(path)
		for { // until it has written; where it is a moment later is chance
			after, err := os.Stat(path)
			<-time.After(time.Duration(1+i%5) * time.Millisecond)
			if err == nil && (before == nil || after.Size() > before.Size()) {
				break
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // "signal: killed"
		if _, err := FileLedger(path).see(t.Context(), "s", nil); err != nil {
			t.Fatalf("after kill %d: %v", i, err)
		}
		entries := readLedger(t, path)
		if len(entries) < seen {
			t.Fatalf("kill %d: %d entries, and %d before", i, len(entries), seen)
		}
		seen = len(entries)
		for _, e := range entries {
			if e.name == "s/KEPT" {
				if first.IsZero() {
					first = e.first
				}
				if !e.first.Equal(first) {
					t.Fatalf("kill %d: first seen %v, and %v before", i, e.first, first)
				}
			}
		}
	}
	if seen < 5 || first.IsZero() {
		t.Errorf("the children wrote only %d entries", seen)
	}
}

func TestALedgerIsNotWrittenThroughALink(t *testing.T) {
	for _, suffix := range []string{"", ".key", ".lock"} {
		for _, exists := range []bool{true, false} {
			dir := t.TempDir()
			path, victim := filepath.Join(dir, "ledger"), filepath.Join(dir, "victim")
			if exists {
				if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink(victim, path+suffix); err != nil {
				testenv.Missing(t, "no links can be made here: "+err.Error())
			}
			if _, err := FileLedger(path).see(t.Context(), "s", []sighting{{name: "A", material: []byte("a")}}); err == nil {
				t.Errorf("%q: a link was taken for a ledger", suffix)
			}
			got, err := os.ReadFile(victim)
			if exists && (err != nil || string(got) != "precious") || !exists && !os.IsNotExist(err) {
				t.Errorf("%q: the file behind the link holds %q, %v", suffix, got, err)
			}
		}
	}
}
