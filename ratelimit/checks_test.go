package ratelimit_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

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
	for _, f := range newLimiter(t, good()).Check() {
		if f.ID == "HDN-RATELIMIT-005" && f.Observed != "256 MiB, store in memory" {
			t.Errorf("the memory store takes %s where nothing is said", f.Observed)
		}
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
