package redislimit

import (
	"maps"
	"strconv"
	"strings"
	"testing"
)

// Whatever stands in Redis under the key of the blocks: what is read is exact,
// never negative, no more than was there, and reads the same when it is written.
func FuzzParseBlocks(f *testing.F) {
	for _, seed := range []string{
		"", "1", "1 ", "1 a:1:2", "1 a:1:2 b:0:3 a:4:5", "2 a:1:2", "1 :1:2", "1 a:1", "1 a:-1:2", "1 a:1:2:3",
		"1 a:9007199254740991:9007199254740991", "1 a:9007199254740992:1", "1 \xff:+1:2", "1 a:1:2\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		all := parseBlocks(value)
		if !strings.HasPrefix(value, "1 ") && len(all) > 0 {
			t.Fatalf("%d blocks of a format that is not ours", len(all))
		}
		if len(all) > strings.Count(value, ":") {
			t.Fatalf("%d blocks of %d colons", len(all), strings.Count(value, ":"))
		}
		var out strings.Builder
		out.WriteString("1 ")
		for token, b := range all {
			if token == "" || b.until < 0 || b.changed < 0 || b.until >= 1<<53 || b.changed >= 1<<53 {
				t.Fatalf("%q: %+v", token, b)
			}
			out.WriteString(token + ":" + strconv.FormatInt(b.until, 10) + ":" + strconv.FormatInt(b.changed, 10) + " ")
		}
		if again := parseBlocks(out.String()); !maps.Equal(again, all) {
			t.Fatalf("%v became %v", all, again)
		}
	})
}
