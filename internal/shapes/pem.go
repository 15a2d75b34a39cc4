package shapes

import "strings"

const longestBlock = 64 << 10

// blockEnd extends a private key from its first line to its last. A block that
// is cut off reaches to the end of the text: half a key is still a key. So does
// one longer than any key, because to look further from each of many first lines
// would take quadratic time.
func blockEnd(id, s string, start, end int) int {
	if id != "private-key" {
		return end
	}
	last := strings.Replace(s[start:end], "BEGIN", "END", 1)
	if i := strings.Index(s[end:min(len(s), end+longestBlock)], last); i >= 0 {
		return end + i + len(last)
	}
	return len(s)
}
