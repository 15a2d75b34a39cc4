package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Status is what verification found.
type Status string

// The results, best first. An auditor accepts the first; the second is what a
// power failure looks like, and opening the log records it.
const (
	StatusOK           Status = "ok"
	StatusTornTail     Status = "torn-tail"     // behind the last checkpoint stand bytes that no checkpoint covers
	StatusStale        Status = "stale"         // ok, but older than VerifyOptions.MaxAge: newer records may have been cut off
	StatusBehindAnchor Status = "behind-anchor" // an anchor saw records that are not there
	StatusUnverifiable Status = "unverifiable"  // not with this key or this version of the library
	StatusTampered     Status = "tampered"      // changed after it was written
)

// VerifyOptions narrows what [Verify] accepts. The zero value accepts a log of
// any age.
type VerifyOptions struct {
	_ [0]func()

	// MaxAge is how old the newest signed record may be, and how far ahead of
	// this machine's clock. Default: any age. Whoever removes the newest records
	// together with their checkpoints leaves a log that verifies; its age gives
	// that away, because also a quiet log signs every quarter of an hour.
	MaxAge time.Duration

	// Anchor is a checkpoint of the log that was kept elsewhere, as an [Anchor]
	// got it. Default: none. The log must hold what it was signed over; one over
	// records that were all pruned since can not say so. Empty and not nil is an
	// error: whoever emptied the anchor's file must not have it passed over.
	Anchor []byte

	// Progress is called now and then with the bytes read so far and in all.
	Progress func(done, total int64)
}

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

// Verify reads the log in dir from its first record and checks every byte:
// lines, leaf hashes, and each checkpoint's signature and root. It needs the
// verifier key only, no secret, takes no lock and changes nothing, so that an
// officer who is no administrator can run it (BIO2 8.15.06), on a copy or on a
// log that is being written.
//
// What is found is in the report; the error is for a malformed key, a
// directory that can not be read, negative options, and ctx.
func Verify(ctx context.Context, dir, key string, opts VerifyOptions) (*VerifyReport, error) {
	_, r, err := verifyChain(ctx, dir, key, opts)
	return r, err
}

// verifyChain verifies the log again if it was pruned meanwhile.
func verifyChain(ctx context.Context, dir, key string, opts VerifyOptions) (*chain, *VerifyReport, error) {
	if opts.MaxAge < 0 {
		return nil, nil, fmt.Errorf("auditlog: VerifyOptions.MaxAge %v is negative", opts.MaxAge)
	}
	for {
		begins := prunedUpto(dir)
		c, start, err := startChain(dir, key)
		if err != nil {
			return nil, nil, err
		}
		r, err := c.verify(ctx, dir, start, opts)
		if (err == nil && r.Status == StatusOK) || ctx.Err() != nil || prunedUpto(dir) == begins {
			return c, r, err
		}
	}
}

