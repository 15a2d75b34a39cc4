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

const (
	sweepCells = 4  // looked at for each new one
	sweepSteps = 16 // and positions of the index, of which a quarter at least is free
)

// sweep drops recovered cells, a few for each one that came, and returns what
// they took of the bound. It never drops a key that still counts. Unless room
// is urgent it leaves a key one more window, so that callers who come once in
// a while do not cost an allocation each time.
func (t *table) sweep(hand *int, now int64, urgent bool) (bytes int64) {
	if t.n == 0 {
		return 0
	}
	cells := *t.index.Load()
	looked := 0
	for range min(sweepSteps, len(cells)) {
		if looked == sweepCells {
			break
		}
		*hand &= len(cells) - 1 // it has grown, or this is its end
		c := cells[*hand].Load()
		if c == nil {
			*hand++
			continue
		}
		looked++
		grace := c.per
		if urgent {
			grace = 0
		}
		c.close() // for good if it is dropped: somebody may have found it already
		if !c.idle(now, c.per, grace) {
			c.reopen()
			*hand++
			continue
		}
		bytes += c.bytes()
		t.removeAt(*hand) // and look at what has taken its place
	}
	return bytes
}
