package ratelimit_test

import (
	"bytes"
	"log/slog"
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
