package auditlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/inovy/hardening/internal/durable"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

// Line is one record of the log as a sink gets it.
type Line struct {
	Seq   int64      // place in the log; a receiver drops what it has seen
	Time  time.Time  // when the log took it in
	Type  string     // the event's name, or the kind of a control record
	Level slog.Level // of that name in the vocabulary
	JSON  []byte     // the record as it is hashed, redacted and sealed as in the file
}

// Sink takes copies of records to another place. Send returns nil when all
// lines have arrived; else all are sent again, so each arrives at least once.
// It should return when ctx ends, which it does when the Tail is closed: Close
// leaves a call behind that does not. Calls never overlap.
type Sink interface {
	Send(ctx context.Context, lines []Line) error
}

// TailConfig says where copies of the log go.
type TailConfig struct {
	_ [0]func()

	// Sink takes the records. Mandatory.
	Sink Sink

	// File remembers how far the sink has come, across restarts. Each Tail has
	// its own, outside the directory of the log. Mandatory.
	File string

	// Every is how often the log is looked at, and how soon a failed sink is
	// tried again, at least a millisecond. Default: 1 s.
	Every time.Duration

	// OnError is told when the sink or the log can not be read or written.
	// Default: a line on the log's ErrorLog.
	OnError func(error)
}

// Tail copies the log to a sink, from where it last came to. It reads the
// files behind the log and is not in the way of Record, however slow or broken
// the sink is.
type Tail struct {
	log    *Log
	cfg    TailConfig
	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once
	sink   *guest
	hook   *guest // OnError

	next  int64 // the record to send next
	first int64 // the segment that is read
	at    int64 // how far
	seq   int64 // of the record that stands there
}

const (
	maxTailLines = 256
	tailVersion  = "v1"
)

