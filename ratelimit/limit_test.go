package ratelimit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ulule/limiter/v3"

	"github.com/inovy/hardening/ratelimit"
)

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
