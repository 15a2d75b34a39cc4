package auditlog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// lines reads a segment line by line.
type lines struct {
	r    *bufio.Reader
	off  int64 // where the next line starts
	line int   // number of the line read last, from 1
	long bool  // that line has not ended yet
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, maxLine)} }

var errLongLine = errors.New("the line is longer than any that the log writes")

// next returns the next line without its newline; it is valid until the call
// after. complete is false for bytes at the end of the file that no newline
// ends. At the end it returns io.EOF.
func (l *lines) next() (text []byte, complete bool, err error) {
	text, err = l.r.ReadSlice('\n')
	l.off += int64(len(text))
	if len(text) > 0 && !l.long {
		l.line++
	}
	l.long = errors.Is(err, bufio.ErrBufferFull) // the call after goes on within the line
	switch {
	case err == nil:
		return text[:len(text)-1], true, nil
	case l.long:
		return text, false, errLongLine
	case errors.Is(err, io.EOF) && len(text) > 0:
		return text, false, nil
	}
	return nil, false, err
}

// flaw is why a log is not ok, and where.
type flaw struct {
	status Status
	file   string
	line   int
	seq    int64 // of the record concerned, or -1
	reason string
}

// tail is what follows the last checkpoint of the newest segment.
type tail struct {
	line    int   // number of its first line
	offset  int64 // where it starts: everything before is signed
	bytes   int64
	records int // complete records in it
}

// state is what a stretch of records amounts to.
type state struct {
	tree      tree
	events    int64
	recovered int64
	lost      int64     // events that the log itself counts as lost
	pruned    int64     // records below this were removed by policy
	latest    time.Time // the latest that a record gives
	newest    time.Time // of the newest record: clocks step, so it may be earlier

	epoch    epoch
	verifier note.Verifier // of epoch.key
	next     *epoch        // named by the newest record; in force from the next checkpoint on

	unknown *flaw // a record that this version does not understand, until a checkpoint says that it was written so
}

func (s *state) clone() state {
	c := *s
	c.tree = s.tree.clone()
	return c
}

// enter begins an epoch.
func (s *state) enter(e epoch, origin string) error {
	v, err := note.NewVerifier(e.key)
	if err != nil || v.Name() != origin {
		return errors.New("the key of the epoch is malformed")
	}
	s.epoch, s.verifier, s.next = e, v, nil
	return nil
}

// chain follows a log from record to record. It holds what verification, and
// opening for writing, know so far.
type chain struct {
	key    string // verifier key with which the log began
	origin string

	read   state  // all records so far
	signed state  // those under a checkpoint
	last   []byte // C line of the newest checkpoint, without newline

	trusting bool // the links between epochs that were pruned are taken as they stand

	// For readers that want more than the verdict; nil if they do not.
	onLink       func(e epoch, link string)         // an epoch's end
	onCheckpoint func(c checkpoint, at *flaw) *flaw // a checkpoint that verifies; at is where it stands

	signer    epoch     // who signed the newest checkpoint
	startSize int64     // records before the first that is there
	begun     time.Time // of the first record in the segment read last
	progress  *progress
}

// newChain returns the chain of an empty log that began with this key.
func newChain(key string) (*chain, error) {
	v, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("%w: the verifier key is malformed; it is the text that Log.VerifierKey gave, name+hash+key, not the name of a file", ErrKey)
	}
	c := &chain{key: key, origin: v.Name()}
	if err := c.read.enter(epoch{0, key}, c.origin); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	c.signed = c.read.clone()
	return c, nil
}

