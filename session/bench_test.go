package session_test

import (
	"net/http"
	"testing"

	"github.com/inovy/hardening/session"
)

// discard is a ResponseWriter that costs nothing.
type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// path is one hot path: a request with a live session.
func path(tb testing.TB, what string) func() {
	m := newManager(tb, session.Config{Keys: newRing("one")})
	id := login(tb, m, "", "ada")
	call(m, id, func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		_ = s.Update(func(v *visit) { v.Note = "a note of some length" })
	})
	h := m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch what {
		case "read":
			s, err := m.Get(r.Context())
			if err != nil || s.User() != "ada" || s.Data().Note == "" {
				tb.Error("no session")
			}
		case "write":
			s, _ := m.Get(r.Context())
			if s.Update(func(v *visit) { v.Count++ }) != nil {
				tb.Error("not updated")
			}
		}
		w.WriteHeader(http.StatusOK)
	}))
	r := newRequest("theme=dark; __Host-id=" + id)
	w := &discard{h: http.Header{}}
	return func() {
		clear(w.h)
		h.ServeHTTP(w, r)
	}
}

func TestAllocationsOfTheHotPaths(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for what, most := range map[string]float64{"untouched": 5, "read": 17, "write": 40} {
		if got := testing.AllocsPerRun(500, path(t, what)); got > most {
			t.Errorf("%s: %v allocations, at most %v", what, got, most)
		} else {
			t.Logf("%s: %v allocations", what, got)
		}
	}
}

func BenchmarkMemory(b *testing.B) {
	for _, what := range []string{"untouched", "read", "write"} {
		b.Run(what, func(b *testing.B) {
			f := path(b, what)
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}

// A forged cookie is turned away before the store, and must be cheap.
func BenchmarkForgedCookie(b *testing.B) {
	m := newManager(b, session.Config{Keys: newRing("one")})
	id := login(b, m, "", "ada")
	r := newRequest("__Host-id=" + id[:80] + "AA")
	h := m.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = m.Get(r.Context()) }))
	w := &discard{h: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.h)
		h.ServeHTTP(w, r)
	}
}

func BenchmarkLogin(b *testing.B) {
	m := newManager(b, session.Config{Keys: newRing("one")})
	id := login(b, m, "", "ada")
	b.ReportAllocs()
	for b.Loop() {
		id = login(b, m, id, "ada")
	}
}
