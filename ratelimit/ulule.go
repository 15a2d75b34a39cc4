package ratelimit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ulule/limiter/v3"
)

// ErrStore is returned by a store that [ToUlule] or [FromUlule] made of nil.
var ErrStore = errors.New("ratelimit: no store to count in")

// ToUlule lets a service that is built on ulule/limiter count in a [Store]: in
// memory or in Redis, with windows that never admit more than the rate. It
// passes the tests that ulule/limiter has for stores, and works in its
// middlewares.
//
// What differs from ulule's own stores:
//
//   - A refused request consumes nothing.
//   - Each rate counts for itself: 5 a second and 100 an hour for one key do not
//     share a counter, and neither do 5 and 10 a second.
//   - Context.Reset of a refusal is when the request fits, else when nothing is
//     counted any more; like ulule's it is cut to whole seconds.
//   - Peek at a used-up key reports Reached once a request was refused in the
//     last period, as ulule's does. A store call after each refusal marks it.
//   - A rate that is no [Limit] and a negative count are errors, [ErrLimit] and
//     [ErrCharges], and none of them admits anything.
//
// The middlewares of ulule/limiter answer a store's error with a panic unless
// their WithErrorHandler option is set: set it.
func ToUlule(s Store) limiter.Store { return toUlule{s} }

type toUlule struct{ store Store }

// charges are what a key is counted by, and the mark that it was refused.
func (u toUlule) charges(key string, rate limiter.Rate, cost int64) ([]Charge, error) {
	if u.store == nil {
		return nil, ErrStore
	}
	if _, err := FromRate(rate); err != nil {
		return nil, err
	}
	if cost < 0 {
		return nil, fmt.Errorf("%w: a count of %d", ErrCharges, cost)
	}
	n := strconv.FormatInt(rate.Limit, 10)
	who := Subject{Name: key}
	return []Charge{
		{Rule: "ulule:" + n, Subject: who, N: rate.Limit, Per: rate.Period, Cost: max(cost, 1)},
		{Rule: "ulule-refused:" + n, Subject: who, N: 1, Per: rate.Period, Cost: 1},
	}, nil
}

func contextOf(rate limiter.Rate, s *State, reached bool) limiter.Context {
	after := s.ResetAfter
	if !s.Fits && s.RetryAfter > 0 {
		after = s.RetryAfter
	}
	return limiter.Context{Limit: rate.Limit, Remaining: s.Remaining, Reset: time.Now().Add(after).Unix(), Reached: reached}
}

// Get implements limiter.Store.
func (u toUlule) Get(ctx context.Context, key string, rate limiter.Rate) (limiter.Context, error) {
	return u.Increment(ctx, key, 1, rate)
}

// Increment implements limiter.Store.
func (u toUlule) Increment(ctx context.Context, key string, count int64, rate limiter.Rate) (limiter.Context, error) {
	if count == 0 {
		return u.Peek(ctx, key, rate)
	}
	cs, err := u.charges(key, rate, count)
	if err != nil {
		return limiter.Context{}, err
	}
	var states [2]State
	ok, err := u.store.TakeAll(ctx, cs[:1], states[:1])
	if err != nil {
		return limiter.Context{}, err
	}
	if !ok {
		if _, err := u.store.TakeAll(ctx, cs[1:], states[1:]); err != nil {
			return limiter.Context{}, err
		}
	}
	return contextOf(rate, &states[0], !ok), nil
}

// Peek implements limiter.Store.
func (u toUlule) Peek(ctx context.Context, key string, rate limiter.Rate) (limiter.Context, error) {
	cs, err := u.charges(key, rate, 1)
	if err != nil {
		return limiter.Context{}, err
	}
	var states [2]State
	if _, err := u.store.PeekAll(ctx, cs, states[:]); err != nil {
		return limiter.Context{}, err
	}
	return contextOf(rate, &states[0], !states[0].Fits && !states[1].Fits), nil
}

// Reset implements limiter.Store.
func (u toUlule) Reset(ctx context.Context, key string, rate limiter.Rate) (limiter.Context, error) {
	cs, err := u.charges(key, rate, 1)
	if err != nil {
		return limiter.Context{}, err
	}
	if err := u.store.Reset(ctx, cs); err != nil {
		return limiter.Context{}, err
	}
	return contextOf(rate, &State{Fits: true, Remaining: rate.Limit}, false), nil
}

