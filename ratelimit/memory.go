package ratelimit

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/inovy/hardening/internal/faults"
)

// MemoryConfig adjusts [NewMemoryStore]. The zero value is the default.
type MemoryConfig struct {
	_ [0]func()

	// MaxBytes bounds the memory for counters. Default: 256 MiB, from 1 MiB.
	// A key is counted with 250 bytes, and up to 1250 where N is near 128.
	//
	// A key is only ever dropped when nothing is counted for it any more, so
	// filling the memory releases no one. Keys that no longer fit share
	// counters with the newcomers of their own network (/16 or /32).
	MaxBytes int64
}

// MemoryStore counts in the memory of this process. It has no goroutine and
// needs no Close: keys that have recovered are dropped as new ones arrive.
type MemoryStore struct {
	base     time.Time
	lo, hi   maphash.Seed
	maxBytes int64 // as configured

	// Of each shard:
	ownBytes  int64  // for keys with a window of their own
	spills    int    // overflow windows at most
	nameSlots uint64 // overflow windows that one rule spreads names over

	shards [shardCount]shard
}

const (
	shardCount = 256
	sweepSteps = 4 // keys looked at for each new one

	// keyBytes is reserved for every key, so that it can count to any N within
	// the bound: by buckets at worst.
	keyBytes = entryBytes + bucketWords*wordBytes

	wordBytes = 9 // 8 and what size classes waste
)

// key is a keyed hash of 128 bits: two subjects never meet in one.
type key struct{ lo, hi uint64 }

type shard struct {
	mu      sync.Mutex // guards the fields below
	own     table      // keys with a window of their own
	spilled table      // overflow, where keys of one network share a window
	hand    int        // where the sweep of own goes on
	spill   int        // and that of spilled
	bytes   int64      // of own
}

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore returns an empty store.
func NewMemoryStore(cfg MemoryConfig) (*MemoryStore, error) {
	f := faults.For("ratelimit")
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 256 << 20
	}
	if cfg.MaxBytes < 1<<20 {
		f.Add("MemoryConfig.MaxBytes", cfg.MaxBytes, "is less than 1 MiB, which holds too few keys to tell clients apart", "set at least 1 << 20, or 0 for 256 MiB")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	s := &MemoryStore{base: time.Now(), lo: maphash.MakeSeed(), hi: maphash.MakeSeed(), maxBytes: cfg.MaxBytes}
	budget := cfg.MaxBytes / shardCount
	s.spills = int(max(budget/8/keyBytes, 4))
	s.nameSlots = uint64(min(max(s.spills/8, 1), 64))
	s.ownBytes = budget - int64(s.spills)*keyBytes
	return s, nil
}

// now is monotonic, so a clock that is set back releases nobody.
func (s *MemoryStore) now() int64 { return max(int64(time.Since(s.base)), 0) }

// hash is keyed by two seeds of this process: nobody outside can choose
// addresses or names that meet in one key.
func (s *MemoryStore) hash(rule string, per int64, addr netip.Addr, name string) key {
	const head = 8 + 2 + 16
	var b [128]byte
	binary.LittleEndian.PutUint64(b[:], uint64(per))
	if addr.IsValid() {
		a := addr.As16()
		copy(b[10:], a[:])
		b[8] = 1
	}
	if len(rule)+len(name) <= len(b)-head {
		b[9] = byte(len(rule))
		n := head + copy(b[head:], rule)
		n += copy(b[n:], name)
		return key{maphash.Bytes(s.lo, b[:n]), maphash.Bytes(s.hi, b[:n])}
	}
	b[8] |= 2
	return key{s.long(s.lo, b[:head], rule, name), s.long(s.hi, b[:head], rule, name)}
}

// long hashes what does not fit the stack, without joining it: the hash of
// hashes.
func (s *MemoryStore) long(seed maphash.Seed, head []byte, rule, name string) uint64 {
	var b [24]byte
	binary.LittleEndian.PutUint64(b[0:], maphash.Bytes(seed, head))
	binary.LittleEndian.PutUint64(b[8:], maphash.String(seed, rule))
	binary.LittleEndian.PutUint64(b[16:], maphash.String(seed, name))
	return maphash.Bytes(seed, b[:])
}

func (s *MemoryStore) keyOf(c *Charge) key {
	return s.hash(c.Rule, int64(c.Per), c.Subject.Addr, c.Subject.Name)
}

// overflowKey names the window that a subject shares with others of its network
// within its shard: /16 or /32. Names have no network; a hash splits them.
func (s *MemoryStore) overflowKey(c *Charge) key {
	if a := c.Subject.Addr; a.IsValid() {
		bits := 16
		if a.Is6() {
			bits = 32
		}
		p, _ := a.Prefix(bits) // of a valid address it cannot fail
		return s.hash(c.Rule, int64(c.Per), p.Addr(), "")
	}
	k := s.hash(c.Rule, int64(c.Per), netip.Addr{}, "")
	k.hi ^= maphash.String(s.lo, c.Subject.Name) % s.nameSlots
	return k
}

