package secrets

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/inovy/hardening/internal/shapes"
)

// Leak is a place where a file seems to hold a secret. It says where and of
// what kind, and never what the secret is.
type Leak struct {
	Path   string // slash-separated, relative to the scanned file system
	Line   int    // from 1
	Column int    // from 1, in bytes
	Kind   string // a token's shape ("github-token"), "url-password" or "assignment"
	Length int    // of the secret, in bytes
}

// String reads as "dir/file.env:3:7 github-token (40 bytes)". A path that
// could forge a line or move a terminal's cursor is quoted.
func (l Leak) String() string {
	name := l.Path
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		name = quoted
	}
	return fmt.Sprintf("%s:%d:%d %s (%d bytes)", name, l.Line, l.Column, l.Kind, l.Length)
}

// ScanOptions adjust [Scan]. The zero value is the default.
type ScanOptions struct {
	_ [0]func()

	// MaxBytes is the size above which a file is listed as skipped instead of
	// read. A negative one is an error. Default: 8 MiB.
	MaxBytes int64
	// SkipDirs are names of folders that are not entered. Default: .git, .hg,
	// .svn, node_modules.
	SkipDirs []string
	// AllowFiles are patterns, as of [path.Match], of paths whose leaks are
	// intended, such as testdata/*.pem: what is found in them is in
	// ScanReport.Allowed. A pattern without a slash is for a file's name in any
	// folder. One that is malformed is an error, and one that matches no leak is
	// in ScanReport.Unused. Default: none.
	AllowFiles []string
	// Progress is called with each file's path before it is read. nil = not called.
	Progress func(path string)
}

// ScanReport is what [Scan] found and what it could not look at.
type ScanReport struct {
	Leaks   []Leak            // by path, line and column
	Allowed []Leak            // those that AllowMarker or AllowFiles lets pass
	Unused  []string          // patterns of AllowFiles that let nothing pass
	Files   int               // that were read
	Skipped map[string]string // path to reason; binary files are not listed
}

// Scan looks for committed secrets: published token shapes (see
// [ScanKinds]), keys of a [Ring], passwords in URLs, and high-entropy values
// assigned to names such as password or api_key, also inside base64 and percent
// encoding. Placeholders, variables and values that look made up are passed over.
//
// A line that holds [AllowMarker], as a comment in whatever language, is
// intended to hold what it holds; [ScanOptions.AllowFiles] says that of whole
// files. Neither hides anything: the report lists it as allowed.
//
// A file that can not be read is listed in Skipped, never passed over in
// silence. Scan returns an error if ctx ends, the root can not be read, or opt is wrong.
// Controls: ASVS v5.0.0-13.3.1, CWE-798.
func Scan(ctx context.Context, fsys fs.FS, opt ScanOptions) (*ScanReport, error) {
	switch {
	case opt.MaxBytes < 0:
		return nil, errors.New("secrets: scan: MaxBytes is negative: leave it zero for 8 MiB")
	case opt.MaxBytes == 0:
		opt.MaxBytes = 8 << 20
	}
	if opt.SkipDirs == nil {
		opt.SkipDirs = []string{".git", ".hg", ".svn", "node_modules"}
	}
	for _, pattern := range opt.AllowFiles {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("secrets: scan: AllowFiles holds %q: %w", pattern, err)
		}
	}
	used := make([]bool, len(opt.AllowFiles))
	report := &ScanReport{Skipped: map[string]string{}}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case err != nil && name == ".":
			return err
		case err != nil:
			report.Skipped[name] = "could not be listed"
			return nil
		case d.IsDir() && name != "." && slices.Contains(opt.SkipDirs, d.Name()):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		if opt.Progress != nil {
			opt.Progress(name)
		}
		data, reason := readForScan(fsys, name, opt.MaxBytes)
		if reason != "" {
			report.Skipped[name] = reason
			return nil
		}
		report.Files++
		found, allowed := scanText(name, data)
		if found != nil && allows(opt.AllowFiles, name, used) {
			found, allowed = nil, append(found, allowed...)
		}
		report.Leaks, report.Allowed = append(report.Leaks, found...), append(report.Allowed, allowed...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("secrets: scan: %w", err)
	}
	for i, pattern := range opt.AllowFiles {
		if !used[i] {
			report.Unused = append(report.Unused, pattern)
		}
	}
	return report, nil
}