// FromUlule lets a [Limiter] count in a store of ulule/limiter, for a service
// that has one and moves over step by step. What such a store cannot do is
// lost:
//
//   - Its windows are fixed: around the end of one up to 2N are admitted within
//     the length of one.
//   - Several limits are checked one after the other. Each is first looked at
//     and then taken from, so a request that one limit refuses consumes nothing
//     unless others arrive at that moment: then it may have consumed from some.
//     More than N are not admitted in one of its windows by that.
//   - Times are whole seconds: RetryAfter is up to a second late, never early.
//   - Every limit is one or two round trips.
//   - It counts under keys of its own: what a limiter of ulule counts in the same
//     store it does not see.
//   - Whether nodes share it is known of ulule's memory store only.
//   - Keys are hashed without a secret: who reads the store can find an address
//     by trying all.
//   - It gives nothing back: [Limiter.Refund] fails with [ErrRefund].
//   - It has no leaky buckets: New refuses a [Limit] with Burst.
//   - Its errors are errors of the limiter: 503, where ratelimit/redislimit
//     would count on each node.
func FromUlule(s limiter.Store) Store { return fromUlule{s} }

type fromUlule struct{ store limiter.Store }

// of is a charge in ulule's words. The key names rule, subject and window
// without ambiguity; the window is whole milliseconds, which its Redis driver
// can count.
func (fromUlule) of(c *Charge) (string, limiter.Rate) {
	period := (c.Per + time.Millisecond - 1).Truncate(time.Millisecond)
	b := binary.AppendUvarint(make([]byte, 0, 96), uint64(period))
	for _, part := range [...]string{c.Rule, string(c.Subject.Addr.AsSlice()), c.Subject.Name} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:16]), limiter.Rate{Period: period, Limit: c.N}
}

// fill says how a charge stands; fits is known already.
func (fromUlule) fill(s *State, c *Charge, at limiter.Context, fits bool) {
	*s = State{Fits: fits, Remaining: max(at.Remaining, 0)}
	// Reset is cut to the second: the next one is never early.
	left := max(time.Until(time.Unix(at.Reset+1, 0)), 0)
	if s.Remaining < c.N {
		s.ResetAfter = left
	}
	switch {
	case fits:
	case c.Cost > c.N:
		s.RetryAfter = -1
	default:
		s.RetryAfter = max(left, time.Millisecond)
	}
}

// PeekAll implements [Store].
func (u fromUlule) PeekAll(ctx context.Context, charges []Charge, states []State) (bool, error) {
	if err := u.check(charges, states); err != nil {
		return false, err
	}
	all := true
	for i := range charges {
		c := &charges[i]
		key, rate := u.of(c)
		at, err := u.store.Peek(ctx, key, rate)
		if err != nil {
			return false, err
		}
		fits := at.Remaining >= c.Cost
		u.fill(&states[i], c, at, fits)
		all = all && fits
	}
	return all, nil
}

// TakeAll implements [Store].
func (u fromUlule) TakeAll(ctx context.Context, charges []Charge, states []State) (bool, error) {
	if ok, err := u.PeekAll(ctx, charges, states); !ok || err != nil {
		return false, err
	}
	for i := range charges {
		c := &charges[i]
		key, rate := u.of(c)
		at, err := u.store.Increment(ctx, key, c.Cost, rate)
		if err != nil {
			return false, err
		}
		u.fill(&states[i], c, at, !at.Reached)
		if at.Reached {
			return false, nil // what others took meanwhile; see FromUlule
		}
	}
	return true, nil
}

// Reset implements [Store].
func (u fromUlule) Reset(ctx context.Context, charges []Charge) error {
	if err := u.check(charges, make([]State, len(charges))); err != nil {
		return err
	}
	for i := range charges {
		key, rate := u.of(&charges[i])
		if _, err := u.store.Reset(ctx, key, rate); err != nil {
			return err
		}
	}
	return nil
}

// Refund implements [Store]: a negative Increment would not be safe.
func (u fromUlule) Refund(context.Context, []Charge, []State) error { return ErrRefund }

func (u fromUlule) check(charges []Charge, states []State) error {
	if u.store == nil {
		return ErrStore
	}
	if slices.ContainsFunc(charges, func(c Charge) bool { return c.Burst > 0 }) {
		return fmt.Errorf("%w: a burst", ErrCharges)
	}
	return CheckCharges(charges, states)
}
