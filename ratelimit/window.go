package ratelimit

import "math"

// A window counts what one key was admitted, in nanoseconds of a monotonic
// clock that begins at 0. It never forgets a hit before the hit is older than
// the window, so the count is never too low: an error is on the strict side.
//
// Up to exactMost hits it is a ring of their times: exact. Above, it counts in
// subBuckets+1 buckets; a hit then stays counted up to 1/subBuckets of the
// window too long, which leaves evenly spaced traffic 32/33 = 96.97 % of N.
//
// It is a slice of words so that a key costs one small allocation:
//
//	ring:    [0] head<<32 | live        [1:] times, oldest at head
//	buckets: [0] bucketed | sum  [1] newest bucket number  [2] last bucket with a hit  [3:] counts, two a word
type window []uint64

const (
	exactMost   = 128
	subBuckets  = 32
	bucketCount = subBuckets + 1

	bucketed     = 1 << 63
	ringHeader   = 1
	bucketHeader = 3
	ringWords    = 4 // of a new ring; it doubles when it is full, which fits Go's size classes
	bucketWords  = bucketHeader + (bucketCount+1)/2
)

// newWindow returns an empty window that can hold n.
func newWindow(n int64) window {
	if n > exactMost {
		w := make(window, bucketWords)
		w[0] = bucketed
		return w
	}
	return make(window, min(ringHeader+n, ringWords))
}

func (w window) isBucketed() bool { return w[0]&bucketed != 0 }

func (w window) ring() (head, live int) {
	return int(w[0] >> 32), int(w[0] & math.MaxUint32)
}

func (w window) setRing(head, live int) { w[0] = uint64(head)<<32 | uint64(live) }

// at is the time of the i-th oldest hit of a ring.
func (w window) at(head, i int) int64 {
	size := len(w) - ringHeader
	if head += i; head >= size {
		head -= size
	}
	return int64(w[ringHeader+head])
}

func (w window) setAt(head, i int, hit int64) {
	size := len(w) - ringHeader
	if head += i; head >= size {
		head -= size
	}
	w[ringHeader+head] = uint64(hit)
}

func bucketWidth(per int64) int64 { return (per + subBuckets - 1) / subBuckets }

func (w window) sum() int64 { return int64(w[0] &^ bucketed) }

func (w window) count(bucket int64) int64 {
	i := int(bucket % bucketCount)
	return int64(uint32(w[bucketHeader+i/2] >> (32 * (i % 2))))
}

func (w window) setCount(bucket, n int64) {
	i := int(bucket % bucketCount)
	shift := 32 * (i % 2)
	word := &w[bucketHeader+i/2]
	*word = *word&^(math.MaxUint32<<shift) | uint64(uint32(n))<<shift
}

// used forgets what is older than the window and returns the rest.
func (w window) used(now, per int64) int64 {
	if !w.isBucketed() {
		head, live := w.ring()
		size := len(w) - ringHeader
		for live > 0 && w.at(head, 0)+per <= now {
			if head++; head == size {
				head = 0
			}
			live--
		}
		w.setRing(head, live)
		return int64(live)
	}
	bucket, newest := now/bucketWidth(per), int64(w[1])
	sum := w.sum()
	for b := newest + 1; b <= bucket && sum > 0; b++ { // bucket b takes the place of b-bucketCount
		if b-newest > bucketCount {
			sum = 0
			clear(w[bucketHeader:])
			break
		}
		sum -= w.count(b)
		w.setCount(b, 0)
	}
	w[0] = bucketed | uint64(sum)
	w[1] = uint64(max(bucket, newest))
	return sum
}

// add records cost hits at now and returns the window, which may have grown to
// at most maxWords, from bucketWords. A ring that would need more becomes
// buckets: it loses exactness and no hit. used must have been called with the
// same now, and have left room in n.
func (w window) add(now, per, cost, n int64, maxWords int) window {
	if !w.isBucketed() {
		_, live := w.ring()
		if n > exactMost || ringHeader+live+int(cost) > maxWords {
			w = w.toBuckets(per)
			w.used(now, per)
		}
	}
	if w.isBucketed() {
		w.hit(cost)
		return w
	}
	head, live := w.ring()
	if need := ringHeader + live + int(cost); need > len(w) {
		w = w.grow(max(need, min(2*len(w), ringHeader+int(n), maxWords)))
		head, live = w.ring()
	}
	size := len(w) - ringHeader
	for range cost {
		w[ringHeader+(head+live)%size] = uint64(now)
		live++
	}
	w.setRing(head, live)
	return w
}

// hit records cost hits in the newest bucket.
func (w window) hit(cost int64) {
	bucket := w[1]
	i := bucket % bucketCount
	w[bucketHeader+i/2] += uint64(cost) << (32 * (i % 2)) // at most maxN: it never carries
	w[0] += uint64(cost)
	w[2] = bucket
}

func (w window) grow(words int) window {
	head, live := w.ring()
	bigger := make(window, words)
	for i := range live {
		bigger[ringHeader+i] = uint64(w.at(head, i))
	}
	bigger.setRing(0, live)
	return bigger
}

// toBuckets keeps every hit of a ring whose limit has become too large for it.
func (w window) toBuckets(per int64) window {
	head, live := w.ring()
	b := newWindow(exactMost + 1)
	for i := range live {
		t := w.at(head, i)
		b.used(t, per)
		b = b.add(t, per, 1, exactMost+1, bucketWords)
	}
	return b
}

// room is how long from now until cost more fits under n, given used. It is
// called only when it does not fit yet.
func (w window) room(now, per, used, cost, n int64) int64 {
	excess := used + cost - n
	if !w.isBucketed() {
		head, _ := w.ring()
		return w.at(head, int(excess)-1) + per - now
	}
	width := bucketWidth(per)
	newest := int64(w[1])
	for b := newest - subBuckets; b <= newest; b++ {
		if b < 0 {
			continue
		}
		if excess -= w.count(b); excess <= 0 {
			return (b+bucketCount)*width - now
		}
	}
	return per + width // unreachable while counts add up to the sum
}

// full is how long from now until nothing is counted any more: not positive if
// that is so.
func (w window) full(now, per int64) int64 {
	if w.isLeaky() {
		return int64(w[2]) - now
	}
	if w.isBucketed() {
		if w.sum() == 0 {
			return 0
		}
		return (int64(w[2])+bucketCount)*bucketWidth(per) - now
	}
	head, live := w.ring()
	if live == 0 {
		return 0
	}
	return w.at(head, live-1) + per - now
}

// idle reports whether nothing has been counted for at least since.
func (w window) idle(now, per, since int64) bool {
	left := w.full(now, per) // 0 only if nothing is counted, or at this very moment no more
	return left == 0 || left <= -since
}

// reset forgets every hit. Buckets go on with the next one, so that a refund of
// an older hit does not take a newer one for it.
func (w window) reset(now, per int64) {
	switch {
	case w.isLeaky():
		w[0], w[1], w[2], w[3], w[4] = leaky, uint64(now), 0, uint64(now), 0
	case w.isBucketed():
		clear(w[bucketHeader:])
		w[0] = bucketed
		w[1] = max(w[1], uint64(now/bucketWidth(per))+1)
	default:
		w.setRing(0, 0)
	}
}
