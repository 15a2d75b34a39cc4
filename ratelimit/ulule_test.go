package ratelimit_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	ulule "github.com/ulule/limiter/v3"
	ululehttp "github.com/ulule/limiter/v3/drivers/middleware/stdlib"
	ululememory "github.com/ulule/limiter/v3/drivers/store/memory"

	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/storetest"
)

func memoryStore(t testing.TB) ratelimit.Store {
	t.Helper()
	s, err := ratelimit.NewMemoryStore(ratelimit.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ululeStore is ulule's own store in memory, without its goroutine.
func ululeStore() ulule.Store {
	return ululememory.NewStoreWithOptions(ulule.StoreOptions{Prefix: "test"})
}

func TestUlulesMiddlewareRunsOnOurStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ulule.New(ratelimit.ToUlule(memoryStore(t)), ulule.Rate{Limit: 2, Period: time.Minute})
		h := ululehttp.NewMiddleware(l).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		get := func(addr string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = addr
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w
		}
		for i, want := range []struct {
			code int
			left string
		}{{200, "1"}, {200, "0"}, {429, "0"}} {
			if w := get("192.0.2.1:1"); w.Code != want.code || w.Header().Get("X-RateLimit-Remaining") != want.left || w.Header().Get("X-RateLimit-Limit") != "2" {
				t.Errorf("request %d: %d, %v", i+1, w.Code, w.Header())
			}
		}
		if w := get("192.0.2.2:1"); w.Code != 200 {
			t.Errorf("another address: %d", w.Code)
		}
		time.Sleep(time.Minute)
		if w := get("192.0.2.1:1"); w.Code != 200 {
			t.Errorf("after the window: %d", w.Code)
		}
	})
}

func TestOurStoreInUlulesWordsAdmitsNInAnyWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := ratelimit.ToUlule(memoryStore(t))
		rate := ulule.Rate{Limit: 4, Period: time.Minute}
		var admitted []time.Time
		for range 300 {
			at, err := s.Get(t.Context(), "k", rate)
			if err != nil {
				t.Fatal(err)
			}
			if !at.Reached {
				admitted = append(admitted, time.Now())
			}
			time.Sleep(time.Second)
		}
		for i := 4; i < len(admitted); i++ {
			if d := admitted[i].Sub(admitted[i-4]); d < time.Minute {
				t.Errorf("5 admitted within %v", d)
			}
		}
		if len(admitted) != 20 {
			t.Errorf("%d admitted in five minutes at 4 a minute", len(admitted))
		}
	})
}

func TestRatesOfOneKeyDoNotCollide(t *testing.T) {
	s := ratelimit.ToUlule(memoryStore(t))
	get := func(n int64, per time.Duration) ulule.Context {
		t.Helper()
		at, err := s.Get(t.Context(), "k", ulule.Rate{Limit: n, Period: per})
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for range 9 {
		get(5, time.Second)
		get(10, time.Hour)
	}
	if at := get(100, time.Hour); at.Remaining != 99 {
		t.Errorf("%d remain of the third rate", at.Remaining)
	}
	if at := get(10, time.Hour); at.Reached || at.Remaining != 0 {
		t.Errorf("the tenth of 10: %+v", at)
	}
}

func TestIncrementTakesAllOrNothing(t *testing.T) {
	s := ratelimit.ToUlule(memoryStore(t))
	rate := ulule.Rate{Limit: 10, Period: time.Hour}
	for _, tt := range []struct {
		count, left int64
		reached     bool
	}{{7, 3, false}, {4, 3, true}, {3, 0, false}, {1, 0, true}, {11, 0, true}, {1<<63 - 1, 0, true}} {
		at, err := s.Increment(t.Context(), "k", tt.count, rate)
		if err != nil || at.Remaining != tt.left || at.Reached != tt.reached {
			t.Errorf("%d: %+v, %v", tt.count, at, err)
		}
	}
	if at, err := s.Increment(t.Context(), "fresh", 0, rate); err != nil || at.Remaining != 10 || at.Reached {
		t.Errorf("a count of 0: %+v, %v", at, err)
	}
}

func TestWhatIsNoRateAdmitsNothing(t *testing.T) {
	s := ratelimit.ToUlule(memoryStore(t))
	ctx := t.Context()
	for name, tt := range map[string]struct {
		rate  ulule.Rate
		count int64
		want  error
	}{
		"no limit":          {ulule.Rate{Period: time.Hour}, 1, ratelimit.ErrLimit},
		"negative limit":    {ulule.Rate{Limit: -5, Period: time.Hour}, 1, ratelimit.ErrLimit},
		"period below 1 ms": {ulule.Rate{Limit: 5, Period: time.Microsecond}, 1, ratelimit.ErrLimit},
		"negative count":    {ulule.Rate{Limit: 5, Period: time.Hour}, -5, ratelimit.ErrCharges},
	} {
		if _, err := s.Increment(ctx, "k", tt.count, tt.rate); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if at, err := s.Peek(ctx, "k", ulule.Rate{Limit: 5, Period: time.Hour}); err != nil || at.Remaining != 5 {
		t.Errorf("something was given back: %+v, %v", at, err)
	}
	good := ulule.Rate{Limit: 5, Period: time.Hour}
	none := ratelimit.ToUlule(nil)
	for name, f := range map[string]func(context.Context, string, ulule.Rate) (ulule.Context, error){"Get": none.Get, "Peek": none.Peek, "Reset": none.Reset} {
		if _, err := f(ctx, "k", good); !errors.Is(err, ratelimit.ErrStore) {
			t.Errorf("%s of no store: %v", name, err)
		}
	}
}

func TestUlulesMemoryStoreHoldsToTheContractThatNeedsNoClock(t *testing.T) {
	storetest.Run(t, storetest.Subject{New: func(*testing.T) ratelimit.Store { return ratelimit.FromUlule(ululeStore()) }})
}

func TestALimiterRunsOnUlulesMemoryStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := ratelimit.New(ratelimit.Config{
			Store: ratelimit.FromUlule(ululeStore()), IP: []ratelimit.Limit{ratelimit.PerMinute(3)},
		})
		if err != nil {
			t.Fatal(err)
		}
		h := l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		for i := range 5 {
			r := httptest.NewRequest("GET", "/", nil)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			want := 200
			if i >= 3 {
				want = 429
			}
			if w.Code != want || want == 429 && w.Header().Get("Retry-After") == "" {
				t.Errorf("request %d: %d, %v", i+1, w.Code, w.Header())
			}
		}
	})
}

