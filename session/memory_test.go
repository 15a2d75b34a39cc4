package session_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/session"
	"github.com/inovy/hardening/session/storetest"
)

func newMemory(t *testing.T) session.Store {
	t.Helper()
	m, err := session.NewMemoryStore(session.MemoryConfig{MaxSessions: 64_000})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMemoryStoreHoldsToTheContract(t *testing.T) {
	storetest.Run(t, storetest.Subject{New: newMemory, Advance: time.Sleep, Around: synctest.Test})
}

func refOf(n int) (r session.Ref) {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range r.Tag {
		r.Tag[i] = byte(rng.Uint32())
	}
	for i := range r.Hash {
		r.Hash[i] = byte(rng.Uint32())
	}
	return r
}

func TestMemoryStoreNeverGrowsBeyondItsCap(t *testing.T) {
	const most = 2048
	m, err := session.NewMemoryStore(session.MemoryConfig{MaxSessions: most})
	if err != nil {
		t.Fatal(err)
	}
	rec := func(anonymous bool) session.Record {
		return session.Record{Born: time.Now(), Expires: time.Now().Add(time.Hour), Anonymous: anonymous}
	}
	for i := range 3 * most { // a flood of anonymous visitors never locks anyone out
		if _, err := m.Create(t.Context(), refOf(i), rec(true), session.Quota{}); err != nil {
			t.Fatalf("anonymous session %d: %v", i, err)
		}
	}
	if n := m.Len(); n > most {
		t.Errorf("%d records, cap %d", n, most)
	}
	kept, refused := 0, 0
	for i := range 3 * most { // logins push visitors out, and never each other
		switch _, err := m.Create(t.Context(), refOf(1_000_000+i), rec(false), session.Quota{}); {
		case err == nil:
			kept++
		case errors.Is(err, session.ErrFull):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if m.Len() > most || kept < most*9/10 || kept > most || refused == 0 {
		t.Errorf("%d records, %d logins kept, %d refused", m.Len(), kept, refused)
	}
	alive := 0
	for i := range 3 * most {
		if _, err := m.Load(t.Context(), refOf(1_000_000+i)); err == nil {
			alive++
		}
	}
	if alive != kept {
		t.Errorf("%d of %d logins are alive", alive, kept)
	}
	if _, err := m.Create(t.Context(), refOf(-1), rec(true), session.Quota{}); !errors.Is(err, session.ErrFull) {
		t.Errorf("a visitor pushed a login out: %v", err)
	}
}

func TestMemoryStoreSweepsAsItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := session.NewMemoryStore(session.MemoryConfig{})
		if err != nil {
			t.Fatal(err)
		}
		const n = 20_000
		put := func(base int) {
			for i := range n {
				if _, err := m.Create(t.Context(), refOf(base+i), session.Record{Born: time.Now(), Expires: time.Now().Add(time.Minute), Anonymous: i%2 == 0}, session.Quota{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		put(0)
		time.Sleep(2 * time.Minute)
		put(n)
		if got := m.Len(); got > n+n/10 {
			t.Errorf("%d records after %d expired and %d came", got, n, n)
		}
	})
}

// A model with one map and no cleverness must agree with the store.
func TestMemoryStoreAgreesWithAModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		rng := rand.New(rand.NewPCG(7, 7))
		type model struct {
			version       uint64
			born, expires time.Time
		}
		alive := map[session.Ref]model{}
		marks := map[session.Tag]time.Time{}
		refs := make([]session.Ref, 24)
		for i := range refs {
			refs[i] = refOf(i)
			refs[i].Tag = refOf(i % 6).Tag
		}
		for step := range 20_000 {
			time.Sleep(time.Duration(rng.IntN(3)) * time.Second)
			r, at := refs[rng.IntN(len(refs))], time.Now()
			for k, v := range alive {
				if !v.expires.After(at) {
					delete(alive, k)
				}
			}
			was, exists := alive[r]
			var got, want error
			switch op := rng.IntN(6); op {
			case 0:
				rec := session.Record{Born: at.Add(-time.Duration(rng.IntN(5)) * time.Second), Expires: at.Add(time.Duration(1+rng.IntN(60)) * time.Second), Anonymous: rng.IntN(2) == 0}
				_, got = m.Create(t.Context(), r, rec, session.Quota{})
				switch {
				case rec.Born.Before(marks[r.Tag]):
					want = session.ErrRevoked
				case exists:
					want = session.ErrExists
				default:
					alive[r] = model{1, rec.Born, rec.Expires}
				}
			case 1:
				v, expires := was.version-uint64(rng.IntN(2)), at.Add(time.Duration(1+rng.IntN(60))*time.Second)
				got = m.Update(t.Context(), r, session.Record{Version: v, Expires: expires})
				switch {
				case !exists:
					want = session.ErrNotFound
				case v != was.version:
					want = session.ErrConflict
				default:
					alive[r] = model{was.version + 1, was.born, expires}
				}
			case 2:
				expires := at.Add(time.Duration(1+rng.IntN(60)) * time.Second)
				got = m.Touch(t.Context(), r, expires)
				if !exists {
					want = session.ErrNotFound
				} else if expires.After(was.expires) {
					was.expires = expires
					alive[r] = was
				}
			case 3:
				_, got = m.Delete(t.Context(), r)
				if !exists {
					want = session.ErrNotFound
				}
				delete(alive, r)
			case 4:
				if rng.IntN(10) > 0 {
					continue
				}
				n, err := m.Revoke(t.Context(), session.Revocation{Tags: []session.Tag{r.Tag}, At: at, Until: at.Add(24 * 365 * time.Hour)})
				got = err
				count := 0
				for k := range alive {
					if k.Tag == r.Tag {
						delete(alive, k)
						count++
					}
				}
				marks[r.Tag] = at
				if n != count {
					t.Fatalf("step %d: revoked %d, want %d", step, n, count)
				}
			case 5:
				var rec session.Record
				rec, got = m.Load(t.Context(), r)
				if !exists {
					want = session.ErrNotFound
				} else if rec.Version != was.version || !rec.Expires.Equal(was.expires) {
					t.Fatalf("step %d: loaded %+v, want %+v", step, rec, was)
				}
			}
			if !errors.Is(got, want) {
				t.Fatalf("step %d: got %v, want %v", step, got, want)
			}
		}
	})
}

func TestMemoryStoreUnderManyHands(t *testing.T) {
	m := newMemory(t)
	var all sync.WaitGroup
	for hand := range 8 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(hand), 3))
			for range 2000 {
				r := refOf(rng.IntN(32))
				r.Tag = refOf(rng.IntN(4)).Tag
				switch rng.IntN(6) {
				case 0:
					_, _ = m.Create(t.Context(), r, session.Record{Born: time.Now(), Expires: time.Now().Add(time.Duration(rng.IntN(2000)) * time.Microsecond)}, session.Quota{Max: 3})
				case 1:
					_, _ = m.Load(t.Context(), r)
				case 2:
					_ = m.Touch(t.Context(), r, time.Now().Add(time.Millisecond))
				case 3:
					_, _ = m.Delete(t.Context(), r)
				case 4:
					_, _ = m.Revoke(t.Context(), session.Revocation{Tags: []session.Tag{r.Tag}, At: time.Now(), Until: time.Now().Add(time.Millisecond)})
				case 5:
					gone, stop := m.(session.Watcher).Watch(r)
					select {
					case <-gone:
					case <-time.After(time.Duration(rng.IntN(300)) * time.Microsecond):
					}
					stop()
				}
			}
		})
	}
	all.Wait()
	for n := range 4 {
		tag := refOf(n).Tag
		left, err := m.List(t.Context(), []session.Tag{tag})
		if err != nil || len(left) > 3 {
			t.Errorf("%d records of a tag that may have 3, %v", len(left), err)
		}
		r := session.Ref{Tag: tag, Hash: refOf(99).Hash}
		rec := session.Record{Born: time.Now().Add(time.Second), Expires: time.Now().Add(time.Hour)}
		if _, err := m.Create(t.Context(), r, rec, session.Quota{Max: 1}); err != nil {
			t.Errorf("one more: %v", err)
		}
		if left, err := m.List(t.Context(), []session.Tag{tag}); err != nil || len(left) != 1 || left[0].Ref != r {
			t.Errorf("the last one alone is left: %v, %v", left, err)
		}
	}
	if err := m.RevokeAll(t.Context(), time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	if n := m.(*session.MemoryStore).Len(); n != 0 {
		t.Errorf("%d records after the end of all", n)
	}
}

