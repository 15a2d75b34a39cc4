package ratelimit_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

func TestTheEndOfALimitIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := newLimiter(t, ratelimit.Config{
			IP:     []ratelimit.Limit{ratelimit.PerHour(100)},
			Tiers:  []ratelimit.Tier{{Name: "t", User: []ratelimit.Limit{ratelimit.PerHour(1)}}},
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		h := l.Wrap(ok)
		for range 79 {
			get(h, "192.0.2.1:1", "/")
		}
		if log.Len() > 0 {
			t.Errorf("at 79 of 100: %s", &log)
		}
		for range 20 {
			get(h, "192.0.2.1:1", "/")
		}
		if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "msg=rate_limit_near") || !strings.Contains(s, "remaining=20") || !strings.Contains(s, "outcome=success") {
			t.Errorf("from 80 to 99 of 100: %s", s)
		}
	})
}

func TestEventsAreCoalescedWithTheirCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events bytes.Buffer
		l := newLimiter(t, ratelimit.Config{IP: []ratelimit.Limit{ratelimit.PerHour(1)}, Identify: user, Logger: slog.New(slog.NewTextHandler(&events, nil))})
		h := l.Wrap(ok)
		for range 501 {
			get(h, "192.0.2.1:1", "/", "X-User", "broken")
		}
		time.Sleep(11 * time.Second)
		get(h, "192.0.2.1:1", "/")
		lines := strings.Split(strings.TrimSpace(events.String()), "\n")
		var exceeded []string
		for _, line := range lines {
			if strings.Contains(line, "excess_rate_limit_exceeded") {
				exceeded = append(exceeded, line)
			}
		}
		if len(exceeded) != 2 || !strings.Contains(exceeded[0], "count=1") || !strings.Contains(exceeded[1], "count=500") {
			t.Errorf("%s", strings.Join(lines, "\n"))
		}
	})
}

// What is wrong with a request or beneath it is told, with its count, and no
// more than once in ten seconds.
func TestTroubleIsAnEvent(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*ratelimit.Config)
		header string
		want   []string
	}{
		"a sender who cannot be identified": {nil, "X-User", []string{"msg=store_degraded", "only address limits hold", "session store is gone", "client_addr=192.0.2.1"}},
		"an unknown tier":                   {nil, "X-Tier", []string{"msg=input_validation_fail", "tier=broken", "the lowest one holds"}},
		"a store that fails":                {func(c *ratelimit.Config) { c.Store = brokenStore{} }, "X-Other", []string{"msg=store_degraded", "requests are refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				cfg := ratelimit.Config{Identify: user, Logger: slog.New(slog.NewTextHandler(&log, nil))}
				if tt.change != nil {
					tt.change(&cfg)
				}
				h := newLimiter(t, cfg).Wrap(ok)
				for range 7 {
					get(h, "192.0.2.1:1", "/", tt.header, "broken")
				}
				time.Sleep(11 * time.Second)
				get(h, "192.0.2.1:1", "/", tt.header, "broken")
				lines := strings.Split(strings.TrimSpace(log.String()), "\n")
				if len(lines) != 2 || !strings.HasSuffix(lines[0], "count=1") || !strings.HasSuffix(lines[1], "count=7") {
					t.Fatalf("8 requests within 11 s are told as %q", lines)
				}
				for _, want := range tt.want {
					if !strings.Contains(lines[0], want) {
						t.Errorf("no %s in %s", want, lines[0])
					}
				}
			})
		})
	}
}

// asking is a store that hears of a caller who leaves.
type asking struct{ ratelimit.Store }

func (asking) TakeAll(ctx context.Context, _ []ratelimit.Charge, _ []ratelimit.State) (bool, error) {
	return false, ctx.Err()
}

// Anyone can break off requests. That raises no alarm, and lets nobody in.
func TestACallerWhoLeavesIsNoEvent(t *testing.T) {
	var log bytes.Buffer
	h := newLimiter(t, ratelimit.Config{
		Store: asking{}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Identify: func(r *http.Request) (ratelimit.Identity, error) { return ratelimit.Identity{}, r.Context().Err() },
	}).Wrap(ok)
	gone, leave := context.WithCancel(t.Context())
	leave()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(gone, "GET", "/", nil))
	if w.Code != 503 || log.Len() > 0 {
		t.Errorf("%d, %s", w.Code, &log)
	}
}

// A rule that is tried out, or another route's, must not hide refusals.
func TestEachLimitHasEventsOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trial := ratelimit.PerHour(2)
		trial.Shadow = true
		var log bytes.Buffer
		l := newLimiter(t, ratelimit.Config{
			IP:     []ratelimit.Limit{ratelimit.PerHour(4), trial},
			Routes: []ratelimit.Route{{Pattern: "/a", Limits: []ratelimit.Limit{ratelimit.PerHour(1)}}, {Pattern: "/b", Limits: []ratelimit.Limit{ratelimit.PerHour(1)}}},
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		h := l.Wrap(ok)
		for range 6 {
			get(h, "192.0.2.1:1", "/")
		}
		for range 3 {
			get(h, "192.0.2.2:1", "/a")
			get(h, "192.0.2.3:1", "/b")
		}
		for _, want := range []string{"policy=ip-1h-shadow report_only=true", "policy=ip-1h report_only=false", "route=/a outcome=denied policy=route-1h", "route=/b outcome=denied policy=route-1h"} {
			if strings.Count(log.String(), want) != 1 {
				t.Errorf("not once %s in\n%s", want, &log)
			}
		}
	})
}
