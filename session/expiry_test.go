package session_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/session"
)

func TestExpiry(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.3.1")
	t.Attr("control", "ASVS v5.0.0-7.3.2")
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, session.Config{Policy: session.PolicyAAL2()})
		alive := func(id string) bool { user, _ := look(t, m, id); return user == "ada" }

		idle := login(t, m, "", "ada")
		time.Sleep(time.Hour - time.Second)
		if !alive(idle) {
			t.Error("ended before it was idle for an hour")
		}
		time.Sleep(time.Hour)
		if alive(idle) {
			t.Error("lives after an hour idle")
		}

		busy := login(t, m, "", "ada")
		for range 47 { // every half hour, for 23 and a half hours
			time.Sleep(30 * time.Minute)
			if !alive(busy) {
				t.Fatal("a session in use ended")
			}
		}
		time.Sleep(30*time.Minute + time.Microsecond)
		if alive(busy) {
			t.Error("no use may carry a session beyond 24 hours")
		}
	})
}

func TestTouchWritesAtMostOncePerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSpy(t)
		m := newManager(t, session.Config{Store: store}) // touch every 5 minutes
		id := login(t, m, "", "ada")
		store.writes.Store(0)
		for range 60 {
			time.Sleep(10 * time.Second)
			look(t, m, id)
		}
		if n := store.writes.Load(); n != 2 {
			t.Errorf("%d writes in ten minutes of use, want 2", n)
		}
	})
}

func TestAShorterPolicyTakesEffectOnTheSessionsThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, keys := newSpy(t), newRing("one")
		long := newManager(t, session.Config{Store: store, Keys: keys})
		id := login(t, long, "", "ada")
		time.Sleep(13 * time.Hour)
		short := newManager(t, session.Config{Store: store, Keys: keys, Policy: session.PolicyAAL3()})
		if user, _ := look(t, short, id); user != "" {
			t.Error("a session of 13 hours lives under a policy of 12")
		}
	})
}

func TestDone(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*testing.T, *session.Manager[visit], string)
		want time.Duration
	}{
		{"revocation", func(t *testing.T, m *session.Manager[visit], _ string) { _, _ = m.RevokeUser(t.Context(), "ada") }, 0},
		{"logout elsewhere", func(_ *testing.T, m *session.Manager[visit], id string) {
			call(m, id, func(_ http.ResponseWriter, r *http.Request) { _ = m.Logout(r.Context()) })
		}, 0},
		{"renewal", func(t *testing.T, m *session.Manager[visit], id string) { login(t, m, id, "ada") }, 0},
		{"expiry", func(*testing.T, *session.Manager[visit], string) {}, time.Hour},
		{"expiry after use elsewhere", func(t *testing.T, m *session.Manager[visit], id string) {
			time.Sleep(30 * time.Minute)
			look(t, m, id)
		}, 90 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t, session.Config{Policy: session.PolicyAAL2()})
				id := login(t, m, "", "ada")
				start := time.Now()
				call(m, id, func(w http.ResponseWriter, r *http.Request) {
					s, _ := m.Get(r.Context())
					done := s.Done()
					w.WriteHeader(200)
					select {
					case <-done:
						t.Fatal("closed before the end")
					default:
					}
					go tt.end(t, m, id)
					<-done
				})
				if took := time.Since(start); took != tt.want {
					t.Errorf("closed after %v, want %v", took, tt.want)
				}
			})
		})
	}
}

func TestDoneLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine stays
		m := newManager(t, session.Config{})
		id := login(t, m, "", "ada")
		for range 3 {
			call(m, id, func(_ http.ResponseWriter, r *http.Request) {
				s, _ := m.Get(r.Context())
				_ = s.Done()
			})
		}
		time.Sleep(8 * 24 * time.Hour)
		if user, _ := look(t, m, id); user != "" {
			t.Error("lives after a week")
		}
	})
}
