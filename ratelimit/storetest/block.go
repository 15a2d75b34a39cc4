package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

var (
	nobody = ratelimit.Identity{}
	alice  = ratelimit.Identity{User: "alice"}
	bob    = ratelimit.Identity{User: "bob"}
	clinic = ratelimit.Identity{Org: "clinic"}
)

func block(t *testing.T, s ratelimit.Store, who ratelimit.Identity, until time.Time) {
	t.Helper()
	if err := s.(ratelimit.BlockStore).Block(context.Background(), who, until); err != nil {
		t.Fatal(err)
	}
}

// holds reports whether who is blocked until then, to the millisecond, and never
// for less.
func holds(s ratelimit.Store, who ratelimit.Identity, until time.Time) bool {
	got := s.(ratelimit.BlockStore).Blocked(context.Background(), who)
	if until.IsZero() || got.IsZero() {
		return until.IsZero() && got.IsZero()
	}
	return !got.Before(until) && got.Sub(until) < 2*time.Millisecond
}

func wantBlocked(t *testing.T, s ratelimit.Store, who ratelimit.Identity, until time.Time) {
	t.Helper()
	if !holds(s, who, until) {
		t.Errorf("%+v is blocked until %v, want %v", who, s.(ratelimit.BlockStore).Blocked(context.Background(), who), until)
	}
}

// within waits until it is so: what a node knows may be a second old.
func within(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !so(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func blocks(t *testing.T, s ratelimit.Store, _ Subject) {
	until := time.Now().Add(time.Hour)
	later := until.Add(time.Hour)
	block(t, s, bob, time.Time{}) // lifts what is not there
	wantBlocked(t, s, bob, time.Time{})
	block(t, s, ratelimit.Identity{User: alice.User, Tier: "pro"}, until)
	wantBlocked(t, s, alice, until)
	wantBlocked(t, s, ratelimit.Identity{User: alice.User, Org: "elsewhere", Tier: "free"}, until)
	for _, who := range []ratelimit.Identity{nobody, bob, {Org: alice.User}, {User: bob.User, Org: alice.User}, {User: "ALICE"}, {User: "alice "}} {
		wantBlocked(t, s, who, time.Time{})
	}
	block(t, s, clinic, later)
	wantBlocked(t, s, ratelimit.Identity{User: bob.User, Org: clinic.Org}, later)
	wantBlocked(t, s, ratelimit.Identity{User: alice.User, Org: clinic.Org}, later)
	wantBlocked(t, s, ratelimit.Identity{User: clinic.Org}, time.Time{})
	wantBlocked(t, s, alice, until)
	block(t, s, clinic, time.Now().Add(-time.Hour))
	wantBlocked(t, s, ratelimit.Identity{User: bob.User, Org: clinic.Org}, time.Time{})
	wantBlocked(t, s, ratelimit.Identity{User: alice.User, Org: clinic.Org}, until)
	block(t, s, alice, time.Time{})
	wantBlocked(t, s, alice, time.Time{})
}

func newestBlock(t *testing.T, s ratelimit.Store, _ Subject) {
	now := time.Now()
	for _, hours := range []time.Duration{2, 1, 3, 0, 4, 0, 0, 1} {
		until := now.Add(hours * time.Hour)
		if hours == 0 {
			until = time.Time{}
		}
		block(t, s, alice, until)
		wantBlocked(t, s, alice, until)
	}
}

// blockEnds goes by the clock of this process: that of the store may differ.
func blockEnds(t *testing.T, s ratelimit.Store, _ Subject) {
	until := time.Now().Add(300 * time.Millisecond)
	block(t, s, alice, until)
	block(t, s, bob, until.Add(time.Hour))
	within(t, "the end of a block", func() bool {
		ended := s.(ratelimit.BlockStore).Blocked(context.Background(), alice).IsZero()
		if ended && time.Now().Before(until) {
			t.Fatal("the block ended early")
		}
		return ended
	})
	wantBlocked(t, s, bob, until.Add(time.Hour))
}

func blocksAtOnce(t *testing.T, s ratelimit.Store, _ Subject) {
	until := time.Now().Add(time.Hour)
	who := func(i int) ratelimit.Identity { return ratelimit.Identity{User: time.Duration(i).String()} }
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			if err := s.(ratelimit.BlockStore).Block(context.Background(), who(i), until); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 64 {
		wantBlocked(t, s, who(i), until)
	}
}

func blocksOnEveryNode(t *testing.T, s ratelimit.Store, sub Subject) {
	other := sub.Join(t)
	wantBlocked(t, other, alice, time.Time{}) // it has asked before
	until := time.Now().Add(time.Hour)
	both := func(want time.Time) func() bool {
		return func() bool { return holds(s, alice, want) && holds(other, alice, want) }
	}
	for _, tt := range []struct {
		what  string
		node  ratelimit.Store
		until time.Time
	}{
		{"a block on the other node", s, until}, {"a shorter one made there", other, until.Add(-time.Minute)}, {"a lift", other, time.Time{}},
		{"a block after it", s, until}, {"a lift by who blocked", s, time.Time{}},
	} {
		block(t, tt.node, alice, tt.until)
		wantBlocked(t, tt.node, alice, tt.until) // at once, where it was made
		within(t, tt.what, both(tt.until))
	}
}
