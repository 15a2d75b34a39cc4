package password

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"
)

func TestBudgetServesInTurnAndGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &budget{total: 10, maxWait: 3}
		if err := b.acquire(t.Context(), 8); err != nil {
			t.Fatal(err)
		}
		var order []string
		ask := func(name string, ctx context.Context, kib int64) <-chan error {
			done := make(chan error, 1)
			go func() {
				err := b.acquire(ctx, kib)
				if err == nil {
					order = append(order, name)
				}
				done <- err
			}()
			synctest.Wait()
			return done
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		large := ask("large", t.Context(), 10)
		small := ask("small", t.Context(), 1) // would fit, but large was first
		leaves := ask("leaves", impatient, 10)
		if err := b.acquire(t.Context(), 1); !errors.Is(err, ErrBusy) {
			t.Errorf("a fourth in the queue: %v", err)
		}
		select {
		case <-small:
			t.Error("small overtook large")
		default:
		}
		time.Sleep(2 * time.Second)
		if err := <-leaves; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("leaves: %v", err)
		}
		b.release(8)
		if err := <-large; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if b.used != 10 || len(order) != 1 {
			t.Errorf("used %d, order %v", b.used, order)
		}
		b.release(10)
		if err := <-small; err != nil {
			t.Error(err)
		}
		b.release(1)
		if b.used != 0 || b.waiters.Len() != 0 {
			t.Errorf("used %d, %d waiting", b.used, b.waiters.Len())
		}
	})
}

// One who leaves must not keep those behind from being served.
func TestBudgetOneWhoLeavesUnblocksTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &budget{total: 10, maxWait: 3}
		if err := b.acquire(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- b.acquire(impatient, 10) }()
		synctest.Wait()
		go func() { second <- b.acquire(t.Context(), 5) }()
		if err := <-first; !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := <-second; err != nil {
			t.Error(err)
		}
	})
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
	f.Add("$argon2id$v=19$m=4294967295,t=0,p=999$$")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parsePHC(s)
		if err != nil {
			if !errors.Is(err, ErrHash) {
				t.Errorf("%v", err)
			}
			return
		}
		if h.String() != s {
			t.Errorf("%q is read as %q", s, h)
		}
		if p := h.params; p.MemoryKiB > maxMemoryKiB || p.Passes == 0 || p.Passes > maxPasses || p.Lanes == 0 || p.Lanes > maxLanes || p.MemoryKiB < 8*uint32(p.Lanes) {
			t.Errorf("%q costs %v", s, p)
		}
	})
}

// Whatever is stored, a wrong password costs the work of the present setting.
func TestMissingWorkIsMadeUpExactly(t *testing.T) {
	due := OWASPMinimum()
	want := int64(due.MemoryKiB) * int64(due.Passes)
	for _, done := range []Params{{8, 1, 1}, {64, 1, 1}, {4096, 3, 1}, {7168, 5, 1}, {12288, 3, 1}, {19456, 1, 1}, {19456, 2, 1}, {65536, 3, 4}} {
		work := int64(done.MemoryKiB) * int64(done.Passes)
		for _, p := range missing(done, due) {
			work += int64(p.MemoryKiB) * int64(p.Passes)
			if p.MemoryKiB > due.MemoryKiB || p.MemoryKiB < 8 || p.Passes == 0 {
				t.Errorf("%v: %v", done, p)
			}
		}
		own := int64(done.MemoryKiB) * int64(done.Passes)
		if own < want && (work < want-8 || work > want) || own >= want && work != own {
			t.Errorf("%v: work %d, want %d", done, work, want)
		}
	}
}

// What an unknown user is checked against must be a hash that bcrypt works through
// and not one that it turns away at sight.
func TestAnUnknownUserOfBcryptCostsTheSameWork(t *testing.T) {
	for cost := bcrypt.MinCost; cost <= maxBcryptCost; cost++ {
		if s, ok := parseBcrypt(string(dummyBcrypt(cost))); !ok || s.cost != cost {
			t.Errorf("cost %d is read as %d", cost, s.cost)
		}
	}
	h, err := New(Config{Algorithm: Bcrypt, BcryptCost: 5, DangerouslyWeak: true})
	if err != nil {
		t.Fatal(err)
	}
	if cost, err := bcrypt.Cost(h.dummy.bcrypt); cost != 5 || err != nil {
		t.Errorf("cost %d, %v", cost, err)
	}
	for _, guess := range []string{"", "guess", strings.Repeat("x", 72)} {
		if err := bcrypt.CompareHashAndPassword(h.dummy.bcrypt, []byte(guess)); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			t.Errorf("%q: %v", guess, err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, guess := range []string{"", "guess", "a\x00b", strings.Repeat("x", 73), strings.Repeat("x", MaxPassword)} {
		if _, err := h.Verify(cancelled, "", guess); !errors.Is(err, context.Canceled) {
			t.Errorf("%.20q of an unknown user asks for no work: %v", guess, err)
		}
	}
}

// The memory that hashes hold at one time never exceeds the budget.
func TestTwoHundredLoginsStayUnderTheBudget(t *testing.T) {
	const mib = 16
	h, err := New(Config{Params: Params{MemoryKiB: 4096, Passes: 1, Lanes: 1}, DangerouslyWeak: true, MemoryMiB: mib})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := h.Hash(t.Context(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if res, err := h.Verify(t.Context(), stored, "secret"); err != nil || !res.OK {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
	all.Wait()
	if peak := h.budget.peak; peak > mib<<10 || peak < 4096 || h.budget.used != 0 {
		t.Errorf("at most %d KiB at one time, %d left over", peak, h.budget.used)
	} else {
		t.Logf("at most %d KiB at one time", peak)
	}
}

func FuzzParseStored(f *testing.F) {
	f.Add("$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW")
	f.Add("$bcrypt-hmac-sha384$keyid=AAAAAA$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW")
	f.Add("$argon2id$v=19$m=19456,t=2,p=1,keyid=AAAAAA$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
	f.Add("$2a$")
	keys := &pepperKeys{keys: []*pepper{{key: make([]byte, pepperSize)}}}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseStored(s, keys)
		if err != nil {
			if !errors.Is(err, ErrHash) {
				t.Errorf("%v", err)
			}
			return
		}
		if h.bcrypt != nil && (h.cost < 4 || h.cost > maxBcryptCost || !strings.HasSuffix(s, string(h.bcrypt))) {
			t.Errorf("%q is read as %q of cost %d", s, h.bcrypt, h.cost)
		}
	})
}
