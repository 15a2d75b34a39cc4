package auditlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
)

// broken is a handler that fails as told.
type broken struct {
	slog.Handler
	how string
}

func (b broken) Enabled(context.Context, slog.Level) bool { return b.how != "disabled" }
func (b broken) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b broken) WithGroup(string) slog.Handler            { return b }
func (b broken) Handle(_ context.Context, rec slog.Record) error {
	switch b.how {
	case "panic":
		panic("secret " + rec.Message)
	case "error":
		return errors.New("disk full")
	}
	return nil
}

func TestEveryBranchOfARouteIsRedacted(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.2.5")
	var a, b, errs bytes.Buffer
	var alerted []string
	route, err := NewRoute(RouteConfig{
		All: []slog.Handler{slog.NewJSONHandler(&a, nil), slog.NewTextHandler(&b, nil)}, Errors: slog.NewJSONHandler(&errs, nil),
		Alert: func(rec slog.Record, _ int) {
			s := rec.Message
			rec.Attrs(func(at slog.Attr) bool { s += " " + at.String(); return true })
			alerted = append(alerted, s)
		},
	})
	must(t, err)
	log := slog.New(route.Handler()).With("password", planted).WithGroup("credentials").With("x", planted)
	log.Info("quiet", "card", card)
	log.Error("card "+card, "y", planted)
	slog.New(route.Handler()).WithGroup("g").With("token", planted).Log(t.Context(), event.LevelCritical, "alarm "+card, "n", 1)
	must(t, route.Close())
	for name, out := range map[string]string{"json": a.String(), "text": b.String(), "errors": errs.String(), "alert": strings.Join(alerted, "\n")} {
		if strings.Contains(out, planted) || strings.Contains(out, card) {
			t.Errorf("%s: %s", name, out)
		}
	}
	if strings.Count(a.String(), "\n") != 3 || strings.Count(b.String(), "\n") != 3 || strings.Count(errs.String(), "\n") != 2 || strings.Contains(errs.String(), "quiet") {
		t.Errorf("all: %s\n%s\nerrors: %s", &a, &b, &errs)
	}
	if len(alerted) != 1 || alerted[0] != "alarm [REDACTED:pan] g=[token=[REDACTED:key] n=1]" {
		t.Errorf("alerts: %q", alerted)
	}
	slog.New(route.Handler()).Log(t.Context(), event.LevelCritical, "after Close")
	if strings.Count(a.String(), "\n") != 4 {
		t.Error("a record after Close is lost")
	}
}

func TestFailuresOfASinkAreToldAndDoNotStopOthers(t *testing.T) {
	for _, how := range []string{"panic", "error"} {
		var out bytes.Buffer
		var told []error
		route, err := NewRoute(RouteConfig{All: []slog.Handler{broken{how: how}, slog.NewJSONHandler(&out, nil)}, OnError: func(_ context.Context, err error) { told = append(told, err) }})
		must(t, err)
		h := route.Handler()
		rec := slog.Record{Message: "m " + card, Level: slog.LevelInfo}
		if err := h.Handle(t.Context(), rec); err == nil {
			t.Errorf("%s: Handle returned nil", how)
		}
		if len(told) != 1 || strings.Contains(told[0].Error(), "secret") {
			t.Errorf("%s: told %v", how, told)
		}
		if !strings.Contains(out.String(), "[REDACTED:pan]") {
			t.Errorf("%s: the other handler got %q", how, &out)
		}
	}
}

func TestFailoverNeverLosesInSilence(t *testing.T) {
	var out bytes.Buffer
	working := slog.NewJSONHandler(&out, nil)
	for name, c := range map[string]struct {
		handlers []slog.Handler
		written  bool
	}{
		"first fails":     {[]slog.Handler{broken{how: "error"}, working}, true},
		"first panics":    {[]slog.Handler{broken{how: "panic"}, working}, true},
		"first is off":    {[]slog.Handler{broken{how: "disabled"}, working}, true},
		"all fail":        {[]slog.Handler{broken{how: "error"}, broken{how: "panic"}}, false},
		"all are off":     {[]slog.Handler{broken{how: "disabled"}, broken{how: "disabled"}}, false},
		"the only is off": {[]slog.Handler{broken{how: "disabled"}}, false},
	} {
		out.Reset()
		h, err := Failover(c.handlers...)
		must(t, err)
		h = h.WithGroup("g").WithAttrs([]slog.Attr{slog.Int("n", 1)})
		err = h.Handle(t.Context(), slog.Record{Message: "m"})
		if (err == nil) != c.written || (out.Len() > 0) != c.written || !c.written && !errors.Is(err, ErrNotWritten) {
			t.Errorf("%s: %v, %q", name, err, &out)
		}
	}
	for _, handlers := range [][]slog.Handler{nil, {nil}, {(*slog.JSONHandler)(nil)}} {
		if _, err := Failover(handlers...); err == nil {
			t.Errorf("%v is taken", handlers)
		}
	}
}

func TestFaultsOfARouteAreNamedAtOnce(t *testing.T) {
	_, err := NewRoute(RouteConfig{Errors: (*slog.JSONHandler)(nil)})
	n := 0
	for range hardening.Faults(err) {
		n++
	}
	if n != 2 {
		t.Error(err)
	}
	if _, err := NewRoute(RouteConfig{All: []slog.Handler{nil}}); err == nil {
		t.Error("a nil handler is taken")
	}
}