// AllowMarker in a line says that what [Scan] finds there is meant to be there:
// a documented example, a value of a test. Write the reason behind it.
const AllowMarker = "hardening:allow-secret"

// allows reports whether a pattern lets the leaks of a file pass, and notes
// which.
func allows(patterns []string, name string, used []bool) (ok bool) {
	for i, pattern := range patterns {
		what := name
		if !strings.Contains(pattern, "/") {
			what = path.Base(name)
		}
		if match, _ := path.Match(pattern, what); match {
			ok, used[i] = true, true
		}
	}
	return ok
}

// ScanKinds lists the kinds that [Scan] can report, sorted.
func ScanKinds() []string {
	kinds := append(shapes.IDs(), leakURL, leakAssignment)
	for _, in := range infix {
		kinds = append(kinds, in.kind)
	}
	slices.Sort(kinds)
	return kinds
}

const (
	leakURL        = "url-password"
	leakAssignment = "assignment"
)

func readForScan(fsys fs.FS, name string, maxBytes int64) (data []byte, reason string) {
	f, err := fsys.Open(name)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, "may not be read"
		}
		return nil, "could not be opened"
	}
	defer func() { _ = f.Close() }()            // read only
	limit := min(maxBytes, math.MaxInt64-1) + 1 // one more tells a file that is too large
	data, err = io.ReadAll(io.LimitReader(f, limit))
	switch {
	case err != nil:
		return nil, "could not be read"
	case int64(len(data)) > maxBytes && binary(data) && !utf16Text(data):
		return nil, "" // a picture, however large, is no gap
	case int64(len(data)) > maxBytes:
		return nil, fmt.Sprintf("is larger than %d bytes", maxBytes)
	}
	return decodeUTF16(data), ""
}

// decodeUTF16 turns text with a UTF-16 byte order mark, as Windows tools write
// it, into UTF-8, because a token in it would otherwise be seen by nobody.
func decodeUTF16(data []byte) []byte {
	if !utf16Text(data) {
		return data
	}
	little := data[0] == 0xff
	units := make([]uint16, 0, len(data)/2)
	for i := 2; i+1 < len(data); i += 2 {
		if little {
			units = append(units, uint16(data[i])|uint16(data[i+1])<<8)
		} else {
			units = append(units, uint16(data[i])<<8|uint16(data[i+1]))
		}
	}
	return []byte(string(utf16.Decode(units)))
}

func utf16Text(data []byte) bool {
	return bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff})
}

// binary is git's own rule: a NUL among the first 8000 bytes.
func binary(data []byte) bool { return bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0 }

// hit is a secret in a text, by byte offsets.
type hit struct {
	start, end int
	kind       string
}

// scanText returns what it finds in a text, and apart from that what stands in
// lines with a marker.
func scanText(name string, data []byte) (leaks, allowed []Leak) {
	if binary(data) {
		return nil, nil
	}
	text := string(data)
	hits := append(plainHits(text, unquotedValues(name)), encodedHits(text)...)
	slices.SortFunc(hits, func(a, b hit) int { return cmp.Or(a.start-b.start, b.end-a.end) })
	marked := markedLines(text)
	line, lineStart, upTo := 1, 0, 0
	covered := 0
	for _, h := range hits {
		if h.start < covered { // a token that is also assigned or in a URL counts once
			continue
		}
		covered = h.end
		line += strings.Count(text[upTo:h.start], "\n")
		if i := strings.LastIndexByte(text[upTo:h.start], '\n'); i >= 0 {
			lineStart = upTo + i + 1
		}
		upTo = h.start
		leak := Leak{Path: name, Line: line, Column: h.start - lineStart + 1, Kind: h.kind, Length: h.end - h.start}
		if marked[line] || marked != nil && marked[line+strings.Count(text[h.start:h.end], "\n")] {
			allowed = append(allowed, leak)
		} else {
			leaks = append(leaks, leak)
		}
	}
	return leaks, allowed
}

