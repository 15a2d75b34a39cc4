package hardening_test

import (
	"os"
	"strings"
	"testing"
)

// The README shows the quickstart as it is compiled and tested, byte for byte.
func TestReadmeShowsTheQuickstart(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("examples/quickstart/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```go\n"+string(program)+"```\n") {
		t.Error("README.md does not hold examples/quickstart/main.go as it is; copy it there")
	}
	if n := strings.Count(string(program), "\n"); n >= 60 {
		t.Errorf("the quickstart has %d lines, want under 60", n)
	}
	for _, cmd := range []string{"go run ./examples/portal\n", "go test ./...\n"} {
		if !strings.Contains(string(readme), "\n"+cmd) {
			t.Errorf("README.md lacks the command %q", cmd)
		}
	}
}
