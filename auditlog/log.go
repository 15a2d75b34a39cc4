package auditlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/inovy/hardening/internal/event"
)

// Log is a tamper-evident log that is open for writing. It is safe for
// concurrent use. Close it, so that the end of the log is a record too.
type Log struct {
	cfg      Config
	redactor *Redactor
	next     slog.Handler // redacting
	report   *reporter
	lock     io.Closer
	subjects *subjects
	torn     tail   // what Open found behind the last checkpoint
	first    string // verifier key of epoch 0
	reserved bool   // there is room for last words
	replica  *replica
	anchors  *anchorer
	pruning  sync.Mutex // held while segments are removed

	incomplete event.Seldom // events without a mandatory field

	wake    chan struct{} // a batch has something in it, or the log closes
	stopped chan struct{} // the committer is gone
	closed  chan struct{} // so are the files and the lock

	mu      sync.Mutex // guards the fields below
	batch   *batch
	nextSeq int64
	closing bool
	err     error // why the log failed
	extent  extent
	lost    loss
	busy    bool // an event was recorded in this epoch

	// The committer alone uses these once it runs, under mu where it changes them.
	key        *keyFile
	signer     note.Signer
	epochEnd   time.Time
	tree       tree
	checkpoint []byte // newest C line, with newline
	spare      buffer
	gathering  gathering
	live       live
	copied     copied
}

// extent is how much of the log is durable, for readers.
type extent struct {
	first int64 // of the live segment
	bytes int64 // of it
	size  int64 // records in the log
}

// batch is what becomes durable in one go.
type batch struct {
	lines  []byte
	hashes []tlog.Hash
	events int
	next   *succession   // the batch ends an epoch
	done   chan struct{} // closed when err is final
	err    error
}

func newBatch(room buffer) *batch {
	return &batch{lines: room.lines[:0], hashes: room.hashes[:0], done: make(chan struct{})}
}

// buffer is the room of a batch that is done, for the one after the next.
type buffer struct {
	lines  []byte
	hashes []tlog.Hash
}

// loss is what BestEffort dropped and the log has not yet been told of.
type loss struct {
	n        int64
	from, to time.Time
}

const (
	lockName = "lock"
	keyName  = "log.key"
)

// Open opens the log in cfg.Dir for writing, or begins one, and records that
// it did. It returns every fault of cfg at once; [ErrLocked] if another process
// writes to this log; [ErrKey] if the signing key is gone; [ErrTampered] if the
// newest segment is not as it was written. What a crash left behind the last
// checkpoint was never acknowledged: it is moved to a quarantine file beside
// the log, and a record says how much that was. ctx bounds opening only.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	lockFile, err := lock(filepath.Join(cfg.Dir, lockName))
	if errors.Is(err, ErrLocked) {
		return nil, fmt.Errorf("%w: %s; one process writes to a log: stop the other one, or name another directory", err, cfg.Dir)
	}
	if err != nil {
		return nil, err
	}
	redactor := newRedactor(cfg.Redact)
	if err := redactor.selfTest(); err != nil {
		return nil, errors.Join(err, lockFile.Close())
	}
	l := &Log{
		cfg: cfg, lock: lockFile, redactor: redactor, next: redactor.Handler(cfg.Next),
		report:    newReporter(&cfg, redactor),
		wake:      make(chan struct{}, 1),
		stopped:   make(chan struct{}),
		closed:    make(chan struct{}),
		batch:     newBatch(buffer{}),
		gathering: newGathering(),
		replica:   newReplica(&cfg),
	}
	if err := l.open(ctx); err != nil {
		return nil, errors.Join(err, l.release())
	}
	l.first = l.key.First
	l.keepReserve()
	if err := l.meetReplica(ctx); err != nil {
		return nil, errors.Join(err, l.release())
	}
	l.lengthen(time.Now(), false)
	l.anchors = startAnchors(l)
	go l.commitLoop()
	if err := l.announce(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// release lets go of files and lock.
func (l *Log) release() error {
	var errs []error
	if l.live.file != nil {
		errs = append(errs, l.live.file.Close())
	}
	if l.subjects != nil {
		errs = append(errs, l.subjects.close())
	}
	return errors.Join(append(errs, l.lock.Close())...)
}

// announce records that a process began to write, and what a crash left.
func (l *Log) announce(ctx context.Context) error {
	accounts, err := quarantined(l.cfg.Dir)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		if _, err := l.control(ctx, kindRecovered, a); err != nil {
			return err
		}
	}
	if _, err := l.control(ctx, kindOpen, control{Retention: l.cfg.Retention.String()}); err != nil {
		return err
	}
	for _, a := range accounts { // only now is it accounted for
		path := filepath.Join(l.cfg.Dir, a.Quarantine)
		if err := os.Rename(path+pendingSuffix, path); err != nil {
			return err
		}
		l.report.say(ctx, slog.LevelWarn, "unsigned bytes at the end of the log were moved to quarantine",
			slog.Int64("bytes", a.Bytes), slog.Int("records", a.Records), slog.String("file", a.Quarantine))
	}
	return nil
}

