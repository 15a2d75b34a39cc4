package auditlog

import (
	"sync"

	"golang.org/x/mod/sumdb/note"
)

// ahead signs the checkpoint of the next batch while the disk is busy with the
// one before, so that under load the signature costs no time of its own. What
// it signed is used only if nothing was added since; it leaves the process no
// other way. The committer owns it and its goroutine.
type ahead struct {
	wake chan struct{} // the expected records are there
	done chan struct{} // the goroutine is gone

	// base is nil where nothing can be signed ahead; guarded by Log.mu.
	base   *base
	expect int // records at which the next batch is probably whole

	mu     sync.Mutex // held while signing, guards signed
	signed signedBatch
}

// base is the log as it will be when the batch under way is written.
type base struct {
	tree   tree
	signer note.Signer
	origin string
}

// signedBatch is the checkpoint over the first n records of a batch.
type signedBatch struct {
	batch *batch
	n     int
	after int64
	tree  tree
	line  []byte
}

func newAhead() *ahead {
	return &ahead{wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// sign computes the checkpoint over the first n records of b upon the base.
// line is overwritten.
func (o *base) sign(b *batch, n int, line []byte) (signedBatch, error) {
	tree := o.tree.clone()
	for _, h := range b.hashes[:n] {
		tree.add(h)
	}
	signed, err := signCheckpoint(o.signer, o.origin, &tree, o.tree.size)
	if err != nil {
		return signedBatch{}, err
	}
	return signedBatch{batch: b, n: n, after: o.tree.size, tree: tree, line: appendCheckpointLine(line[:0], signed)}, nil
}

// signAhead runs until wake is closed.
func (l *Log) signAhead() {
	defer close(l.ahead.done)
	for range l.ahead.wake {
		l.ahead.mu.Lock()
		l.mu.Lock()
		b, o := l.batch, l.ahead.base
		now := batch{hashes: b.hashes}
		l.mu.Unlock()
		if o != nil {
			// The committer signs for itself what fails here, and says so.
			s, err := o.sign(&now, len(now.hashes), l.ahead.signed.line)
			if err == nil {
				s.batch = b
			}
			l.ahead.signed = s
		}
		l.ahead.mu.Unlock()
	}
}

// stopAhead ends signAhead, once no record is taken any more.
func (l *Log) stopAhead() {
	l.mu.Lock()
	l.ahead.base = nil // nobody wakes it from here on
	close(l.ahead.wake)
	l.mu.Unlock()
	<-l.ahead.done
}

// aim tells the signer what the log will be when b, of which next is the
// checkpoint, is written. Records that came while the batch before b was
// written are in b: those whose callers it kept waiting come now.
func (l *Log) aim(b *batch, next *tree) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.next == nil { // else another key signs
		l.ahead.base = &base{next.clone(), l.signer, l.key.Origin}
	}
	l.ahead.expect, l.written = max(l.written, 1), len(b.hashes)
	l.wakeAheadLocked()
}

// wakeAheadLocked has the batch signed if it is probably whole.
func (l *Log) wakeAheadLocked() {
	if l.ahead.base == nil || len(l.batch.hashes) != l.ahead.expect {
		return
	}
	select {
	case l.ahead.wake <- struct{}{}:
	default:
	}
}

// checkpointOf returns the checkpoint over all of b, signed now if it was not
// signed ahead. It is valid until the next call.
func (l *Log) checkpointOf(b *batch) (signedBatch, error) {
	l.ahead.mu.Lock()
	defer l.ahead.mu.Unlock()
	s := &l.ahead.signed
	if s.batch == b && s.n == len(b.hashes) && s.after == l.tree.size {
		return *s, nil
	}
	o := base{l.tree, l.signer, l.key.Origin}
	var err error
	*s, err = o.sign(b, len(b.hashes), s.line)
	return *s, err
}
