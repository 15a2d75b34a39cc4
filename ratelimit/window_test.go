package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

func newStore(t testing.TB, cfg MemoryConfig) *MemoryStore {
	t.Helper()
	s, err := NewMemoryStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func take(t testing.TB, s Store, c Charge) State {
	t.Helper()
	var st [1]State
	if _, err := s.TakeAll(t.Context(), []Charge{c}, st[:]); err != nil {
		t.Fatal(err)
	}
	return st[0]
}

// mostInAnyWindow is the largest number of admissions within one window of
// length per, wherever it begins. A window is open on one side: hits at t and
// t+per are not in one.
func mostInAnyWindow(admitted []time.Duration, per time.Duration) int {
	most, from := 0, 0
	for i := range admitted {
		for admitted[i]-admitted[from] >= per {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// The promise: an attacker who hammers at the worst moments is never admitted
// more than N times in any window.
func TestNoWindowEverAdmitsMoreThanN(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-2.4.1")
	const per = time.Minute
	for _, n := range []int64{1, 5, 100, 128, 129, 1000, 20000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			for phase := range 13 {
				synctest.Test(t, func(t *testing.T) {
					s := newStore(t, MemoryConfig{})
					start := time.Now()
					var admitted []time.Duration
					c := Charge{Rule: "r", N: n, Per: per, Cost: 1}
					burst := func() {
						for take(t, s, c).Fits {
							admitted = append(admitted, time.Since(start))
						}
					}
					time.Sleep(per * time.Duration(phase) / 13) // virtual
					r := rand.New(rand.NewPCG(uint64(n), uint64(phase)))
					for time.Since(start) < 5*per {
						burst()
						// The moments that break fixed, two-counter and refilling
						// windows: just before and at every boundary, and at random.
						step := per / 26
						if r.IntN(3) == 0 {
							step = time.Duration(r.Int64N(int64(per / 10)))
						}
						time.Sleep(step + 1)
					}
					if got := mostInAnyWindow(admitted, per); got > int(n) {
						t.Errorf("phase %d: %d admitted in one window of a limit of %d", phase, got, n)
					}
					if len(admitted) < int(n)*4 {
						t.Errorf("phase %d: only %d admitted in five windows of %d", phase, len(admitted), n)
					}
				})
			}
		})
	}
}

func TestEvenlySpacedTrafficIsAdmitted(t *testing.T) {
	const per = time.Minute
	for _, n := range []int64{5, 100, 1000, 20000} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(t, MemoryConfig{})
			c := Charge{Rule: "r", N: n, Per: per, Cost: 1}
			admitted, sent := 0, 0
			for range 10 * n {
				sent++
				if take(t, s, c).Fits {
					admitted++
				}
				time.Sleep(per / time.Duration(n))
			}
			share := float64(admitted) / float64(sent)
			t.Logf("N = %d: %.2f %% admitted", n, 100*share)
			if share < 0.969 || n <= exactMost && share < 1 {
				t.Errorf("N = %d: %.2f %% of evenly spaced requests were admitted", n, 100*share)
			}
		})
	}
}

func TestSmallLimitsAreExactAgainAfterTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, MemoryConfig{})
		c := Charge{Rule: "r", N: 3, Per: time.Second, Cost: 1}
		for i := range 3 {
			if st := take(t, s, c); !st.Fits || st.Remaining != int64(2-i) {
				t.Fatalf("%d: %+v", i, st)
			}
			time.Sleep(100 * time.Millisecond)
		}
		st := take(t, s, c)
		if st.Fits || st.RetryAfter != 700*time.Millisecond || st.ResetAfter != 900*time.Millisecond {
			t.Fatalf("%+v, want a retry after 700ms", st)
		}
		time.Sleep(st.RetryAfter - 1)
		if take(t, s, c).Fits {
			t.Error("admitted a nanosecond early")
		}
		time.Sleep(time.Nanosecond)
		if !take(t, s, c).Fits {
			t.Error("refused although the first hit left the window")
		}
		time.Sleep(time.Second)
		if st := take(t, s, c); st.Remaining != 1+1 {
			t.Errorf("%+v after everything left", st)
		}
	})
}

func TestRetryAfterIsNeverTooEarlyNorEndless(t *testing.T) {
	for _, n := range []int64{3, 1000} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(t, MemoryConfig{})
			r := rand.New(rand.NewPCG(7, uint64(n)))
			for range 2000 {
				c := Charge{Rule: "r", N: n, Per: time.Minute, Cost: 1 + r.Int64N(n)}
				st := take(t, s, c)
				if !st.Fits {
					if st.RetryAfter <= 0 || st.RetryAfter > time.Minute+2*time.Minute/subBuckets {
						t.Fatalf("N = %d: retry after %v", n, st.RetryAfter)
					}
					time.Sleep(st.RetryAfter)
					if !take(t, s, c).Fits {
						t.Fatalf("N = %d, cost %d: refused when it was told to come back", n, c.Cost)
					}
				}
				time.Sleep(time.Duration(r.Int64N(int64(time.Minute / 4))))
			}
		})
	}
}

