package password

import (
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
)

const memoryEnv = "PASSWORD_TEST_MEMORY"

// The budget by the process's own memory: 200 logins at one time that need 19 MiB
// each, 3.7 GiB together, under a budget of 64 MiB.
func TestTwoHundredLoginsStayUnderTheBudgetOfTheProcess(t *testing.T) {
	const budget, n = 64, 200
	if os.Getenv(memoryEnv) != "" {
		h, err := New(Config{MemoryMiB: budget})
		if err != nil {
			t.Fatal(err)
		}
		stored, err := h.Hash(t.Context(), "secret")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				if res, err := h.Verify(t.Context(), stored, "secret"); err != nil || !res.OK {
					t.Errorf("%+v, %v", res, err)
				}
			})
		}
		all.Wait()
		return
	}
	if raceEnabled {
		t.Skip("the race detector keeps memory of its own")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$") // #nosec G204 -- this very test
	cmd.Env = append(os.Environ(), memoryEnv+"=1", "GOGC=100")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	peak, ok := peakMiB(cmd.ProcessState)
	if !ok {
		t.Skipf("%s does not tell how much memory a process took", runtime.GOOS)
	}
	t.Logf("%d MiB at most, under a budget of %d", peak, budget)
	// The collector lets as much again stand before it runs, and the program is there too.
	if peak < 19 || peak > 4*budget {
		t.Errorf("the process took %d MiB under a budget of %d", peak, budget)
	}
}
