package benchmarks

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/didip/tollbooth/v7"
	tollboothlimiter "github.com/didip/tollbooth/v7/limiter"
	"github.com/go-chi/httprate"
	sethvargo "github.com/sethvargo/go-limiter"
	"github.com/sethvargo/go-limiter/httplimit"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	ulule "github.com/ulule/limiter/v3"
	ululehttp "github.com/ulule/limiter/v3/drivers/middleware/stdlib"
	ululememory "github.com/ulule/limiter/v3/drivers/store/memory"
	"golang.org/x/time/rate"

	"github.com/inovy/hardening/ratelimit"
)

// perHour is a limit that no run reaches: what is measured is the answer yes,
// the one that a service gives all day.
const perHour = 1_000_000_000

// takeKeys returns n addresses of clients, spread over many networks.
func takeKeys(n int) []netip.Addr {
	keys := make([]netip.Addr, n)
	for i := range keys {
		keys[i] = netip.AddrFrom4([4]byte{100, byte(64 + i>>16), byte(i >> 8), byte(i)})
	}
	return keys
}

// newLimiter is our room with one limit for each address and, for requests
// that have a user, one for each user. What a service cannot switch off, the
// limit by address, is the one that the cases measure.
func newLimiter(tb testing.TB, identify func(*http.Request) (ratelimit.Identity, error)) *ratelimit.Limiter {
	return must(ratelimit.New(ratelimit.Config{
		IP:       []ratelimit.Limit{ratelimit.PerHour(perHour)},
		Tiers:    []ratelimit.Tier{{Name: "all", User: []ratelimit.Limit{ratelimit.PerHour(perHour)}}},
		Identify: identify,
		Logger:   slog.New(slog.DiscardHandler),
	}))(tb)
}

// limitTable is the least that counts requests per key in memory: a clock
// reading, a keyed 128-bit hash, so that no two keys collide and no client can
// choose a crowded shard, a lock, and one word of state (the theoretical
// arrival time of GCRA). It never forgets a key and knows one limit only.
type limitTable struct {
	lo, hi   maphash.Seed
	interval int64 // nanoseconds between two requests at the limit
	burst    int64 // nanoseconds that may be saved up
	epoch    time.Time
	shards   [64]limitShard
}

type limitShard struct {
	mu  sync.Mutex
	tat map[[2]uint64]int64 // guarded by mu
	_   [40]byte            // its own cache line
}

func newLimitTable(n int64, per time.Duration) *limitTable {
	t := &limitTable{lo: maphash.MakeSeed(), hi: maphash.MakeSeed(), interval: int64(per) / n, burst: int64(per), epoch: time.Now()}
	for i := range t.shards {
		t.shards[i].tat = map[[2]uint64]int64{}
	}
	return t
}

func (t *limitTable) take(key string) (remaining int64, ok bool) {
	now := int64(time.Since(t.epoch))
	id := [2]uint64{maphash.String(t.lo, key), maphash.String(t.hi, key)}
	s := &t.shards[id[0]%uint64(len(t.shards))]
	s.mu.Lock()
	tat := max(s.tat[id], now) + t.interval
	left := now + t.burst - tat
	if left >= 0 {
		s.tat[id] = tat
	}
	s.mu.Unlock()
	return left / t.interval, left >= 0
}

