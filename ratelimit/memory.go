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
	maxBytes int64
	shards   [shardCount]shard
}

const (
	shardCount    = 256
	overflowSlots = 64  // shared counters a shard has for networks when it is full
	sweepSteps    = 4   // keys looked at for each new one
	perKeyBytes   = 120 // what a key costs beside its window: map slot, order, slack
)

type key struct{ lo, hi uint64 }

type shard struct {
	mu       sync.Mutex // guards the fields below
	windows  map[key]window
	overflow map[key]window
	order    []ordered // every key of windows, for the sweep
	hand     int
	bytes    int64
	_        [64]byte // neighbours do not share a cache line
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
	s := &MemoryStore{base: time.Now(), lo: maphash.MakeSeed(), hi: maphash.MakeSeed(), maxBytes: cfg.MaxBytes / shardCount}
	for i := range s.shards {
		s.shards[i].windows = map[key]window{}
	}
	return s, nil
}

// now is monotonic, so a clock that is set back releases nobody.
func (s *MemoryStore) now() int64 { return int64(time.Since(s.base)) }

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

// overflowKey names the shared counter of a subject's network within its shard.
func (s *MemoryStore) overflowKey(c *Charge) key {
	a := c.Subject.Addr
	if a.IsValid() {
		bits := 16
		if a.Is6() {
			bits = 32
		}
		if p, err := a.Prefix(bits); err == nil {
			a = p.Addr()
		}
	}
	k := s.hash(c.Rule, int64(c.Per), netip.Addr{}, "")
	network := s.hash("", 0, a, "")
	if !a.IsValid() {
		network = s.hash("", 0, a, c.Subject.Name)
	}
	k.hi ^= network.lo % overflowSlots
	return k
}

// maxCharges bounds one decision, so that its working set stays on the stack.
const maxCharges = 16

// ErrTooManyCharges is returned for a call with more than 16 charges.
var ErrTooManyCharges = errors.New("ratelimit: more than 16 limits in one decision")

// decision is the working set of one call.
type decision struct {
	keys   [maxCharges]key
	shards [maxCharges]uint8
	locked [maxCharges]uint8 // distinct shards, ascending, so that calls never deadlock
	nLock  int
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
	shared bool // in the network's overflow counter
	fresh  bool // counted by this decision for the first time
}

// find returns the place of a charge. A key that has no counter of its own is
// counted in its network's overflow while that holds anything, since the key's
// own hits may be among what is counted there.
func (s *MemoryStore) find(sh *shard, c *Charge, k key, now int64) place {
	if w, ok := sh.windows[k]; ok {
		return place{w: w, k: k}
	}
	full := sh.bytes+entryBytes(newSize(c.N)) > s.maxBytes
	if full || len(sh.overflow) > 0 {
		ok := s.overflowKey(c)
		w := sh.overflow[ok]
		if full || w != nil && w.used(now, int64(c.Per)) > 0 {
			return place{w: w, k: ok, shared: true}
		}
	}
	return place{k: k}
}

func newSize(n int64) int {
	if n > exactMost {
		return bucketHeader + (slots+1)/2
	}
	return ringHeader + int(min(n, firstRing))
}

func entryBytes(words int) int64 { return perKeyBytes + 8*int64(words) }

// TakeAll implements [Store].
func (s *MemoryStore) TakeAll(_ context.Context, charges []Charge, states []State) (bool, error) {
	return s.decide(charges, states, true)
}

// PeekAll implements [Store].
func (s *MemoryStore) PeekAll(_ context.Context, charges []Charge, states []State) (bool, error) {
	return s.decide(charges, states, false)
}

func (s *MemoryStore) decide(charges []Charge, states []State, take bool) (bool, error) {
	if len(charges) > maxCharges || len(states) < len(charges) {
		return false, ErrTooManyCharges
	}
	if len(charges) == 1 { // the common case, without the working set of many
		c := &charges[0]
		k := s.keyOf(c)
		sh := &s.shards[k.lo%shardCount]
		sh.mu.Lock()
		now := s.now()
		p := s.find(sh, c, k, now)
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
	all := true
	var places [maxCharges]place
	for i := range charges {
		places[i] = s.find(&s.shards[d.shards[i]], &charges[i], d.keys[i], now)
		all = places[i].judge(&charges[i], &states[i], now) && all
	}
	for i := range charges {
		s.settle(&s.shards[d.shards[i]], &places[i], &charges[i], &states[i], now, take && all)
	}
	// Only now: until every charge is recorded, a window that counts nothing
	// yet may be one that is about to.
	for i := range charges {
		s.tidy(&s.shards[d.shards[i]], &places[i], now)
	}
	return all, nil
}

// judge reports whether the charge fits.
func (p *place) judge(c *Charge, st *State, now int64) bool {
	if p.w != nil {
		p.used = p.w.used(now, int64(c.Per))
	}
	*st = State{Fits: c.Cost <= c.N-p.used, Remaining: max(c.N-p.used, 0)}
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
	case !st.Fits:
		st.RetryAfter = time.Duration(p.w.room(now, int64(c.Per), p.used, c.Cost, c.N))
	}
	if p.w != nil {
		st.ResetAfter = time.Duration(p.w.full(now, int64(c.Per)))
	}
}

// tidy drops recovered keys where the decision needed room.
func (s *MemoryStore) tidy(sh *shard, p *place, now int64) {
	if p.fresh || p.shared {
		s.sweep(sh, now)
	}
}

// record counts an admitted charge.
func (s *MemoryStore) record(sh *shard, p *place, c *Charge, now int64) {
	if p.w == nil {
		p.w = newWindow(c.N)
		p.w.used(now, int64(c.Per))
		p.fresh = !p.shared
	}
	before := len(p.w)
	p.w = p.w.add(now, int64(c.Per), c.Cost, c.N)
	switch {
	case p.shared:
		if sh.overflow == nil {
			sh.overflow = map[key]window{}
		}
		sh.overflow[p.k] = p.w // at most overflowSlots for each rule and window
	case p.fresh:
		sh.windows[p.k] = p.w
		sh.order = append(sh.order, ordered{p.k, int64(c.Per)})
		sh.bytes += entryBytes(len(p.w))
	case len(p.w) != before:
		sh.windows[p.k] = p.w
		sh.bytes += 8 * int64(len(p.w)-before)
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
		sh.bytes -= entryBytes(len(w))
		last := len(sh.order) - 1
		sh.order[sh.hand] = sh.order[last]
		sh.order = sh.order[:last]
	}
}

// Reset implements [Store]. What stands in an overflow counter that others
// share is not forgotten.
func (s *MemoryStore) Reset(_ context.Context, charges []Charge) error {
	if len(charges) > maxCharges {
		return ErrTooManyCharges
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

// Keys is how many subjects have a counter of their own, and Bytes an estimate
// of the memory that all counters take.
func (s *MemoryStore) Keys() (keys int, bytes int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		keys += len(sh.windows)
		bytes += sh.bytes
		for _, w := range sh.overflow {
			bytes += entryBytes(len(w))
		}
		sh.mu.Unlock()
	}
	return keys, bytes
}