// verify reads the log from start on.
func (c *chain) verify(ctx context.Context, dir string, start beginning, opts VerifyOptions) (*VerifyReport, error) {
	r := &VerifyReport{Status: StatusOK, Seq: -1, Origin: c.origin, Pruned: start.size}
	anchor, err := newAnchored(opts.Anchor, c)
	if err != nil {
		return nil, err
	}
	c.onCheckpoint = anchor.meet
	firsts, err := segments(dir)
	if errors.Is(err, ErrTampered) {
		r.Status, r.Reason = StatusTampered, err.Error()
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	for len(firsts) > 0 && firsts[0] < start.size {
		firsts = firsts[1:] // pruned, and a crash came before it was removed
	}
	f := start.flaw
	if len(firsts) == 0 {
		r.gone(start, anchor)
		return r, nil
	}
	if f == nil && start.size == 0 {
		if f, err = c.begunWith(filepath.Join(dir, segmentName(firsts[0]))); err != nil {
			return nil, err
		}
	}
	if f == nil && start.size > 0 {
		f = anchor.meet(checkpoint{size: start.size, root: c.signed.tree.root()}, &flaw{StatusTampered, prunedName, 1, -1, ""})
	}
	c.progress = newProgress(dir, firsts, opts.Progress)
	for i := 0; f == nil && i < len(firsts); i++ {
		var t tail
		if t, f, err = c.file(ctx, dir, firsts[i], i == len(firsts)-1); err != nil {
			return nil, err
		}
		r.Segments++
		if t.bytes > 0 && f == nil {
			r.TornBytes, r.TornRecords = t.bytes, t.records
			f = &flaw{StatusTornTail, segmentName(firsts[i]), t.line, -1,
				fmt.Sprintf("%d bytes with %d complete records stand behind the last checkpoint and were never acknowledged", t.bytes, t.records)}
		}
	}
	if f == nil && c.signed.pruned < start.size {
		f = &flaw{StatusTampered, prunedName, 1, -1, "segments were removed, and no record in the log says so"}
	}
	r.fill(c)
	if f != nil && f.status != StatusTornTail {
		r.fault(f)
		return r, nil
	}
	if worse := anchor.verdict(c); worse != nil {
		r.Missing = max(anchor.cp.size-c.signed.tree.size, 0)
		f = worse
	}
	if f != nil {
		r.fault(f)
		return r, nil
	}
	r.age(opts.MaxAge)
	return r, nil
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

// age holds the newest record against the limit; 0 is none.
func (r *VerifyReport) age(limit time.Duration) {
	switch age := time.Since(r.Newest); {
	case limit == 0:
	case age > limit:
		r.Status = StatusStale
		r.Reason = fmt.Sprintf("the newest record is %v old, more than %v: nothing happened since, or newer records were removed", age.Round(time.Second), limit)
	case age < -limit:
		r.Status = StatusStale
		r.Reason = fmt.Sprintf("the newest record is dated %v from now: its clock or this one is wrong, and its age says nothing", -age.Round(time.Second))
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

// anchoredAt holds a log against a checkpoint that was kept elsewhere.
type anchoredAt struct {
	cp  checkpoint // size 0: none
	met bool
}

func newAnchored(text []byte, c *chain) (*anchoredAt, error) {
	a := &anchoredAt{}
	if text == nil {
		return a, nil
	}
	signed, _, ok := strings.Cut(string(text), "\n\n")
	a.cp.note = text
	if err := a.cp.parse(signed+"\n", c.origin); !ok || err != nil || a.cp.size < 1 {
		return nil, fmt.Errorf("auditlog: VerifyOptions.Anchor is no checkpoint of the log %s", c.origin)
	}
	return a, nil
}

// meet is told of every checkpoint of the log.
func (a *anchoredAt) meet(c checkpoint, at *flaw) *flaw {
	if c.size != a.cp.size {
		return nil
	}
	a.met = true
	if c.root != a.cp.root {
		at.reason = fmt.Sprintf("the anchor saw other records among the first %d", c.size)
		return at
	}
	return nil
}

func (a *anchoredAt) verdict(c *chain) *flaw {
	n := c.signed.tree.size
	switch {
	case a.cp.size == 0 || a.met:
		return nil
	case a.cp.size < c.startSize:
		return &flaw{StatusUnverifiable, "", 0, -1, fmt.Sprintf("the anchor saw %d records, all of which were pruned since: it says nothing of those that are there; a newer one does", a.cp.size)}
	case a.cp.size > n:
		return &flaw{StatusBehindAnchor, "", 0, -1, fmt.Sprintf("the log has %d records, and the anchor saw %d: %d were removed", n, a.cp.size, a.cp.size-n)}
	}
	return &flaw{StatusTampered, "", 0, -1, fmt.Sprintf("the anchor saw a checkpoint over %d records, which is not in the log", a.cp.size)}
}

// progress counts bytes for a caller who waits.
type progress struct {
	done, told, total int64
	tell              func(done, total int64)
}

func newProgress(dir string, firsts []int64, tell func(done, total int64)) *progress {
	if tell == nil {
		return nil
	}
	p := &progress{tell: tell}
	for _, first := range firsts {
		if info, err := os.Stat(filepath.Join(dir, segmentName(first))); err == nil {
			p.total += info.Size()
		}
	}
	return p
}

func (p *progress) add(n int) {
	if p == nil {
		return
	}
	if p.done += int64(n); p.done-p.told >= 4<<20 || p.done == p.total {
		p.told = p.done
		p.tell(p.done, max(p.total, p.done))
	}
}

// begunWith finds a log of another key, which nobody need have changed: its
// first checkpoint verifies under the key that its first record names.
func (c *chain) begunWith(path string) (*flaw, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := newLines(f)
	var text [3][]byte // header, first record, its checkpoint
	for i := range text {
		line, complete, err := in.next()
		if err != nil || !complete {
			return nil, nil // the reader that follows says what is wrong
		}
		text[i] = bytes.Clone(line)
	}
	record, h, err := parseRecordLine(text[1], 0)
	if err != nil {
		return nil, nil
	}
	g, err := parseControl(record)
	if err != nil || g.VKey == c.key {
		return nil, nil
	}
	other, err := newChain(g.VKey)
	if err != nil {
		return nil, nil
	}
	other.read.tree.add(h)
	cp, err := openCheckpointLine(text[2], other.read.verifier, other.origin)
	if err != nil || cp.size != 1 || cp.root != other.read.tree.root() {
		return nil, nil
	}
	return &flaw{StatusUnverifiable, filepath.Base(path), 2, 0, "the log was begun with another key: either this is not its key, or this is not the log"}, nil
}

// settle is how long a tail that no checkpoint covers may stay so in a log that
// is being written, before it counts as torn.
const settle = 20 * time.Millisecond

// file reads one segment. A log that is being written can be seen in the midst
// of a commit: then the segment is read again.
func (c *chain) file(ctx context.Context, dir string, first int64, newest bool) (t tail, f *flaw, err error) {
	before, last := c.signed.clone(), c.last
	path := filepath.Join(dir, segmentName(first))
	for size := int64(-1); ; {
		c.read, c.signed, c.last = before.clone(), before.clone(), last
		grown, err := c.once(ctx, path, newest, &t, &f)
		if err != nil || !newest || f == nil && t.bytes == 0 || grown == size {
			return t, f, err
		}
		size = grown
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return t, nil, context.Cause(ctx)
		}
	}
}

// once reads one segment as large as it is now, and returns that size.
func (c *chain) once(ctx context.Context, path string, newest bool, t *tail, f **flaw) (size int64, err error) {
	file, err := openRegular(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	*t, *f, err = c.segment(ctx, filepath.Base(path), io.LimitReader(file, info.Size()), newest)
	return info.Size(), err
}
