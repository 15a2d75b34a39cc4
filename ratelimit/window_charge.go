package ratelimit

// What a charge does to a window of its kind.

// windowFor returns an empty window for the charge.
func windowFor(c *Charge) window {
	if c.Burst > 0 {
		w := make(window, leakyWords)
		w[0] = leaky
		return w
	}
	return newWindow(c.N)
}

// usage forgets what no longer counts and returns what does.
func (w window) usage(c *Charge, now int64) int64 {
	if w.isLeaky() {
		return units(w.level(now, c.N, int64(c.Per)))
	}
	return w.used(now, int64(c.Per))
}

// record counts an admitted charge and returns the window, which may have grown.
func (w window) record(c *Charge, now int64, maxWords int) window {
	if w.isLeaky() {
		w.pour(now, c.Cost, c.N, int64(c.Per))
		return w
	}
	return w.add(now, int64(c.Per), c.Cost, c.N, maxWords)
}

// wait is how long it takes until the charge fits, which does not fit now.
func (w window) wait(c *Charge, now, used int64) int64 {
	if w.isLeaky() {
		return leakTime(w.level(now, c.N, int64(c.Per))-uint64(c.Burst-c.Cost)<<32, c.N, int64(c.Per))
	}
	return w.room(now, int64(c.Per), used, c.Cost, c.N)
}

// giveBack forgets the charge, which was recorded at the time at, as far as it
// still counts.
func (w window) giveBack(c *Charge, at, now int64) {
	per := int64(c.Per)
	switch {
	case w.isLeaky():
		w.unpour(at, now, c.Cost, c.N, per)
	case w.isBucketed():
		w.used(now, per)
		bucket, newest := at/bucketWidth(per), int64(w[1])
		if bucket > newest || bucket <= newest-bucketCount {
			return
		}
		back := min(c.Cost, w.count(bucket))
		w.setCount(bucket, w.count(bucket)-back)
		w[0] -= uint64(back)
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
