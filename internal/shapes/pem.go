package shapes

import "strings"

// blockEnd extends a private key from its first line to its last. A block that
// is cut off reaches to the end of the text: half a key is still a key.
func blockEnd(id, s string, start, end int) int {
	if id != "private-key" {
		return end
	}
	last := strings.Replace(s[start:end], "BEGIN", "END", 1)
	if i := strings.Index(s[end:], last); i >= 0 {
		return end + i + len(last)
	}
	return len(s)
}
