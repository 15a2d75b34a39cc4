package session

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/inovy/hardening/internal/faults"
)

// MemoryConfig configures a [MemoryStore]. The zero value is usable.
type MemoryConfig struct {
	_ [0]func()

	// MaxSessions is how many sessions are kept. Default: 100 000. At least
	// 1024. The store is divided into 64 parts by user, each of which holds its
	// share, so it may be full a little earlier. A full part drops the
	// anonymous session that expires next. If it holds none, the user with the
	// most sessions there loses the oldest, as long as that is more than the
	// newcomer would have: nobody starves others, and nobody is logged out by
	// a user who has as many. Else it refuses the new session.
	MaxSessions int
}

// MemoryStore keeps sessions in this process. They end with it, and other
// processes do not see them. It runs no goroutine: what expired is swept by
// the writes that follow, a few at a time, and never answered in between. It
// is a [Store], a [Watcher] and an [Ender], safe for concurrent use. Make it with
// [NewMemoryStore].
type MemoryStore struct {
	max    int // per shard; 0 = nobody made this store
	shards [memoryShards]shard
}

const (
	memoryShards       = 64
	defaultMaxSessions = 100_000
	sweepPerWrite      = 4 // two to keep up, two to catch up
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
	all   mark // of every tag
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

type mark struct{ at, until time.Time }

// move moves the mark forward.
func (m *mark) move(at, until time.Time) {
	if at.After(m.at) {
		m.at = at
	}
	if until.After(m.until) {
		m.until = until
	}
}

// holds says whether the mark ends what was born then.
func (m mark) holds(born, now time.Time) bool {
	return born.Before(m.at) && m.until.After(now)
}

type watch struct {
	gone  chan struct{}
	timer *time.Timer
}

// NewMemoryStore returns an empty store, or every fault of cfg at once.
func NewMemoryStore(cfg MemoryConfig) (*MemoryStore, error) {
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = defaultMaxSessions
	}
	if cfg.MaxSessions < 1024 {
		c := faults.For("session")
		c.Add("MemoryConfig.MaxSessions", cfg.MaxSessions, "is less than 1024", "leave it zero for 100000, or set what the memory allows")
		return nil, c.Err()
	}
	return newMemoryStore(cfg.MaxSessions), nil
}

func newMemoryStore(maxSessions int) *MemoryStore {
	m := &MemoryStore{max: maxSessions / memoryShards}
	for i := range m.shards {
		m.shards[i].byRef = map[Ref]*entry{}
		m.shards[i].byTag = map[Tag]family{}
		m.shards[i].marks = map[Tag]mark{}
		m.shards[i].ended = map[Ref]time.Time{}
	}
	return m
}

// Tags are random or keyed hashes, so that nobody can aim at one shard.
func (m *MemoryStore) shard(t Tag) *shard { return &m.shards[t[0]%memoryShards] }

