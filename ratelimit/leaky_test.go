package ratelimit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

// A leaky bucket through the whole room: Burst at once, then its pace, in a
// window of Per no more than N + Burst.
func TestBurst(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-2.4.1")
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{
			IP:    []ratelimit.Limit{{N: 60, Per: time.Minute, Burst: 10}, ratelimit.PerMinute(1000)},
			Tiers: []ratelimit.Tier{{Name: "t", User: []ratelimit.Limit{ratelimit.PerMinute(1)}}},
		})
		h := l.Wrap(ok)
		w := get(h, "192.0.2.1:1", "/")
		if p := w.Header().Get("RateLimit-Policy"); p != `"ip-1m-burst";q=60;w=60` || w.Header().Get("RateLimit") != `"ip-1m-burst";r=9;t=9` {
			t.Errorf("%s, %s", p, w.Header().Get("RateLimit"))
		}
		admitted := 1
		for start := time.Now(); time.Since(start) < time.Minute; {
			w := get(h, "192.0.2.1:1", "/")
			if w.Code == 204 {
				admitted++
				continue
			}
			if after := w.Header().Get("Retry-After"); after != "1" {
				t.Fatalf("Retry-After %s", after)
			}
			time.Sleep(time.Second)
		}
		if admitted != 69 { // 10 at once and one in each second that follows
			t.Errorf("%d admitted in a minute", admitted)
		}
	})
	for _, bad := range []ratelimit.Limit{{N: 1, Per: time.Minute, Burst: -1}, {N: 1, Per: time.Minute, Burst: 1 << 40}} {
		if _, err := ratelimit.New(ratelimit.Config{Global: []ratelimit.Limit{bad}}); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}
