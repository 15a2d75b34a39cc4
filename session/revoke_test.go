package session_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/session"
)

// ended reports which of the ids open no session any more.
func ended(t *testing.T, m *session.Manager[visit], ids ...string) (n int) {
	t.Helper()
	for _, id := range ids {
		if user, _ := look(t, m, id); user == "" {
			n++
		}
	}
	return n
}

// kinds are the stores that live in this process: records in memory, records
// sealed as for a store outside, and sessions in cookies. In a run on Redis it is
// that alone.
func kinds(t *testing.T) map[string]session.Store {
	t.Helper()
	if store := storeOfThisRun(t); store != nil {
		return map[string]session.Store{"redis": store}
	}
	inCookies, err := session.NewCookieStore(session.CookieStoreConfig{Ended: newMemory(t).(*session.MemoryStore)})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]session.Store{"memory": newMemory(t), "sealed": newSpy(t), "cookies": inCookies}
}

func TestRevokeOthersEndsAllButThisSession(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.3")
	for kind, store := range kinds(t) {
		t.Run(kind, func(t *testing.T) {
			m := newManager(t, session.Config{Store: store})
			mine, phone, laptop, bob := login(t, m, "", "ada"), login(t, m, "", "ada"), login(t, m, "", "ada"), login(t, m, "", "bob")
			res := call(m, mine, func(_ http.ResponseWriter, r *http.Request) {
				n, err := m.RevokeOthers(r.Context())
				if err != nil || kind != "cookies" && n != 2 {
					t.Errorf("%d, %v", n, err)
				}
				s, _ := m.Get(r.Context())
				if s.User() != "ada" || s.Update(func(v *visit) { v.Note = "still here" }) != nil {
					t.Error("the present session is gone")
				}
			})
			if id := issued(res); id != "" {
				mine = id
			}
			if n := ended(t, m, phone, laptop); n != 2 {
				t.Errorf("%d of 2 ended", n)
			}
			if user, d := look(t, m, mine); user != "ada" || d.Note != "still here" {
				t.Errorf("the present session: %q %q", user, d.Note)
			}
			if ended(t, m, bob) != 0 {
				t.Error("another user was logged out")
			}
			call(m, "", func(_ http.ResponseWriter, r *http.Request) {
				if _, err := m.RevokeOthers(r.Context()); !errors.Is(err, session.ErrAnonymous) {
					t.Errorf("nobody is logged in: %v", err)
				}
			})
			if _, err := m.RevokeOthers(t.Context()); !errors.Is(err, session.ErrNotWrapped) {
				t.Errorf("outside of Wrap: %v", err)
			}
			if _, err := m.RevokeUser(t.Context(), "ada"); err != nil || ended(t, m, mine) != 1 {
				t.Errorf("the session that was kept outlives RevokeUser: %v", err)
			}
		})
	}
}

func TestRevokeAllEndsEverySession(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.5")
	for kind, store := range kinds(t) {
		t.Run(kind, func(t *testing.T) {
			m := newManager(t, session.Config{Store: store})
			var ids []string
			for i := range 20 {
				ids = append(ids, login(t, m, "", fmt.Sprint("user", i)))
			}
			if err := m.RevokeAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := ended(t, m, ids...); n != 20 {
				t.Errorf("%d of 20 ended", n)
			}
			if ended(t, m, login(t, m, "", "ada")) != 0 {
				t.Error("nobody can log in any more")
			}
		})
	}
}

func TestListShowsHandlesAndNeverIDs(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.5.2")
	store := storeOfThisRun(t)
	if store == nil {
		store = newSpy(t) // sealed
	}
	m := newManager(t, session.Config{Keys: newRing("one"), Store: store})
	var phone string
	res := call(m, "", func(_ http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), "ada", session.Auth{Methods: []string{"pwd", "otp"}, AAL: 2, Device: "Firefox on Android"}); err != nil {
			t.Error(err)
		}
	})
	phone = issued(res)
	laptop := login(t, m, "", "ada")
	login(t, m, "", "bob")
	var all []session.Info
	call(m, laptop, func(_ http.ResponseWriter, r *http.Request) {
		var err error
		if all, err = m.List(r.Context(), "ada"); err != nil || len(all) != 2 {
			t.Fatalf("%d, %v", len(all), err)
		}
	})
	if !all[0].Current || all[1].Current || all[1].Device != "Firefox on Android" || all[1].AAL != 2 || !slices.Equal(all[1].Methods, []string{"pwd", "otp"}) || all[1].AuthTime.IsZero() || !all[1].Expires.After(time.Now()) {
		t.Errorf("%+v", all)
	}
	if strings.Contains(phone, all[1].Handle) || len(all[1].Handle) != 16 || all[0].Handle == all[1].Handle {
		t.Errorf("handle %q", all[1].Handle)
	}
	for _, handle := range []string{"", "0123456789abcdef", phone, all[1].Handle + " "} {
		if found, err := m.RevokeOne(t.Context(), "ada", handle); found || err != nil {
			t.Errorf("handle %q: %t, %v", handle, found, err)
		}
	}
	if found, err := m.RevokeOne(t.Context(), "bob", all[1].Handle); found || err != nil {
		t.Errorf("another user's handle: %t, %v", found, err)
	}
	if found, err := m.RevokeOne(t.Context(), "ada", all[1].Handle); !found || err != nil {
		t.Errorf("%t, %v", found, err)
	}
	if ended(t, m, phone) != 1 || ended(t, m, laptop) != 0 {
		t.Error("not that one session ended")
	}
	for _, user := range []string{"", strings.Repeat("x", 256), "a\nb"} {
		if _, err := m.List(t.Context(), user); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("user %q: %v", user, err)
		}
	}
}

