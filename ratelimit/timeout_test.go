package ratelimit_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

// What the context of a timed request tells, whoever asks first and how.
func TestTheEndOfARequestsTimeIsToldToWhoeverAsks(t *testing.T) {
	asks := map[string]func(context.Context) error{
		"Done":  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"Err":   func(ctx context.Context) error { time.Sleep(time.Minute); return ctx.Err() },
		"Cause": func(ctx context.Context) error { time.Sleep(time.Minute); return context.Cause(ctx) },
		"a child": func(ctx context.Context) error {
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			<-child.Done()
			return child.Err()
		},
		"a child with a longer time": func(ctx context.Context) error {
			child, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			<-child.Done()
			return child.Err()
		},
		"AfterFunc": func(ctx context.Context) error {
			told := make(chan struct{})
			context.AfterFunc(ctx, func() { close(told) })
			<-told
			return ctx.Err()
		},
	}
	for name, ask := range asks {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				h := newLimiter(t, ratelimit.Config{}).Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					if _, ok := r.Context().Deadline(); ok {
						t.Error("a deadline that a stream would not keep")
					}
					if err := r.Context().Err(); err != nil {
						t.Errorf("at the beginning: %v", err)
					}
					if err := ask(r.Context()); err == nil {
						t.Error("no error")
					}
					if cause := context.Cause(r.Context()); !errors.Is(cause, ratelimit.ErrTimeout) {
						t.Errorf("ended by %v", cause)
					}
				}))
				if w := get(h, "192.0.2.1:1", "/"); w.Code != 503 || time.Since(start) < 25*time.Second || time.Since(start) > time.Minute {
					t.Errorf("%d after %v", w.Code, time.Since(start))
				}
			})
		})
	}
}

func TestTheContextOfATimedRequestEndsWithItAndWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept context.Context
		h := newLimiter(t, ratelimit.Config{}).Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { kept = r.Context(); _ = kept.Done() }))
		get(h, "192.0.2.1:1", "/")
		if err := kept.Err(); !errors.Is(err, context.Canceled) || errors.Is(context.Cause(kept), ratelimit.ErrTimeout) {
			t.Errorf("after the handler: %v, %v", err, context.Cause(kept))
		}
		h = newLimiter(t, ratelimit.Config{}).Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { kept = r.Context() }))
		get(h, "192.0.2.1:1", "/")
		if err := kept.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("asked for the first time after the handler: %v", err)
		}
		<-kept.Done()
		left := errors.New("the client left")
		ctx, leave := context.WithCancelCause(t.Context())
		h = newLimiter(t, ratelimit.Config{}).Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			go leave(left)
			<-r.Context().Done()
			kept = r.Context()
			if cause := context.Cause(kept); !errors.Is(cause, left) {
				t.Errorf("ended by %v", cause)
			}
		}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
		if w.Code != 200 { // what the recorder makes of no answer; nobody reads it
			t.Errorf("%d", w.Code)
		}
	})
}

// A stream has begun in time and has no end; what is late is late.
func TestStreamsAreNotEndedByTheTimeOfARequest(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-15.2.2")
	for _, tt := range []struct {
		name  string
		begin func(w http.ResponseWriter)
		after time.Duration // when it begins
		ended bool
	}{
		{"flushed", func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, time.Second, false},
		{"flushed by a controller", func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }, 24 * time.Second, false},
		{"flushed too late", func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, 26 * time.Second, true},
		{"written and not flushed", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "x") }, time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, early := range []bool{false, true} { // asked for Done before it begins
				synctest.Test(t, func(t *testing.T) {
					h := newLimiter(t, ratelimit.Config{}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if early {
							_ = r.Context().Done()
						}
						time.Sleep(tt.after)
						tt.begin(w)
						select {
						case <-r.Context().Done():
							if !tt.ended {
								t.Errorf("ended by %v", context.Cause(r.Context()))
							}
						case <-time.After(time.Hour):
							if tt.ended {
								t.Error("not ended")
							}
						}
					}))
					get(h, "192.0.2.1:1", "/")
				})
			}
		})
	}
	t.Run("taken over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newLimiter(t, ratelimit.Config{}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				time.Sleep(time.Hour)
				if err := context.Cause(r.Context()); err != nil {
					t.Errorf("ended by %v", err)
				}
			}))
			h.ServeHTTP(takenOver{httptest.NewRecorder()}, httptest.NewRequest("GET", "/", nil))
		})
	})
}

