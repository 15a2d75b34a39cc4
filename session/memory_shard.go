package session

import (
	"container/heap"
	"sync"
	"time"
)

// shard holds the records whose tags fall to it: all sessions of a user are in
// one shard, so that one lock covers a revocation.
type shard struct {
	mu    sync.Mutex // guards the fields below and every entry in them
	byRef map[Ref]*entry
	byTag map[Tag]family
	named byExpiry // of logged-in users
	anon  byExpiry
	marks map[Tag]mark
	all   mark      // of every tag
	since time.Time // when the store's memory begins
	last  time.Time // stamp
	ended map[Ref]time.Time
	_     [64]byte // keeps neighbours' locks off this cache line
}

// family is the records of one tag.
type family struct {
	head *entry // of a list
	n    int
}

type entry struct {
	ref        Ref
	rec        Record
	at         int // index in its heap
	prev, next *entry
	watches    map[*watch]struct{}
	gone       bool
}

// mark is a revocation: logins that began before at fail, and what was stamped
// before stamp has ended (see Ender). They differ by what the clock cannot tell
// apart: a login right after the revocation is later, a stamp right before not.
type mark struct{ at, stamp, until time.Time }

// move moves the mark forward.
func (m *mark) move(at, now, stamp, until time.Time) {
	now = now.Truncate(time.Microsecond)
	m.at = latest(m.at, at, now)
	m.stamp = stamp
	if until.After(m.until) {
		m.until = until
	}
}

func latest(a time.Time, others ...time.Time) time.Time {
	for _, b := range others {
		if b.After(a) {
			a = b
		}
	}
	return a
}

// holds says whether the mark ends what was born then.
func (m mark) holds(born, now time.Time) bool {
	return born.Before(m.at) && m.until.After(now)
}

type watch struct {
	gone  chan struct{}
	timer *time.Timer
}

// stamp is the present, and not before any stamp or mark.
func (s *shard) stamp(now time.Time) time.Time {
	s.last = latest(s.last, now.Truncate(time.Microsecond))
	return s.last
}

// markStamp is after every stamp that was given, even if the clock stands still or
// was set back.
func (s *shard) markStamp(now time.Time) time.Time {
	s.last = s.stamp(now).Add(time.Microsecond)
	return s.last
}

// stale says whether what bears the stamp has ended.
func (s *shard) stale(ref Ref, stamp, now time.Time) bool {
	after := func(m mark) bool { return stamp.Before(m.stamp) && m.until.After(now) }
	return stamp.Before(s.since) || s.ended[ref].After(now) || after(s.all) || after(s.marks[ref.Tag])
}

func (s *shard) revoked(tag Tag, born, now time.Time) bool {
	return s.all.holds(born, now) || s.marks[tag].holds(born, now)
}

// makeRoom holds the tag to its quota and the shard to its size.
func (s *shard) makeRoom(tag Tag, q Quota, now time.Time, most int) (dropped []Ref, err error) {
	if q.Max > 0 && s.byTag[tag].n >= q.Max {
		for e := s.byTag[tag].head; e != nil; {
			next := e.next
			if !e.rec.Expires.After(now) {
				s.remove(e)
			}
			e = next
		}
		if q.Deny && s.byTag[tag].n >= q.Max {
			return nil, ErrTooMany
		}
		for s.byTag[tag].n >= q.Max {
			dropped = append(dropped, s.dropOldest(tag))
		}
	}
	if len(s.byRef) < most {
		return dropped, nil
	}
	if len(s.anon) > 0 {
		s.remove(s.anon[0])
		return dropped, nil
	}
	var largest Tag
	n := s.byTag[tag].n + 1
	for t, f := range s.byTag {
		if f.n > n {
			largest, n = t, f.n
		}
	}
	if n > s.byTag[tag].n+1 {
		return append(dropped, s.dropOldest(largest)), nil
	}
	return dropped, ErrFull
}

func (s *shard) dropOldest(tag Tag) Ref {
	oldest := s.byTag[tag].head
	for e := oldest.next; e != nil; e = e.next {
		if !e.rec.Born.After(oldest.rec.Born) { // the list has the newest first
			oldest = e
		}
	}
	s.remove(oldest)
	return oldest.ref
}

func (s *shard) revoke(tag Tag, r Revocation) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revokeLocked(tag, r, time.Now())
}

func (s *shard) revokeLocked(tag Tag, r Revocation, now time.Time) (n int) {
	s.sweepMarks(now)
	mk := s.marks[tag]
	mk.move(r.At, now, s.markStamp(now), r.Until)
	s.marks[tag] = mk
	for e := s.byTag[tag].head; e != nil; {
		next := e.next
		switch {
		case e.ref == r.Keep && e.rec.Expires.After(now):
			if e.rec.Born.Before(mk.at) {
				e.rec.Born = mk.at
			}
		default:
			if e.rec.Expires.After(now) {
				n++
			}
			s.remove(e)
		}
		e = next
	}
	return n
}

// sweepMarks drops a few marks that are over, with each one that comes.
func (s *shard) sweepMarks(now time.Time) {
	seen := 0
	for t, mk := range s.marks {
		if !mk.until.After(now) {
			delete(s.marks, t)
		}
		if seen++; seen == 2*sweepPerWrite {
			return
		}
	}
}

// live returns the entry, or nil if it is gone; one that expired is removed.
func (s *shard) live(ref Ref, now time.Time) *entry {
	e := s.byRef[ref]
	if e != nil && !e.rec.Expires.After(now) {
		s.remove(e)
		return nil
	}
	return e
}

func (s *shard) heapOf(e *entry) *byExpiry {
	if e.rec.Anonymous {
		return &s.anon
	}
	return &s.named
}

func (s *shard) remove(e *entry) {
	delete(s.byRef, e.ref)
	heap.Remove(s.heapOf(e), e.at)
	f := s.byTag[e.ref.Tag]
	f.n--
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		f.head = e.next
	}
	if f.n == 0 {
		delete(s.byTag, e.ref.Tag)
	} else {
		s.byTag[e.ref.Tag] = f
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.gone = true
	for w := range e.watches {
		w.timer.Stop()
		close(w.gone)
	}
	e.watches = nil
}

// sweep removes a few entries that expired.
func (s *shard) sweep(now time.Time) {
	for _, h := range []*byExpiry{&s.named, &s.anon} {
		for range sweepPerWrite / 2 {
			if len(*h) == 0 || (*h)[0].rec.Expires.After(now) {
				break
			}
			s.remove((*h)[0])
		}
	}
}

// expire removes the entry if its time has come, and else waits on.
func (s *shard) expire(e *entry, w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, watching := e.watches[w]; !watching || e.gone {
		return
	}
	if left := time.Until(e.rec.Expires); left > 0 {
		w.timer.Reset(left)
		return
	}
	s.remove(e)
}

// byExpiry is a heap of entries, the next to expire on top.
type byExpiry []*entry

var _ heap.Interface = (*byExpiry)(nil)

func (h byExpiry) Len() int           { return len(h) }
func (h byExpiry) Less(i, j int) bool { return h[i].rec.Expires.Before(h[j].rec.Expires) }
func (h byExpiry) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *byExpiry) Push(x any) {
	e := x.(*entry)
	e.at = len(*h)
	*h = append(*h, e)
}

func (h *byExpiry) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