func TestExportAndErase(t *testing.T) {
	store := newSpy(t)
	m := newManager(t, session.Config{Store: store})
	id := login(t, m, "", "ada")
	call(m, id, func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		_ = s.Update(func(v *visit) { v.Note = "personal" })
	})
	login(t, m, "", "bob")
	all, err := m.ExportUser(t.Context(), "ada")
	if err != nil || len(all) != 1 || all[0].Data.Note != "personal" || all[0].Current {
		t.Errorf("%+v, %v", all, err)
	}
	if n, err := m.EraseUser(t.Context(), "ada"); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if all, err := m.ExportUser(t.Context(), "ada"); len(all) != 0 || err != nil {
		t.Errorf("after the erasure: %+v, %v", all, err)
	}
	if n := store.Store.(*session.MemoryStore).Len(); n != 1 {
		t.Errorf("%d records, want bob's", n)
	}
	store.down.Store(true)
	if _, err := m.ExportUser(t.Context(), "ada"); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("store down: %v", err)
	}
}

func TestMaxPerUserEvictsTheOldestOrRefusesTheNewest(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.1.2")
	audit := new(trail)
	m := newManager(t, session.Config{MaxPerUser: 2, Audit: audit})
	ids := []string{login(t, m, "", "ada"), login(t, m, "", "ada"), login(t, m, "", "ada")}
	if ended(t, m, ids[0]) != 1 || ended(t, m, ids[1:]...) != 0 {
		t.Error("not the oldest was evicted")
	}
	if last := audit.records[len(audit.records)-2]; last["msg"] != "session_expired" || last["actor"] != "ada" {
		t.Errorf("the eviction is not recorded, or not whose session it was: %v", last)
	}
	ids[1] = login(t, m, ids[1], "ada") // a renewal takes its own place
	if ended(t, m, ids[1:]...) != 0 {
		t.Error("a renewal evicted a session")
	}

	audit = new(trail)
	m = newManager(t, session.Config{MaxPerUser: 1, OnLimit: session.DenyNewest, Audit: audit})
	first := login(t, m, "", "ada")
	res := call(m, "", func(_ http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), "ada", session.Auth{}); !errors.Is(err, session.ErrTooMany) {
			t.Errorf("Login: %v", err)
		}
		if s, err := m.Get(r.Context()); s.User() != "" || err != nil {
			t.Errorf("%q, %v", s.User(), err)
		}
	})
	if issued(res) != "" || ended(t, m, first) != 0 {
		t.Error("the refused login took effect")
	}
	if names := audit.names(); names[len(names)-2] != "authn_login_fail" && names[len(names)-1] != "authn_login_fail" {
		t.Errorf("the refusal is not recorded: %v", names)
	}
}

func TestStoresThatNobodyMadeAreRefused(t *testing.T) {
	for _, store := range []session.Store{new(session.MemoryStore), &session.MemoryStore{}, new(session.CookieStore), (*session.MemoryStore)(nil), (*session.CookieStore)(nil)} {
		_, err := session.New[visit](session.Config{Store: store})
		n := 0
		for f := range hardening.Faults(err) {
			n++
			if f.Field != "Store" {
				t.Errorf("%T: %+v", store, f)
			}
			if _, ok := store.(*session.MemoryStore); ok && store != session.Store((*session.MemoryStore)(nil)) && !strings.Contains(f.Error(), "NewMemoryStore") {
				t.Errorf("%v does not name NewMemoryStore", f)
			}
		}
		if n != 1 {
			t.Errorf("%T: %v", store, err)
		}
	}
	for _, e := range []session.Ender{nil, new(session.MemoryStore), (*session.MemoryStore)(nil)} {
		if _, err := session.NewCookieStore(session.CookieStoreConfig{Ended: e}); err == nil {
			t.Errorf("%T is accepted", e)
		}
	}
}

// A clock that jumps ahead ends sessions, and makes none last longer than the
// policy says. One that goes back: TestASessionFromTheFutureOpensNothing.
func TestAClockThatJumpsAhead(t *testing.T) {
	for kind := range kinds(t) {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t, session.Config{Store: kinds(t)[kind], Keys: newRing("one"), Policy: session.PolicyAAL3()})
				id := login(t, m, "", "ada")
				time.Sleep(14 * time.Minute)
				res := call(m, id, func(_ http.ResponseWriter, r *http.Request) { _, _ = m.Get(r.Context()) })
				if kept := issued(res); kept != "" {
					id = kept
				}
				time.Sleep(14 * time.Minute)
				if ended(t, m, id) != 0 {
					t.Error("a session in use has ended")
				}
				time.Sleep(100 * 24 * time.Hour)
				if ended(t, m, id) != 1 {
					t.Error("a session outlives a jump of the clock")
				}
			})
		})
	}
}

// Another clock was ahead when the session began, or ours was set back.
func TestASessionFromTheFutureOpensNothing(t *testing.T) {
	for kind := range kinds(t) {
		t.Run(kind, func(t *testing.T) {
			store, keys := kinds(t)[kind], newRing("one")
			id := login(t, newManager(t, session.Config{Store: store, Keys: keys}), "", "ada")
			synctest.Test(t, func(t *testing.T) { // in the year 2000
				audit := new(trail)
				if ended(t, newManager(t, session.Config{Store: store, Keys: keys, Audit: audit}), id) != 1 {
					t.Error("it is open")
				}
				if n := len(audit.records); n != 1 || audit.records[0]["msg"] != "session_forged" || audit.records[0]["reason"] != "the session begins in the future" {
					t.Errorf("%d records: %v", n, audit.records)
				}
			})
		})
	}
}
