package headers

// nearest returns the candidate that a typing error most likely meant, or ""
// if none is close: at most two edits, or a third of a long word.
func nearest(word string, candidates []string) string {
	if len(word) > 64 { // longer than any name there is
		return ""
	}
	best, bestAt := "", max(2, len(word)/3)+1
	for _, c := range candidates {
		if d := edits(word, c); d < bestAt {
			best, bestAt = c, d
		}
	}
	return best
}

// edits is the Levenshtein distance over bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
