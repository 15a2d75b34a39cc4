package auditlog

import "fmt"

// commitLoop is the one goroutine that writes. Callers that come while it
// waits for the disk share the next write: at 64 callers about 31 records each.
// It ends when the log is closed and nothing is left to write.
func (l *Log) commitLoop() {
	defer close(l.stopped)
	for range l.wake {
		for {
			l.mu.Lock()
			b := l.batch
			if len(b.hashes) == 0 {
				done := l.closing
				l.mu.Unlock()
				if done {
					return
				}
				break
			}
			l.batch = newBatch()
			l.batch.lines = make([]byte, 0, len(b.lines))
			failed := l.err
			l.mu.Unlock()
			if failed == nil {
				failed = l.write(b)
			}
			b.err = failed
			close(b.done)
			if failed == nil && l.live.size >= l.cfg.SegmentBytes {
				if err := l.rotate(); err != nil {
					_ = l.fail(err) // Healthy and the next Record say it
				}
			}
		}
	}
}

// write makes one batch durable together with the checkpoint that covers it.
func (l *Log) write(b *batch) error {
	for _, h := range b.hashes {
		l.tree.add(h)
	}
	signed, err := signCheckpoint(l.signer, l.key.Origin, &l.tree)
	if err != nil {
		return l.fail(err)
	}
	l.checkpoint = appendCheckpointLine(l.checkpoint[:0], signed)
	if err := l.live.append(append(b.lines, l.checkpoint...)); err != nil {
		return l.fail(err)
	}
	l.mu.Lock()
	l.extent = extent{l.live.first, l.live.size, l.tree.size}
	l.mu.Unlock()
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
	content := append(appendHeader(nil, l.key.Origin, &l.tree), l.checkpoint...)
	next := live{first: l.tree.size, size: int64(len(content))}
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
