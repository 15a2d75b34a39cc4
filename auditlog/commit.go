package auditlog

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// commitLoop is the one goroutine that writes. Callers that come while it
// waits for the disk share the next write, and at 64 callers that come back at
// once all of them do: see gathering.
// It ends when the log is closed and nothing is left to write.
func (l *Log) commitLoop() {
	defer close(l.stopped)
	l.gathering.timer = time.NewTimer(0)
	defer l.gathering.timer.Stop()
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
			l.gather()
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
	if b.err == nil {
		b.err = l.err
	}
	return b, false
}

func (l *Log) commitBatch(b *batch) {
	if b.err == nil {
		begun := time.Now()
		b.err = l.write(b)
		l.gathering.took = time.Since(begun)
	} else if b.next == nil && !errors.Is(b.err, ErrFailed) {
		b.err = l.fail(b.err)
	}
	l.await(b)
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
	tree := l.tree.clone()
	for _, h := range b.hashes {
		tree.add(h)
	}
	signed, err := signCheckpoint(l.signer, l.key.Origin, &tree, l.tree.size)
	if err != nil {
		return l.fail(err)
	}
	records := len(b.lines)
	b.lines = appendCheckpointLine(b.lines, signed)
	if err := l.live.append(b.lines); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = l.lastWords(err, len(b.hashes))
		}
		return l.fail(err)
	}
	l.checkpoint = append(l.checkpoint[:0], b.lines[records:]...)
	l.tree = tree
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
