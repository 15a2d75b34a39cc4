package auditlog

import "time"

// gathering has the committer wait, before it writes, for the callers whose
// records it has just made durable. Callers that record again at once then share
// one write, where they would fill two that take turns, and they compute while
// the disk rests, where they would take the processor from the disk's own work.
// Whoever comes on their own account gains nothing by that and would only wait.
// So the wait is short; where it was in vain, or where records arrive during the
// write all the same, the next ones are left out, up to 63.
type gathering struct {
	whole  chan struct{} // has room for one: the expected records are there
	expect int           // records of the batch; 0 = nobody waits; guarded by Log.mu

	// The committer alone uses these.
	timer  *time.Timer
	took   time.Duration // by the disk, and the replica, for the batch before
	came   bool          // all that were expected for the batch before
	missed int           // how many were left out after the last wait in vain
	rest   int           // of which this many are left
}

// maxGather bounds the wait where the disk is slow.
const maxGather = 5 * time.Millisecond

func newGathering() gathering { return gathering{whole: make(chan struct{}, 1)} }

// await decides, before the callers of b are woken, whether to wait for them.
func (l *Log) await(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, n, there := &l.gathering, len(b.hashes), len(l.batch.hashes)
	if g.came {
		g.came = false
		if there > n/4 { // they come, waited for or not
			g.inVain()
		} else {
			g.missed = 0
		}
	}
	switch {
	case g.rest > 0:
		g.rest--
	case b.err == nil && !l.closing && n+there > 1 && l.patient():
		g.expect = min(n+there, l.cfg.MaxWaiting)
	}
}

// patient reports whether callers wait, and have time for that.
func (l *Log) patient() bool {
	return l.cfg.Mode == Strict || l.cfg.Mode == Bounded && l.cfg.MaxWait >= 16*maxGather
}

// gather waits as await has decided: until the batch is whole, and no longer
// than twice what the disk took for the one before.
func (l *Log) gather() {
	g := &l.gathering
	if g.expect == 0 { // only the committer sets it
		return
	}
	g.timer.Reset(min(2*g.took, maxGather))
	select {
	case <-g.whole:
		g.came = true
	case <-g.timer.C:
		g.inVain()
	}
	g.timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	g.expect = 0
	select {
	case <-g.whole: // just too late
	default:
	}
}

func (g *gathering) inVain() {
	g.missed = min(2*g.missed+1, 63)
	g.rest = g.missed
}

// tellWholeLocked ends the wait when nothing more is to be waited for.
func (l *Log) tellWholeLocked() {
	g := &l.gathering
	if g.expect == 0 || len(l.batch.hashes) < g.expect && len(l.batch.lines) < maxBatchBytes && !l.closing {
		return
	}
	select {
	case g.whole <- struct{}{}:
	default:
	}
}