// What the documentation of FromUlule says is lost is lost, and no more.
func TestTheLossesOfUlulesStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := ratelimit.FromUlule(ululeStore())
		c := []ratelimit.Charge{{Rule: "r", N: 10, Per: time.Minute, Cost: 1}}
		st := make([]ratelimit.State, 1)
		burst := func() (admitted int) {
			for range 30 {
				ok, err := s.TakeAll(t.Context(), c, st)
				if err != nil {
					t.Fatal(err)
				}
				if ok {
					admitted++
				}
			}
			return admitted
		}
		if ok, err := s.TakeAll(t.Context(), c, st); !ok || err != nil { // opens the window
			t.Fatal(ok, err)
		}
		time.Sleep(59 * time.Second)
		first := burst()
		if st[0].Fits || st[0].RetryAfter <= 0 {
			t.Fatalf("%+v", st[0])
		}
		wait := st[0].RetryAfter
		if wait < time.Second || wait > 2*time.Second {
			t.Errorf("told to wait %v when it takes 1 s", wait)
		}
		time.Sleep(wait)
		if second := burst(); first != 9 || second != 10 {
			t.Errorf("%d and %d admitted around the end of a fixed window", first, second)
		}
	})
	for name, s := range map[string]ratelimit.Store{"no store": ratelimit.FromUlule(nil), "ours in theirs in ours": ratelimit.FromUlule(ratelimit.ToUlule(nil))} {
		c := []ratelimit.Charge{{Rule: "r", N: 10, Per: time.Minute, Cost: 1}}
		if ok, err := s.TakeAll(t.Context(), c, make([]ratelimit.State, 1)); ok || !errors.Is(err, ratelimit.ErrStore) {
			t.Errorf("%s: %t, %v", name, ok, err)
		}
		if err := s.Reset(t.Context(), c); !errors.Is(err, ratelimit.ErrStore) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUlulesStoreGivesNothingBackAndSaysSo(t *testing.T) {
	store := ratelimit.FromUlule(ululeStore())
	cfg := ratelimit.Config{Store: store}
	l := newLimiter(t, cfg)
	if err := l.Refund(t.Context(), ratelimit.Request{}, mustTake(t, l, ratelimit.Request{})); !errors.Is(err, ratelimit.ErrRefund) {
		t.Errorf("%v", err)
	}
	cfg.Global = []ratelimit.Limit{{N: 5, Per: time.Minute, Burst: 2}}
	if _, err := ratelimit.New(cfg); err == nil {
		t.Error("a burst was accepted")
	}
}
