package auditlog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Replica is a second place that has every byte of a log before a record is
// acknowledged. A replica is a log: [Verify] reads it with the same key.
type Replica interface {
	// Size returns how many bytes of the segment it has; 0 if none.
	Size(ctx context.Context, segment string) (int64, error)
	// Append adds data to the segment at offset, which is its Size, and returns
	// when it is durable. A part that was appended before an error may be
	// offered again; Size is asked first then.
	//
	// Both should return when ctx ends: one that does not gets no other call, and
	// no record is acknowledged, until it returns. It must not keep data.
	Append(ctx context.Context, segment string, offset int64, data []byte) error
}

// copied is how far the replica is. Only the committer uses it.
type copied struct {
	first int64 // of the segment
	bytes int64 // of it
	known bool  // else the replica has to be asked
}

// replica is Config.Replica, called so that it can neither hold up the log for
// ever nor end the process.
type replica struct {
	*guest
	to      Replica
	timeout time.Duration // of one call

	failing bool // it was told of; only the committer uses it
}

func newReplica(cfg *Config) *replica {
	return &replica{guest: newGuest(cfg.Replica), to: cfg.Replica, timeout: cfg.ReplicaTimeout}
}

func (r *replica) size(ctx context.Context, segment string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	answer := make(chan int64, 1) // a late one goes nowhere
	err := r.call(ctx, func(ctx context.Context) error {
		n, err := r.to.Size(ctx, segment)
		answer <- n
		return err
	})
	if err != nil {
		return 0, err
	}
	return <-answer, nil
}

func (r *replica) append(ctx context.Context, segment string, offset int64, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	return r.call(ctx, func(ctx context.Context) error { return r.to.Append(ctx, segment, offset, data) })
}

// meetReplica brings the replica up to date before anything new is recorded.
func (l *Log) meetReplica(ctx context.Context) error {
	if l.cfg.Replica == nil {
		return nil
	}
	firsts, err := segments(l.cfg.Dir)
	if err != nil {
		return err
	}
	for _, first := range firsts { // the first that it does not have whole
		info, err := os.Stat(filepath.Join(l.cfg.Dir, segmentName(first)))
		if err != nil {
			return err
		}
		n, err := l.replica.size(ctx, segmentName(first))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotReplicated, err)
		}
		if n > info.Size() {
			return fmt.Errorf("%w: the replica has %d bytes of %s, and there are %d: newer records were removed here", ErrTampered, n, segmentName(first), info.Size())
		}
		l.copied = copied{first, n, true}
		if n < info.Size() {
			break
		}
	}
	if err := l.copy(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrNotReplicated, err)
	}
	return nil
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

// copy sends what is durable here and not there, segment by segment.
func (l *Log) copy(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			l.copied.known = false
		}
	}()
	if !l.copied.known {
		n, err := l.replica.size(ctx, segmentName(l.copied.first))
		if err != nil {
			return err
		}
		l.copied.bytes, l.copied.known = n, true
	}
	for {
		end := int64(-1)
		if l.copied.first == l.live.first {
			end = l.live.size
		}
		if err := l.copySegment(ctx, end); err != nil {
			return err
		}
		if end >= 0 {
			return nil
		}
		next, err := l.segmentAfter(l.copied.first)
		if err != nil {
			return err
		}
		n, err := l.replica.size(ctx, segmentName(next))
		if err != nil {
			return err
		}
		l.copied = copied{next, n, true}
	}
}

func (l *Log) copySegment(ctx context.Context, end int64) error {
	name := segmentName(l.copied.first)
	f, err := os.Open(filepath.Join(l.cfg.Dir, name)) // #nosec G304 -- inside the configured directory
	if err != nil {
		return err
	}
	defer f.Close()
	if end < 0 {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		end = info.Size()
	}
	buf := make([]byte, min(max(end-l.copied.bytes, 0), 1<<20))
	for l.copied.bytes < end {
		part := buf[:min(int64(len(buf)), end-l.copied.bytes)]
		if _, err := f.ReadAt(part, l.copied.bytes); err != nil {
			return err
		}
		if err := l.replica.append(ctx, name, l.copied.bytes, part); err != nil {
			return err
		}
		l.copied.bytes += int64(len(part))
	}
	return nil
}

func (l *Log) segmentAfter(first int64) (int64, error) {
	firsts, err := segments(l.cfg.Dir)
	if err != nil {
		return 0, err
	}
	for _, next := range firsts {
		if next > first {
			return next, nil
		}
	}
	return 0, fmt.Errorf("%w: the segment after %s is gone", ErrTampered, segmentName(first))
}
