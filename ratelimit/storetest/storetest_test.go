package storetest_test

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/storetest"
)

func TestTheMemoryStoreHoldsToTheContract(t *testing.T) {
	storetest.Run(t, storetest.Subject{
		New: func(t *testing.T) ratelimit.Store {
			s, err := ratelimit.NewMemoryStore(ratelimit.MemoryConfig{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Advance: time.Sleep,
		Around:  synctest.Test,
	})
}

// broken is a memory store with one fault.
type broken struct {
	ratelimit.Store
	fault string
	last  *atomic.Int64 // State.At of the last admission
	list  *blockList
}

// blockList is who is blocked, on all nodes that share it.
type blockList struct {
	mu  sync.Mutex
	all map[ratelimit.Identity]time.Time
}

// Block makes the memory store one that knows who is blocked, with which the
// clauses of blocks run.
func (b broken) Block(_ context.Context, who ratelimit.Identity, until time.Time) error {
	who.Tier = ""
	if who.User != "" {
		who.Org = ""
	} else if b.fault == "an organisation is a user" {
		who = ratelimit.Identity{User: who.Org}
	}
	b.list.mu.Lock()
	defer b.list.mu.Unlock()
	lifts := !until.After(time.Now())
	switch {
	case b.fault == "a race of blocks":
		all := maps.Clone(b.list.all)
		all[who] = until
		b.list.mu.Unlock()
		runtime.Gosched()
		b.list.mu.Lock()
		b.list.all = all
	case lifts && b.fault == "a lift does nothing":
	case b.fault == "the longest block counts" && !lifts && until.Before(b.list.all[who]):
	case b.fault == "a block is a minute shorter":
		b.list.all[who] = until.Add(-time.Minute)
	default:
		b.list.all[who] = until
	}
	return nil
}

func (b broken) Blocked(_ context.Context, who ratelimit.Identity) (until time.Time) {
	b.list.mu.Lock()
	defer b.list.mu.Unlock()
	names := []ratelimit.Identity{{User: who.User}, {Org: who.Org}}
	if b.fault == "an organisation is a user" {
		names[1] = ratelimit.Identity{User: who.Org}
	}
	for _, one := range names {
		if end := b.list.all[one]; end.After(until) {
			until = end
		}
	}
	switch {
	case b.fault == "a block ends early":
		if time.Until(until) < 200*time.Millisecond {
			return time.Time{}
		}
	case b.fault == "a block ends late":
		if time.Since(until) < time.Hour {
			return until
		}
	}
	if !until.After(time.Now()) {
		return time.Time{}
	}
	return until
}

func (b broken) TakeAll(ctx context.Context, cs []ratelimit.Charge, st []ratelimit.State) (bool, error) {
	mine := slices.Clone(cs)
	for i := range mine {
		switch b.fault {
		case "one too many":
			mine[i].N++
		case "costs are ignored":
			mine[i].Cost = min(mine[i].Cost, 1)
		case "rules share a counter":
			mine[i].Rule = "all"
			if i > 0 {
				mine[i].Rule = "all" + string(rune('a'+i))
			}
		case "usage is lost when N changes":
			mine[i].Rule += time.Duration(mine[i].N).String()
		case "an address is its text":
			if mine[i].Subject.Addr.IsValid() {
				mine[i].Subject.Name, mine[i].Subject.Addr = mine[i].Subject.Addr.String()+mine[i].Subject.Name, netip.Addr{}
			}
		case "bursts are dated by the first":
			mine[i].Per -= mine[i].Per / 32
		case "windows are too long":
			mine[i].Per += mine[i].Per / 10
		case "bursts are windows":
			mine[i].N, mine[i].Burst = mine[i].Capacity(), 0
			if cs[i].Burst > 0 {
				mine[i].Rule += "burst"
			}
		case "kinds share a counter":
			mine[i].Burst = 0
		case "what is hostile is made good":
			mine[i].N, mine[i].Cost = max(mine[i].N, 1), max(mine[i].Cost, 1)
		}
	}
	if b.fault == "a refusal consumes" {
		if err := ratelimit.CheckCharges(mine, st); err != nil {
			return false, err
		}
		all := true
		for i := range mine {
			ok, err := b.Store.TakeAll(ctx, mine[i:i+1], st[i:i+1])
			if err != nil {
				return false, err
			}
			all = all && ok
		}
		return all, nil
	}
	if b.fault == "windows are fixed" {
		for i := range mine {
			mine[i].Rule += time.Now().Truncate(mine[i].Per).String()
		}
	}
	if b.fault == "a race" {
		ok, err := b.Store.PeekAll(ctx, mine, st)
		runtime.Gosched()
		if ok {
			for i := range mine {
				mine[i].N = 1_000_000
			}
			_, _ = b.Store.TakeAll(ctx, mine, make([]ratelimit.State, len(mine)))
			for i := range st[:len(mine)] {
				st[i].Remaining -= cs[i].Cost
			}
		}
		return ok, err
	}
	ok, err := b.Store.TakeAll(ctx, mine, st)
	for i := range st {
		if st[i].At != 0 {
			b.last.Store(st[i].At)
		}
		if b.fault == "a refusal can be given back" && st[i].At == 0 {
			st[i].At = 1
		}
	}
	for i := range mine {
		if err == nil && b.fault == "RetryAfter is early" && st[i].RetryAfter > 0 {
			st[i].RetryAfter /= 2
		}
	}
	return ok, err
}

func (b broken) PeekAll(ctx context.Context, cs []ratelimit.Charge, st []ratelimit.State) (bool, error) {
	if b.fault == "a peek consumes" {
		return b.Store.TakeAll(ctx, cs, st)
	}
	return b.Store.PeekAll(ctx, cs, st)
}

func (b broken) Refund(ctx context.Context, cs []ratelimit.Charge, st []ratelimit.State) error {
	mine, taken := slices.Clone(cs), slices.Clone(st)
	for i := range min(len(mine), len(taken)) {
		switch b.fault {
		case "a refund does nothing":
			taken[i].At = 0
		case "a refund gives back too much":
			mine[i].Cost *= 2
		case "a refund is of the last admission":
			taken[i].At = b.last.Load()
		}
	}
	if b.fault == "a refund is a reset" {
		if err := ratelimit.CheckCharges(cs, st); err != nil {
			return err
		}
		return b.Store.Reset(ctx, cs)
	}
	return b.Store.Refund(ctx, mine, taken)
}

// Renew makes the memory store one of leases, with which the clause of renewals
// runs. It is right for one caller at a time.
func (b broken) Renew(ctx context.Context, cs []ratelimit.Charge, st []ratelimit.State) error {
	if err := ratelimit.CheckCharges(cs, st); err != nil {
		return err
	}
	mine := slices.Clone(cs)
	switch b.fault {
	case "a renewal does nothing":
		return nil
	case "a renewal that does not fit is lost":
	default:
		for i := range mine {
			mine[i].N += mine[i].Cost
		}
	}
	if err := b.Store.Refund(ctx, cs, st); err != nil {
		return err
	}
	_, err := b.Store.TakeAll(ctx, mine, st)
	return err
}

func (b broken) Reset(ctx context.Context, cs []ratelimit.Charge) error {
	if b.fault == "a reset does nothing" {
		return nil
	}
	return b.Store.Reset(ctx, cs)
}

// A conformance test is worth what it refuses: each fault must make the clause
// fail that it breaks. The test runs itself, since a failure cannot be caught.
func TestABrokenStoreFails(t *testing.T) {
	if fault := os.Getenv("STORETEST_FAULT"); fault != "" {
		var last broken
		storetest.Run(t, storetest.Subject{
			New: func(t *testing.T) ratelimit.Store {
				s, err := ratelimit.NewMemoryStore(ratelimit.MemoryConfig{})
				if err != nil {
					t.Fatal(err)
				}
				last = broken{s, fault, new(atomic.Int64), &blockList{all: map[ratelimit.Identity]time.Time{}}}
				return last
			},
			Join: func(*testing.T) ratelimit.Store {
				other := last
				if fault == "a block holds on one node" {
					other.list = &blockList{all: map[ratelimit.Identity]time.Time{}}
				}
				return other
			},
			Advance: time.Sleep,
			Around:  synctest.Test,
		})
		return
	}
	var untested map[string]bool // clauses of the contract
	faults := []struct {
		fault   string
		clauses []string // that fail
	}{
		{"none", nil}, // first: it tells which clauses there are
		{"one too many", []string{"exactly_N_are_admitted"}},
		{"a race", []string{"exactly_N_are_admitted_to_64_goroutines"}},
		{"a refusal consumes", []string{"a_refusal_consumes_nothing_anywhere"}},
		{"costs are ignored", []string{"a_cost_counts_as_that_many"}},
		{"rules share a counter", []string{"rules,_windows,_addresses_and_names_are_counted_apart"}},
		{"an address is its text", []string{"rules,_windows,_addresses_and_names_are_counted_apart"}},
		{"a peek consumes", []string{"a_peek_consumes_nothing,_a_reset_forgets"}},
		{"a reset does nothing", []string{"a_peek_consumes_nothing,_a_reset_forgets"}},
		{"usage is lost when N changes", []string{"usage_stays_when_N_changes"}},
		{"what is hostile is made good", []string{"what_cannot_be_counted_is_refused_with_ErrCharges"}},
		{"a refund does nothing", []string{"a_refund_gives_back_what_was_taken,_and_no_more"}},
		{"a refusal can be given back", []string{"a_refund_gives_back_what_was_taken,_and_no_more"}},
		{"a refund is a reset", []string{"a_refund_gives_nothing_back_of_what_is_past_or_was_reset", "a_leaky_bucket_gives_back_what_has_not_leaked"}},
		{"a refund gives back too much", []string{"a_refund_gives_back_what_was_taken,_and_no_more", "no_window_admits_more_than_N_beside_what_a_refund_gave_back"}},
		{"a refund is of the last admission", []string{"a_refund_takes_back_the_admission_that_it_names"}},
		{"bursts are windows", []string{"a_leaky_bucket_admits_at_most_Burst_and_its_pace"}},
		{"kinds share a counter", []string{"a_leaky_bucket_and_a_window_are_counted_apart"}},
		{"a renewal does nothing", []string{"a_renewal_counts_from_now,_whether_it_fits_or_not"}},
		{"a renewal that does not fit is lost", []string{"a_renewal_counts_from_now,_whether_it_fits_or_not"}},
		{"windows are fixed", []string{"no_window_admits_more_than_N_at_any_phase"}},
		{"bursts are dated by the first", []string{"no_window_admits_more_than_N_of_two_bursts_close_together"}},
		{"windows are too long", []string{"evenly_spaced_traffic_is_admitted_but_for_a_thirty-third"}},
		{"RetryAfter is early", []string{"RetryAfter_is_when_it_fits"}},
		{"a lift does nothing", []string{"users_and_organisations_are_blocked,_and_lifted,_apart", "the_newest_change_of_a_block_counts"}},
		{"an organisation is a user", []string{"users_and_organisations_are_blocked,_and_lifted,_apart"}},
		{"the longest block counts", []string{"the_newest_change_of_a_block_counts"}},
		{"a block is a minute shorter", []string{"users_and_organisations_are_blocked,_and_lifted,_apart"}},
		{"a block ends early", []string{"a_block_ends_at_its_time"}},
		{"a block ends late", []string{"a_block_ends_at_its_time"}},
		{"a race of blocks", []string{"of_blocks_that_are_made_at_once_none_is_lost"}},
		{"a block holds on one node", []string{"a_change_of_a_block_holds_on_every_node"}},
	}
	ran := 0
	for _, tt := range faults {
		t.Run(tt.fault, func(t *testing.T) {
			ran++
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^TestABrokenStoreFails$")
			cmd.Env = append(os.Environ(), "STORETEST_FAULT="+tt.fault)
			out, err := cmd.CombinedOutput()
			if (err != nil) != (tt.clauses != nil) {
				t.Errorf("the run ended with %v", err)
			}
			if tt.fault == "none" {
				untested = clausesOf(string(out))
			}
			for _, clause := range tt.clauses {
				if !strings.Contains(string(out), "--- FAIL: TestABrokenStoreFails/"+clause+" (") {
					t.Errorf("%q did not fail:\n%s", clause, out)
				}
				delete(untested, clause)
			}
		})
	}
	if ran < len(faults) {
		return // by -run
	}
	if untested == nil {
		t.Error("no clause was found")
	}
	for clause := range untested {
		t.Errorf("no fault breaks %q", clause)
	}
}

// clausesOf are the subtests that a run of TestABrokenStoreFails has passed.
func clausesOf(out string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(out) {
		if _, rest, found := strings.Cut(line, "--- PASS: TestABrokenStoreFails/"); found {
			name, _, _ := strings.Cut(rest, " (")
			all[name] = true
		}
	}
	return all
}