// Record adds an event to the log and, in the Strict and Bounded modes, returns
// when it is on the disk under a signed checkpoint and, if there is one, with
// the replica. An error means that the event is not to be relied on:
// [ErrInvalidEvent] with every fault; [ErrClosed]; [ErrBusy] if the disk does
// not keep up; [ErrNotReplicated]; [ErrFailed] once the disk or the file let
// the log down; or ctx's cause. An event whose ctx ends while it is being
// written may still become part of the log.
func (l *Log) Record(ctx context.Context, ev Event) error {
	if err := ev.Validate(); err != nil {
		return err
	}
	_, err := l.record(ctx, &ev, 0, nil)
	return err
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// record redacts, encodes and commits e, and returns its seq.
func (l *Log) record(ctx context.Context, e *Event, attempt int64, missing []string) (int64, error) {
	l.redactor.event(e)
	var s *subject
	if e.Subject.ID != "" {
		var err error
		if s, err = l.subjects.of(e.Subject.ID); err != nil {
			return 0, err
		}
	}
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	*b = appendEvent((*b)[:0], e, time.Now(), attempt, missing, s)
	return l.commit(ctx, *b, true)
}

func (l *Log) control(ctx context.Context, kind string, c control) (int64, error) {
	return l.commit(ctx, appendControl(nil, kind, time.Now(), c), false)
}

// commit hands one record to the committer and waits until it is durable, as
// long as the mode says.
func (l *Log) commit(ctx context.Context, record []byte, isEvent bool) (int64, error) {
	if ctx.Err() != nil {
		return 0, fmt.Errorf("auditlog: nothing was recorded: %w", context.Cause(ctx))
	}
	b, seq, err := l.enqueue(record, isEvent)
	if err != nil || b == nil {
		return seq, err
	}
	if isEvent && l.cfg.Mode == BestEffort {
		return seq, nil
	}
	var late <-chan time.Time
	if isEvent && l.cfg.Mode == Bounded {
		timer := time.NewTimer(l.cfg.MaxWait)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-b.done:
		return seq, b.err
	case <-late:
		err = fmt.Errorf("%w: not on the disk after %v", ErrBusy, l.cfg.MaxWait)
	case <-ctx.Done():
		err = fmt.Errorf("auditlog: gave up waiting for the disk: %w", context.Cause(ctx))
	}
	select {
	case <-b.done: // both: then the answer is known
		return seq, b.err
	default:
		return 0, err
	}
}

// enqueue adds a record to the batch that is written next. In BestEffort it
// returns no batch for an event that there is no room for, and counts it.
func (l *Log) enqueue(record []byte, isEvent bool) (*batch, int64, error) {
	h := tlog.RecordHash(record)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return nil, 0, l.err
	case l.closing:
		return nil, 0, ErrClosed
	case isEvent && (len(l.batch.hashes) >= l.cfg.MaxWaiting || len(l.batch.lines) >= maxBatchBytes):
		if l.cfg.Mode != BestEffort {
			return nil, 0, fmt.Errorf("%w: %d records wait for it", ErrBusy, len(l.batch.hashes))
		}
		now := time.Now()
		if l.lost.n == 0 {
			l.lost.from = now
		}
		l.lost.n, l.lost.to = l.lost.n+1, now
		return nil, 0, nil
	}
	l.tellLossLocked()
	b, seq := l.addHashedLocked(h, record)
	if isEvent {
		b.events++
	}
	return b, seq, nil
}

// tellLossLocked records what was dropped, before anything else is recorded.
func (l *Log) tellLossLocked() {
	if l.lost.n == 0 {
		return
	}
	c := control{Lost: l.lost.n, From: string(appendTime(nil, l.lost.from)), To: string(appendTime(nil, l.lost.to))}
	l.lost = loss{}
	l.addLocked(appendControl(nil, kindLost, time.Now(), c))
}

func (l *Log) addLocked(record []byte) (*batch, int64) {
	return l.addHashedLocked(tlog.RecordHash(record), record)
}

func (l *Log) addHashedLocked(h tlog.Hash, record []byte) (*batch, int64) {
	b, seq := l.batch, l.nextSeq
	l.nextSeq++
	b.lines = appendRecordLine(b.lines, seq, h, record)
	b.hashes = append(b.hashes, h)
	l.tellWholeLocked()
	l.signal()
	return b, seq
}

// signal wakes the committer; one pending signal is enough.
func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// VerifierKey is the public key with which the log began: what [Verify] needs.
// Keep a copy where whoever can write to the log can not.
func (l *Log) VerifierKey() string { return l.first }

// Healthy is nil while the log takes records, and says why it does not.
func (l *Log) Healthy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return l.err
	case l.closing:
		return ErrClosed
	}
	return nil
}

// Close records that the log was closed on purpose, as its last record, waits
// for what is under way, and lets go of the directory. Calling it again
// waits for the first call and returns nil.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		<-l.closed
		return nil
	}
	l.closing = true
	defer close(l.closed)
	var last *batch
	err := l.err
	if err == nil {
		l.tellLossLocked()
		last, _ = l.addLocked(appendControl(nil, kindClose, time.Now(), control{}))
	}
	l.signal()
	l.mu.Unlock()
	<-l.stopped
	if last != nil {
		err = last.err
	}
	l.anchors.stop()
	return errors.Join(err, l.release())
}