// Tail begins to copy the log, or returns every fault of cfg at once. It fails
// with [ErrTampered] if the sink has more records than the log: name a new File
// once it is known why. Close the Tail before the log.
func (l *Log) Tail(cfg TailConfig) (*Tail, error) {
	f := faults.For(room)
	if cfg.Sink == nil || isNilPointer(cfg.Sink) {
		f.Missing("Sink", "is not set", "pass a sink, such as SyslogSink returns")
	}
	if cfg.File == "" {
		f.Missing("File", "is not set", "name a file in a directory that outlives the process")
	} else if isWithin(l.cfg.Dir, cfg.File) {
		f.Add("File", cfg.File, "is in the directory of the log, which is for the log alone", "name a file beside that directory")
	}
	switch {
	case cfg.Every == 0:
		cfg.Every = time.Second
	case cfg.Every < time.Millisecond:
		f.Add("Every", cfg.Every, "is less than a millisecond", "leave it zero for 1s")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	t := &Tail{log: l, cfg: cfg, first: -1, done: make(chan struct{}), sink: newGuest(cfg.Sink), hook: newGuest(cfg.OnError)}
	text, err := os.ReadFile(cfg.File)
	if err == nil {
		var version string
		if _, err = fmt.Sscanf(string(text), "%s %d\n", &version, &t.next); err == nil && (version != tailVersion || t.next < 0) {
			err = errors.New("its form is not known")
		}
		if err != nil {
			return nil, fmt.Errorf("auditlog: %s does not say how far the sink has come: %w", filepath.Base(cfg.File), err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l.mu.Lock()
	size := l.extent.size
	l.mu.Unlock()
	if t.next > size {
		return nil, fmt.Errorf("auditlog: %w: the sink has %d records and the log only %d; it was cut or put back from a backup, and what it takes in now would be passed over", ErrTampered, t.next, size)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	go t.run(ctx)
	return t, nil
}

// isWithin reports whether path names something in dir, one of them relative or not.
func isWithin(dir, path string) bool {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return false
	}
	if path, err = filepath.Abs(path); err != nil {
		return false
	}
	rest, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rest)
}

// Close stops copying. What has not been sent is sent by the next Tail.
func (t *Tail) Close() error {
	t.once.Do(t.cancel)
	<-t.done
	return nil
}

func (t *Tail) run(ctx context.Context) {
	defer close(t.done)
	tick := time.NewTicker(t.cfg.Every)
	defer tick.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = t.step(ctx); err != nil && ctx.Err() == nil {
				t.report(ctx, err)
				break
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (t *Tail) report(ctx context.Context, err error) {
	if t.cfg.OnError != nil {
		_ = t.hook.call(ctx, func(context.Context) error { // Close does not wait for one that hangs
			t.log.report.guard(func() { t.cfg.OnError(err) })
			return nil
		})
		return
	}
	t.log.report.say(context.Background(), slog.LevelError, "a sink does not take the log", slog.String("error", err.Error()))
}

// step sends at most maxTailLines records, and reports whether there may be more.
func (t *Tail) step(ctx context.Context) (more bool, err error) {
	lines, err := t.read(ctx)
	if err != nil || len(lines) == 0 {
		return false, err
	}
	if err := t.sink.call(ctx, func(ctx context.Context) error { return t.cfg.Sink.Send(ctx, lines) }); err != nil {
		t.first = -1 // read again from what has arrived
		return false, fmt.Errorf("auditlog: sink: %w", err)
	}
	t.next = lines[len(lines)-1].Seq + 1
	if err := t.remember(); err != nil {
		return false, err
	}
	return true, nil
}

func (t *Tail) remember() error {
	return durable.Replace(t.cfg.File, fmt.Appendf(nil, "%s %d\n", tailVersion, t.next), 0o600)
}

// read returns durable records from next on.
func (t *Tail) read(ctx context.Context) (found []Line, err error) {
	t.log.mu.Lock()
	end := t.log.extent
	t.log.mu.Unlock()
	gone := false
	for ended := int64(-1); len(found) == 0; {
		if t.first < 0 {
			if err := t.seek(ctx); err != nil {
				return nil, err
			}
			if t.first == ended {
				t.first = -1
				return nil, fmt.Errorf("auditlog: %w: record %d should follow %s, and no segment has it", ErrTampered, t.next, segmentName(ended))
			}
		}
		if t.first > end.first {
			return nil, nil
		}
		found, err = t.readSegment(end)
		if errors.Is(err, fs.ErrNotExist) && !gone { // pruned since it was found
			gone = true
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(found) > 0 || t.first == end.first {
			return found, nil
		}
		ended, t.first = t.first, -1 // at its end: the next one begins with the record that is due
		if t.seq > t.next {
			t.next = t.seq
		}
	}
	return found, nil
}

// seek finds the segment that holds the record that is due. One that was
// pruned before it was sent is passed over, and that is told.
func (t *Tail) seek(ctx context.Context) error {
	firsts, err := segments(t.log.cfg.Dir)
	if err != nil {
		return err
	}
	if len(firsts) == 0 {
		return errors.New("auditlog: there are no segments")
	}
	if t.next < firsts[0] {
		t.report(ctx, fmt.Errorf("auditlog: records %d to %d were pruned before the sink took them", t.next, firsts[0]-1))
		t.next = firsts[0]
	}
	for _, first := range firsts {
		if first <= t.next {
			t.first = first
		}
	}
	t.at, t.seq = 0, t.first
	return nil
}

func (t *Tail) readSegment(end extent) ([]Line, error) {
	f, err := openRegular(filepath.Join(t.log.cfg.Dir, segmentName(t.first)))
	if err != nil {
		t.first = -1
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(t.at, io.SeekStart); err != nil {
		return nil, err
	}
	var r io.Reader = f
	if t.first == end.first {
		r = io.LimitReader(f, max(0, end.bytes-t.at))
	}
	found, err := t.lines(newLines(r))
	if err != nil {
		t.first = -1 // read again from what has arrived: the next try may see more
	}
	if len(found) > 0 {
		err = nil // first what is before the fault; the next read meets it again
	}
	return found, err
}

// lines reads at most maxTailLines records that are due.
func (t *Tail) lines(in *lines) (found []Line, err error) {
	for len(found) < maxTailLines {
		line, complete, err := in.next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		if !complete {
			return found, fmt.Errorf("auditlog: %s ends within a line", segmentName(t.first))
		}
		if len(line) > 0 && line[0] == 'R' {
			if t.seq >= t.next {
				l, err := newLine(line, t.seq)
				if err != nil {
					return found, err
				}
				found = append(found, l)
			}
			t.seq++
		}
		t.at += int64(len(line)) + 1
	}
	return found, nil
}

func newLine(line []byte, seq int64) (Line, error) {
	record, _, err := parseRecordLine(line, seq)
	if err != nil {
		return Line{}, fmt.Errorf("%w: %w", ErrTampered, err)
	}
	kind, at, err := head(record)
	if err != nil {
		return Line{}, err
	}
	l := Line{Seq: seq, Time: at, Type: kind, JSON: append([]byte(nil), record...)}
	if kind == kindEvent {
		var e struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(record, &e); err != nil {
			return Line{}, err
		}
		l.Type, l.Level = e.Type, event.LevelOf(e.Type)
	}
	return l, nil
}
