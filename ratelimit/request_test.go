package ratelimit_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/ratelimit"
)

func TestOnDenyAndTakeWithoutHTTP(t *testing.T) {
	var got *hardening.Problem
	l := newLimiter(t, ratelimit.Config{
		IP:     []ratelimit.Limit{ratelimit.PerHour(1)},
		OnDeny: func(w http.ResponseWriter, _ *http.Request, p *hardening.Problem) { got = p; w.WriteHeader(418) },
		Cost:   func(r *http.Request) int64 { n, _ := strconv.ParseInt(r.URL.Query().Get("cost"), 10, 64); return n },
	})
	if w := get(l.Wrap(ok), "192.0.2.1:1", "/?cost=9"); w.Code != 418 || got.Status != 429 || w.Header().Get("Retry-After") != "" {
		t.Errorf("a cost that never fits: %d %+v %v", w.Code, got, w.Header())
	}
	if w := get(l.Wrap(ok), "192.0.2.1:1", "/?cost=-5"); w.Code != 204 {
		t.Errorf("a negative cost is 1: %d", w.Code)
	}
	d, err := l.Take(t.Context(), ratelimit.Request{})
	if err != nil || !d.Allowed || d.Policy != "ip-1h" || d.Remaining != 0 {
		t.Errorf("%+v, %v", d, err)
	}
	if d, _ := l.Peek(t.Context(), ratelimit.Request{}); d.Allowed || len(d.Violated) != 1 {
		t.Errorf("peek: %+v", d)
	}
	if err := l.Reset(t.Context(), ratelimit.Request{}); err != nil {
		t.Fatal(err)
	}
	if d, _ := l.Take(t.Context(), ratelimit.Request{}); !d.Allowed {
		t.Errorf("after Reset: %+v", d)
	}
}

func TestTakeSaysWhatWrapWouldSay(t *testing.T) {
	var events bytes.Buffer
	l := newLimiter(t, ratelimit.Config{
		Routes: []ratelimit.Route{{Pattern: "POST /login", Limits: []ratelimit.Limit{ratelimit.PerHour(1)}}},
		Logger: slog.New(slog.NewTextHandler(&events, nil)),
	})
	if d, err := l.Take(t.Context(), ratelimit.Request{Route: "POST /logn"}); !errors.Is(err, ratelimit.ErrRoute) || d.Allowed {
		t.Errorf("a mistyped route: %+v, %v", d, err)
	}
	login := ratelimit.Request{Identity: ratelimit.Identity{User: strings.Repeat("u", 1000), Tier: "platinum"}, Route: "POST /login"}
	for i := range 2 {
		if d, err := l.Take(t.Context(), login); err != nil || d.Allowed != (i == 0) || d.Policy != "route-1h" {
			t.Errorf("%d: %+v, %v", i, d, err)
		}
	}
	got := events.String()
	if !strings.Contains(got, "excess_rate_limit_exceeded") || !strings.Contains(got, "unknown tier") || len(got) > 2000 {
		t.Errorf("events %s", got)
	}
	if err := l.Reset(t.Context(), ratelimit.Request{Identity: ratelimit.Identity{User: login.User}}); err != nil {
		t.Fatal(err)
	}
	if d, _ := l.Take(t.Context(), login); !d.Allowed {
		t.Errorf("Reset of a user left the route's limit: %+v", d)
	}
}

func TestReportOnlyTakeIsAllowed(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{DangerouslyReportOnly: true, IP: []ratelimit.Limit{ratelimit.PerHour(1)}})
	for i := range 3 {
		if d, err := l.Take(t.Context(), ratelimit.Request{}); err != nil || !d.Allowed || d.ReportOnly != (i > 0) {
			t.Errorf("%d: %+v, %v", i, d, err)
		}
	}
}
