package auditlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// commitLoop is the one goroutine that writes. Callers that come while it
// waits for the disk share the next write: at 64 callers about 31 records each.
// It ends when the log is closed and nothing is left to write.
func (l *Log) commitLoop() {
	defer close(l.stopped)
	go l.signAhead()
	defer l.stopAhead()
	timer := time.NewTimer(l.untilEpochEnd())
	defer timer.Stop()
	for {
		select {
		case <-l.wake:
		case <-timer.C:
		}
		for {
			b, done := l.detach(time.Now())
			if done {
				return
			}
			if b == nil {
				break
			}
			l.commitBatch(b)
			if cap(b.lines) <= spareBytes {
				l.spare = buffer{b.lines, b.hashes}
			}
		}
		timer.Reset(l.untilEpochEnd())
	}
}

// spareBytes is the most room that the log keeps for its next batch when a
// burst is over.
const spareBytes = 1 << 20

func (l *Log) untilEpochEnd() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.epochEnd)
}

// detach takes the batch that is written next, or nil if nothing is due.
func (l *Log) detach(now time.Time) (b *batch, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b = l.batch
	if len(b.hashes) == 0 && (l.closing || l.err != nil || now.Before(l.epochEnd)) {
		if l.err != nil {
			l.epochEnd = now.Add(time.Hour) // nothing is written any more: do not spin
		}
		return nil, l.closing
	}
	if l.err == nil {
		if b.events > 0 && !l.busy { // the quiet is over
			l.busy = true
			if end := now.Add(l.cfg.Epoch); end.Before(l.epochEnd) {
				l.epochEnd = end
			}
		}
		if !l.closing {
			b.next, b.err = l.sealLocked(now)
		}
	}
	l.batch, l.spare = newBatch(l.spare), buffer{}
	l.ahead.base = nil
	if b.err == nil {
		b.err = l.err
	}
	return b, false
}

func (l *Log) commitBatch(b *batch) {
	if b.err == nil {
		b.err = l.write(b)
	} else if b.next == nil && !errors.Is(b.err, ErrFailed) {
		b.err = l.fail(b.err)
	}
	close(b.done)
	if b.err != nil {
		return
	}
	l.tellAnchors()
	// Not behind an epoch's end: the checkpoint that the new segment repeats
	// would be signed by a key that its header does not name.
	if b.next == nil && l.due(time.Now()) {
		if err := l.rotate(); err != nil {
			_ = l.fail(err) // Healthy and the next Record say it
		}
	}
}

// due reports whether the live segment is large or old enough.
func (l *Log) due(now time.Time) bool {
	return l.live.size >= l.cfg.SegmentBytes || l.live.records > 0 && now.Sub(l.live.begun) >= l.cfg.SegmentAge
}

// write makes one batch durable together with the checkpoint that covers it.
func (l *Log) write(b *batch) error {
	// Keys before records: what is acknowledged can be read again.
	if err := l.subjects.flush(); err != nil {
		return l.fail(err)
	}
	if b.next != nil {
		if err := writeKey(l.cfg.KeyFile, b.next.key); err != nil {
			return l.fail(err)
		}
	}
	signed, err := l.checkpointOf(b)
	if err != nil {
		return l.fail(err)
	}
	b.lines = append(b.lines, signed.line...)
	l.aim(b, &signed.tree)
	if err := l.live.append(b.lines); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = l.lastWords(err, len(b.hashes))
		}
		return l.fail(err)
	}
	l.checkpoint = append(l.checkpoint[:0], b.lines[len(b.lines)-len(signed.line):]...)
	l.tree = signed.tree
	l.live.records += int64(len(b.hashes))
	if b.next != nil {
		if err := l.succeed(b.next); err != nil {
			return l.fail(err)
		}
	}
	l.mu.Lock()
	l.extent = extent{l.live.first, l.live.size, l.tree.size}
	l.mu.Unlock()
	return l.replicate()
}

// succeed puts the next epoch's key in force and forgets this one's.
func (l *Log) succeed(s *succession) error {
	if err := promoteKey(l.cfg.KeyFile); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.key, l.signer = s.key, s.signer
	l.lengthen(time.Now(), l.busy)
	l.busy = false
	return nil
}

// fail stops the log for good. What is on the disk is unknown now, so nothing
// is tried again: opening the log anew reads what is really there.
func (l *Log) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	l.mu.Lock()
	first := l.err == nil
	if first {
		l.err = err
	}
	l.mu.Unlock()
	if first {
		l.report.stopped(cause)
	}
	return err
}

// rotate begins a new segment. The tree goes on: one log, many files.
func (l *Log) rotate() error {
	content := append(appendHeader(nil, l.key.Origin, &l.tree, epoch{l.key.Epoch, l.key.Key}), l.checkpoint...)
	next := live{first: l.tree.size, size: int64(len(content)), begun: time.Now()}
	var err error
	if next.path, err = createSegment(l.cfg.Dir, next.first, content); err != nil {
		return err
	}
	if next.file, err = l.cfg.openFile(next.path); err != nil {
		return err
	}
	if err := l.live.file.Close(); err != nil {
		_ = next.file.Close()
		return err
	}
	l.live = next
	l.mu.Lock()
	l.extent = extent{next.first, next.size, l.tree.size}
	l.mu.Unlock()
	return nil
}

// The reserve is room on the disk that is given up when there is no other, so
// that the log can still say why it ends.
const (
	reserveName  = "reserve"
	reserveBytes = 1 << 20
)

// lastWords ends the log on a full disk: what was written in part is taken
// back, and a record that there was no room for lost events takes its place. A
// write that found no space is not a failed sync: what is on the disk is known.
func (l *Log) lastWords(cause error, lost int) error {
	if err := os.Remove(reservePath(l.cfg.Dir)); err != nil {
		return errors.Join(cause, err)
	}
	if err := os.Truncate(l.live.path, l.live.size); err != nil {
		return errors.Join(cause, err)
	}
	var b batch
	tree := l.tree.clone()
	record := appendControl(nil, kindStopped, time.Now(), control{Reason: "disk full", Lost: int64(lost)})
	h := recordHash(record)
	tree.add(h)
	signed, err := signCheckpoint(l.signer, l.key.Origin, &tree, l.tree.size)
	if err != nil {
		return errors.Join(cause, err)
	}
	b.lines = appendCheckpointLine(appendRecordLine(nil, l.tree.size, h, record), signed)
	if err := l.live.append(b.lines); err != nil {
		return errors.Join(cause, err)
	}
	l.tree = tree
	l.mu.Lock()
	l.extent = extent{l.live.first, l.live.size, l.tree.size}
	l.mu.Unlock()
	return cause
}

// replicate hands everything that is durable here and not yet there to the
// second place, and returns when it has it.
func (l *Log) replicate() error {
	if l.cfg.Replica == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.cfg.ReplicaTimeout)
	defer cancel()
	err := l.copy(ctx)
	if err == nil {
		l.replica.failing = false
		return nil
	}
	err = fmt.Errorf("%w: %w", ErrNotReplicated, err)
	if !l.replica.failing { // once, until it works again
		l.replica.failing = true
		l.report.minded(context.Background(), "the replica did not take what was recorded; nothing is acknowledged until it does", err)
		l.report.tell(err)
	}
	return err
}