// A change of tier keeps what was used, up and down and up again.
func TestUsageStaysWhenNChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, MemoryConfig{})
		c := Charge{Rule: "user", Per: time.Minute, Cost: 1}
		spend := func(n int64) (admitted int) {
			for c.N = n; take(t, s, c).Fits; admitted++ {
			}
			return admitted
		}
		if got := spend(60); got != 60 {
			t.Fatalf("free: %d", got)
		}
		if got := spend(600); got != 540 {
			t.Errorf("after the upgrade %d more, want 540", got)
		}
		if got := spend(60); got != 0 {
			t.Errorf("after the downgrade %d more", got)
		}
		if got := spend(600); got != 0 {
			t.Errorf("after going down and up %d more", got)
		}
		time.Sleep(time.Minute + time.Minute/subBuckets)
		if got := spend(60); got != 60 {
			t.Errorf("a window later %d, want 60", got)
		}
	})
}

// What a step of windowLaw does instead of a hit.
const (
	stepReset    = 0x7f
	stepGiveBack = 0x7e
)

func FuzzWindow(f *testing.F) {
	f.Add(int64(5), int64(1000), []byte{1, 2, 3, 200, 0, 0, 0, 9})
	f.Add(int64(1000), int64(33), []byte{255, 255, 0, 1, 0, 1})
	f.Add(int64(1000), int64(64), []byte{5, 9, 0, stepGiveBack, 1, 3, 0, stepGiveBack, 9, 100, 9, 100, 1, stepGiveBack, 40, 1, 30, 1})
	f.Add(int64(1000), int64(64), []byte{5, 9, 3, 4, 0, stepReset, 0, 3, 0, stepGiveBack, 1, stepGiveBack, 3, 1, 60, 1, 1, 1, 64, 1})
	f.Fuzz(windowLaw)
}

func TestWindowLaw(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		steps := make([]byte, 2+r.IntN(120))
		for i := range steps {
			switch steps[i] = byte(r.IntN(256)); {
			case i%2 == 0 && r.IntN(3) == 0:
				steps[i] = 0
			case i%2 == 0 && r.IntN(2) == 0:
				steps[i] %= 8
			case i%2 == 1 && r.IntN(20) == 0:
				steps[i] = stepReset
			case i%2 == 1 && r.IntN(4) == 0:
				steps[i] = stepGiveBack
			}
		}
		windowLaw(t, r.Int64N(5000), r.Int64N(int64(time.Hour)), steps)
	}
}

// Law: a window never says less than a plain list of all hits would, and forgets
// all of them; whatever was given back, and when.
func windowLaw(t *testing.T, n, per int64, steps []byte) {
	n, per = 1+abs(n)%5000, int64(minPer)+abs(per)%int64(time.Hour)
	var w window
	w.makeEmpty(n, per)
	maxWords := leastWords // as when the memory is full
	if per%2 == 0 {
		maxWords = 1 << 20
	}
	type batch struct {
		at, cost     int64
		given, reset bool
	}
	var batches []batch
	var now int64
	for i := 0; i+1 < len(steps); i += 2 {
		switch steps[i+1] {
		case stepReset:
			w.close()
			w.reset(now, per)
			for i := range batches {
				batches[i].reset = true
			}
			now++ // no two hits around it have one time
			continue
		case stepGiveBack:
			if len(batches) > 0 {
				b := &batches[int(steps[i])%len(batches)]
				if !b.given {
					b.given = true
					w.close()
					w.giveBack(&Charge{N: n, Per: time.Duration(per), Cost: b.cost}, b.at, now)
				}
			}
			continue
		}
		now += int64(steps[i]) * per / 64
		if steps[i+1]&0x80 != 0 {
			n = min(5000, n*2) // an upgrade
		}
		cost := 1 + int64(steps[i+1]&0x7f)
		w.close()
		used := w.used(now, per)
		least, most := int64(0), int64(0)
		for _, b := range batches {
			if b.at+per > now && !b.given && !b.reset {
				least += b.cost
			}
			if b.at+per+3*bucketWidth(per) > now && !b.reset {
				most += b.cost
			}
		}
		if used < least || used > most {
			t.Fatalf("counted %d of %d to %d hits", used, least, most)
		}
		w.reopen()
		left, full, ok := w.tryHit(now, per, cost, n)
		if ok != (w.isBucketed() && used+cost <= n) {
			t.Fatalf("%d of %d are used, a hit of %d without the lock: %t", used, n, cost, ok)
		}
		if ok && (left != n-used-cost || full != w.full(now, per)) {
			t.Fatalf("%d left and full in %d, want %d and %d", left, full, n-used-cost, w.full(now, per))
		}
		w.close()
		if used+cost <= n {
			if !ok {
				w.add(now, per, cost, n, maxWords)
			}
			batches = append(batches, batch{at: now, cost: cost})
		} else if cost <= n {
			if d := w.room(now, per, used, cost, n); d <= 0 || d > per+3*bucketWidth(per) {
				t.Fatalf("room in %d of a window of %d", d, per)
			}
		}
		last := now - per
		for _, b := range batches {
			if !b.reset {
				last = max(last, b.at)
			}
		}
		if d := w.full(now, per); d < 0 || d > max(0, last+per+3*bucketWidth(per)-now) {
			t.Fatalf("full in %d of a window of %d, %d after the last hit", d, per, now-last)
		}
	}
}

func abs(n int64) int64 {
	if n < 0 {
		n = -(n + 1)
	}
	return n
}
