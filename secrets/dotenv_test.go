package secrets

import (
	"bytes"
	"strings"
	"testing"
)

func TestDotEnvLinesAreTakenAsTheyStand(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"K=v", "v"},
		{"K=", ""},
		{"K = v", "line 1 does not begin with a name"},
		{"K= v \t", "v"},
		{"  K=v", "v"},
		{"export K=v", "v"},
		{"export  K=v", "v"},
		{"K=pa$HOME", "pa$HOME"},
		{"K=${X}", "${X}"},
		{"K=pa#ss", "pa#ss"},
		{"K=pa #ss", "pa"},
		{"K=#ss", ""},
		{`K=pa\nss"x'y`, `pa\nss"x'y`},
		{"K=a=b=c", "a=b=c"},
		{"K='pa #$ss\\n'", `pa #$ss\n`},
		{"K='a' # b", "a"},
		{"K='a'b", "line 1 has something behind the closing quote"},
		{`K="a\n\"\$\\\t\r"`, "a\n\"$\\\t\r"},
		{`K="pa$HOME"`, "pa$HOME"},
		{`K="a\x"`, "line 1 has a backslash"},
		{`K="a`, "line 1 has a quote that is never closed"},
		{`K='a`, "line 1 has a quote that is never closed"},
		{`K="a\"`, "line 1 has a quote that is never closed"},
		{`K="`, "line 1 has a quote that is never closed"},
		{"K=\"a\nb\"", "a\nb"},
		{"K='a\nb'\nL=x", "a\nb"},
		{"K='a\nb' x", "line 2 has something"},
		{"\xef\xbb\xbfK=v", "v"},
		{"K=v\r\n", "v"},
		{"# c\r\n\r\nK=v\r\n", "v"},
		{"K=v\nK=w", "line 2 sets a name for the second time"},
		{"X='a\n\nb'\nK", "line 4 has no ="},
		{"secret-without-a-name-9fKx", "line 1 has no ="},
		{"=v", "line 1 does not begin with a name"},
		{"9K=v", "line 1 does not begin with a name"},
		{"K:v=w", "line 1 does not begin with a name"},
	} {
		pairs, bad := parseDotEnv([]byte(tt.line))
		if strings.HasPrefix(tt.want, "line ") {
			if bad == nil || !strings.HasPrefix(bad.reason, tt.want) || bad.fix == "" || strings.Contains(bad.reason+bad.fix, "9fKx") {
				t.Errorf("%q: %+v, want %q", tt.line, bad, tt.want)
			}
			continue
		}
		if got := string(valueOf(pairs, "K")); bad != nil || got != tt.want {
			t.Errorf("%q: %q %+v, want %q", tt.line, got, bad, tt.want)
		}
	}
}

// Whatever the file holds: no panic, no name twice, values that are copies, and
// faults that show nothing of it. What is quoted can be read back.
func FuzzDotEnv(f *testing.F) {
	for _, s := range []string{"K=v", "K='a\nb'\nL=\"c\\n\"", "\xef\xbb\xbfexport K=v #x\r\n", "K=\"", "K='", "K", "K=\"a\\", "'='", "K=\"\"x", "K= '", "A=1\nA=2"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		pairs, bad := parseDotEnv(text)
		if !bytes.Equal(before, text) {
			t.Fatal("the text was changed")
		}
		if bad != nil && (pairs != nil || bad.fix == "" || !strings.HasPrefix(bad.reason, "line ")) {
			t.Fatalf("%v %+v", pairs, bad)
		}
		seen := map[string]bool{}
		for _, p := range pairs {
			if seen[p.name] || !namePattern.MatchString(p.name) {
				t.Fatalf("name %q", p.name)
			}
			seen[p.name] = true
		}
		wipePairs(pairs)
		if !bytes.Equal(before, text) {
			t.Fatal("a value is a part of the text")
		}
		quoted := `K="` + strings.NewReplacer("\\", `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "$", `\$`).Replace(string(text)) + `"`
		again, bad := parseDotEnv([]byte(quoted))
		if bad != nil || string(valueOf(again, "K")) != string(text) {
			t.Fatalf("%q reads as %v %+v", quoted, again, bad)
		}
	})
}

func TestAQuotedValueTakesNoMoreMemoryThanItIsLong(t *testing.T) {
	text := []byte("K=\"a\\\"b\"\nL=\"\"\n" + strings.Repeat("# more\n", 1000))
	pairs, bad := parseDotEnv(text)
	if bad != nil || len(pairs) != 2 || string(pairs[0].value) != `a"b` {
		t.Fatalf("%v %v", pairs, bad)
	}
	for _, p := range pairs {
		if cap(p.value) > 16 {
			t.Errorf("%s has room for %d bytes", p.name, cap(p.value))
		}
	}
}
