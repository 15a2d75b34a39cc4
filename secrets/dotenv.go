package secrets

import (
	"bytes"
	"fmt"
)

const (
	fixLine  = "write NAME=value on a line of its own, without white space around the name"
	fixQuote = `write 'value', or "value" with \n, \r, \t, \", \$ and \\ only`
)

// parseDotEnv reads the lines of a [DotEnv] file. A flaw names the line and
// shows nothing of it. The values are copies.
func parseDotEnv(text []byte) (pairs []pair, bad *flaw) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	seen := map[string]bool{}
	for line := 1; len(text) > 0; line++ {
		here, rest := cutLine(text)
		value, name, reason := parseLine(here)
		fix := fixLine
		if reason == "" && seen[name] {
			reason, fix = "sets a name for the second time", "keep one of the lines"
		}
		if reason == "" && len(value) > 0 && (value[0] == '\'' || value[0] == '"') {
			fix = fixQuote
			// What is quoted may go on below: read from the quote in text on.
			begin := cap(text) - cap(value)
			var end int
			value, end, reason = unquote(text[begin:])
			here, rest = cutLine(text[begin+end:])
			if here = trimBlank(here); reason == "" && len(here) > 0 && here[0] != '#' {
				reason = "has something behind the closing quote"
			}
			line += bytes.Count(text[begin:begin+end], []byte("\n"))
		} else if reason == "" && name != "" {
			value = bytes.Clone(withoutComment(value))
		}
		if reason != "" {
			wipePairs(pairs)
			return nil, &flaw{reason: fmt.Sprintf("line %d %s", line, reason), fix: fix}
		}
		if name != "" {
			seen[name] = true
			pairs = append(pairs, pair{name, value})
		}
		text = rest
	}
	return pairs, nil
}

// cutLine splits behind the first line end, LF or CRLF.
func cutLine(text []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(text, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

// parseLine splits a line into name and value, which is a part of it. An empty
// line and a comment have no name.
func parseLine(line []byte) (value []byte, name, reason string) {
	line = trimBlank(line)
	if len(line) == 0 || line[0] == '#' {
		return nil, "", ""
	}
	if after, ok := bytes.CutPrefix(line, []byte("export ")); ok {
		line = trimBlank(after)
	}
	left, value, ok := bytes.Cut(line, []byte("="))
	switch {
	case !ok:
		return nil, "", "has no ="
	case !namePattern.Match(left):
		return nil, "", "does not begin with a name"
	}
	return trimBlank(value), string(left), ""
}

// withoutComment cuts off # and what follows, if white space precedes it.
func withoutComment(value []byte) []byte {
	for i := range value {
		if value[i] == '#' && (i == 0 || value[i-1] == ' ' || value[i-1] == '\t') {
			return trimBlank(value[:i])
		}
	}
	return value
}

// unquote reads the quoted text that begins at text[0], and returns the index
// behind the closing quote. On a fault end is where it was seen.
func unquote(text []byte) (value []byte, end int, reason string) {
	quote := text[0]
	length := bytes.IndexByte(text[1:], quote)
	if length < 0 {
		return nil, 1, "has a quote that is never closed"
	}
	if quote == '\'' {
		return bytes.Clone(text[1 : 1+length]), 2 + length, ""
	}
	for length = 1; length < len(text) && text[length] != quote; length++ {
		if text[length] == '\\' {
			length++
		}
	}
	value = make([]byte, 0, min(length, len(text))) // at once: growing would leave copies behind
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == quote:
			return value, i + 1, ""
		case c != '\\':
			value = append(value, c)
			continue
		}
		i++
		at := -1
		if i < len(text) {
			at = bytes.IndexByte([]byte(`nrt"$\`), text[i])
		}
		if at < 0 {
			clear(value)
			return nil, i - 1, "has a backslash before something else than n, r, t, \", $ or \\"
		}
		value = append(value, "\n\r\t\"$\\"[at])
	}
	clear(value)
	return nil, 1, "has a quote that is never closed"
}

func trimBlank(b []byte) []byte { return bytes.Trim(b, " \t") }

func wipePairs(pairs []pair) {
	for _, p := range pairs {
		clear(p.value)
	}
}
