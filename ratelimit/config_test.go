package ratelimit_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/ratelimit"
)

func TestEveryFaultOfAConfigIsNamed(t *testing.T) {
	bad := ratelimit.Config{
		Name:   strings.Repeat("n", 65),
		IP:     []ratelimit.Limit{{N: 0, Per: time.Second}, {N: 1, Per: 0}, {N: 1 << 40, Per: time.Second}, {N: 1, Per: time.Hour * 99999}},
		Global: []ratelimit.Limit{},
		Tiers: []ratelimit.Tier{
			{Name: "bad name!", User: []ratelimit.Limit{{N: 1, Per: time.Second, Name: "two\r\nlines"}}},
			{Name: "a"}, {Name: "a", User: []ratelimit.Limit{ratelimit.PerHour(1), ratelimit.PerHour(2)}},
		},
		Routes:     []ratelimit.Route{{Pattern: "login", Limits: []ratelimit.Limit{ratelimit.PerHour(1)}}, {Pattern: "/ok"}, {Pattern: "/open", Limits: []ratelimit.Limit{ratelimit.PerHour(1)}, DangerouslyUnlimited: true}},
		IPv6Prefix: 65, Nodes: -1,
	}
	_, err := ratelimit.New(bad)
	fields := map[string]int{}
	for f := range hardening.Faults(err) {
		fields[f.Field]++
		if f.Room != "ratelimit" || f.Reason == "" || f.Fix == "" || strings.ContainsAny(f.Error(), "\r\n") {
			t.Errorf("%+v", f)
		}
	}
	for _, want := range []string{"Name", "IP[0]", "IP[1]", "IP[2]", "IP[3]", "Global", "Tiers[0].Name", "Tiers[0].User[0]", "Tiers[1]", "Tiers[2].Name", "Tiers[2].User[1]", "Routes[0].Pattern", "Routes[1].Limits", "Routes[2].DangerouslyUnlimited", "IPv6Prefix", "Nodes"} {
		if fields[want] == 0 {
			t.Errorf("no fault for %s in %v", want, err)
		}
	}
	for _, pattern := range []string{"post /login", "POST login/", "POST", "/a//{x"} {
		if _, err := ratelimit.New(ratelimit.Config{Routes: []ratelimit.Route{{Pattern: pattern, Limits: []ratelimit.Limit{ratelimit.PerHour(1)}}}}); err == nil {
			t.Errorf("the pattern %q was accepted, and matches nothing", pattern)
		}
	}
	for name, store := range map[string]ratelimit.Store{"a nil": (*ratelimit.MemoryStore)(nil), "a zero": &ratelimit.MemoryStore{}} {
		if _, err := ratelimit.New(ratelimit.Config{Store: store}); err == nil {
			t.Errorf("%s store was accepted", name)
		}
	}
	// A refusal by it would be a 403, and hold under DangerouslyReportOnly.
	if _, err := ratelimit.New(ratelimit.Config{IP: []ratelimit.Limit{{N: 1, Per: time.Hour, Name: "blocked"}}}); err == nil {
		t.Error("a limit was named as Block's own policy")
	}
	var many []ratelimit.Limit
	for i := range 20 {
		many = append(many, ratelimit.Limit{N: 1, Per: time.Duration(i+1) * time.Second})
	}
	if _, err := ratelimit.New(ratelimit.Config{Global: many}); err == nil {
		t.Error("20 limits for one request were accepted")
	}
	if _, err := ratelimit.New(ratelimit.Config{Routes: []ratelimit.Route{{Pattern: "/a", Limits: many[:1]}, {Pattern: "/a", Limits: many[:1]}}}); err == nil {
		t.Error("one pattern twice was accepted")
	}
	if _, err := ratelimit.NewMemoryStore(ratelimit.MemoryConfig{MaxBytes: -1}); err == nil {
		t.Error("a negative size was accepted")
	}
}

func TestNewKeepsNoReferenceToTheConfig(t *testing.T) {
	cfg := ratelimit.Config{IP: []ratelimit.Limit{ratelimit.PerHour(1)}, Logger: slog.New(slog.DiscardHandler)}
	l := newLimiter(t, cfg)
	cfg.IP[0].N = 1000
	h := l.Wrap(ok)
	get(h, "192.0.2.1:1", "/")
	if w := get(h, "192.0.2.1:1", "/"); w.Code != 429 {
		t.Errorf("changing the slice after New changed the limiter: %d", w.Code)
	}
}

func TestTierFaults(t *testing.T) {
	limit := []ratelimit.Limit{ratelimit.PerMinute(1)}
	for field, tier := range map[string]ratelimit.Tier{
		"Tiers[0].Concurrent": {Name: "t", IP: limit, Concurrent: -1},
		"Tiers[0].Timeout":    {Name: "t", IP: limit, Timeout: -1},
		"Tiers[0].Org":        {Name: "t", IP: limit, Org: []ratelimit.Limit{}},
		"Tiers[0].Org[0]":     {Name: "t", Org: []ratelimit.Limit{{}}},
	} {
		if _, err := ratelimit.New(ratelimit.Config{Tiers: []ratelimit.Tier{tier}}); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
