package ratelimit_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/ratelimit"
	"github.com/ulule/limiter/v3"
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

func TestParseLimit(t *testing.T) {
	for s, want := range map[string]ratelimit.Limit{
		"100-M": ratelimit.PerMinute(100), "100/m": ratelimit.PerMinute(100), "1-s": ratelimit.PerSecond(1), "20000/H": ratelimit.PerHour(20000), "5-D": ratelimit.PerDay(5),
	} {
		if got, err := ratelimit.ParseLimit(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "-M", "100", "100-", "100-X", "0-M", "-1-M", "1e3-M", "99999999999-S", "1000000001-S", "100-MM", strings.Repeat("1", 1000) + "-M"} {
		if l, err := ratelimit.ParseLimit(s); err == nil || len(err.Error()) > 200 {
			t.Errorf("%.20q gives %v, %v", s, l, err)
		}
	}
	for _, l := range []ratelimit.Limit{ratelimit.PerSecond(7), ratelimit.PerMinute(1), ratelimit.PerHour(9), ratelimit.PerDay(2), {N: 3, Per: 90 * time.Second}} {
		if got, err := ratelimit.FromRate(l.Rate()); err != nil || got != l {
			t.Errorf("%v came back as %v, %v", l, got, err)
		}
		if unit := l.Rate().Formatted; l.Per != 90*time.Second {
			if r, err := limiter.NewRateFromFormatted(unit); err != nil || r != l.Rate() {
				t.Errorf("ulule reads %q as %v, %v", unit, r, err)
			}
		}
	}
	if _, err := ratelimit.FromRate(limiter.Rate{Limit: -5, Period: time.Second}); err == nil {
		t.Error("a negative rate was accepted")
	}
}

func FuzzParseLimit(f *testing.F) {
	f.Add("100-M")
	f.Add("1/d")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ratelimit.ParseLimit(s)
		if err != nil {
			return
		}
		if back, err := ratelimit.ParseLimit(l.Rate().Formatted); err != nil || back != l {
			t.Errorf("%q gives %v, which reads back as %v, %v", s, l, back, err)
		}
	})
}

func TestEachCheckFlips(t *testing.T) {
	good := func() ratelimit.Config {
		return ratelimit.Config{
			Identify: func(*http.Request) (ratelimit.Identity, error) { return ratelimit.Identity{}, nil },
			Routes:   []ratelimit.Route{{Pattern: "POST /login", Limits: []ratelimit.Limit{ratelimit.PerMinute(10)}}},
		}
	}
	states := func(cfg ratelimit.Config) map[string]bool {
		m := map[string]bool{}
		for _, f := range newLimiter(t, cfg).Check() {
			m[f.ID] = f.Passed
			if f.Component == "" || f.Title == "" || f.Observed == "" || f.Expected == "" || f.Remedy == "" || len(f.Controls) == 0 {
				t.Errorf("incomplete %+v", f)
			}
		}
		return m
	}
	all := states(good())
	for id, passed := range all {
		if !passed {
			t.Errorf("%s fails for a good config", id)
		}
	}
	big, err := ratelimit.NewMemoryStore(ratelimit.MemoryConfig{MaxBytes: 3 << 30})
	if err != nil {
		t.Fatal(err)
	}
	flips := map[string]func(*ratelimit.Config){
		"HDN-RATELIMIT-001": func(c *ratelimit.Config) { c.IP = []ratelimit.Limit{ratelimit.PerSecond(1000)} },
		"HDN-RATELIMIT-002": func(c *ratelimit.Config) { c.Identify = nil },
		"HDN-RATELIMIT-003": func(c *ratelimit.Config) { c.Nodes = 3 },
		"HDN-RATELIMIT-004": func(c *ratelimit.Config) { c.IPv6Prefix = 128; c.DangerouslyLongIPv6Prefix = true },
		"HDN-RATELIMIT-005": func(c *ratelimit.Config) { c.Store = big },
		"HDN-RATELIMIT-006": func(c *ratelimit.Config) { c.Routes = nil },
		"HDN-RATELIMIT-007": func(c *ratelimit.Config) { c.DangerouslyReportOnly = true },
		"HDN-RATELIMIT-008": func(c *ratelimit.Config) { c.Global = []ratelimit.Limit{{N: 1, Per: 25 * time.Hour}} },
		"HDN-RATELIMIT-010": func(c *ratelimit.Config) {
			c.Global = []ratelimit.Limit{{N: 1, Per: time.Second, Shadow: true}}
		},
		"HDN-RATELIMIT-009": func(c *ratelimit.Config) {
			c.Routes = append(c.Routes, ratelimit.Route{Pattern: "POST /logout", DangerouslyUnlimited: true})
		},
		"HDN-RATELIMIT-011": func(c *ratelimit.Config) { c.Global = open(100_000) },
	}
	for id, flip := range flips {
		cfg := good()
		flip(&cfg)
		for other, passed := range states(cfg) {
			if passed == (other == id) {
				t.Errorf("flipping %s: %s passed=%t", id, other, passed)
			}
		}
		delete(all, id)
	}
	for id := range all {
		t.Errorf("%s is flipped by nothing", id)
	}
}