// markedLines returns the numbers of the lines that hold the marker. Looking
// from each hit for its line's end would take quadratic time in a long line.
func markedLines(text string) map[int]bool {
	var marked map[int]bool
	line, upTo := 1, 0
	for {
		i := strings.Index(text[upTo:], AllowMarker)
		if i < 0 {
			return marked
		}
		if marked == nil {
			marked = map[int]bool{}
		}
		line += strings.Count(text[upTo:upTo+i], "\n")
		marked[line] = true
		upTo += i + len(AllowMarker)
	}
}

func tokenHits(text string) []hit {
	var hits []hit
	tokens := shapes.NewScanner(text, &shapes.Runs{})
	for from := 0; ; {
		m, ok := tokens.Next(from)
		if !ok {
			return hits
		}
		from = m.End
		token := text[m.Start:m.End]
		if m.ID == "private-key" && !holdsBody(token) {
			from = m.Start + len("-----BEGIN ") // what follows a bare first line is not a part of it
			continue
		}
		if m.ID == "private-key" { // one without an end is as long as its lines look like a key's
			m.End = m.Start + blockLength(token)
			from = m.End
		} else if made(token) {
			continue
		}
		hits = append(hits, hit{m.Start, m.End, m.ID})
	}
}

// blockLength is the length of a private key: up to its last line or, if that
// is missing, up to the first byte that no key holds, for there the rest of the
// file goes on.
func blockLength(block string) int {
	label, rest, _ := strings.Cut(block[len("-----BEGIN "):], "-----")
	if strings.HasSuffix(block, "-----END "+label+"-----") {
		return len(block)
	}
	head := len(block) - len(rest)
	for i := range len(rest) {
		if c := rest[i]; alnum[c] == 0 && strings.IndexByte("+/=\\ \t\r\n\"'#*|>,:-", c) < 0 {
			return head + i
		}
	}
	return len(block)
}

// holdsBody reports whether base64 follows the first line of a private key. A
// bare first line is code that reads keys.
func holdsBody(block string) bool {
	_, rest, _ := strings.Cut(block[len("-----BEGIN "):], "-----")
	n := 0
	for i := 0; i < len(rest) && n < 40; i++ {
		switch c := rest[i]; {
		case alnum[c] != 0, c == '+', c == '/', c == '=':
			n++
		case c == '\\' && i+1 < len(rest) && (rest[i+1] == 'n' || rest[i+1] == 'r'): // in a string of code or JSON
			i++
		case c == '-' && strings.HasPrefix(rest[i:], "-----"):
			return false
		case n > 0 && (c == ':' || c == ','): // Proc-Type: 4,ENCRYPTED
			n = 0
		case strings.IndexByte(" \t\r\n\"'#*|>+,:-", c) < 0:
			return false
		}
	}
	return n >= 40
}

// made reports whether a token looks made up by hand: the documentation's
// EXAMPLE, one character repeated, an alphabet in order.
func made(token string) bool {
	lower := strings.ToLower(token)
	if strings.Contains(lower, "example") || strings.Contains(lower, "placeholder") || strings.Contains(lower, "redacted") {
		return true
	}
	run, step := 1, 0
	var last int
	for i := 1; i < len(lower); i++ {
		d := int(lower[i]) - int(lower[i-1])
		if (d == 0 || d == 1) && (i == 1 || d == step) {
			run++
		} else {
			run = 2
		}
		step, last = d, max(last, run)
	}
	return last >= 8
}

// unquotedValues reports whether a file of this name may hold values without
// quotes, as configuration and text do and code does not.
func unquotedValues(name string) bool {
	return !slices.Contains(codeEndings, path.Ext(strings.ToLower(name)))
}

// codeEndings are of files in which a value without quotes is an expression.
var codeEndings = []string{
	".go", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".py", ".rb", ".php", ".java", ".kt", ".kts", ".scala", ".groovy", ".rs", ".c", ".h", ".cc", ".cpp", ".hpp", ".cs", ".vb", ".fs", ".swift", ".m", ".mm",
	".dart", ".ex", ".exs", ".erl", ".clj", ".lua", ".pl", ".pm", ".r", ".s", ".asm", ".sql", ".proto", ".html", ".htm", ".vue", ".svelte", ".css", ".scss", ".svg", ".xml", ".ipynb", ".tf",
}
