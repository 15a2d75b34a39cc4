package ratelimit

import (
	"context"
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
	// A key takes 120 to 320 bytes, and up to 1300 where N is near 128.
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

	// perKeyBytes is what a key costs beside its window: a map slot at the
	// lowest load (94), a place in the sweep's order (32), and slack.
	perKeyBytes = 140

	// keyBytes is reserved for every key, so that it can count to any N within
	// the bound: by buckets at worst.
	keyBytes = perKeyBytes + bucketWords*wordBytes

	wordBytes = 9 // 8 and what size classes waste
)

type key struct{ lo, hi uint64 }

type shard struct {
	mu      sync.Mutex // guards the fields below
	windows map[key]window
	spilled map[key]spill // overflow, where keys of one network share a window
	order   []ordered     // every key of windows, for the sweep
	hand    int
	bytes   int64    // of windows
	_       [64]byte // neighbours do not share a cache line
}

type spill struct {
	w   window
	per int64
}

type ordered struct {
	key key
	per int64
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
	for i := range s.shards {
		s.shards[i].windows = map[key]window{}
	}
	return s, nil
}

// now is monotonic, so a clock that is set back releases nobody.
func (s *MemoryStore) now() int64 { return max(int64(time.Since(s.base)), 0) }

// hash is keyed by two seeds of this process: nobody outside can choose
// addresses or names that meet in one key.
func (s *MemoryStore) hash(rule string, per int64, addr netip.Addr, name string) key {
	var b [16 + 1 + 8 + 64]byte
	n := 0
	if addr.IsValid() {
		a := addr.As16()
		n += copy(b[:], a[:])
		b[n] = 1
	}
	n = 17
	for i := range 8 {
		b[n] = byte(per >> (8 * i))
		n++
	}
	k := key{}
	if len(rule) <= 64 {
		n += copy(b[n:], rule)
	} else {
		k = s.mix(k, rule)
	}
	k.lo += maphash.Bytes(s.lo, b[:n])
	k.hi += maphash.Bytes(s.hi, b[:n])
	if name != "" {
		k = s.mix(k, name)
	}
	return k
}

// mix adds the hash of a text to a key, in order.
func (s *MemoryStore) mix(k key, text string) key {
	return key{
		lo: k.lo*0x9e3779b97f4a7c15 + maphash.String(s.lo, text),
		hi: k.hi*0xc2b2ae3d27d4eb4f + maphash.String(s.hi, text),
	}
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
	if w, ok := sh.windows[k]; ok {
		return place{w: w, k: k}
	}
	full := sh.bytes+int64(brought+1)*keyBytes > s.ownBytes
	if !full && len(sh.spilled) == 0 {
		return place{k: k, fresh: true}
	}
	at := s.overflowKey(c)
	w := sh.spilled[at].w
	switch {
	case w != nil && (full || w.used(now, int64(c.Per)) > 0):
		return place{w: w, k: at, shared: true}
	case !full:
		return place{k: k, fresh: true}
	}
	s.sweepSpilled(sh, now)
	if len(sh.spilled)+brought >= s.spills {
		return place{none: true, shared: true}
	}
	return place{k: at, shared: true, fresh: true}
}

// windowBytes is what a key with a window of this length takes of the bound.
func windowBytes(words int) int64 {
	return perKeyBytes + wordBytes*int64(max(words, bucketWords))
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
	switch {
	case p.shared:
		if sh.spilled == nil {
			sh.spilled = map[key]spill{}
		}
		sh.spilled[p.k] = spill{p.w, int64(c.Per)}
	case p.fresh:
		sh.windows[p.k] = p.w
		sh.order = append(sh.order, ordered{p.k, int64(c.Per)})
		sh.bytes += windowBytes(len(p.w))
	case len(p.w) != before:
		sh.windows[p.k] = p.w
		sh.bytes += windowBytes(len(p.w)) - windowBytes(before)
	}
}

// tidy drops recovered keys when the decision brought one or found no room.
func (s *MemoryStore) tidy(sh *shard, p *place, now int64) {
	if p.fresh || p.shared {
		s.sweep(sh, now)
		s.sweepSpilled(sh, now)
	}
}

// sweep drops recovered keys, a few for each one that came. It never drops a
// key that still counts.
func (s *MemoryStore) sweep(sh *shard, now int64) {
	for range min(sweepSteps, len(sh.order)) {
		if sh.hand >= len(sh.order) {
			sh.hand = 0
		}
		o := sh.order[sh.hand]
		w := sh.windows[o.key]
		if w.used(now, o.per) > 0 {
			sh.hand++
			continue
		}
		delete(sh.windows, o.key)
		sh.bytes -= windowBytes(len(w))
		last := len(sh.order) - 1
		sh.order[sh.hand] = sh.order[last]
		sh.order = sh.order[:last]
	}
}

// sweepSpilled is sweep for the overflow. Go begins at a random key.
func (s *MemoryStore) sweepSpilled(sh *shard, now int64) {
	steps := 0
	for k, v := range sh.spilled {
		if v.w.used(now, v.per) == 0 {
			delete(sh.spilled, k)
		}
		if steps++; steps == sweepSteps {
			return
		}
	}
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
		if w := s.shards[d.shards[i]].windows[d.keys[i]]; w != nil {
			w.reset()
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
		windows += len(sh.windows) + len(sh.spilled)
		bytes += sh.bytes + int64(len(sh.spilled))*keyBytes
		sh.mu.Unlock()
	}
	return windows, bytes
}