// maxCharges bounds one decision, so that its working set stays on the stack.
const maxCharges = 16

// ErrCharges is returned for a call with more than 16 charges, fewer states
// than charges, or a charge whose N, Per or Cost is out of range.
var ErrCharges = errors.New("ratelimit: charges that cannot be counted")

func countable(charges []Charge, states int) bool {
	if len(charges) > maxCharges || states < len(charges) {
		return false
	}
	for i := range charges {
		c := &charges[i]
		if c.N < 1 || c.N > maxN || c.Per < minPer || c.Per > maxPer || c.Cost < 1 {
			return false
		}
	}
	return true
}

// decision is the working set of one call.
type decision struct {
	keys   [maxCharges]key
	shards [maxCharges]uint8
	locked [maxCharges]uint8 // distinct shards, ascending, so that calls never deadlock
	nLock  int
	places [maxCharges]place
}

func (s *MemoryStore) lock(d *decision, charges []Charge) {
	for i := range charges {
		d.keys[i] = s.keyOf(&charges[i])
		sh := uint8(d.keys[i].lo % shardCount)
		d.shards[i] = sh
		at := d.nLock
		for at > 0 && d.locked[at-1] > sh {
			at--
		}
		if at > 0 && d.locked[at-1] == sh {
			continue
		}
		copy(d.locked[at+1:d.nLock+1], d.locked[at:d.nLock])
		d.locked[at] = sh
		d.nLock++
	}
	for _, sh := range d.locked[:d.nLock] {
		s.shards[sh].mu.Lock()
	}
}

func (s *MemoryStore) unlock(d *decision) {
	for _, sh := range d.locked[:d.nLock] {
		s.shards[sh].mu.Unlock()
	}
}

// place is where a charge is counted.
type place struct {
	w      window // nil if nothing is counted yet
	k      key
	at     int // position in the table
	used   int64
	shared bool // in the network's overflow window
	fresh  bool // a key that this decision brings
	none   bool // no place is left, not even in the overflow
}

// find returns the place of a charge, when the decision brings brought other
// new keys. A key that has no window of its own is counted in its network's
// overflow while that holds anything, since the key's own hits may be among
// what is counted there.
func (s *MemoryStore) find(sh *shard, c *Charge, k key, now int64, brought int) place {
	if i := sh.own.find(k); i >= 0 {
		return place{w: sh.own.entries[i].w, k: k, at: i}
	}
	full := sh.bytes+int64(brought+1)*keyBytes > s.ownBytes
	if !full && len(sh.spilled.entries) == 0 {
		return place{k: k, fresh: true}
	}
	over := s.overflowKey(c)
	i := sh.spilled.find(over)
	switch {
	case i >= 0 && (full || sh.spilled.entries[i].w.used(now, int64(c.Per)) > 0):
		return place{w: sh.spilled.entries[i].w, k: over, at: i, shared: true}
	case !full:
		return place{k: k, fresh: true}
	case len(sh.spilled.entries)+brought >= s.spills:
		return place{none: true, shared: true}
	}
	return place{k: over, shared: true, fresh: true}
}

// windowBytes is what a key with a window of this length takes of the bound.
func windowBytes(words int) int64 {
	return entryBytes + wordBytes*int64(max(words, bucketWords))
}

// TakeAll implements [Store].
func (s *MemoryStore) TakeAll(_ context.Context, charges []Charge, states []State) (bool, error) {
	return s.decide(charges, states, true)
}

// PeekAll implements [Store].
func (s *MemoryStore) PeekAll(_ context.Context, charges []Charge, states []State) (bool, error) {
	return s.decide(charges, states, false)
}

func (s *MemoryStore) decide(charges []Charge, states []State, take bool) (bool, error) {
	if !countable(charges, len(states)) {
		return false, ErrCharges
	}
	if len(charges) == 1 { // without the working set of many
		c := &charges[0]
		k := s.keyOf(c)
		sh := &s.shards[k.lo%shardCount]
		sh.mu.Lock()
		now := s.now()
		p := s.find(sh, c, k, now, 0)
		fits := p.judge(c, &states[0], now)
		s.settle(sh, &p, c, &states[0], now, take && fits)
		s.tidy(sh, &p, now)
		sh.mu.Unlock()
		return fits, nil
	}
	var d decision
	s.lock(&d, charges)
	defer s.unlock(&d)
	now := s.now()
	all, brought := true, 0
	for i := range charges {
		p := &d.places[i]
		*p = s.find(&s.shards[d.shards[i]], &charges[i], d.keys[i], now, brought)
		all = p.judge(&charges[i], &states[i], now) && all
		if p.fresh {
			brought++
		}
	}
	for i := range charges {
		s.settle(&s.shards[d.shards[i]], &d.places[i], &charges[i], &states[i], now, take && all)
	}
	// Only now: until every charge is recorded, a window that counts nothing
	// yet may be one that is about to.
	for i := range charges {
		s.tidy(&s.shards[d.shards[i]], &d.places[i], now)
	}
	return all, nil
}

