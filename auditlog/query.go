package auditlog

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"time"
)

// Filter chooses entries. Zero fields choose all.
type Filter struct {
	_ [0]func()

	Subject string    // whose data: exactly this Subject.ID
	Actor   string    // who: exactly this Actor.ID
	Type    string    // exactly this Event.Type
	From    time.Time // events at this time or later
	To      time.Time // events before this time
	Limit   int       // at most so many entries; 0 = all
}

func (f *Filter) matches(e *Entry) bool {
	return (f.Subject == "" || e.Subject.ID == f.Subject) &&
		(f.Actor == "" || e.Actor.ID == f.Actor) &&
		(f.Type == "" || e.Type == f.Type) &&
		(f.From.IsZero() || !e.Time.Before(f.From)) &&
		(f.To.IsZero() || e.Time.Before(f.To))
}

// Query yields the events that filter chooses, oldest first, as they were
// durable when it was called. Each line is checked against its leaf hash;
// signatures are for [Verify]. An error ends the sequence: [ErrTampered] for a
// line that was changed, [ErrKey] for a damaged file of the subjects' keys,
// [ErrClosed] after Close where what is sealed is asked for, or ctx's cause.
// Reading the log is an access that belongs into the log (NEN 7513 chapter 6):
// wrap the page that shows it with [Access].
//
// It reads the files from the beginning: about a microsecond for each record.
func (l *Log) Query(ctx context.Context, filter Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if filter.Limit < 0 || !filter.To.IsZero() && filter.To.Before(filter.From) {
			yield(Entry{}, fmt.Errorf("auditlog: a filter with limit %d from %v to %v chooses nothing", filter.Limit, filter.From, filter.To))
			return
		}
		l.mu.Lock()
		end := l.extent
		l.mu.Unlock()
		firsts, err := segments(l.cfg.Dir)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		q := query{ctx: ctx, filter: filter, yield: yield, keys: l.subjects}
		if filter.Subject != "" {
			r, known, err := l.subjects.find(filter.Subject)
			if err != nil {
				yield(Entry{}, fmt.Errorf("auditlog: %w", err))
				return
			}
			if !known {
				return
			}
			q.ref = []byte(`"subject":{"ref":"` + base64.StdEncoding.EncodeToString(r[:]) + `"`)
		}
		for _, first := range firsts {
			if first > end.first {
				return
			}
			limit := int64(-1)
			if first == end.first {
				limit = end.bytes
			}
			err := q.segment(filepath.Join(l.cfg.Dir, segmentName(first)), first, limit)
			if errors.Is(err, fs.ErrNotExist) && first < prunedUpto(l.cfg.Dir) {
				continue // pruned since it was listed
			}
			if err != nil {
				if !errors.Is(err, errStop) {
					yield(Entry{}, err)
				}
				return
			}
		}
	}
}

var errStop = errors.New("the caller has seen enough")

type query struct {
	ctx    context.Context
	filter Filter
	yield  func(Entry, error) bool
	found  int
	keys   *subjects
	ref    []byte // stands in the records of the subject that is looked for
}

// segment reads one file up to limit bytes; -1 is all of it.
func (q *query) segment(path string, first, limit int64) error {
	f, err := openRegular(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader = f
	if limit >= 0 {
		r = io.LimitReader(f, limit)
	}
	in := newLines(r)
	for seq := first; ; {
		line, complete, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && !complete {
			err = errors.New("the file ends within a line")
		}
		if err == nil && len(line) > 0 && line[0] == 'R' {
			err = q.record(line, seq)
			seq++
		}
		if err != nil {
			if errors.Is(err, errStop) {
				return err
			}
			return fmt.Errorf("auditlog: %s line %d: %w", filepath.Base(path), in.line, err)
		}
	}
}

func (q *query) record(line []byte, seq int64) error {
	if seq&255 == 0 && q.ctx.Err() != nil {
		return context.Cause(q.ctx)
	}
	record, _, err := parseRecordLine(line, seq)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTampered, err)
	}
	if kind, _, err := head(record); err != nil || kind != kindEvent {
		return err
	}
	if q.ref != nil && !bytes.Contains(record, q.ref) { // before the costly part
		return nil
	}
	e, err := decodeEvent(seq, record, q.keys)
	if err != nil || !q.filter.matches(&e) {
		return err
	}
	q.found++
	if !q.yield(e, nil) || q.found == q.filter.Limit {
		return errStop
	}
	return nil
}
