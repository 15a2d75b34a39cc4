package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/inovy/hardening/secrets"
)

const secretsGenerateUsage = `usage: hardening secrets generate [-bytes 32]

Prints a random key as base64url, fit for kind=key. 32 bytes are 256 bits.

exit status: 0 printed, 64 wrong usage, 74 it could not be printed
`

func secretsGenerate(_ context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("secrets generate", flag.ContinueOnError)
	n := flags.Int("bytes", 32, "random bytes, 32 to 512")
	if status, ok := parse(flags, args, secretsGenerateUsage, stderr); !ok {
		return status
	}
	key, err := secrets.Generate(*n)
	if err != nil {
		fmt.Fprintln(stderr, "hardening:", err)
		return exitUsage
	}
	if _, err := fmt.Fprintln(stdout, key); err != nil {
		fmt.Fprintln(stderr, "hardening:", err)
		return exitIO
	}
	return exitOK
}

const secretsScanUsage = `usage: hardening secrets scan [-json] [-max-bytes N] [-skip NAMES] [-allow PATTERNS] [DIR]

Looks for committed secrets in DIR (default: .): token shapes, passwords in
URLs, random values assigned to names such as password, also inside base64. It
says where and of what kind, and shows nothing of a secret. Folders named .git,
.hg, .svn and node_modules are not entered, nor those that -skip names; binary
files are not looked into.

What is meant to be there is allowed by a comment in its line that says
hardening:allow-secret and why, or for whole files by -allow, with patterns as
testdata/*.pem,golden.json. Allowed leaks are counted and in the JSON report; a
pattern that allows nothing is reported on stderr.

exit status: 0 clean, 1 leaks found, 64 wrong usage,
             74 DIR or some file could not be read, and no leak was found
`

// exitFound is what scan and check-example exit with when they found something.
const exitFound = 1

func secretsScan(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("secrets scan", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "print the whole report as JSON")
	maxBytes := flags.Int64("max-bytes", 8<<20, "list larger text files as skipped")
	skip := flags.String("skip", "", "names of further folders not to enter, as testdata,vendor")
	allow := flags.String("allow", "", "patterns of files whose leaks are intended, as testdata/*.pem")
	dir, status, ok := parseDir(flags, args, secretsScanUsage, stderr)
	if !ok {
		return status
	}
	if *maxBytes < 1 {
		fmt.Fprintln(stderr, "hardening: -max-bytes is at least 1")
		return exitUsage
	}
	root, err := os.OpenRoot(dir) // no link leads out of it
	if err != nil {
		fmt.Fprintln(stderr, "hardening:", err)
		return exitIO
	}
	defer func() { _ = root.Close() }() // read only
	shown := progress{out: stderr, every: 200 * time.Millisecond, last: time.Now().Add(time.Second)}
	opts := secrets.ScanOptions{MaxBytes: *maxBytes}
	if *skip != "" {
		opts.SkipDirs = append([]string{".git", ".hg", ".svn", "node_modules"}, strings.Split(*skip, ",")...)
	}
	if *allow != "" {
		opts.AllowFiles = strings.Split(*allow, ",")
		for _, pattern := range opts.AllowFiles {
			if _, err := path.Match(pattern, ""); err != nil {
				fmt.Fprintf(stderr, "hardening: -allow: %q is no pattern\n", pattern)
				return exitUsage
			}
		}
	}
	if isTerminal(stderr) {
		opts.Progress = shown.file
	}
	report, err := secrets.Scan(ctx, root.FS(), opts)
	shown.clear()
	if err != nil {
		fmt.Fprintln(stderr, "hardening:", err)
		return exitIO
	}
	if err := printScan(stdout, stderr, report, *asJSON); err != nil {
		fmt.Fprintln(stderr, "hardening:", err)
		return exitIO
	}
	switch {
	case len(report.Leaks) > 0:
		return exitFound
	case len(report.Skipped) > 0:
		return exitIO
	}
	return exitOK
}

// printScan prints what was found on stdout, and what could not be looked at
// on stderr.
func printScan(stdout, stderr io.Writer, report *secrets.ScanReport, asJSON bool) error {
	if asJSON {
		out := json.NewEncoder(stdout)
		out.SetIndent("", "  ")
		return out.Encode(report)
	}
	for _, leak := range report.Leaks {
		if _, err := fmt.Fprintln(stdout, leak); err != nil {
			return err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(report.Skipped)) {
		fmt.Fprintf(stderr, "skipped %s: %s\n", printable(path), report.Skipped[path])
	}
	for _, pattern := range report.Unused {
		fmt.Fprintf(stderr, "-allow %s allows nothing\n", printable(pattern))
	}
	fmt.Fprintf(stderr, "%d files read, %d skipped, %d leaks, %d allowed\n", report.Files, len(report.Skipped), len(report.Leaks), len(report.Allowed))
	return nil
}

// printable quotes a path that could move a terminal's cursor.
func printable(path string) string {
	if quoted := strconv.Quote(path); quoted != `"`+path+`"` {
		return quoted
	}
	return path
}

// parseDir is parse for a command that takes a folder.
func parseDir(flags *flag.FlagSet, args []string, usage string, stderr io.Writer) (dir string, status int, ok bool) {
	dir = "."
	// The flag package stops at the first argument that is none, so the folder
	// comes last; anything behind it is refused by parse.
	if n := len(args); n > 0 && !strings.HasPrefix(args[n-1], "-") && (n == 1 || !takesValue(flags, args[n-2])) {
		dir, args = args[n-1], args[:n-1]
	}
	status, ok = parse(flags, args, usage, stderr)
	return dir, status, ok
}

// takesValue reports whether arg is a flag whose value is the next argument.
func takesValue(flags *flag.FlagSet, arg string) bool {
	if !strings.HasPrefix(arg, "-") || strings.Contains(arg, "=") {
		return false
	}
	f := flags.Lookup(strings.TrimLeft(arg, "-"))
	if f == nil {
		return false
	}
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return !ok || !b.IsBoolFlag()
}

// progress tells a person that a long scan goes on.
type progress struct {
	out   io.Writer
	every time.Duration
	last  time.Time
	files int
	shown bool
}

func (p *progress) file(string) {
	p.files++
	if now := time.Now(); now.Sub(p.last) >= p.every {
		p.last, p.shown = now, true
		fmt.Fprintf(p.out, "\r%d files ...", p.files)
	}
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprintf(p.out, "\r%*s\r", 30, "")
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
