package ratelimit

import "time"

// place is where a charge is counted.
type place struct {
	cell   *cell // nil if nothing is counted yet
	k      key
	used   int64
	shared bool // in the network's overflow window
	fresh  bool // a key that this decision brings
	none   bool // no place is left, not even in the overflow
}

// find returns the place of a charge, when the decision brings brought other
// new keys to the shard. A key that has no window of its own is counted in its
// network's overflow while that holds anything, since the key's own hits may be
// among what is counted there.
func (s *MemoryStore) find(sh *shard, c *Charge, k key, now int64, brought int) place {
	if found := sh.own.find(k); found != nil {
		found.close()
		return place{cell: found, k: k}
	}
	full := sh.bytes+int64(brought+1)*keyBytes > s.ownBytes
	which := overflowOf(c)
	spilled := &sh.spilled[which]
	if !full && spilled.n == 0 {
		return place{k: k, fresh: true}
	}
	over := s.overflowKey(c)
	found := spilled.find(over)
	switch {
	case found != nil && (full || found.usage(c, now) > 0):
		return place{cell: found, k: over, shared: true}
	case !full:
		return place{k: k, fresh: true}
	case spilled.n+brought >= s.spills[which]:
		return place{none: true, shared: true}
	}
	return place{k: over, shared: true, fresh: true}
}

// judge reports whether the charge fits.
func (p *place) judge(c *Charge, st *State, now int64) bool {
	switch {
	case p.none:
		p.used = c.Capacity()
	case p.cell != nil:
		p.used = p.cell.usage(c, now)
	}
	left := c.Capacity() - p.used // negative after a change to a smaller N
	*st = State{Fits: c.Cost <= left, Remaining: max(left, 0)}
	return st.Fits
}

// settle records the charge if it is to be taken, and completes its state.
func (s *MemoryStore) settle(sh *shard, p *place, c *Charge, st *State, now int64, take bool) {
	switch {
	case take:
		s.record(sh, p, c, now)
		st.Remaining -= c.Cost
		if !p.shared {
			st.At = stamp(now)
		}
	case c.Cost > c.Capacity():
		st.RetryAfter = -1
	case p.none:
		st.RetryAfter = c.Per
	case !st.Fits:
		st.RetryAfter = time.Duration(p.cell.wait(c, now, p.used))
	}
	switch {
	case p.none:
		st.ResetAfter = c.Per
	case p.cell != nil:
		st.ResetAfter = time.Duration(max(p.cell.full(now, int64(c.Per)), 0))
	}
}

// record counts an admitted charge.
func (s *MemoryStore) record(sh *shard, p *place, c *Charge, now int64) {
	if p.cell == nil {
		p.cell = &cell{key: p.k, per: int64(c.Per)}
		p.cell.begin(c)
		p.cell.usage(c, now)
	}
	if p.shared { // its room is set apart
		p.cell.record(c, now, leastWords)
		if p.fresh {
			sh.spilled[overflowOf(c)].insert(p.cell)
		}
		return
	}
	if p.fresh {
		sh.own.insert(p.cell)
		sh.bytes += p.cell.bytes()
	}
	before := p.cell.bytes()
	p.cell.record(c, now, max(leastWords, len(p.cell.words)+int((s.ownBytes-sh.bytes)/wordBytes)))
	sh.bytes += p.cell.bytes() - before
}

// reopen lets hits of a cell without the lock in again. What is shared has none.
func (p *place) reopen() {
	if p.cell != nil && !p.shared {
		p.cell.reopen()
	}
}
