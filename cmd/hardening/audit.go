package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/auditlog"
)

const auditVerifyUsage = `usage: hardening audit verify -dir DIR -key KEY [-max-age 24h] [-anchor FILE] [-json]

Checks every byte of an audit log with its public verifier key. Needs no
secret and changes nothing; also on a copy, or while the log is written.

exit status: 0 ok, 1 tampered, or records that the anchor saw are missing,
             2 torn tail, 3 unverifiable: a malformed key, no segment in the
             directory, a newer format, 4 stale, 64 wrong usage,
             65 the anchor is no checkpoint of the log,
             74 the directory or the anchor cannot be read
`

// auditExit maps what verification found to the exit status.
var auditExit = map[auditlog.Status]int{
	auditlog.StatusOK:           0,
	auditlog.StatusTampered:     1,
	auditlog.StatusBehindAnchor: 1,
	auditlog.StatusTornTail:     2,
	auditlog.StatusUnverifiable: 3,
	auditlog.StatusStale:        4,
}

func auditVerify(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("audit verify", flag.ContinueOnError)
	dir := flags.String("dir", "", "directory of the log")
	key := flags.String("key", "", "verifier key, as Log.VerifierKey gave it when the log began")
	maxAge := flags.Duration("max-age", 0, "the newest record must not be older, such as 24h; 0 accepts any age")
	anchor := flags.String("anchor", "", "file with a checkpoint that was kept elsewhere")
	asJSON := flags.Bool("json", false, "print the whole report as JSON")
	if status, ok := parse(flags, args, auditVerifyUsage, stderr); !ok {
		return status
	}
	if *dir == "" || *key == "" {
		fmt.Fprint(stderr, "hardening: audit verify needs -dir and -key\n\n", auditVerifyUsage)
		return exitUsage
	}
	if *maxAge < 0 {
		fmt.Fprintln(stderr, "hardening: -max-age", *maxAge, "is negative; give the most that the newest record may be old, such as 24h")
		return exitUsage
	}
	opts := auditlog.VerifyOptions{MaxAge: *maxAge, Progress: progressOn(stderr)}
	if *anchor != "" {
		var err error
		if opts.Anchor, err = os.ReadFile(*anchor); err != nil {
			fmt.Fprintln(stderr, "hardening:", err)
			return exitIO
		}
	}
	report, err := auditlog.Verify(ctx, *dir, *key, opts)
	if err != nil {
		return auditFailed(stderr, err)
	}
	if *asJSON {
		out := json.NewEncoder(stdout)
		out.SetIndent("", "  ")
		if err := out.Encode(report); err != nil {
			fmt.Fprintln(stderr, "hardening:", err)
			return exitIO
		}
	} else {
		printReport(stdout, report)
	}
	status, known := auditExit[report.Status]
	if !known {
		return auditExit[auditlog.StatusUnverifiable]
	}
	return status
}

// printReport says what was found in words, and where.
func printReport(w io.Writer, r *auditlog.VerifyReport) {
	fmt.Fprintln(w, r)
	if r.Size > 0 && r.Key != "" {
		fmt.Fprintf(w, "key of the newest checkpoint: %s\n", r.Key)
	}
	if r.Size > 0 && !r.Newest.IsZero() {
		fmt.Fprintf(w, "newest signed record: %s\n", r.Newest.UTC().Format(time.RFC3339))
	}
	if r.Pruned > 0 {
		fmt.Fprintf(w, "records pruned by policy: %d\n", r.Pruned)
	}
	if r.Lost > 0 {
		fmt.Fprintf(w, "events that the log says it lost: %d\n", r.Lost)
	}
	if r.Recovered > 0 {
		fmt.Fprintf(w, "unsigned tails accounted for after crashes: %d\n", r.Recovered)
	}
}