// judge reports whether the charge fits.
func (p *place) judge(c *Charge, st *State, now int64) bool {
	switch {
	case p.none:
		p.used = c.N
	case p.w != nil:
		p.used = p.w.used(now, int64(c.Per))
	}
	left := c.N - p.used // negative after a change to a smaller N
	*st = State{Fits: c.Cost <= left, Remaining: max(left, 0)}
	return st.Fits
}

// settle records the charge if it is to be taken, and completes its state.
func (s *MemoryStore) settle(sh *shard, p *place, c *Charge, st *State, now int64, take bool) {
	switch {
	case take:
		s.record(sh, p, c, now)
		st.Remaining -= c.Cost
	case c.Cost > c.N:
		st.RetryAfter = -1
	case p.none:
		st.RetryAfter = c.Per
	case !st.Fits:
		st.RetryAfter = time.Duration(p.w.room(now, int64(c.Per), p.used, c.Cost, c.N))
	}
	switch {
	case p.none:
		st.ResetAfter = c.Per
	case p.w != nil:
		st.ResetAfter = time.Duration(p.w.full(now, int64(c.Per)))
	}
}

// record counts an admitted charge.
func (s *MemoryStore) record(sh *shard, p *place, c *Charge, now int64) {
	maxWords := bucketWords
	if !p.shared {
		maxWords = max(bucketWords, len(p.w)+int((s.ownBytes-sh.bytes)/wordBytes))
	}
	before := len(p.w)
	if p.w == nil {
		p.w = newWindow(c.N)
		p.w.used(now, int64(c.Per))
	}
	p.w = p.w.add(now, int64(c.Per), c.Cost, c.N, maxWords)
	t := &sh.own
	if p.shared {
		t = &sh.spilled
	}
	switch {
	case p.fresh:
		t.insert(entry{p.k, p.w, int64(c.Per)})
		before = 0
	default:
		// Always: a ring that became buckets can be another slice of the same length.
		t.entries[p.at].w = p.w
	}
	if p.shared || len(p.w) == before {
		return // what is shared has its room set apart
	}
	sh.bytes += windowBytes(len(p.w))
	if before > 0 {
		sh.bytes -= windowBytes(before)
	}
}

// tidy drops recovered keys when the decision brought one or found no room.
func (s *MemoryStore) tidy(sh *shard, p *place, now int64) {
	if p.fresh || p.shared {
		sh.bytes -= sh.own.sweep(&sh.hand, now, p.shared)
		sh.spilled.sweep(&sh.spill, now, true)
	}
}

// sweep drops recovered entries, a few for each one that came, and returns what
// they took of the bound. It never drops a key that still counts. Unless room
// is urgent it leaves a key one more window, so that callers who come once in
// a while do not cost an allocation each time.
func (t *table) sweep(hand *int, now int64, urgent bool) (bytes int64) {
	for range min(sweepSteps, len(t.entries)) {
		if *hand >= len(t.entries) {
			*hand = 0
		}
		e := &t.entries[*hand]
		grace := e.per
		if urgent {
			grace = 0
		}
		if !e.w.idle(now, e.per, grace) {
			*hand++
			continue
		}
		bytes += windowBytes(len(e.w))
		t.remove(*hand)
	}
	return bytes
}

// Reset implements [Store]. What stands in an overflow window that others
// share is not forgotten.
func (s *MemoryStore) Reset(_ context.Context, charges []Charge) error {
	if !countable(charges, len(charges)) {
		return ErrCharges
	}
	var d decision
	s.lock(&d, charges)
	defer s.unlock(&d)
	for i := range charges {
		own := &s.shards[d.shards[i]].own
		if at := own.find(d.keys[i]); at >= 0 {
			own.entries[at].w.reset()
		}
	}
	return nil
}

// Usage is how many windows the store holds, those that keys share included,
// and how much of [MemoryConfig.MaxBytes] they take.
func (s *MemoryStore) Usage() (windows int, bytes int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		windows += len(sh.own.entries) + len(sh.spilled.entries)
		bytes += sh.bytes + int64(len(sh.spilled.entries))*keyBytes
		sh.mu.Unlock()
	}
	return windows, bytes
}