// Load implements [Store].
func (m *MemoryStore) Load(_ context.Context, ref Ref) (Record, error) {
	s := m.shard(ref.Tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.live(ref, time.Now())
	if e == nil {
		return Record{}, ErrNotFound
	}
	return e.rec, nil
}

// Create implements [Store].
func (m *MemoryStore) Create(_ context.Context, ref Ref, rec Record, q Quota) ([]Ref, error) {
	s := m.shard(ref.Tag)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	if s.revoked(ref.Tag, rec.Born, now) {
		return nil, ErrRevoked
	}
	if s.live(ref, now) != nil {
		return nil, ErrExists
	}
	dropped, err := s.makeRoom(ref.Tag, q, now, m.max)
	if err != nil {
		return nil, err
	}
	rec.Version = 1
	f := s.byTag[ref.Tag]
	e := &entry{ref: ref, rec: rec, next: f.head}
	if e.next != nil {
		e.next.prev = e
	}
	s.byTag[ref.Tag] = family{head: e, n: f.n + 1}
	s.byRef[ref] = e
	heap.Push(s.heapOf(e), e)
	return dropped, nil
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

// Update implements [Store].
func (m *MemoryStore) Update(_ context.Context, ref Ref, rec Record) error {
	s := m.shard(ref.Tag)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	e := s.live(ref, now)
	switch {
	case e == nil:
		return ErrNotFound
	case e.rec.Version != rec.Version:
		return ErrConflict
	}
	e.rec.Version++
	e.rec.Blob = rec.Blob
	e.rec.Expires = rec.Expires
	heap.Fix(s.heapOf(e), e.at)
	return nil
}

// Touch implements [Store].
func (m *MemoryStore) Touch(_ context.Context, ref Ref, expires time.Time) error {
	s := m.shard(ref.Tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.live(ref, time.Now())
	if e == nil {
		return ErrNotFound
	}
	if expires.After(e.rec.Expires) {
		e.rec.Expires = expires
		heap.Fix(s.heapOf(e), e.at)
	}
	return nil
}

// Delete implements [Store].
func (m *MemoryStore) Delete(_ context.Context, ref Ref) (Record, error) {
	s := m.shard(ref.Tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.live(ref, time.Now())
	if e == nil {
		return Record{}, ErrNotFound
	}
	s.remove(e)
	return e.rec, nil
}

// List implements [Store].
func (m *MemoryStore) List(_ context.Context, tags []Tag) ([]Entry, error) {
	var all []Entry
	now := time.Now()
	for _, tag := range tags {
		s := m.shard(tag)
		s.mu.Lock()
		for e := s.byTag[tag].head; e != nil; e = e.next {
			if e.rec.Expires.After(now) {
				all = append(all, Entry{e.ref, e.rec})
			}
		}
		s.mu.Unlock()
	}
	return all, nil
}

// Revoke implements [Store].
func (m *MemoryStore) Revoke(_ context.Context, r Revocation) (int, error) {
	n := 0
	for _, tag := range r.Tags {
		n += m.shard(tag).revoke(tag, r)
	}
	return n, nil
}

func (s *shard) revoke(tag Tag, r Revocation) (n int) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweepMarks(now)
	mk := s.marks[tag]
	mk.move(r.At, r.Until)
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

// RevokeAll implements [Store].
func (m *MemoryStore) RevokeAll(_ context.Context, at, until time.Time) error {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.all.move(at, until)
		for _, e := range s.byRef {
			s.remove(e)
		}
		s.mu.Unlock()
	}
	return nil
}

// End implements [Ender].
func (m *MemoryStore) End(_ context.Context, ref Ref, until time.Time) error {
	s := m.shard(ref.Tag)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ended := s.ended[ref]; !ended && len(s.ended) >= m.max {
		for r, t := range s.ended {
			if !t.After(now) {
				delete(s.ended, r)
			}
		}
		if len(s.ended) >= m.max {
			return ErrFull
		}
	}
	if until.After(s.ended[ref]) {
		s.ended[ref] = until
	}
	return nil
}

// Ended implements [Ender].
func (m *MemoryStore) Ended(_ context.Context, ref Ref, born time.Time) (bool, error) {
	s := m.shard(ref.Tag)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended[ref].After(now) || s.revoked(ref.Tag, born, now), nil
}

// Len is how many records are kept, those included that expired and were not
// swept yet.
func (m *MemoryStore) Len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.byRef)
		s.mu.Unlock()
	}
	return n
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

// Watch implements [Watcher]. Expiry is noticed by a timer, which runs while
// the watch does.
func (m *MemoryStore) Watch(ref Ref) (gone <-chan struct{}, stop func()) {
	s := m.shard(ref.Tag)
	w := &watch{gone: make(chan struct{})}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.live(ref, now)
	if e == nil {
		close(w.gone)
		return w.gone, func() {}
	}
	if e.watches == nil {
		e.watches = map[*watch]struct{}{}
	}
	e.watches[w] = struct{}{}
	w.timer = time.AfterFunc(e.rec.Expires.Sub(now), func() { s.expire(e, w) })
	return w.gone, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.timer.Stop()
		delete(e.watches, w)
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