func TestAlertsNeverHoldUpALogCall(t *testing.T) {
	gate := make(chan struct{})
	told, lost := 0, 0
	route, err := NewRoute(RouteConfig{All: []slog.Handler{slog.DiscardHandler}, Alert: func(_ slog.Record, dropped int) {
		<-gate
		told++
		lost += dropped
		if told == 1 {
			panic("hook")
		}
	}, OnError: func(context.Context, error) {}})
	must(t, err)
	log := slog.New(route.Handler())
	const n = 500
	for range n {
		log.Log(t.Context(), event.LevelCritical, "m")
	}
	close(gate)
	must(t, route.Close())
	if told+lost != n || told > maxAlerts+1 || told < maxAlerts {
		t.Errorf("%d told, %d lost of %d", told, lost, n)
	}
}

func TestHandlersFollowTheRulesOfSlog(t *testing.T) {
	for name, build := range map[string]func(w *bytes.Buffer) slog.Handler{
		"redactor": func(w *bytes.Buffer) slog.Handler {
			return newRedactor(RedactorConfig{}).Handler(slog.NewJSONHandler(w, nil))
		},
		"route": func(w *bytes.Buffer) slog.Handler {
			r, err := NewRoute(RouteConfig{All: []slog.Handler{slog.NewJSONHandler(w, nil)}})
			must(t, err)
			return r.Handler()
		},
		"failover": func(w *bytes.Buffer) slog.Handler {
			h, err := Failover(broken{how: "error"}, slog.NewJSONHandler(w, nil))
			must(t, err)
			return h
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			must(t, slogtest.TestHandler(build(&out), func() []map[string]any {
				var all []map[string]any
				for line := range bytes.Lines(out.Bytes()) {
					m := map[string]any{}
					must(t, json.Unmarshal(line, &m))
					all = append(all, m)
				}
				return all
			}))
		})
	}
}

func TestManyGoroutinesShareARoute(t *testing.T) {
	var out bytes.Buffer
	route, err := NewRoute(RouteConfig{All: []slog.Handler{slog.NewJSONHandler(&out, nil), slog.DiscardHandler}, Alert: func(slog.Record, int) {}})
	must(t, err)
	base := slog.New(route.Handler())
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			l := base.With("password", planted).WithGroup("g")
			for range 20 {
				l.Info("m", "card", card, "v", map[string]any{"token": planted})
				l.Log(context.Background(), event.LevelCritical, "m")
			}
		})
	}
	wg.Wait()
	must(t, route.Close())
	if strings.Contains(out.String(), planted) || strings.Contains(out.String(), card) || bytes.Count(out.Bytes(), []byte("\n")) != 64*40 {
		t.Errorf("%d lines", bytes.Count(out.Bytes(), []byte("\n")))
	}
}

func TestAnAlertBehindACloseIsAnErrorAndNotLostInSilence(t *testing.T) {
	calls := 0
	route, err := NewRoute(RouteConfig{All: []slog.Handler{slog.NewJSONHandler(io.Discard, nil)}, Alert: func(slog.Record, int) { calls++ }})
	must(t, err)
	rec := slog.NewRecord(time.Now(), slog.LevelError+4, "m", 0)
	if err := route.Handler().Handle(t.Context(), rec); err != nil {
		t.Error(err)
	}
	must(t, route.Close())
	if err := route.Handler().Handle(t.Context(), rec); err == nil || calls != 1 {
		t.Errorf("%v, %d calls", err, calls)
	}
}

// undeniable panics, or answers nil, when something is derived from it.
type undeniable struct {
	slog.Handler
	panics bool
}

func (u undeniable) WithAttrs([]slog.Attr) slog.Handler { return u.WithGroup("") }
func (u undeniable) WithGroup(string) slog.Handler {
	if u.panics {
		panic("nothing can be derived")
	}
	return nil
}

// scribbler writes into the attributes that it is given.
type scribbler struct{ slog.Handler }

func (s scribbler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for i := range attrs {
		attrs[i] = slog.String("level", "forged")
	}
	return s
}

// A handler that can not be derived from loses no attribute, and takes none out
// of its group to where it would pass for another.
func TestAHandlerThatFailsToDeriveKeepsEveryAttributeInItsGroup(t *testing.T) {
	for _, panics := range []bool{true, false} {
		var a, b bytes.Buffer
		told := 0
		route, err := NewRoute(RouteConfig{
			All:     []slog.Handler{undeniable{slog.NewJSONHandler(&a, nil), panics}, scribbler{slog.DiscardHandler}, slog.NewJSONHandler(&b, nil)},
			OnError: func(context.Context, error) { told++ },
		})
		must(t, err)
		slog.New(route.Handler()).With("a", 1).WithGroup("g").With("level", "x").WithGroup("h").Info("m", "msg", "forged")
		const want = `"msg":"m","a":1,"g":{"level":"x","h":{"msg":"forged"}}}` + "\n"
		for name, out := range map[string]string{"fails to derive": a.String(), "sound": b.String()} {
			if !strings.HasSuffix(out, want) {
				t.Errorf("panics %v, the one that is %s: %s", panics, name, out)
			}
		}
		if panics != (told > 0) {
			t.Errorf("panics %v: told %d times", panics, told)
		}
	}
}
