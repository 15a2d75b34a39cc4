package ratelimit

// What a charge does to a window of its kind.

// begin makes it an empty window for the charge.
func (w *window) begin(c *Charge) {
	if c.Burst > 0 {
		w.words = make([]uint64, leakyWords)
		w.words[0] = leaky
		return
	}
	w.makeEmpty(c.N, int64(c.Per))
}

// usage forgets what no longer counts and returns what does.
func (w *window) usage(c *Charge, now int64) int64 {
	if w.isLeaky() {
		return units(w.level(now, c.N, int64(c.Per)))
	}
	return w.used(now, int64(c.Per))
}

// record counts an admitted charge.
func (w *window) record(c *Charge, now int64, maxWords int) {
	if w.isLeaky() {
		w.pour(now, c.Cost, c.N, int64(c.Per))
		return
	}
	w.add(now, int64(c.Per), c.Cost, c.N, maxWords)
}

// wait is how long it takes until the charge fits, which does not fit now.
func (w *window) wait(c *Charge, now, used int64) int64 {
	if w.isLeaky() {
		return leakTime(w.level(now, c.N, int64(c.Per))-uint64(c.Burst-c.Cost)<<32, c.N, int64(c.Per))
	}
	return w.room(now, int64(c.Per), used, c.Cost, c.N)
}

// giveBack forgets the charge, which was recorded at the time at, as far as it
// still counts. at is not after now.
func (w *window) giveBack(c *Charge, at, now int64) {
	per := int64(c.Per)
	switch {
	case w.isBucketed():
		sum := w.used(now, per)
		bucket, newest := at/bucketWidth(per), w.newest(per)
		switch {
		case bucket <= newest-bucketCount:
		case bucket == newest:
			w.setSum(sum - min(c.Cost, sum-w.older()))
		default:
			back := min(c.Cost, w.count(bucket))
			if back > 0 {
				w.setCount(bucket, w.count(bucket)-back)
				w.words[0] -= uint64(back)
				w.setSum(sum - back)
			}
		}
	case w.isLeaky():
		w.unpour(at, now, c.Cost, c.N, per)
	default:
		w.used(now, per)
		head, live := w.ring()
		kept, back := 0, c.Cost
		for i := range live {
			hit := w.at(head, i)
			if hit == at && back > 0 {
				back--
				continue
			}
			w.setAt(head, kept, hit)
			kept++
		}
		w.setRing(head, kept)
	}
}