// progressOn returns a function that draws a bar on a terminal once a run takes
// longer than a second, or nil.
func progressOn(w io.Writer) func(done, total int64) {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	start, drawn := time.Now(), false
	return func(done, total int64) {
		if !drawn && time.Since(start) < time.Second {
			return
		}
		drawn = true
		fmt.Fprint(f, bar(done, total))
	}
}

// bar is one line that replaces the one before, and is wiped at the end.
func bar(done, total int64) string {
	if total < 1 || done >= total {
		return "\r" + strings.Repeat(" ", 48) + "\r"
	}
	n := int(done * 30 / total)
	return fmt.Sprintf("\r[%s%s] %3d %%", strings.Repeat("#", n), strings.Repeat(".", 30-n), done*100/total)
}

const auditProveUsage = `usage: hardening audit prove -dir DIR -key KEY -seq N [-out FILE]

Verifies the log and prints a proof that record N is in it, in the form of
C2SP tlog-proof, for whoever has no access to the rest. Beside it go the record
and the verifier key of its checkpoint: with -out, to FILE, FILE.record and
FILE.key.

exit status: 0 ok, also with a torn tail, 1 tampered, 3 not this log's key,
             64 wrong usage, 65 there is no such record,
             74 a file cannot be read or written

audit check-proof checks it.
`

func auditProve(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("audit prove", flag.ContinueOnError)
	dir := flags.String("dir", "", "directory of the log")
	key := flags.String("key", "", "verifier key, as Log.VerifierKey gave it when the log began")
	seq := flags.Int64("seq", -1, "number of the record")
	out := flags.String("out", "", "file for the proof; default: standard output")
	if status, ok := parse(flags, args, auditProveUsage, stderr); !ok {
		return status
	}
	if *dir == "" || *key == "" || *seq < 0 {
		fmt.Fprint(stderr, "hardening: audit prove needs -dir, -key and -seq\n\n", auditProveUsage)
		return exitUsage
	}
	proof, err := auditlog.Prove(ctx, *dir, *key, *seq)
	if err != nil {
		return auditFailed(stderr, err)
	}
	if *out == "" {
		fmt.Fprintf(stdout, "%s\nrecord: %s\nkey: %s\n", proof.Text, proof.Record, proof.Key)
		return exitOK
	}
	for name, text := range map[string][]byte{*out: proof.Text, *out + ".record": proof.Record, *out + ".key": []byte(proof.Key + "\n")} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			fmt.Fprintln(stderr, "hardening:", err)
			return exitIO
		}
	}
	return exitOK
}

const auditCheckProofUsage = `usage: hardening audit check-proof -proof FILE -key KEY [-record FILE]

Checks a proof that audit prove made: that the log to which KEY belongs held
the record when it signed the checkpoint. Needs nothing of the log. KEY is the
key of the checkpoint's epoch: what stands in the .key file that audit prove
wrote, having verified the log. Take it from whoever ran that, not from whoever
hands you the proof. Audit verify prints the newest epoch's.

exit status: 0 the record was in the log, 1 it was not, 3 malformed key, or not
             that of the epoch, 64 wrong usage, 65 the file holds no proof,
             74 a file cannot be read
`

func auditCheckProof(_ context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("audit check-proof", flag.ContinueOnError)
	file := flags.String("proof", "", "file of the proof")
	key := flags.String("key", "", "verifier key of the checkpoint's epoch")
	record := flags.String("record", "", "file of the record; default: that of the proof with .record")
	if status, ok := parse(flags, args, auditCheckProofUsage, stderr); !ok {
		return status
	}
	if *file == "" || *key == "" {
		fmt.Fprint(stderr, "hardening: audit check-proof needs -proof and -key\n\n", auditCheckProofUsage)
		return exitUsage
	}
	if *record == "" {
		*record = *file + ".record"
	}
	proof := auditlog.Proof{Key: *key}
	var err error
	for name, to := range map[string]*[]byte{*file: &proof.Text, *record: &proof.Record} {
		if *to, err = os.ReadFile(name); err != nil {
			fmt.Fprintln(stderr, "hardening:", err)
			return exitIO
		}
	}
	switch err := proof.Check(); {
	case errors.Is(err, auditlog.ErrTampered), errors.Is(err, auditlog.ErrKey):
		return auditFailed(stderr, err)
	case err != nil:
		fmt.Fprintln(stderr, "hardening:", err)
		return exitData
	}
	fmt.Fprintln(stdout, "ok: the record was in the log")
	return exitOK
}

