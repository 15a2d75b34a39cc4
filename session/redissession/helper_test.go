package redissession_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/inovy/hardening/session"
)

type visit struct{ Count int }

// ring is one fixed key.
type ring struct{}

func (ring) Generation() uint64 { return 1 }
func (ring) Derive(purpose string, n int) [][]byte {
	h := hmac.New(sha256.New, []byte("root"))
	h.Write([]byte(purpose))
	return [][]byte{h.Sum(nil)[:n]}
}

func newManager(t testing.TB, store session.Store) *session.Manager[visit] {
	t.Helper()
	m, err := session.New[visit](session.Config{Keys: ring{}, Store: store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func call(m *session.Manager[visit], cookie string, h http.HandlerFunc) *http.Response {
	r := httptest.NewRequest("GET", "https://portal.example/", nil)
	if cookie != "" {
		r.Header.Set("Cookie", "__Host-id="+cookie)
	}
	w := httptest.NewRecorder()
	m.Wrap(h).ServeHTTP(w, r)
	return w.Result()
}

func login(t testing.TB, m *session.Manager[visit], cookie string) string {
	t.Helper()
	res := call(m, cookie, func(_ http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), "ada", session.Auth{}); err != nil {
			t.Errorf("Login: %v", err)
		}
	})
	for _, c := range res.Cookies() {
		if c.Name == "__Host-id" {
			return c.Value
		}
	}
	t.Fatal("no cookie")
	return ""
}

func look(t testing.TB, m *session.Manager[visit], cookie string) (user string, count int) {
	t.Helper()
	res := call(m, cookie, func(_ http.ResponseWriter, r *http.Request) {
		s, err := m.Get(r.Context())
		if err != nil {
			t.Errorf("Get: %v", err)
		}
		user, count = s.User(), s.Data().Count
	})
	if res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
	return user, count
}

func increment(m *session.Manager[visit], cookie string) int {
	return call(m, cookie, func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		if s.User() != "" {
			_ = s.Update(func(v *visit) { v.Count++ })
		}
	}).StatusCode
}
