package ratelimit

import (
	"math"
	"math/bits"
)

// A leaky window is the state of a [Limit] with Burst: a level that every
// admission raises by its cost and that falls by N in Per, GCRA in the form of
// a meter. It is kept in units of 2^-32 and every rounding leaves it too high,
// so that an error is on the strict side.
//
//	[0] leaky | level  [1] when it was written  [2] when it will be 0
//	[3] since when it has not been 0  [4] the lowest it has been since
//
// The last two bound what a refund may give back: once the level has fallen to
// x, no more than x of what was taken before is still counted.
const (
	leaky      = 1 << 62
	leakyUnit  = 1 << 32
	leakyWords = 5
)

func (w *window) isLeaky() bool { return len(w.words) > 0 && w.words[0]&leaky != 0 }

// scale is x*y/z, rounded down, or the largest number if that is too large.
func scale(x, y, z uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	if hi >= z {
		return math.MaxUint64
	}
	q, _ := bits.Div64(hi, lo, z)
	return q
}

// level is how high the window stands now.
func (w *window) level(now, n, per int64) uint64 {
	level := w.words[0] &^ leaky
	return level - min(level, scale(uint64(max(now-int64(w.words[1]), 0)), uint64(n)<<32, uint64(per)))
}

// leakTime is how long it takes to lose a level, rounded up.
func leakTime(level uint64, n, per int64) int64 {
	hi, lo := bits.Mul64(level, uint64(per))
	z := uint64(n) << 32
	lo, carry := bits.Add64(lo, z-1, 0)
	if hi += carry; hi >= z {
		return 1 << 61
	}
	q, _ := bits.Div64(hi, lo, z)
	return int64(min(q, 1<<61))
}

// setLevel writes the level of now.
func (w *window) setLevel(level uint64, now, n, per int64) {
	w.words[0], w.words[1], w.words[2] = leaky|level, uint64(now), 0
	if level > 0 {
		w.words[2] = uint64(now + leakTime(level, n, per))
	}
}

// units is a level in whole units, rounded up.
func units(level uint64) int64 { return int64((level + leakyUnit - 1) / leakyUnit) }

// pour records an admission.
func (w *window) pour(now, cost, n, per int64) {
	level := w.level(now, n, per)
	if level == 0 {
		w.words[3], w.words[4] = uint64(now), math.MaxUint64
	} else {
		w.words[4] = min(w.words[4], level)
	}
	w.setLevel(level+uint64(cost)<<32, now, n, per)
}

// unpour takes back an admission of the time at.
func (w *window) unpour(at, now, cost, n, per int64) {
	if at < int64(w.words[3]) {
		return // the level has been 0 since
	}
	level := w.level(now, n, per)
	low := min(w.words[4], level)
	back := min(uint64(cost)<<32, low)
	w.words[4] = low - back
	w.setLevel(level-back, now, n, per)
}
