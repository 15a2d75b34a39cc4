package ratelimit_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

func TestAShadowLimitReportsAndRefusesNothing(t *testing.T) {
	var log bytes.Buffer
	var shadowed, consumed int
	cfg := ratelimit.Config{
		IP:     []ratelimit.Limit{ratelimit.PerHour(8), {N: 3, Per: time.Hour, Name: "trial", Shadow: true}},
		Tiers:  []ratelimit.Tier{{Name: "t", User: []ratelimit.Limit{ratelimit.PerHour(1)}}},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Observe: func(e ratelimit.Event) {
			if e.Decision.Allowed {
				consumed++
			}
			for _, name := range e.Decision.Shadowed {
				if name == "trial" {
					shadowed++
				}
			}
		},
	}
	l := newLimiter(t, cfg)
	h := l.Wrap(ok)
	for i := range 12 {
		w := get(h, "192.0.2.1:1", "/")
		if (w.Code == 204) != (i < 8) || strings.Contains(w.Header().Get("RateLimit-Policy"), "trial") {
			t.Errorf("request %d: %d %v", i+1, w.Code, w.Header())
		}
	}
	if consumed != 8 || shadowed != 5 {
		t.Errorf("%d admitted and %d reported, want 8 and 5", consumed, shadowed)
	}
	if s := log.String(); !strings.Contains(s, "policy=trial") || !strings.Contains(s, "report_only=true") {
		t.Errorf("the log says %s", s)
	}
	cfg.IP = cfg.IP[1:]
	if _, err := ratelimit.New(cfg); err == nil || !strings.Contains(err.Error(), "only tries limits out") {
		t.Errorf("no limit of addresses but a shadow: %v", err)
	}
}

// A trial counts apart from every other limit, whatever a route's pattern is.
func TestAShadowSharesNoCounterWithAnyRoute(t *testing.T) {
	five := []ratelimit.Limit{ratelimit.PerHour(5)}
	l := newLimiter(t, ratelimit.Config{Routes: []ratelimit.Route{
		{Pattern: "/a", Limits: []ratelimit.Limit{{N: 5, Per: time.Hour, Shadow: true}}},
		{Pattern: "/a~shadow", Limits: five}, {Pattern: "shadow.example/a", Limits: five},
	}})
	h := l.Wrap(ok)
	for range 5 {
		get(h, "192.0.2.1:1", "/a")
	}
	for _, url := range []string{"/a~shadow", "http://shadow.example/a"} {
		if w := get(h, "192.0.2.1:1", url); w.Code != 204 || w.Header().Get("RateLimit") != `"route-1h";r=4;t=3600` {
			t.Errorf("%s shares the counter of the trial of /a: %d %v", url, w.Code, w.Header())
		}
	}
}
