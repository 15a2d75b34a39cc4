package redislimit_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/redislimit"
)

// Whatever Redis answers, or does not, a client sees what the limit's policy for
// an outage says: a share, 503, or all; never a 500, and never more than that.
func TestAServiceOverAFailingRedisIsNeverA500(t *testing.T) {
	for name, fail := range map[string]func(t *testing.T) *redis.Client{
		"answers nothing but errors": func(t *testing.T) *redis.Client {
			srv, client, _ := mini(t)
			srv.SetError("MISCONF Redis is configured to save RDB snapshots")
			return client
		},
		"is full": func(t *testing.T) *redis.Client {
			srv, client, _ := mini(t)
			srv.SetError("OOM command not allowed when used memory > 'maxmemory'.")
			return client
		},
		"is a replica": func(t *testing.T) *redis.Client {
			srv, client, _ := mini(t)
			srv.SetError("READONLY You can't write against a read only replica.")
			return client
		},
		"has no scripts": func(t *testing.T) *redis.Client {
			srv, client, _ := mini(t)
			srv.SetError("NOSCRIPT No matching script.")
			return client
		},
		"is gone": func(t *testing.T) *redis.Client {
			srv, client, _ := mini(t)
			srv.Close()
			return client
		},
		"speaks another protocol": func(t *testing.T) *redis.Client {
			web := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(web.Close)
			c := redis.NewClient(&redis.Options{Addr: web.Listener.Addr().String(), ContextTimeoutEnabled: true, MaxRetries: -1})
			t.Cleanup(func() { _ = c.Close() })
			return c
		},
	} {
		for _, tt := range []struct {
			outage ratelimit.Outage
			want   [5]int
		}{
			{ratelimit.Local, [5]int{204, 204, 204, 429, 429}},
			{ratelimit.Closed, [5]int{503, 503, 503, 503, 503}},
			{ratelimit.DangerouslyOpen, [5]int{204, 204, 204, 204, 204}},
		} {
			t.Run(name, func(t *testing.T) {
				l, err := ratelimit.New(ratelimit.Config{
					Store: newStore(t, fail(t), func(c *redislimit.Config) { c.Timeout = time.Second }), Logger: slog.New(slog.DiscardHandler),
					IP:       []ratelimit.Limit{{N: 3, Per: time.Hour, OnOutage: tt.outage}},
					Tiers:    []ratelimit.Tier{{Name: "t", User: []ratelimit.Limit{{N: 4, Per: time.Hour, OnOutage: tt.outage}}}},
					Identify: func(*http.Request) (ratelimit.Identity, error) { return eve, nil },
				})
				if err != nil {
					t.Fatal(err)
				}
				h := l.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
				var got [5]int
				for i := range got {
					w := httptest.NewRecorder()
					h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
					got[i] = w.Code
					if w.Code != 204 && (w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Retry-After") == "") {
						t.Errorf("%d with %v", w.Code, w.Header())
					}
				}
				if got != tt.want {
					t.Errorf("%v: %v, want %v", tt.outage, got, tt.want)
				}
			})
		}
	}
}

// An outage is one event, and so is its end, also where a limit is closed meanwhile
// and every request is refused.
func TestAnOutageOfAClosedLimitIsToldOnce(t *testing.T) {
	srv, client, _ := mini(t)
	log := new(records)
	l, err := ratelimit.New(ratelimit.Config{
		Store:  newStore(t, client, func(c *redislimit.Config) { c.Logger = slog.New(log) }),
		Logger: slog.New(log), IP: []ratelimit.Limit{{N: 3, Per: time.Hour, OnOutage: ratelimit.Closed}},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.SetError("MISCONF Redis is configured to save RDB snapshots")
	h := l.Wrap(http.NotFoundHandler())
	for range 10 {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil)); w.Code != http.StatusServiceUnavailable {
			t.Fatal(w.Code)
		}
	}
	if got := log.names(); len(got) != 1 || got[0] != "store_degraded" {
		t.Errorf("%q", got)
	}
}

// A trial waits for no Redis that is away, and says nothing of a share.
func TestNothingIsTriedInAnOutage(t *testing.T) {
	srv, client, _ := mini(t)
	l, err := ratelimit.New(ratelimit.Config{
		Store: newStore(t, client), Logger: slog.New(slog.DiscardHandler),
		IP: []ratelimit.Limit{ratelimit.PerHour(100), {N: 1, Per: time.Minute, Shadow: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	take := func() ratelimit.Decision {
		d, err := l.Take(t.Context(), ratelimit.Request{})
		if err != nil || !d.Allowed {
			t.Fatal(d, err)
		}
		return d
	}
	take()
	if d := take(); len(d.Shadowed) != 1 || d.Degraded {
		t.Errorf("over Redis: %+v", d)
	}
	srv.SetError("MISCONF Redis is configured to save RDB snapshots")
	if d := take(); len(d.Shadowed) != 0 || !d.Degraded {
		t.Errorf("in an outage: %+v", d)
	}
}
