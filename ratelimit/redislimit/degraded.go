package redislimit

import (
	"context"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

// most is the largest N that a memory store counts.
const most = 1_000_000_000

// degraded decides in this node's memory, for as long as Redis is away.
//
// Every unit that this node admits stands for one on each node, so it is
// counted as many times as there are nodes, against N and what Redis said last:
// of what was left when it went away, this node admits its share, rounded up.
func (s *Store) degraded(ctx context.Context, mode string, keys []string, charges []ratelimit.Charge, states []ratelimit.State) (bool, error) {
	now := time.Now()
	var local []ratelimit.Charge // what is counted
	var index []int              // where it stands in charges
	var seeds []seed
	seeded := true // whether every seed leaves room at all
	for i := range charges {
		c := &charges[i]
		switch c.OnOutage {
		case ratelimit.Closed:
			return false, ratelimit.ErrOutage
		case ratelimit.DangerouslyOpen:
			states[i] = ratelimit.State{Fits: c.Cost <= c.Capacity(), Remaining: c.Capacity(), Degraded: true}
			if !states[i].Fits {
				states[i].RetryAfter = -1
				seeded = false
			}
			continue
		}
		sd := s.last.seed(keys[i], now)
		room := s.room(c)
		l := *c
		setCapacity(&l, max(room-sd.used, 1))
		l.Cost = min(c.Cost, never) * s.nodes
		if room <= sd.used {
			seeded = false
		}
		local, index, seeds = append(local, l), append(index, i), append(seeds, sd)
	}
	ask := s.local.PeekAll
	if mode == modeTake && seeded {
		ask = s.local.TakeAll
	}
	got := make([]ratelimit.State, len(local))
	ok, err := ask(ctx, local, got)
	if err != nil {
		return false, err
	}
	for j, i := range index {
		c, st := &charges[i], got[j]
		left := st.Remaining
		if s.room(c) <= seeds[j].used {
			st.Fits, left = false, 0
		}
		st.Degraded = true
		st.Remaining = left / s.nodes
		st.ResetAfter = max(st.ResetAfter, seeds[j].left)
		if !st.Fits {
			st.RetryAfter = s.retry(ctx, c, &local[j], st.RetryAfter, seeds[j].left)
		}
		states[i] = st
	}
	return ok && seeded, nil
}

// room is what a charge admits at once where each unit counts for every node.
func (s *Store) room(c *ratelimit.Charge) int64 { return min(c.Capacity()+s.nodes-1, most) }

func setCapacity(c *ratelimit.Charge, n int64) {
	if c.Burst > 0 {
		c.Burst = n
	} else {
		c.N = n
	}
}

// retry is how long from now until a charge that was refused fits, should Redis
// stay away: when the local window has room beside the seed, or when the seed
// is over and it has room without.
func (s *Store) retry(ctx context.Context, c, local *ratelimit.Charge, beside, seed time.Duration) time.Duration {
	if c.Cost > c.Capacity() {
		return -1
	}
	if seed <= 0 {
		if beside > 0 {
			return beside
		}
		return c.Per // more than this node's share: it fits when Redis is back
	}
	alone := *local
	setCapacity(&alone, s.room(c))
	var st [1]ratelimit.State
	if _, err := s.local.PeekAll(ctx, []ratelimit.Charge{alone}, st[:]); err != nil || st[0].RetryAfter < 0 {
		return c.Per
	}
	return max(seed, st[0].RetryAfter)
}
