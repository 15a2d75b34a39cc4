package ratelimit

// tidy drops recovered keys when the decision brought one or found no room.
func (s *MemoryStore) tidy(sh *shard, p *place, now int64) {
	if p.fresh || p.shared {
		sh.bytes -= sh.own.sweep(&sh.hand, now, p.shared)
		for i := range sh.spilled {
			sh.spilled[i].sweep(&sh.spill[i], now, true)
		}
	}
}

// sweep drops recovered entries, a few for each one that came, and returns what
// they took of the bound. It never drops a key that still counts. Unless room
// is urgent it leaves a key one more window, so that callers who come once in
// a while do not cost an allocation each time.
func (t *table) sweep(hand *int, now int64, urgent bool) (bytes int64) {
	for range min(sweepSteps, len(t.entries)) {
		if *hand >= len(t.entries) {
			*hand = 0
		}
		e := &t.entries[*hand]
		grace := e.per
		if urgent {
			grace = 0
		}
		if !e.w.idle(now, e.per, grace) {
			*hand++
			continue
		}
		bytes += windowBytes(len(e.w))
		t.remove(*hand)
	}
	return bytes
}
