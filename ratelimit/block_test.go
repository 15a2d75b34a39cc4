package ratelimit_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

func TestBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := newLimiter(t, ratelimit.Config{Identify: member, DangerouslyReportOnly: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		h := l.Wrap(ok)
		code := func(headers ...string) int { return get(h, "192.0.2.1:1", "/", headers...).Code }
		until := time.Now().Add(time.Hour)
		if err := l.Block(t.Context(), ratelimit.Identity{User: "u", Org: "o", Tier: "pro"}, until, "stolen laptop"); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "authz_change") || !strings.Contains(log.String(), "stolen laptop") {
			t.Errorf("the log says %s", &log)
		}
		w := get(h, "192.0.2.1:1", "/", "X-User", "u", "X-Org", "elsewhere")
		if w.Code != 403 || strings.Contains(w.Body.String(), "laptop") || w.Header().Get("RateLimit") != "" {
			t.Errorf("a blocked user: %d %v %s", w.Code, w.Header(), w.Body)
		}
		if d, err := l.Take(t.Context(), ratelimit.Request{Identity: ratelimit.Identity{User: "u"}}); d.Allowed || d.RetryAfter != time.Hour || err != nil {
			t.Errorf("Take: %+v, %v", d, err)
		}
		if code("X-User", "v", "X-Org", "o") != 204 || code() != 204 || code("X-Org", "u") != 204 {
			t.Error("a block of a user holds for others")
		}
		if err := l.Block(t.Context(), ratelimit.Identity{Org: "o"}, until.Add(time.Hour), ""); err != nil {
			t.Fatal(err)
		}
		if code("X-User", "v", "X-Org", "o") != 403 || code("X-User", "o") != 204 {
			t.Error("a block of an organisation holds for its users and nobody else")
		}
		if err := l.Block(t.Context(), ratelimit.Identity{Org: "o"}, time.Time{}, ""); err != nil || code("X-User", "v", "X-Org", "o") != 204 {
			t.Errorf("not lifted: %v", err)
		}
		time.Sleep(time.Hour)
		if code("X-User", "u") != 204 {
			t.Error("a block outlives its time")
		}
		if err := l.Block(t.Context(), ratelimit.Identity{Tier: "pro"}, until, ""); !errors.Is(err, ratelimit.ErrNobody) {
			t.Errorf("nobody: %v", err)
		}
	})
}

func TestBlocksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{})
		block := func(i int) error {
			return l.Block(t.Context(), ratelimit.Identity{User: strconv.Itoa(i)}, time.Now().Add(time.Hour), "")
		}
		for i := range 1000 {
			if err := block(i); err != nil {
				t.Fatal(err)
			}
		}
		if err := block(1000); !errors.Is(err, ratelimit.ErrBlocks) {
			t.Errorf("one more: %v", err)
		}
		if err := block(1); err != nil {
			t.Errorf("a block that is prolonged: %v", err)
		}
		time.Sleep(2 * time.Hour)
		if err := block(1000); err != nil {
			t.Errorf("after the others ended: %v", err)
		}
	})
}

// diary is an audit trail that can fail.
type diary struct {
	slog.Handler
	err  error
	look func()
	told []string
}

func (d *diary) Handle(_ context.Context, r slog.Record) error {
	if d.look != nil {
		d.look()
	}
	d.told = append(d.told, r.Message)
	return d.err
}

func TestABlockIsRecordedBeforeItTakesEffect(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.3.3")
	var log bytes.Buffer
	trail := &diary{err: errors.New("disk full")}
	l := newLimiter(t, ratelimit.Config{Audit: trail, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	eve := ratelimit.Request{Identity: ratelimit.Identity{User: "eve"}}
	blocked := func() bool {
		d, err := l.Peek(t.Context(), eve)
		if err != nil {
			t.Fatal(err)
		}
		return !d.Allowed
	}
	before := blocked()
	trail.look = func() { before = blocked() }
	block := func(until time.Time) error { return l.Block(t.Context(), eve.Identity, until, "phished") }
	if err := block(time.Now().Add(time.Hour)); !errors.Is(err, trail.err) || blocked() {
		t.Errorf("a block that nobody recorded: %v, in effect %t", err, blocked())
	}
	trail.err = nil
	if err := block(time.Now().Add(time.Hour)); err != nil || before || !blocked() {
		t.Errorf("%v, in effect before its record %t, after it %t", err, before, blocked())
	}
	trail.err = errors.New("disk full")
	if err := block(time.Time{}); !errors.Is(err, trail.err) || !blocked() {
		t.Errorf("lifted without a record: %v", err)
	}
	if len(trail.told) != 3 || trail.told[0] != "authz_change" || log.Len() != 0 {
		t.Errorf("the trail has %q, the log %s", trail.told, &log)
	}
	if _, err := ratelimit.New(ratelimit.Config{Audit: (*diary)(nil)}); err == nil {
		t.Error("a nil handler was accepted")
	}
}

// A service may take the route from what a client sends. For who is blocked too an
// unknown one is an error, or each would have an event and a counter of its own.
func TestAnUnknownRouteOfABlockedUserIsNoEvent(t *testing.T) {
	var log bytes.Buffer
	seen := 0
	l := newLimiter(t, ratelimit.Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Observe: func(ratelimit.Event) { seen++ }})
	if err := l.Block(t.Context(), ratelimit.Identity{User: "eve"}, time.Now().Add(time.Hour), "incident"); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	for i := range 100 {
		d, err := l.Take(t.Context(), ratelimit.Request{Identity: ratelimit.Identity{User: "eve"}, Route: "/" + strconv.Itoa(i)})
		if !errors.Is(err, ratelimit.ErrRoute) || d.Allowed {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	if log.Len() > 0 || seen != 0 {
		t.Errorf("%d decisions observed; %s", seen, &log)
	}
}

// untellable is a shared store that cannot tell the nodes of a change.
type untellable struct {
	ratelimit.Store
	err error
}

func (u untellable) Block(context.Context, ratelimit.Identity, time.Time) error { return u.err }

func (u untellable) Blocked(context.Context, ratelimit.Identity) time.Time { return time.Time{} }

// Who keeps a block that the other nodes could not be told of: the store if it says
// so, which knows when it is lifted elsewhere; else the Limiter.
func TestABlockThatCouldNotBeToldIsKeptOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		kept bool // by the Limiter
	}{"told": {nil, false}, "kept by the store": {ratelimit.ErrUntold, false}, "lost by the store": {errors.New("disk full"), true}} {
		l := newLimiter(t, ratelimit.Config{Store: untellable{memoryStore(t), tt.err}})
		err := l.Block(t.Context(), ratelimit.Identity{User: "eve"}, time.Now().Add(time.Hour), "phished")
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", name, err)
		}
		if d, err := l.Take(t.Context(), ratelimit.Request{Identity: ratelimit.Identity{User: "eve"}}); d.Allowed == tt.kept || err != nil {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}
