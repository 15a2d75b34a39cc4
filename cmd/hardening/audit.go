package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/inovy/hardening/auditlog"
)

const auditVerifyUsage = `usage: hardening audit verify -dir DIR -key KEY [-max-age 24h] [-json]

Checks every byte of an audit log with its public verifier key. Needs no
secret and changes nothing; also on a copy, or while the log is written.

exit status: 0 ok, 1 tampered, 2 torn tail, 3 unverifiable, 4 stale,
             64 wrong usage, 74 the directory cannot be read
`

// auditExit maps what verification found to the exit status.
var auditExit = map[auditlog.Status]int{
	auditlog.StatusOK:           0,
	auditlog.StatusTampered:     1,
	auditlog.StatusTornTail:     2,
	auditlog.StatusUnverifiable: 3,
	auditlog.StatusStale:        4,
}

func auditVerify(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("audit verify", flag.ContinueOnError)
	dir := flags.String("dir", "", "directory of the log")
	key := flags.String("key", "", "verifier key, as Log.VerifierKey gave it when the log began")
	maxAge := flags.Duration("max-age", 0, "the newest record must not be older, such as 24h; 0 accepts any age")
	asJSON := flags.Bool("json", false, "print the whole report as JSON")
	if status, ok := parse(flags, args, auditVerifyUsage, stderr); !ok {
		return status
	}
	if *dir == "" || *key == "" {
		fmt.Fprint(stderr, "hardening: audit verify needs -dir and -key\n\n", auditVerifyUsage)
		return exitUsage
	}
	report, err := auditlog.Verify(ctx, *dir, *key, auditlog.VerifyOptions{MaxAge: *maxAge})
	if err != nil {
		fmt.Fprintln(stderr, "hardening:", err)
		return exitIO
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
	if r.Size > 0 && !r.Newest.IsZero() {
		fmt.Fprintf(w, "newest signed record: %s\n", r.Newest.UTC().Format(time.RFC3339))
	}
	if r.Recovered > 0 {
		fmt.Fprintf(w, "unsigned tails accounted for after crashes: %d\n", r.Recovered)
	}
}