const auditPruneUsage = `usage: hardening audit prune -dir DIR [-retention 9600h] [-nl-healthcare] [-key-file FILE] [-subject-file FILE]

Removes the segments all of whose records are older than the retention: 400
days, or five years with -nl-healthcare. The service must not be running: it
calls Log.Prune itself.

exit status: 0 ok, 1 tampered, 3 the signing key is missing or of another log,
             64 wrong usage, or what the log refuses to be opened with,
             74 there is no log, or not this user's, another process has it, or
             a file cannot be read or written
`

func auditPrune(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("audit prune", flag.ContinueOnError)
	dir := flags.String("dir", "", "directory of the log")
	retention := flags.Duration("retention", 0, "how long records are kept; default 9600h, at least 8760h")
	healthcare := flags.Bool("nl-healthcare", false, "keep records for five years")
	keyFile := flags.String("key-file", "", "file of the signing key; default: log.key in DIR")
	subjectFile := flags.String("subject-file", "", "file of the subjects' keys; default: subjects.keys in DIR")
	if status, ok := parse(flags, args, auditPruneUsage, stderr); !ok {
		return status
	}
	if *dir == "" || *healthcare && *retention != 0 {
		fmt.Fprint(stderr, "hardening: audit prune needs -dir, and one of -retention and -nl-healthcare at most\n\n", auditPruneUsage)
		return exitUsage
	}
	if info, err := os.Stat(*dir); err != nil || !info.IsDir() {
		fmt.Fprintln(stderr, "hardening: there is no directory", *dir)
		return exitIO
	} else if owner, foreign := ownedByAnother(info); foreign {
		fmt.Fprintf(stderr, "hardening: %s belongs to the user %d, who could not read what this one writes there: run it as that user\n", *dir, owner)
		return exitIO
	}
	if found, err := filepath.Glob(filepath.Join(*dir, "seg-*.alog")); err != nil || len(found) == 0 {
		fmt.Fprintln(stderr, "hardening: there is no log in", *dir)
		return exitIO
	}
	cfg := auditlog.Config{}
	if *healthcare {
		cfg = auditlog.NLHealthcare()
	}
	cfg.Dir, cfg.KeyFile, cfg.SubjectFile = *dir, *keyFile, *subjectFile
	if *retention != 0 {
		cfg.Retention = *retention
	}
	cfg.Next = slog.DiscardHandler
	cfg.ErrorLog = slog.New(slog.NewTextHandler(stderr, nil))
	log, err := auditlog.Open(ctx, cfg)
	if err != nil {
		return auditFailed(stderr, err)
	}
	report, err := log.Prune(ctx)
	if err := errors.Join(err, log.Close()); err != nil {
		return auditFailed(stderr, err)
	}
	fmt.Fprintf(stdout, "%d segments with %d records (%d bytes) removed; the log begins with record %d\n", report.Segments, report.Records, report.Bytes, report.Upto)
	return exitOK
}

func auditFailed(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, "hardening:", err)
	switch {
	case errors.Is(err, auditlog.ErrTampered):
		return auditExit[auditlog.StatusTampered]
	case errors.Is(err, auditlog.ErrKey):
		return auditExit[auditlog.StatusUnverifiable]
	case errors.Is(err, auditlog.ErrNoRecord):
		return exitData
	case errors.Is(err, auditlog.ErrAnchor):
		return exitData
	}
	if fault := (*hardening.ConfigError)(nil); errors.As(err, &fault) {
		return exitUsage
	}
	return exitIO
}