// middleware is what limitTable needs to stand before a service: the client's
// address as key and two headers.
func (t *limitTable) middleware(next http.Handler) http.Handler {
	limit := strconv.FormatInt(t.burst/t.interval, 10)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			http.Error(w, "no address", http.StatusForbidden)
			return
		}
		left, ok := t.take(host)
		values := []string{limit, strconv.FormatInt(left, 10)}
		w.Header()["X-Ratelimit-Limit"] = values[0:1:1]
		w.Header()["X-Ratelimit-Remaining"] = values[1:2:2]
		if !ok {
			http.Error(w, "too many requests", http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func newSethvargo(tb testing.TB) sethvargo.Store {
	s := must(memorystore.New(&memorystore.Config{Tokens: perHour, Interval: time.Hour}))(tb)
	tb.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func newThrottled(tb testing.TB) *throttled.GCRARateLimiterCtx {
	store := must(memstore.NewCtx(0))(tb) // unbounded, as the others: with an LRU it takes half as long again
	return must(throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{MaxRate: throttled.PerHour(perHour), MaxBurst: perHour}))(tb)
}

func newUlule() *ulule.Limiter {
	return ulule.New(ululememory.NewStore(), ulule.Rate{Period: time.Hour, Limit: perHour})
}

// remoteHost keys throttled by address: its own VaryBy takes the port along
// and would limit nobody.
type remoteHost struct{}

func (remoteHost) Key(r *http.Request) string {
	host, _, _ := net.SplitHostPort(r.RemoteAddr) // "" shares one budget
	return host
}

// Take decides on one limit for one address, without HTTP: ours gets the
// address, the others its text, made beforehand. httprate has no such
// call: its limiter writes headers while it decides.
func BenchmarkRateLimit(b *testing.B) {
	b.Run("take", func(b *testing.B) {
		b.Run("1key", func(b *testing.B) { benchmarkTake(b, takeKeys(1)) })
		b.Run("10kkeys", func(b *testing.B) { benchmarkTake(b, takeKeys(10_000)) })
	})
	// One decision about three limits, counted in Redis.
	b.Run("redis", func(b *testing.B) { b.Run("3limits", benchmarkThreeLimits) })
	// The whole middleware for one address; each sends the headers it sends.
	b.Run("middleware", func(b *testing.B) {
		r := httpsRequest("/records/42")
		b.Run("hardening", func(b *testing.B) { serve(b, newLimiter(b, nil).Wrap(ok), r) })
		b.Run("limit", func(b *testing.B) { serve(b, newLimitTable(perHour, time.Hour).middleware(ok), r) })
		b.Run("ulule", func(b *testing.B) { serve(b, ululehttp.NewMiddleware(newUlule()).Handler(ok), r) })
		b.Run("sethvargo", func(b *testing.B) {
			serve(b, must(httplimit.NewMiddleware(newSethvargo(b), httplimit.IPKeyFunc()))(b).Handle(ok), r)
		})
		b.Run("throttled", func(b *testing.B) {
			m := throttled.HTTPRateLimiterCtx{RateLimiter: newThrottled(b), VaryBy: remoteHost{}}
			serve(b, m.RateLimit(ok), r)
		})
		b.Run("httprate", func(b *testing.B) { serve(b, httprate.LimitByIP(perHour, time.Hour)(ok), r) })
		b.Run("tollbooth", func(b *testing.B) {
			lmt := tollbooth.NewLimiter(perHour/3600, &tollboothlimiter.ExpirableOptions{DefaultExpirationTTL: time.Hour})
			lmt.SetBurst(perHour)
			lmt.SetIPLookups([]string{"RemoteAddr"})
			serve(b, tollbooth.LimitHandler(lmt, ok), r)
		})
	})
}

func benchmarkTake(b *testing.B, addrs []netip.Addr) {
	ctx := context.Background()
	b.Run("hardening", func(b *testing.B) {
		l := newLimiter(b, nil)
		loopOver(b, addrs, func(a netip.Addr) bool {
			d, err := l.Take(ctx, ratelimit.Request{Addr: a})
			return err == nil && d.Allowed
		})
	})
	keys := make([]string, len(addrs))
	for i, a := range addrs {
		keys[i] = a.String()
	}
	loop := func(b *testing.B, take func(key string) bool) { loopOver(b, keys, take) }
	// What no limiter can be faster than: one counter for everybody, for ever.
	b.Run("atomic", func(b *testing.B) {
		var used atomic.Int64
		loop(b, func(string) bool { return used.Add(1) <= 1<<62 })
	})
	b.Run("limit", func(b *testing.B) {
		t := newLimitTable(perHour, time.Hour)
		loop(b, func(key string) bool { _, ok := t.take(key); return ok })
	})
	b.Run("ulule", func(b *testing.B) {
		l := newUlule()
		loop(b, func(key string) bool { c, err := l.Get(ctx, key); return err == nil && !c.Reached })
	})
	b.Run("sethvargo", func(b *testing.B) {
		s := newSethvargo(b)
		loop(b, func(key string) bool { _, _, _, ok, err := s.Take(ctx, key); return err == nil && ok })
	})
	b.Run("throttled", func(b *testing.B) {
		l := newThrottled(b)
		loop(b, func(key string) bool { limited, _, err := l.RateLimitCtx(ctx, key, 1); return err == nil && !limited })
	})
	b.Run("tollbooth", func(b *testing.B) {
		lmt := tollbooth.NewLimiter(perHour/3600, &tollboothlimiter.ExpirableOptions{DefaultExpirationTTL: time.Hour})
		lmt.SetBurst(perHour)
		loop(b, func(key string) bool { return tollbooth.LimitByKeys(lmt, []string{key}) == nil })
	})
	// A rate.Limiter per key, kept in a sync.Map, as its users write it.
	b.Run("xtime", func(b *testing.B) {
		var m sync.Map
		loop(b, func(key string) bool {
			l, found := m.Load(key)
			if !found {
				l, _ = m.LoadOrStore(key, rate.NewLimiter(perHour/3600, perHour))
			}
			return l.(*rate.Limiter).Allow()
		})
	})
}

// loopOver asks for one key after the other. A first pass makes their state,
// so that what is measured is a service at work and not its first minute.
func loopOver[K any](b *testing.B, keys []K, take func(key K) bool) {
	for _, k := range keys {
		if !take(k) {
			b.Fatal("denied")
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if !take(keys[i]) {
			b.Fatal("denied")
		}
		if i++; i == len(keys) {
			i = 0
		}
	}
}

// The limit must be a limiter: fast and wrong would prove nothing.
func TestTheLimitTableLimits(t *testing.T) {
	table := newLimitTable(5, time.Hour)
	for i := range 5 {
		if left, ok := table.take("a"); !ok || left != int64(4-i) {
			t.Errorf("request %d: %d left, %v", i+1, left, ok)
		}
	}
	if _, ok := table.take("a"); ok {
		t.Error("the sixth request of five was allowed")
	}
	if _, ok := table.take("b"); !ok {
		t.Error("another key paid for the first")
	}
}
