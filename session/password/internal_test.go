package password

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
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
