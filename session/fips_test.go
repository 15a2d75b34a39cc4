package session_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Memory, sealed records and sessions in cookies work where only approved
// algorithms may be used.
func TestTheRoomRunsWithFIPS140Only(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-11.3.2")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.short",
		"-test.run=^(TestTrap_ZombieRace|TestRevokeOthers.*|TestFiftyParallel.*|TestTrap_LogOutEverywhere.*)$")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if n := strings.Count(string(out), "\n--- PASS: "); err != nil || n < 4 {
		t.Errorf("%d tests pass: %v\n%s", n, err, out)
	}
}
