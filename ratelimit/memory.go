package ratelimit

import (
	"context"
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
	// A key is counted with 250 bytes, and up to 1250 where N is near 128. Where
	// that finds no room the key goes on within 250, as if N were above 128: no
	// longer exact, but never above N.
	//
	// A key is only ever dropped when nothing is counted for it any more, so
	// filling the memory releases no one. Keys that no longer fit share
	// counters with the newcomers of their own network (/16 or /32).
	MaxBytes int64
}

// MemoryStore counts in the memory of this process. It is safe for concurrent
// use, has no goroutine and needs no Close: keys that have recovered are dropped
// as new ones arrive. The zero value is a fault of [New].
type MemoryStore struct {
	base     time.Time
	lo, hi   maphash.Seed
	factors  [4]uint64 // of addrKey, as secret as the seeds
	maxBytes int64     // as configured

	mask uint64 // of the shards that are in use

	// Of each shard:
	ownBytes  int64  // for keys with a window of their own
	spills    [2]int // overflow windows at most, by network and by name
	nameSlots uint64 // overflow windows that one rule spreads names over

	shards [shardCount]shard
}

const (
	shardCount = 256 // at most
	// shardBytes is what a shard has at least: in a smaller one the overflow has so
	// few windows that those of one network's rules leave none to the others.
	shardBytes = 64 << 10
)

type shard struct {
	mu  sync.Mutex // guards the fields below, but for look-ups of own
	own table      // keys with a window of their own
	// The overflow: where keys of one network share a window, and apart from it,
	// so that neither takes the other's room, where names do.
	spilled [2]table
	hand    int    // where the sweep of own goes on
	spill   [2]int // and those of spilled
	bytes   int64  // of own
}

// overflowOf says which of spilled counts the charge.
func overflowOf(c *Charge) int {
	if c.Subject.Addr.IsValid() {
		return 0
	}
	return 1
}

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore returns an empty store, or the fault of cfg as a
// [hardening.ConfigError].
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
	for i := range s.factors {
		s.factors[i] = maphash.Bytes(maphash.MakeSeed(), nil)
	}
	inUse := int64(shardCount)
	for cfg.MaxBytes/inUse < shardBytes {
		inUse /= 2
	}
	s.mask = uint64(inUse - 1)
	budget := cfg.MaxBytes / inUse
	s.spills = [2]int{int(budget / 8 / keyBytes), int(budget / 16 / keyBytes)}
	s.nameSlots = uint64(min(max(s.spills[1]/16, 1), 64)) // room for 16 rules that count names
	s.ownBytes = budget - int64(s.spills[0]+s.spills[1])*keyBytes
	return s, nil
}

// now is monotonic, so a clock that is set back releases nobody.
func (s *MemoryStore) now() int64 { return max(int64(time.Since(s.base)), 0) }

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
		sh := uint8(d.keys[i].lo & s.mask)
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
		c, st := &charges[0], &states[0]
		k := s.keyOf(c)
		return take && s.hitKnown(k, c, st) || s.decideOne(k, c, st, take), nil
	}
	var d decision
	s.lock(&d, charges)
	defer s.unlock(&d)
	now := s.now()
	all := true
	for i := range charges {
		p, brought := &d.places[i], 0
		for j := range i {
			if d.places[j].fresh && d.shards[j] == d.shards[i] {
				brought++
			}
		}
		*p = s.find(&s.shards[d.shards[i]], &charges[i], d.keys[i], now, brought)
		all = p.judge(&charges[i], &states[i], now) && all
	}
	for i := range charges {
		s.settle(&s.shards[d.shards[i]], &d.places[i], &charges[i], &states[i], now, take && all)
	}
	for i := range charges {
		d.places[i].reopen()
	}
	// Only now: until every charge is recorded, a window that counts nothing
	// yet may be one that is about to.
	for i := range charges {
		s.tidy(&s.shards[d.shards[i]], &d.places[i], now)
	}
	return all, nil
}

// takeKnown takes cost from the only limit of an address, if the window is
// known, in buckets and has room, and says so in d: the road of nearly every
// request. It waits for nobody. Else it reports false and has taken nothing.
func (s *MemoryStore) takeKnown(p *policy, addr netip.Addr, cost int64, d *Decision) bool {
	if !addr.IsValid() {
		return false
	}
	now := s.now()
	k := s.addrKey(&p.hashed, addr)
	c := s.shards[k.lo&s.mask].own.find(k)
	if c == nil {
		return false
	}
	left, full, ok := c.tryHit(now, int64(p.Per), cost, p.N)
	if !ok {
		return false
	}
	d.Allowed, d.Policy, d.Limit, d.Remaining, d.ResetAfter = true, p.Name, p.Limit, left, time.Duration(full)
	d.receipt.at, d.receipt.seal = stamp(now), k.seal(cost, left)
	return true
}

// hitKnown does the same for a charge.
func (s *MemoryStore) hitKnown(k key, c *Charge, st *State) bool {
	known := s.shards[k.lo&s.mask].own.find(k)
	if known == nil || !known.isBucketed() { // do not read the clock in vain
		return false
	}
	now := s.now()
	left, full, ok := known.tryHit(now, int64(c.Per), c.Cost, c.N)
	if ok {
		*st = State{Fits: true, Remaining: left, ResetAfter: time.Duration(full), At: stamp(now)}
	}
	return ok
}

// decideOne decides on one charge that is countable, without the working set of
// many.
func (s *MemoryStore) decideOne(k key, c *Charge, st *State, take bool) bool {
	sh := &s.shards[k.lo&s.mask]
	sh.mu.Lock()
	now := s.now()
	p := s.find(sh, c, k, now, 0)
	fits := p.judge(c, st, now)
	s.settle(sh, &p, c, st, now, take && fits)
	p.reopen()
	s.tidy(sh, &p, now)
	sh.mu.Unlock()
	return fits
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
	now := s.now()
	for i := range charges {
		if c := s.shards[d.shards[i]].own.find(d.keys[i]); c != nil {
			c.close()
			c.reset(now, int64(charges[i].Per))
			c.reopen()
		}
	}
	return nil
}

// stamp is a time as [State.At] has it, which is never 0.
func stamp(now int64) int64 { return now + 1 }

// Refund implements [Store]. What was taken from an overflow window that others
// share is not given back.
func (s *MemoryStore) Refund(_ context.Context, charges []Charge, taken []State) error {
	if !countable(charges, len(taken)) {
		return ErrCharges
	}
	var d decision
	s.lock(&d, charges)
	defer s.unlock(&d)
	now := s.now()
	for i := range charges {
		if at := taken[i].At; at > 0 && at <= stamp(now) {
			if c := s.shards[d.shards[i]].own.find(d.keys[i]); c != nil {
				c.close()
				c.giveBack(&charges[i], at-stamp(0), now)
				c.reopen()
			}
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
		shared := sh.spilled[0].n + sh.spilled[1].n
		windows += sh.own.n + shared
		bytes += sh.bytes + int64(shared)*keyBytes
		sh.mu.Unlock()
	}
	return windows, bytes
}
