package ratelimit_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

func TestObserveSeesEveryDecisionOnce(t *testing.T) {
	var seen []string
	cfg := ratelimit.Config{
		Identify: member, Logger: slog.New(slog.DiscardHandler),
		IP:     []ratelimit.Limit{ratelimit.PerHour(3)},
		Tiers:  []ratelimit.Tier{{Name: "free", User: []ratelimit.Limit{ratelimit.PerHour(1)}, Concurrent: 1}, {Name: "pro", User: []ratelimit.Limit{ratelimit.PerHour(100)}}},
		Routes: []ratelimit.Route{{Pattern: "GET /records/{id}", Limits: []ratelimit.Limit{ratelimit.PerHour(50)}}},
		Observe: func(e ratelimit.Event) {
			seen = append(seen, fmt.Sprintf("%t %s %s %s", e.Decision.Allowed, e.Decision.Policy, e.Tier, e.Route))
		},
	}
	l := newLimiter(t, cfg)
	if err := l.Block(t.Context(), ratelimit.Identity{User: "eve"}, time.Now().Add(time.Hour), ""); err != nil {
		t.Fatal(err)
	}
	h := l.Wrap(ok)
	for i, tt := range []struct {
		target, want string
		headers      []string
	}{
		{"/records/7", "true user-1h free GET /records/{id}", []string{"X-User", "a"}},
		{"/records/7", "false user-1h free GET /records/{id}", []string{"X-User", "a"}},
		{"/", "true ip-1h pro ", []string{"X-User", "b", "X-Tier", "pro"}},
		{"/", "false blocked free ", []string{"X-User", "eve"}},
		{"/", "true ip-1h free ", nil},
		{"/", "false ip-1h pro ", []string{"X-User", "b", "X-Tier", "pro"}},
		{"/", "false ip-1h free ", []string{"X-User", "b", "X-Tier", "pro"}}, // from the cache, before Identify
	} {
		get(h, "192.0.2.1:1", tt.target, tt.headers...)
		if len(seen) != i+1 || seen[i] != tt.want {
			t.Fatalf("request %d: %q, want %q", i+1, seen[min(i, len(seen)):], tt.want)
		}
	}
	if _, err := l.Peek(t.Context(), ratelimit.Request{}); err != nil || len(seen) != 7 {
		t.Errorf("a peek was observed: %q, %v", seen, err)
	}
}