// segment reads one segment. newest says that no other follows, so that it may
// end in an unsigned tail.
func (c *chain) segment(ctx context.Context, name string, file io.Reader, newest bool) (t tail, f *flaw, err error) {
	in := newLines(file)
	first, _ := parseSegmentName(name)
	fault := func(line int, format string, args ...any) (tail, *flaw, error) {
		return t, &flaw{StatusTampered, name, line, -1, fmt.Sprintf(format, args...)}, nil
	}
	if first != c.read.tree.size {
		return fault(0, "the segment should start with record %d: segments are missing, moved or from another log", c.read.tree.size)
	}
	header, complete, err := in.next()
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLongLine) {
		return t, nil, err
	}
	want := appendHeader(nil, c.origin, &c.read.tree, c.read.epoch)
	if !complete || !bytes.Equal(header, want[:len(want)-1]) {
		if n := formatOf(header); n > formatVersion { // what it says, only its own version can check
			return t, &flaw{StatusUnverifiable, name, 1, -1, fmt.Sprintf("the segment is of format %d, and this version reads format %d: verify with a newer one", n, formatVersion)}, nil
		}
		return fault(1, "the header is not the one that belongs here")
	}
	if first > 0 {
		line, complete, err := in.next()
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLongLine) {
			return t, nil, err
		}
		if !complete || !bytes.Equal(line, c.last) {
			return fault(2, "the segment does not repeat the last checkpoint of the one before it")
		}
	}
	t = tail{offset: in.off, line: in.line + 1}
	c.progress.add(int(in.off))
	c.begun = time.Time{}
	for n := 0; ; n++ {
		if n&1023 == 0 {
			if err := ctx.Err(); err != nil {
				return t, nil, context.Cause(ctx)
			}
		}
		line, complete, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, errLongLine) {
			return t, nil, err
		}
		c.progress.add(len(line) + 1)
		if complete && len(line) > 0 && line[0] == 'C' {
			if f := c.checkpoint(name, in.line, line); f != nil {
				return t, f, nil
			}
			t = tail{offset: in.off, line: in.line + 1}
			continue
		}
		record, h, perr := parseRecordLine(line, c.read.tree.size)
		if err == nil && complete && perr == nil {
			c.read.tree.add(h)
			t.records++
			if f := c.record(name, in.line, record); f != nil {
				return t, f, nil
			}
			continue
		}
		broken := in.line
		// A crash leaves the beginning of what was being written, and, where
		// the disk lost blocks, zeros. Anything else was done by somebody.
		if newest && (err == nil && !complete || bytes.IndexByte(line, 0) >= 0) {
			more, err := c.afterCrash(ctx, in, t.offset+maxTail, bytes.Contains(line, lostBlock[:]))
			if err != nil {
				return t, nil, err
			}
			if !more {
				break
			}
		}
		if err != nil {
			perr = err
		} else if !complete {
			perr = errors.New("the file ends within a line")
		}
		f := &flaw{StatusTampered, name, broken, c.read.tree.size, perr.Error()}
		return t, f, nil
	}
	t.bytes = in.off - t.offset
	switch {
	case t.bytes > 0 && !newest:
		return fault(t.line, "the segment does not end with a checkpoint though another follows")
	case t.bytes > maxTail:
		return fault(t.line, "behind the last checkpoint stands more than the log writes at once")
	}
	c.read = c.signed.clone()
	return t, nil, nil
}

// maxTail is more than one write of the log holds: it is not a crash that
// leaves a longer tail, and nobody need read a hole of a terabyte to its end.
const maxTail = maxBatchBytes + 4*maxLine

// lostBlock is the least that a disk loses.
var lostBlock [512]byte

// afterCrash reads what is left behind a broken line, as far as limit, and
// reports whether a line of the log's own is in it: then the break is not the
// end of the log. With a lost block in it, the checkpoint of the same write may
// be there: disks do not keep the order, and the write was not acknowledged
// before all of it had arrived.
func (c *chain) afterCrash(ctx context.Context, in *lines, limit int64, lost bool) (more bool, err error) {
	ended := false
	for in.off <= limit {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		line, complete, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case errors.Is(err, errLongLine):
		case err != nil:
			return false, err
		case complete && bytes.HasPrefix(line, []byte("C ")):
			// Under any key: the epoch may have ended within what is broken.
			cp, err := openCheckpointLine(line, c.read.verifier, c.origin)
			switch {
			case err == nil && lost && !ended && cp.after == c.signed.tree.size:
				ended = true
			case err == nil, errors.Is(err, errForeignKey) && bytes.HasPrefix(cp.note, []byte(c.origin+"\n")):
				return true, nil
			}
		case complete && ended: // what follows the checkpoint is a later write
			return true, nil
		}
	}
	return false, nil
}