// takenOver is a response whose connection can be taken over.
type takenOver struct{ *httptest.ResponseRecorder }

func (takenOver) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	here, there := net.Pipe()
	_ = there.Close()
	return here, bufio.NewReadWriter(bufio.NewReader(here), bufio.NewWriter(here)), nil
}

// Whoever keeps the context or flushes may do so from other goroutines.
func TestATimedRequestIsAskedFromManyGoroutines(t *testing.T) {
	free := ratelimit.Free()
	free.Timeout = time.Millisecond
	h := newLimiter(t, ratelimit.Config{IP: []ratelimit.Limit{ratelimit.PerMinute(1 << 20)}, Tiers: []ratelimit.Tier{free}}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for range 50 {
					switch i % 4 {
					case 0:
						_ = r.Context().Done()
					case 1:
						_ = r.Context().Err()
					case 2:
						_ = context.Cause(r.Context())
					default:
						child, cancel := context.WithTimeout(r.Context(), time.Hour)
						_ = child.Err()
						cancel()
					}
				}
			})
		}
		_ = http.NewResponseController(w).Flush()
		all.Wait()
	}))
	for range 50 {
		if w := get(h, "192.0.2.1:1", "/"); w.Code != 200 && w.Code != 503 {
			t.Fatal(w.Code)
		}
	}
}

func TestTheDefaultTiersCostFiveAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	free, pro := ratelimit.Free(), ratelimit.Pro()
	for _, tier := range []ratelimit.Tier{free, pro} {
		for i := range tier.User {
			tier.User[i].N = 1 << 29
		}
		tier.IP[0].N = 1 << 29
	}
	h := newLimiter(t, ratelimit.Config{Identify: member, IP: []ratelimit.Limit{{N: 1 << 29, Per: time.Minute}}, Tiers: []ratelimit.Tier{free, pro}}).Wrap(ok)
	for _, tier := range []string{"free", "pro"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-User", "u")
		r.Header.Set("X-Tier", tier)
		w := httptest.NewRecorder()
		if got := testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, r) }); got > 5 {
			t.Errorf("%s: %v allocations, want at most 5", tier, got)
		}
	}
}

func TestARequestThatTakesTooLongIsAnsweredWith503(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-15.2.2")
	for _, tt := range []struct {
		name, tier string
		give       http.HandlerFunc // after the context's end
		after      time.Duration
		want       int
	}{
		{"a handler that returns", "", func(http.ResponseWriter, *http.Request) {}, 25 * time.Second, 503},
		{"a handler that answers 500", "free", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", 500) }, 25 * time.Second, 503},
		{"a handler that still has a result", "", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206) }, 25 * time.Second, 206},
		{"a better tier has longer", "pro", func(http.ResponseWriter, *http.Request) {}, 5 * time.Minute, 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				h := newLimiter(t, ratelimit.Config{Identify: member}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					<-r.Context().Done()
					if cause := context.Cause(r.Context()); !errors.Is(cause, ratelimit.ErrTimeout) {
						t.Errorf("ended by %v", cause)
					}
					tt.give(w, r)
				}))
				w := get(h, "192.0.2.1:1", "/", "X-User", "u", "X-Tier", tt.tier)
				if w.Code != tt.want || time.Since(start) != tt.after || strings.Contains(w.Body.String(), "secret") {
					t.Errorf("%d after %v: %s", w.Code, time.Since(start), w.Body)
				}
			})
		})
	}
}
