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
	last      time.Time // latest time of a record
}

func (s *state) clone() state {
	c := *s
	c.tree = s.tree.clone()
	return c
}

// chain follows a log from record to record. It holds what verification, and
// opening for writing, know so far.
type chain struct {
	key      string // verifier key with which the log began
	verifier note.Verifier
	origin   string

	read   state  // all records so far
	signed state  // those under a checkpoint
	last   []byte // C line of the newest checkpoint, without newline
}

// newChain returns the chain of an empty log that began with this key.
func newChain(key string) (*chain, error) {
	v, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("%w: the verifier key is malformed", ErrKey)
	}
	return &chain{key: key, verifier: v, origin: v.Name()}, nil
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
	want := appendHeader(nil, c.origin, &c.read.tree)
	if !complete || !bytes.Equal(header, want[:len(want)-1]) {
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
			more, err := c.afterCrash(in)
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
	if t.bytes > 0 && !newest {
		return fault(t.line, "the segment does not end with a checkpoint though another follows")
	}
	c.read = c.signed.clone()
	return t, nil, nil
}

// afterCrash reads what is left behind a broken line and reports whether a
// line of the log's own is in it: then the break is not the end of the log.
func (c *chain) afterCrash(in *lines) (more bool, err error) {
	for {
		line, complete, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case errors.Is(err, errLongLine):
		case err != nil:
			return false, err
		case complete && bytes.HasPrefix(line, []byte("C ")):
			if _, _, err := openCheckpointLine(line, c.verifier, c.origin); err == nil {
				return true, nil
			}
		}
	}
}

// record takes note of one record.
func (c *chain) record(name string, line int, record []byte) *flaw {
	unknown := func(reason string) *flaw {
		return &flaw{StatusUnverifiable, name, line, c.read.tree.size - 1, reason + ": it was written by a newer version; verify with that"}
	}
	kind, at, err := head(record)
	if err != nil {
		return unknown(err.Error())
	}
	if at.After(c.read.last) {
		c.read.last = at
	}
	if (kind == kindGenesis) != (c.read.tree.size == 1) {
		return &flaw{StatusTampered, name, line, c.read.tree.size - 1, "only the first record begins a log"}
	}
	switch kind {
	case kindEvent:
		c.read.events++
	case kindRecovered:
		c.read.recovered++
	case kindGenesis:
		g, err := parseControl(record)
		if err != nil || g.Format != formatVersion || g.Origin != c.origin || g.VKey != c.key {
			return &flaw{StatusTampered, name, line, 0, "the log did not begin with this key"}
		}
	case kindOpen, kindClose:
	default:
		return unknown("the record is of an unknown kind")
	}
	return nil
}

// checkpoint checks a C line against the records read so far.
func (c *chain) checkpoint(name string, line int, text []byte) *flaw {
	size, root, err := openCheckpointLine(text, c.verifier, c.origin)
	f := &flaw{StatusTampered, name, line, -1, ""}
	switch {
	case err != nil:
		f.reason = err.Error()
	case size != c.read.tree.size:
		f.reason = fmt.Sprintf("the checkpoint is over %d records, but %d stand here: lines were removed, added or moved", size, c.read.tree.size)
	case size == c.signed.tree.size:
		f.reason = "the checkpoint covers nothing new"
	case root != c.read.tree.root():
		f.reason = fmt.Sprintf("records %d to %d are not those that the checkpoint was signed over", c.signed.tree.size, size-1)
		f.seq = c.signed.tree.size
	default:
		c.signed = c.read.clone()
		c.last = bytes.Clone(text)
		return nil
	}
	return f
}