func TestMemoryConfigFaults(t *testing.T) {
	for _, n := range []int{-1, 1, 1023} {
		_, err := session.NewMemoryStore(session.MemoryConfig{MaxSessions: n})
		count := 0
		for f := range hardening.Faults(err) {
			count++
			if f.Field != "MemoryConfig.MaxSessions" || f.Value != fmt.Sprint(n) || f.Reason == "" || f.Fix == "" {
				t.Errorf("%+v", f)
			}
		}
		if count != 1 {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// One user must not be able to fill the part of the store that other users
// share with them.
func TestTrap_OneUserFillsTheStoreForOthers(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.1.2")
	m, err := session.NewMemoryStore(session.MemoryConfig{MaxSessions: 1024}) // 16 a part
	if err != nil {
		t.Fatal(err)
	}
	rec := session.Record{Born: time.Now(), Expires: time.Now().Add(time.Hour)}
	hog := refOf(0)
	for i := range 100 { // no quota: the store alone has to cope
		r := refOf(i)
		r.Tag = hog.Tag
		_, _ = m.Create(t.Context(), r, rec, session.Quota{})
	}
	for i := range 15 {
		r := refOf(1000 + i)
		r.Tag[0] = hog.Tag[0] // the same part
		dropped, err := m.Create(t.Context(), r, rec, session.Quota{})
		if err != nil || len(dropped) != 1 || dropped[0].Tag != hog.Tag {
			t.Fatalf("login %d of another user: dropped %d, %v", i, len(dropped), err)
		}
	}
	r := refOf(2000)
	r.Tag[0] = hog.Tag[0]
	if _, err := m.Create(t.Context(), r, rec, session.Quota{}); !errors.Is(err, session.ErrFull) {
		t.Errorf("a login pushed out the only session of another user: %v", err)
	}
	for i := range 15 {
		r := refOf(1000 + i)
		r.Tag[0] = hog.Tag[0]
		if _, err := m.Load(t.Context(), r); err != nil {
			t.Errorf("login %d is gone: %v", i, err)
		}
	}
}
