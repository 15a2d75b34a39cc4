package ratelimit

import (
	"math"
	"sync/atomic"
)

// A window counts what one key was admitted, in nanoseconds of a monotonic
// clock that begins at 0. It never forgets a hit before the hit is older than
// the window, so the count is never too low: an error is on the strict side.
//
// Up to exactMost hits it is a ring of their times: exact. Above, it counts in
// subBuckets+1 buckets; a hit then stays counted up to 1/subBuckets of the
// window too long, which leaves evenly spaced traffic 32/33 = 96.97 % of N.
//
//	ring:    [0] head<<32 | live        [1:] times, oldest at head
//	buckets: [0] sum without the newest bucket  [1] last bucket before it with a hit  [2:] counts, two a word
//
// Whoever holds the lock of its shard has a window to itself, but for hits that
// [window.tryHit] adds to open buckets. Those change nothing but the sum: what the
// newest bucket has counted is what the others have not, and is written to its
// place when the next one begins. Until then buckets need no words at all.
type window struct {
	state atomic.Uint64 // of buckets: bucketed, open, and their sum
	end   atomic.Int64  // of buckets: when the next one after the newest begins
	words []uint64
}

const (
	exactMost   = 128
	subBuckets  = 32
	bucketCount = subBuckets + 1

	bucketed     = 1 << 63
	open         = 1 << 62 // tryHit may add to the sum
	sumMask      = open - 1
	ringHeader   = 1
	bucketHeader = 2
	ringWords    = 4 // of a new ring; it doubles when it is full, which fits Go's size classes
	bucketWords  = bucketHeader + (bucketCount+1)/2
)

// makeEmpty makes it a window for n that has counted nothing.
func (w *window) makeEmpty(n, per int64) {
	if n > exactMost {
		w.state.Store(bucketed)
		w.end.Store(bucketWidth(per))
		return
	}
	w.words = make([]uint64, min(ringHeader+n, ringWords))
}

func (w *window) isBucketed() bool { return w.state.Load()&bucketed != 0 }

// tryHit takes cost from buckets that are open, if that is within n and the newest
// bucket is that of now or a later one. It needs no lock, and answers what is left
// and when the window is full again. The hit counts as of now or, if others have
// moved the buckets on since the caller read the clock, as of a moment after that.
func (w *window) tryHit(now, per, cost, n int64) (left, full int64, ok bool) {
	for cost <= n { // so that nothing below overflows
		state := w.state.Load()
		end := w.end.Load() // it only grows
		left = n - int64(state&sumMask) - cost
		if state&(bucketed|open) != bucketed|open || now >= end || left < 0 {
			break
		}
		if w.state.CompareAndSwap(state, state+uint64(cost)) {
			return left, end + subBuckets*bucketWidth(per) - now, true
		}
	}
	return 0, 0, false
}

// close keeps hits without the lock away, and reopen lets them in again.
func (w *window) close() {
	if w.isBucketed() {
		w.state.And(^uint64(open))
	}
}

func (w *window) reopen() {
	if w.isBucketed() {
		w.state.Or(open)
	}
}

func (w *window) ring() (head, live int) {
	return int(w.words[0] >> 32), int(w.words[0] & math.MaxUint32)
}

func (w *window) setRing(head, live int) { w.words[0] = uint64(head)<<32 | uint64(live) }

// at is the time of the i-th oldest hit of a ring.
func (w *window) at(head, i int) int64 {
	size := len(w.words) - ringHeader
	if head += i; head >= size {
		head -= size
	}
	return int64(w.words[ringHeader+head])
}

func (w *window) setAt(head, i int, hit int64) {
	size := len(w.words) - ringHeader
	if head += i; head >= size {
		head -= size
	}
	w.words[ringHeader+head] = uint64(hit)
}

func bucketWidth(per int64) int64 { return (per + subBuckets - 1) / subBuckets }

// newest is the number of the newest bucket.
func (w *window) newest(per int64) int64 { return w.end.Load()/bucketWidth(per) - 1 }

func (w *window) sum() int64 { return int64(w.state.Load() & sumMask) }

// setSum is called only while the buckets are closed.
func (w *window) setSum(n int64) { w.state.Store(bucketed | uint64(n)) }

// older is the sum without the newest bucket.
func (w *window) older() int64 {
	if w.words == nil {
		return 0
	}
	return int64(w.words[0])
}

// count is what a bucket before the newest has counted.
func (w *window) count(bucket int64) int64 {
	if w.words == nil {
		return 0
	}
	i := int(bucket % bucketCount)
	return int64(uint32(w.words[bucketHeader+i/2] >> (32 * (i % 2))))
}

func (w *window) setCount(bucket, n int64) {
	i := int(bucket % bucketCount)
	shift := 32 * (i % 2)
	word := &w.words[bucketHeader+i/2]
	*word = *word&^(math.MaxUint32<<shift) | uint64(uint32(n))<<shift
}

