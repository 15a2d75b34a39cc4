package session

import (
	"container/heap"
	"context"
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
	since := now()
	for i := range m.shards {
		m.shards[i].since, m.shards[i].last = since, since
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

// RevokeAll implements [Store].
func (m *MemoryStore) RevokeAll(_ context.Context, at, until time.Time) error {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		t := time.Now()
		s.all.move(at, t, s.markStamp(t), until)
		for _, e := range s.byRef {
			s.remove(e)
		}
		s.mu.Unlock()
	}
	return nil
}

// End implements [Ender]. A user who fills a part with sessions that ended, by
// logging in and out, loses the ones that are alive too, and fills it no more:
// their ends become one mark.
func (m *MemoryStore) End(_ context.Context, ref Ref, until time.Time) error {
	s := m.shard(ref.Tag)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.ended[ref]
	if !known && len(s.ended) >= m.max && !s.makeRoomForEnd(now, min(manyEnds, m.max/4)) {
		return ErrFull
	}
	if until.After(before) {
		s.ended[ref] = until
	}
	if before.After(now) {
		return ErrNotFound
	}
	return nil
}

// manyEnds is how many ends of one user are worth a mark in their place.
const manyEnds = 32

// makeRoomForEnd forgets ends that are over. If there are none, those of the
// user who has the most become a mark.
func (s *shard) makeRoomForEnd(now time.Time, many int) bool {
	ends, full := map[Tag]int{}, len(s.ended)
	var most Tag
	for r, t := range s.ended {
		if !t.After(now) {
			delete(s.ended, r)
			continue
		}
		if ends[r.Tag]++; ends[r.Tag] > ends[most] {
			most = r.Tag
		}
	}
	if len(s.ended) < full {
		return true
	}
	if ends[most] < many {
		return false
	}
	mk, stamp := s.marks[most], s.markStamp(now)
	for r, t := range s.ended {
		if r.Tag == most {
			mk.move(now, now, stamp, t)
			delete(s.ended, r)
		}
	}
	s.sweepMarks(now)
	s.marks[most] = mk
	return true
}

// Begin implements [Ender].
func (m *MemoryStore) Begin(_ context.Context, ref Ref, born, _ time.Time) (time.Time, error) {
	s := m.shard(ref.Tag)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revoked(ref.Tag, born, now) {
		return time.Time{}, ErrRevoked
	}
	return s.stamp(now), nil
}

// Ended implements [Ender].
func (m *MemoryStore) Ended(_ context.Context, ref Ref, stamp time.Time) (bool, error) {
	s := m.shard(ref.Tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stale(ref, stamp, time.Now()), nil
}

// Spare implements [Ender].
func (m *MemoryStore) Spare(_ context.Context, r Revocation, stamp, _ time.Time) (time.Time, error) {
	s := m.shard(r.Keep.Tag)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stale(r.Keep, stamp, now) {
		return time.Time{}, ErrNotFound
	}
	s.revokeLocked(r.Keep.Tag, r, now)
	return s.stamp(now), nil
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