// record takes note of one record.
func (c *chain) record(name string, line int, record []byte) *flaw {
	// Not at once: whoever forges a record must not choose what is said of it.
	unknown := func(reason string) *flaw {
		if c.read.unknown == nil {
			c.read.unknown = &flaw{StatusUnverifiable, name, line, c.read.tree.size - 1, reason + ": it was written by a newer version; verify with that"}
		}
		return nil
	}
	kind, at, err := head(record)
	if err != nil {
		return unknown(err.Error())
	}
	if c.begun.IsZero() {
		c.begun = at
	}
	c.read.newest = at
	if at.After(c.read.latest) {
		c.read.latest = at
	}
	if (kind == kindGenesis) != (c.read.tree.size == 1) {
		return &flaw{StatusTampered, name, line, c.read.tree.size - 1, "only the first record begins a log"}
	}
	tampered := func(reason string) *flaw {
		return &flaw{StatusTampered, name, line, c.read.tree.size - 1, reason}
	}
	if c.read.next != nil {
		return tampered("a record stands between the end of an epoch and its checkpoint")
	}
	if kind == kindEvent {
		c.read.events++
		return nil
	}
	body, err := parseControl(record)
	if err != nil {
		return tampered("the record is malformed")
	}
	switch kind {
	case kindRecovered:
		c.read.recovered++
	case kindGenesis:
		if body.Format != formatVersion || body.Origin != c.origin || body.VKey != c.key {
			return tampered("the log did not begin with this key")
		}
	case kindEpoch:
		next := epoch{body.Epoch, body.VKey}
		if next.n != c.read.epoch.n+1 {
			return tampered(fmt.Sprintf("the epoch after %d is numbered %d", c.read.epoch.n, next.n))
		}
		if err := openLink(body.Link, c.read.verifier, next); err != nil {
			return tampered(err.Error())
		}
		c.read.next = &next
		if c.onLink != nil {
			c.onLink(next, body.Link)
		}
	case kindLost, kindStopped:
		if body.Lost < 0 {
			return tampered("the record is malformed")
		}
		c.read.lost += body.Lost
	case kindPrune:
		if body.Upto < c.read.pruned || body.Upto >= c.read.tree.size {
			return tampered("the record prunes what was not there")
		}
		c.read.pruned = body.Upto
	case kindOpen, kindClose:
	default:
		return unknown("the record is of an unknown kind")
	}
	return nil
}

// checkpoint checks a C line against the records read so far.
func (c *chain) checkpoint(name string, line int, text []byte) *flaw {
	cp, err := openCheckpointLine(text, c.read.verifier, c.origin)
	f := &flaw{StatusTampered, name, line, -1, ""}
	switch {
	case err != nil:
		f.reason = err.Error()
	case cp.size != c.read.tree.size:
		f.reason = fmt.Sprintf("the checkpoint is over %d records, but %d stand here: lines were removed, added or moved", cp.size, c.read.tree.size)
	case cp.size == c.signed.tree.size:
		f.reason = "the checkpoint covers nothing new"
	case cp.after != c.signed.tree.size:
		f.reason = fmt.Sprintf("the checkpoint follows one over %d records, but the one before it here is over %d: a checkpoint was removed", cp.after, c.signed.tree.size)
	case cp.root != c.read.tree.root():
		f.reason = fmt.Sprintf("records %d to %d are not those that the checkpoint was signed over", c.signed.tree.size, cp.size-1)
		f.seq = c.signed.tree.size
	case c.read.unknown != nil:
		return c.read.unknown
	default:
		c.signer = c.read.epoch
		if c.read.next != nil {
			if err := c.read.enter(*c.read.next, c.origin); err != nil {
				f.reason = err.Error()
				return f
			}
		}
		c.signed = c.read.clone()
		c.last = bytes.Clone(text)
		if c.onCheckpoint != nil {
			return c.onCheckpoint(cp, f)
		}
		return nil
	}
	return f
}