// used forgets what is older than the window and returns the rest.
func (w *window) used(now, per int64) int64 {
	if !w.isBucketed() {
		head, live := w.ring()
		size := len(w.words) - ringHeader
		for live > 0 && w.at(head, 0)+per <= now {
			if head++; head == size {
				head = 0
			}
			live--
		}
		w.setRing(head, live)
		return int64(live)
	}
	sum := w.sum()
	if now < w.end.Load() {
		return sum
	}
	bucket, newest := now/bucketWidth(per), w.newest(per)
	if sum > 0 {
		if w.words == nil {
			w.words = make([]uint64, bucketWords)
		}
		if n := sum - w.older(); n > 0 {
			w.setCount(newest, n)
			w.words[1] = uint64(newest)
		}
	}
	for b := newest + 1; b <= min(bucket, newest+bucketCount) && sum > 0; b++ { // bucket b takes the place of b-bucketCount
		sum -= w.count(b)
		w.setCount(b, 0)
	}
	if w.words != nil {
		w.words[0] = uint64(sum)
	}
	w.setSum(sum)
	w.end.Store((bucket + 1) * bucketWidth(per))
	return sum
}

// add records cost hits at now. The window may grow to at most maxWords, from
// leastWords. A ring that would need more becomes buckets: it loses exactness
// and no hit. used must have been called with the same now, and have left room
// in n.
func (w *window) add(now, per, cost, n int64, maxWords int) {
	if !w.isBucketed() {
		_, live := w.ring()
		if n > exactMost || ringHeader+live+int(cost) > maxWords {
			w.toBuckets(per)
			w.used(now, per)
		}
	}
	if w.isBucketed() {
		w.setSum(w.sum() + cost) // at most maxN
		return
	}
	head, live := w.ring()
	if need := ringHeader + live + int(cost); need > len(w.words) {
		w.grow(max(need, min(2*len(w.words), ringHeader+int(n), maxWords)))
		head, live = w.ring()
	}
	size := len(w.words) - ringHeader
	for range cost {
		w.words[ringHeader+(head+live)%size] = uint64(now)
		live++
	}
	w.setRing(head, live)
}

func (w *window) grow(words int) {
	head, live := w.ring()
	bigger := make([]uint64, words)
	for i := range live {
		bigger[ringHeader+i] = uint64(w.at(head, i))
	}
	w.words = bigger
	w.setRing(0, live)
}

// toBuckets keeps every hit of a ring whose limit has become too large for it.
func (w *window) toBuckets(per int64) {
	var b window
	b.makeEmpty(exactMost+1, per)
	head, live := w.ring()
	for i := range live {
		b.used(w.at(head, i), per)
		b.setSum(b.sum() + 1)
	}
	w.words = b.words
	w.end.Store(b.end.Load())
	w.state.Store(b.state.Load())
}

// room is how long from now until cost more fits under n, given used. It is
// called only when it does not fit yet.
func (w *window) room(now, per, used, cost, n int64) int64 {
	excess := used + cost - n
	if !w.isBucketed() {
		head, _ := w.ring()
		return w.at(head, int(excess)-1) + per - now
	}
	width, newest := bucketWidth(per), w.newest(per)
	for b := max(newest-subBuckets, 0); b < newest; b++ {
		if excess -= w.count(b); excess <= 0 {
			return (b+bucketCount)*width - now
		}
	}
	return (newest+bucketCount)*width - now // the newest has the rest
}

// full is how long from now until nothing is counted any more: not positive if
// that is so.
func (w *window) full(now, per int64) int64 {
	if w.isBucketed() {
		sum := w.sum()
		switch {
		case sum == 0:
			return 0
		case sum > w.older():
			return w.end.Load() + subBuckets*bucketWidth(per) - now
		}
		return (int64(w.words[1])+bucketCount)*bucketWidth(per) - now
	}
	if w.isLeaky() {
		return int64(w.words[2]) - now
	}
	head, live := w.ring()
	if live == 0 {
		return 0
	}
	return w.at(head, live-1) + per - now
}

// idle reports whether nothing has been counted for at least since.
func (w *window) idle(now, per, since int64) bool {
	left := w.full(now, per) // 0 only if nothing is counted, or at this very moment no more
	return left == 0 || left <= -since
}

// reset forgets every hit. Buckets go on with the next one, so that a refund of
// an older hit does not take a newer one for it.
func (w *window) reset(now, per int64) {
	switch {
	case w.isBucketed():
		clear(w.words)
		w.setSum(0)
		w.end.Store((now/bucketWidth(per) + 2) * bucketWidth(per))
	case w.isLeaky():
		w.words[0], w.words[1], w.words[2], w.words[3], w.words[4] = leaky, uint64(now), 0, uint64(now), 0
	default:
		w.setRing(0, 0)
	}
}
