package ratelimit

import (
	"fmt"
	"hash/maphash"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// limitTable is the physical limit for one limit of a counting store: a sharded
// map with a lock, a keyed hash and the time. It forgets nothing and holds no
// promise about windows.
type limitTable struct {
	seed   maphash.Seed
	base   time.Time
	shards [256]struct {
		mu sync.Mutex
		m  map[uint64]*[2]int64
		_  [48]byte
	}
}

func (l *limitTable) take(name string, n int64, per time.Duration) bool {
	h := maphash.String(l.seed, name)
	now := int64(time.Since(l.base))
	sh := &l.shards[h%256]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c := sh.m[h]
	if c == nil {
		c = new([2]int64)
		sh.m[h] = c
	}
	if now-c[0] >= int64(per) {
		c[0], c[1] = now, 0
	}
	if c[1] >= n {
		return false
	}
	c[1]++
	return true
}

func BenchmarkTake(b *testing.B) {
	for _, keys := range []int{1, 10000} {
		names := make([]string, keys)
		for i := range names {
			names[i] = fmt.Sprintf("user-%d", i)
		}
		for _, tt := range []struct {
			name  string
			limit Limit
		}{
			{"exact", Limit{N: 100, Per: minPer}}, // a ring, and refusals with one key
			{"buckets", PerHour(maxN)},            // admitted always
		} {
			b.Run(fmt.Sprintf("%dkeys/%s", keys, tt.name), func(b *testing.B) {
				s := newStore(b, MemoryConfig{})
				c := []Charge{{Rule: "user", N: tt.limit.N, Per: tt.limit.Per, Cost: 1}}
				st := make([]State, 1)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					c[0].Subject.Name = names[i%keys]
					i++
					_, _ = s.TakeAll(b.Context(), c, st)
				}
			})
		}
		b.Run(fmt.Sprintf("%dkeys/limit", keys), func(b *testing.B) {
			l := &limitTable{seed: maphash.MakeSeed(), base: time.Now()}
			for i := range l.shards {
				l.shards[i].m = map[uint64]*[2]int64{}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				l.take(names[i%keys], 100, time.Millisecond)
				i++
			}
		})
	}
}

// The same through a Limiter that has one limit, for one address.
func BenchmarkLimiterTake(b *testing.B) {
	l, err := New(Config{IP: []Limit{PerHour(maxN)}, Tiers: []Tier{{Name: "t", User: []Limit{PerHour(1)}}}})
	if err != nil {
		b.Fatal(err)
	}
	r := Request{Addr: netip.MustParseAddr("192.0.2.1")}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = l.Take(b.Context(), r)
	}
}

// What a key takes of the heap: a million keys with one hit each, and keys that
// are at their limit.
func BenchmarkBytesPerKey(b *testing.B) {
	for _, n := range []int64{10, 100, 1000} {
		b.Run(fmt.Sprintf("N=%d/burst", n), func(b *testing.B) { bytesPerKey(b, Charge{N: n, Burst: n, Cost: 1}, 1_000_000) })
		for _, tt := range []struct {
			name string
			keys uint32
			hits int64
		}{{"1hit", 1_000_000, 1}, {"full", 50_000, n}} {
			b.Run(fmt.Sprintf("N=%d/%s", n, tt.name), func(b *testing.B) { bytesPerKey(b, Charge{N: n, Cost: tt.hits}, tt.keys) })
		}
	}
}

func bytesPerKey(b *testing.B, one Charge, keys uint32) {
	one.Rule, one.Per = "ip", time.Hour
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := newStore(b, MemoryConfig{MaxBytes: 4 << 30})
		c := []Charge{one}
		st := make([]State, 1)
		for i := range keys {
			c[0].Subject.Addr = addr(i)
			if ok, err := s.TakeAll(b.Context(), c, st); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if windows, _ := s.Usage(); windows != int(keys) {
			b.Fatalf("%d windows", windows)
		}
	}
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(keys), "B/key")
}

func BenchmarkWrap(b *testing.B) {
	l, err := New(Config{IP: []Limit{PerSecond(1 << 29)}, Tiers: []Tier{{Name: "t", IP: []Limit{PerSecond(1 << 29)}}}})
	if err != nil {
		b.Fatal(err)
	}
	h := l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := httptest.NewRequest("GET", "/", nil)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

// What it costs to find the route of a request among twenty, and what it costs a
// ServeMux.
func BenchmarkRoute(b *testing.B) {
	cfg := Config{}
	for i := range 18 {
		cfg.Routes = append(cfg.Routes, Route{Pattern: fmt.Sprintf("GET /api/v1/things%d/{id}", i), Limits: []Limit{PerSecond(1 << 29)}})
	}
	cfg.Routes = append(cfg.Routes, Route{Pattern: "POST /login", Limits: []Limit{PerSecond(1)}}, Route{Pattern: "/static/", Limits: []Limit{PerSecond(1 << 29)}})
	l, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, r := range cfg.Routes {
		mux.Handle(r.Pattern, http.NotFoundHandler())
	}
	for name, target := range map[string]string{"exact": "POST /login", "wildcard": "GET /api/v1/things9/4711", "none": "GET /about/us", "other method": "GET /login"} {
		method, path, _ := strings.Cut(target, " ")
		r := httptest.NewRequest(method, path, nil)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = l.match.find(r)
			}
		})
		b.Run(name+"/ServeMux", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = mux.Handler(r)
			}
		})
	}
}
