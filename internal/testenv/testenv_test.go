package testenv_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/inovy/hardening/internal/testenv"
)

// The child's own outcome shows what a test that lacks its server does.
func TestAMissingServerSkipsOrFails(t *testing.T) {
	if os.Getenv("TESTENV_CHILD") == "1" {
		testenv.Redis(t)
		return
	}
	for _, tt := range []struct{ require, redis, want string }{
		{"", "", "--- SKIP"}, {"1", "", "--- FAIL"}, {"1", "127.0.0.1:1", "--- PASS"},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^TestAMissingServerSkipsOrFails$")
		cmd.Env = append(os.Environ(), "TESTENV_CHILD=1", "HARDENING_TEST_REQUIRE="+tt.require, "HARDENING_TEST_REDIS="+tt.redis)
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), tt.want) {
			t.Errorf("require %q, redis %q: want %s in\n%s", tt.require, tt.redis, tt.want, out)
		}
		if tt.redis == "" && !strings.Contains(string(out), "redis-server") {
			t.Errorf("the way to start a server is not told:\n%s", out)
		}
	}
}
