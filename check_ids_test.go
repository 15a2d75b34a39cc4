package hardening_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "add new check ids to testdata/check_ids.txt")

var checkID = regexp.MustCompile(`"(HDN-[A-Z0-9]+-\d{3})"`)

// Registers of deviations and reports refer to the ids of checks, so an id that
// was ever published stays, and is never given to another check.
func TestCheckIDsArePermanent(t *testing.T) {
	const list = "testdata/check_ids.txt"
	var inCode []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || path != "." && strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "examples") {
			return nil
		}
		src, err := os.ReadFile(path)
		for _, m := range checkID.FindAllSubmatch(src, -1) {
			inCode = append(inCode, string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(inCode)
	inCode = slices.Compact(inCode)
	text, err := os.ReadFile(list)
	if err != nil && !*update {
		t.Fatal(err)
	}
	published := strings.Fields(string(text))
	var fresh []string
	for _, id := range inCode {
		if !slices.Contains(published, id) {
			fresh = append(fresh, id)
		}
	}
	for _, id := range published {
		if !slices.Contains(inCode, id) {
			t.Errorf("%s was published and is gone: keep the check, or let it pass with a title that says it is retired", id)
		}
	}
	if len(fresh) == 0 {
		return
	}
	if !*update {
		t.Fatalf("%v are not in %s; add them with: go test . -run TestCheckIDsArePermanent -update", fresh, list)
	}
	all := append(published, fresh...)
	slices.Sort(all)
	if err := os.WriteFile(list, []byte(strings.Join(all, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
