package ratelimit

import "time"

// place is where a charge is counted.
type place struct {
	w      window // nil if nothing is counted yet
	k      key
	at     int // position in the table
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
	if i := sh.own.find(k); i >= 0 {
		return place{w: sh.own.entries[i].w, k: k, at: i}
	}
	full := sh.bytes+int64(brought+1)*keyBytes > s.ownBytes
	which := overflowOf(c)
	spilled := &sh.spilled[which]
	if !full && len(spilled.entries) == 0 {
		return place{k: k, fresh: true}
	}
	over := s.overflowKey(c)
	i := spilled.find(over)
	switch {
	case i >= 0 && (full || spilled.entries[i].w.usage(c, now) > 0):
		return place{w: spilled.entries[i].w, k: over, at: i, shared: true}
	case !full:
		return place{k: k, fresh: true}
	case len(spilled.entries)+brought >= s.spills[which]:
		return place{none: true, shared: true}
	}
	return place{k: over, shared: true, fresh: true}
}

// windowBytes is what a key with a window of this length takes of the bound.
func windowBytes(words int) int64 {
	return entryBytes + wordBytes*int64(max(words, bucketWords))
}

// judge reports whether the charge fits.
func (p *place) judge(c *Charge, st *State, now int64) bool {
	switch {
	case p.none:
		p.used = c.Capacity()
	case p.w != nil:
		p.used = p.w.usage(c, now)
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
		st.RetryAfter = time.Duration(p.w.wait(c, now, p.used))
	}
	switch {
	case p.none:
		st.ResetAfter = c.Per
	case p.w != nil:
		st.ResetAfter = time.Duration(max(p.w.full(now, int64(c.Per)), 0))
	}
}

// record counts an admitted charge.
func (s *MemoryStore) record(sh *shard, p *place, c *Charge, now int64) {
	maxWords := bucketWords
	if !p.shared {
		maxWords = max(bucketWords, len(p.w)+int((s.ownBytes-sh.bytes)/wordBytes))
	}
	before := len(p.w)
	if p.w == nil {
		p.w = windowFor(c)
		p.w.usage(c, now)
	}
	p.w = p.w.record(c, now, maxWords)
	t := &sh.own
	if p.shared {
		t = &sh.spilled[overflowOf(c)]
	}
	switch {
	case p.fresh:
		t.insert(entry{p.k, p.w, int64(c.Per)})
		before = 0
	default:
		// Always: a ring that became buckets can be another slice of the same length.
		t.entries[p.at].w = p.w
	}
	if p.shared || len(p.w) == before {
		return // what is shared has its room set apart
	}
	sh.bytes += windowBytes(len(p.w))
	if before > 0 {
		sh.bytes -= windowBytes(before)
	}
}
