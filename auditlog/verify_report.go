package auditlog

import (
	"fmt"
	"time"
)

// Status is what verification found.
type Status string

// The results, best first. An auditor accepts the first; the second is what a
// power failure looks like, and opening the log records it.
const (
	StatusOK           Status = "ok"
	StatusTornTail     Status = "torn-tail"     // behind the last checkpoint stand bytes that no checkpoint covers
	StatusStale        Status = "stale"         // ok or torn, but older than VerifyOptions.MaxAge: newer records may have been cut off
	StatusBehindAnchor Status = "behind-anchor" // an anchor saw records that are not there
	StatusUnverifiable Status = "unverifiable"  // not with this key or this version of the library
	StatusTampered     Status = "tampered"      // changed after it was written
)

// VerifyReport is what [Verify] found. File, Line and Seq say where, if the
// status is neither ok nor stale.
type VerifyReport struct {
	Status Status `json:"status"`
	// Reason says in words what is wrong. It quotes nothing from the log.
	Reason string `json:"reason,omitempty"`
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"` // from 1; 0 if the file as a whole is meant
	Seq    int64  `json:"seq"`            // of the record at fault; -1 if none can be named

	Origin   string `json:"origin"`
	Size     int64  `json:"size"`     // records under a valid checkpoint, control records included
	Events   int64  `json:"events"`   // of which events
	Segments int    `json:"segments"` // files read
	Root     string `json:"root"`     // tree hash over Size records, base64
	// Pruned is how many records were removed by policy before the first that
	// is there.
	Pruned int64 `json:"pruned"`
	// Lost is how many events the log itself says it could not take.
	Lost int64 `json:"lost"`
	// Missing is how many records the anchor saw that are not there.
	Missing int64 `json:"missing"`
	// Epoch and Key are the key of the newest checkpoint, derived from the first
	// key. [Proof.Check] needs it.
	Epoch int64  `json:"epoch"`
	Key   string `json:"key,omitempty"`
	// Recovered counts the records that account for an unsigned tail after a crash.
	Recovered int64 `json:"recovered"`
	// Newest is the time of the newest signed record.
	Newest time.Time `json:"newest"`
	// TornBytes and TornRecords are what stands behind the last checkpoint.
	TornBytes   int64 `json:"torn_bytes"`
	TornRecords int   `json:"torn_records"`
}

// String is one line for people.
func (r *VerifyReport) String() string {
	s := fmt.Sprintf("%s: %d records (%d events) of %s in %d segments", r.Status, r.Size, r.Events, r.Origin, r.Segments)
	if r.File != "" {
		s += "; " + r.File
		if r.Line > 0 {
			s += fmt.Sprintf(" line %d", r.Line)
		}
		if r.Seq >= 0 {
			s += fmt.Sprintf(", record %d", r.Seq)
		}
	}
	if r.Reason != "" {
		s += ": " + r.Reason
	}
	return s
}

// gone says what a directory without a segment amounts to.
func (r *VerifyReport) gone(start beginning, anchor *anchoredAt) {
	r.Missing = max(anchor.cp.size-start.size, 0)
	switch {
	case start.flaw != nil:
		r.fault(start.flaw)
	case start.size > 0:
		r.Status, r.Reason = StatusTampered, "all segments behind those that were pruned are gone"
	case r.Missing > 0:
		r.Status, r.Reason = StatusBehindAnchor, fmt.Sprintf("there is no segment in this directory, and the anchor saw %d records", r.Missing)
	default:
		r.Status, r.Reason = StatusUnverifiable, "there is no segment in this directory"
	}
}

// age holds the newest record against the limit; 0 is none. Also behind a torn
// tail: whoever cut the newest records off could leave one.
func (r *VerifyReport) age(limit time.Duration) {
	torn := ""
	if r.Status == StatusTornTail {
		torn = "; and " + r.Reason
	}
	switch age := time.Since(r.Newest); {
	case limit == 0:
	case age > limit:
		r.Status = StatusStale
		r.Reason = fmt.Sprintf("the newest record is %v old, more than %v: nothing happened since, or newer records were removed", age.Round(time.Second), limit) + torn
	case age < -limit:
		r.Status = StatusStale
		r.Reason = fmt.Sprintf("the newest record is dated %v from now: its clock or this one is wrong, and its age says nothing", -age.Round(time.Second)) + torn
	}
}

func (r *VerifyReport) fill(c *chain) {
	s := &c.signed
	r.Size, r.Events, r.Recovered, r.Lost = s.tree.size, s.events, s.recovered, s.lost
	r.Newest, r.Root = s.newest, s.tree.root().String()
	r.Epoch, r.Key = c.signer.n, c.signer.key
}

func (r *VerifyReport) fault(f *flaw) {
	r.Status, r.Reason, r.File, r.Line, r.Seq = f.status, f.reason, f.file, f.line, f.seq
}
