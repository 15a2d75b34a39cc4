package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
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
	}
	if f == nil || f.status == StatusTornTail {
		r.age(opts.MaxAge)
	}
	return r, nil
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
