package redislimit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/ratelimit"
)

// Modes of the script.
const (
	modeTake     = "t"
	modePeek     = "p"
	modeGiveBack = "g"
	modeRenew    = "w"
	modeReset    = "z"
)

const (
	exactMost  = 128 // as in package ratelimit
	subBuckets = 32
	never      = 2_000_000_000 // a cost above every N that Lua's numbers hold exactly
)

// answer is what the script says about one charge, in microseconds.
type answer struct {
	used, retry, reset int64
	found              bool
	server             int64 // the time
}

// call is one call of the script: for charges whose keys lie in one slot.
type call struct {
	at   []int // where its charges stand in the decision
	slot int
	keys []string
	argv []any
	cmd  *redis.Cmd
	err  error
}

func (c *call) add(i int, key string, charge *ratelimit.Charge, taken []ratelimit.State) {
	per, width, at := int64((charge.Per+time.Microsecond-1)/time.Microsecond), int64(0), int64(0)
	if charge.N > exactMost {
		width = (per + subBuckets - 1) / subBuckets
	}
	if taken != nil {
		at = taken[i].At
	}
	c.at, c.keys = append(c.at, i), append(c.keys, key)
	c.argv = append(c.argv, charge.N, per, min(charge.Cost, never), width, charge.Burst, at)
}

// read writes the answers where the charges stand. It reports whether all fit.
func (c *call) read(answers []answer) (bool, error) {
	reply, err := c.cmd.Int64Slice()
	if err == nil && len(reply) != 2+4*len(c.keys) {
		err = fmt.Errorf("redislimit: an answer of %d numbers", len(reply))
	}
	if err != nil {
		return false, err
	}
	for j, i := range c.at {
		r := reply[2+4*j:]
		answers[i] = answer{used: r[0], retry: r[1], reset: r[2], found: r[3] == 1, server: reply[1]}
	}
	return reply[0] == 1, nil
}

// calls sorts the charges by slot.
func calls(mode string, keys []string, charges []ratelimit.Charge, taken []ratelimit.State) []call {
	tag := func(key string) string { return key[:strings.IndexByte(key, '}')] }
	out := make([]call, 0, 1)
next:
	for i := range charges {
		for j := range out {
			if tag(out[j].keys[0]) == tag(keys[i]) {
				out[j].add(i, keys[i], &charges[i], taken)
				continue next
			}
		}
		one := call{slot: slotOf(keys[i]), argv: append(make([]any, 0, 1+6*len(charges)), mode)}
		one.add(i, keys[i], &charges[i], taken)
		out = append(out, one)
	}
	return out
}

// slotOf is the number that spread has put into a key, or 0.
func slotOf(key string) int {
	tag := key[:strings.IndexByte(key, '}')]
	n, _ := strconv.Atoi(tag[strings.LastIndexByte(tag, '-')+1:])
	return n
}

// run holds the charges against Redis, in one round trip. It reports whether all
// fit. taken says when they were taken, for modes that need it.
//
// What lies in several slots is decided by several scripts. If some of them
// admit and others refuse or fail, the former's admissions are given back: until
// then others may be refused for it, and nobody is admitted.
//
// The error is ratelimit.ErrOutage if a breaker is open; then nobody was asked.
func (s *Store) run(ctx context.Context, mode string, keys []string, charges []ratelimit.Charge, taken []ratelimit.State) ([]answer, bool, error) {
	cs := calls(mode, keys, charges, taken)
	if !s.breakers.admits(time.Now(), s.slotsOf(cs)...) {
		return nil, false, ratelimit.ErrOutage
	}
	answers, all, err := s.ask(ctx, mode, cs, len(charges))
	for i := range cs {
		s.noted(ctx, s.breakerOf(cs[i].slot), cs[i].err)
	}
	return answers, all, err
}

func (s *Store) breakerOf(slot int) int {
	if s.slots == 1 {
		return 0
	}
	return slot
}

func (s *Store) slotsOf(cs []call) []int {
	which := make([]int, len(cs))
	for i := range cs {
		which[i] = s.breakerOf(cs[i].slot)
	}
	return which
}

// ask is run behind the breakers.
func (s *Store) ask(ctx context.Context, mode string, cs []call, charges int) ([]answer, bool, error) {
	answers := make([]answer, charges)
	short, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.send(short, decide, cs)
	all := true
	var failed error
	var took []int
	for i := range cs {
		fits, err := cs[i].read(answers)
		if all, cs[i].err = all && fits, err; err != nil {
			failed = errors.Join(failed, err)
		} else if fits {
			took = append(took, i)
		}
	}
	if mode == modeTake && (!all || failed != nil) {
		back := make([]call, 0, len(took))
		for _, i := range took {
			c := cs[i]
			c.argv[0] = modeGiveBack
			for j, at := range c.at {
				c.argv[6+6*j] = answers[at].server
			}
			back = append(back, c)
		}
		failed = errors.Join(failed, s.giveBack(ctx, back, answers))
	}
	return answers, all && failed == nil, failed
}

// giveBack undoes what part of a request has taken, also for a caller who has
// gone.
func (s *Store) giveBack(ctx context.Context, cs []call, answers []answer) error {
	if len(cs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	s.send(ctx, decide, cs)
	var failed error
	for i := range cs {
		_, err := cs[i].read(answers)
		failed = errors.Join(failed, err)
	}
	return failed
}

// send makes all calls at once, and those again whose server did not know the
// script. A single one is a pipeline too: of other commands a client of a Cluster
// first asks a server about all commands, for up to 5 s whatever the deadline,
// which it does not for pipelines (go-redis 9.23).
func (s *Store) send(ctx context.Context, script *redis.Script, cs []call) {
	_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error { // each call has its own error
		for i := range cs {
			cs[i].cmd = script.EvalSha(ctx, p, cs[i].keys, cs[i].argv...)
		}
		return nil
	})
	var unknown []*call
	for i := range cs {
		if redis.HasErrorPrefix(cs[i].cmd.Err(), "NOSCRIPT") {
			unknown = append(unknown, &cs[i])
		}
	}
	if len(unknown) == 0 {
		return
	}
	_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, c := range unknown {
			c.cmd = script.Eval(ctx, p, c.keys, c.argv...)
		}
		return nil
	})
}
