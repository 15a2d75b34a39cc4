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
	// anonymous session that expires next; if it holds none, it refuses the
	// new session, because dropping a login to make room would let anyone log
	// others out.
	MaxSessions int
}

// MemoryStore keeps sessions in this process. They end with it, and other
// processes do not see them. It runs no goroutine: what expired is swept by
// the writes that follow, a few at a time, and never answered in between. It
// is a [Store] and a [Watcher], safe for concurrent use.
type MemoryStore struct {
	max    int // per shard
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
	byTag map[Tag]*entry // head of a list
	named byExpiry       // of logged-in users
	anon  byExpiry
	marks map[Tag]mark
	_     [64]byte // keeps neighbours' locks off this cache line
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
		m.shards[i].byTag = map[Tag]*entry{}
		m.shards[i].marks = map[Tag]mark{}
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
func (m *MemoryStore) Create(_ context.Context, ref Ref, rec Record) error {
	s := m.shard(ref.Tag)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	if mk := s.marks[ref.Tag]; rec.Born.Before(mk.at) && mk.until.After(now) {
		return ErrRevoked
	}
	if s.live(ref, now) != nil {
		return ErrExists
	}
	if len(s.byRef) >= m.max {
		if len(s.anon) == 0 {
			return ErrFull
		}
		s.remove(s.anon[0])
	}
	rec.Version = 1
	e := &entry{ref: ref, rec: rec, next: s.byTag[ref.Tag]}
	if e.next != nil {
		e.next.prev = e
	}
	s.byTag[ref.Tag] = e
	s.byRef[ref] = e
	heap.Push(s.heapOf(e), e)
	return nil
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

// Revoke implements [Store].
func (m *MemoryStore) Revoke(_ context.Context, tags []Tag, at, until time.Time) (int, error) {
	n := 0
	for _, tag := range tags {
		n += m.shard(tag).revoke(tag, at, until)
	}
	return n, nil
}

func (s *shard) revoke(tag Tag, at, until time.Time) (n int) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := 0
	for t, mk := range s.marks { // a few per revocation keep the marks few
		if !mk.until.After(now) {
			delete(s.marks, t)
		}
		if seen++; seen == 2*sweepPerWrite {
			break
		}
	}
	mk := s.marks[tag]
	if at.After(mk.at) {
		mk.at = at
	}
	if until.After(mk.until) {
		mk.until = until
	}
	s.marks[tag] = mk
	for e := s.byTag[tag]; e != nil; {
		next := e.next
		if !e.rec.Born.After(at) {
			if e.rec.Expires.After(now) {
				n++
			}
			s.remove(e)
		}
		e = next
	}
	return n
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
	switch {
	case e.prev != nil:
		e.prev.next = e.next
	case e.next != nil:
		s.byTag[e.ref.Tag] = e.next
	default:
		delete(s.byTag, e.ref.Tag)
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
