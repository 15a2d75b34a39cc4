package ratelimit_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ulule/limiter/v3/drivers/store/memory"

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

func TestAllFaultsOfOneLimitAreNamed(t *testing.T) {
	_, err := ratelimit.New(ratelimit.Config{IP: []ratelimit.Limit{{N: 1 << 40, Per: 1000 * 24 * time.Hour, Burst: -1, Name: "two words"}}})
	n := 0
	for f := range hardening.Faults(err) {
		if n++; f.Field != "IP[0]" {
			t.Errorf("%+v", f)
		}
	}
	if n != 4 {
		t.Errorf("%d faults in %v", n, err)
	}
}

func TestLimitsThatARequestMeetsTogetherHaveDifferentNames(t *testing.T) {
	named := func(name string, n int64) []ratelimit.Limit {
		return []ratelimit.Limit{{N: n, Per: time.Hour, Name: name}}
	}
	tier := func(name string, user []ratelimit.Limit) ratelimit.Tier {
		return ratelimit.Tier{Name: name, User: user}
	}
	route := func(p string, l []ratelimit.Limit) ratelimit.Route { return ratelimit.Route{Pattern: p, Limits: l} }
	for name, tt := range map[string]struct {
		cfg   ratelimit.Config
		field string
	}{
		"address and global":     {ratelimit.Config{IP: named("x", 1), Global: named("x", 2)}, "Global[0].Name"},
		"address and user":       {ratelimit.Config{IP: named("x", 1), Tiers: []ratelimit.Tier{tier("t", named("x", 2))}}, "Tiers[0].User[0].Name"},
		"user and route":         {ratelimit.Config{Tiers: []ratelimit.Tier{tier("t", named("x", 2))}, Routes: []ratelimit.Route{route("/a", named("x", 1))}}, "Routes[0].Limits[0].Name"},
		"a default name":         {ratelimit.Config{Global: named("ip-1m", 9)}, "Global[0].Name"},
		"two of one list":        {ratelimit.Config{Global: []ratelimit.Limit{{N: 1, Per: time.Hour, Name: "x"}, {N: 9, Per: 2 * time.Hour, Name: "x"}}}, "Global[1].Name"},
		"two tiers":              {ratelimit.Config{Tiers: []ratelimit.Tier{tier("t", named("x", 2)), tier("u", named("x", 3))}}, ""},
		"two routes":             {ratelimit.Config{Routes: []ratelimit.Route{route("/a", named("x", 1)), route("/b", named("x", 1))}}, ""},
		"a limit and its trial":  {ratelimit.Config{Global: []ratelimit.Limit{ratelimit.PerHour(9), {N: 1, Per: time.Hour, Shadow: true}}}, ""},
		"a window and its burst": {ratelimit.Config{Global: []ratelimit.Limit{ratelimit.PerHour(9), {N: 1, Per: time.Hour, Burst: 3}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ratelimit.New(tt.cfg)
			var fields []string
			for f := range hardening.Faults(err) {
				fields = append(fields, f.Field)
			}
			if strings.Join(fields, " ") != tt.field {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestRoutesThatOverlapAreNamed(t *testing.T) {
	hour := []ratelimit.Limit{ratelimit.PerHour(1)}
	_, err := ratelimit.New(ratelimit.Config{Routes: []ratelimit.Route{{Pattern: "/z", Limits: hour}, {Pattern: "GET /x/{a}/b", Limits: hour}, {Pattern: "GET /x/b/{c}", Limits: hour}, {Pattern: "GET /{", Limits: hour}}})
	for _, want := range []string{`Routes[2].Pattern "GET /x/b/{c}" overlaps Routes[1] "GET /x/{a}/b"`, `Routes[3].Pattern "GET /{" is not a pattern`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestAStoreOfUlulesThatIsNotThereOrNotShared(t *testing.T) {
	if _, err := ratelimit.New(ratelimit.Config{Store: ratelimit.FromUlule(nil)}); err == nil {
		t.Error("FromUlule(nil) is taken")
	}
	l := newLimiter(t, ratelimit.Config{Store: ratelimit.FromUlule(memory.NewStore()), Nodes: 3})
	for _, f := range l.Check() {
		if f.ID == "HDN-RATELIMIT-003" && (f.Passed || f.Observed != "3 nodes, store in memory") {
			t.Errorf("%+v", f)
		}
	}
}
