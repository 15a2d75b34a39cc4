package session_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/session"
)

func TestEventsGoToAuditBeforeTheChange(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.3.1")
	audit := new(trail)
	m := newManager(t, session.Config{Audit: audit, Name: "web"})
	id := login(t, m, "", "ada")
	id = login(t, m, id, "ada")
	if _, err := m.RevokeUser(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	call(m, id, func(_ http.ResponseWriter, r *http.Request) { _ = m.Logout(r.Context()) })
	want := []string{"session_created", "authn_login_success", "session_renewed", "authn_login_success", "session_revoked", "session_expired"}
	if got := audit.names(); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	created, expired := audit.records[0], audit.records[5]
	for k, v := range map[string]string{"room": "session", "instance": "web", "actor": "ada", "outcome": "success", "client_addr": "192.0.2.1"} {
		if created[k] != v {
			t.Errorf("session_created: %s is %v, want %s", k, created[k], v)
		}
	}
	if expired["reason"] != "logout" || expired["actor"] != "ada" {
		t.Errorf("session_expired: %v", expired)
	}
	if audit.records[4]["object"] != "bob" {
		t.Errorf("session_revoked: %v", audit.records[4])
	}
	renewed := audit.records[2]["session"]
	if renewed == "" || renewed != expired["session"] || renewed == created["session"] {
		t.Errorf("one session, one name: created %v, renewed %v, expired %v", created["session"], renewed, expired["session"])
	}
}

func TestAuditsErrorRefusesTheChange(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.5.3")
	for _, refuse := range []string{"session_created", "authn_login_success", "session_renewed"} {
		t.Run(refuse, func(t *testing.T) {
			audit, store := new(trail), newSpy(t)
			m := newManager(t, session.Config{Audit: audit, Store: store})
			id := ""
			if refuse == "session_renewed" {
				id = login(t, m, "", "ada")
			}
			audit.refuse = refuse
			store.writes.Store(0)
			res := call(m, id, func(w http.ResponseWriter, r *http.Request) {
				err := m.Login(r.Context(), "ada", session.Auth{})
				if !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, errAudit) {
					t.Errorf("error %v", err)
				}
				_, _ = w.Write([]byte("welcome"))
			})
			if res.StatusCode != 503 || issued(res) != "" {
				t.Errorf("status %d, cookie %q", res.StatusCode, issued(res))
			}
			if n := store.writes.Load(); n != 0 {
				t.Errorf("%d writes though the record was refused", n)
			}
			if id != "" {
				if user, _ := look(t, m, id); user != "ada" {
					t.Error("the change took effect")
				}
			}
		})
	}
}

// A login was announced and then came to nothing: the trail must not say for ever
// that the user is in.
func TestALoginThatFailsAfterItWasAnnouncedIsTakenBack(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.3.1")
	for _, fails := range []string{"delete", "create", "authn_login_success"} {
		t.Run(fails, func(t *testing.T) {
			audit, store, log := new(trail), newSpy(t), new(trail)
			m := newManager(t, session.Config{Audit: audit, Store: store, Logger: slog.New(log)})
			id := login(t, m, "", "ada")
			audit.records = nil
			store.hook = func(op string) { store.down.Store(op == fails) }
			want := []string{"session_renewed", "authn_login_success", "authn_login_fail"}
			if fails == "authn_login_success" {
				audit.refuse = fails
				want = []string{"session_renewed", "authn_login_fail"}
			}
			res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
				if err := m.Login(r.Context(), "ada", session.Auth{}); !errors.Is(err, session.ErrUnavailable) {
					t.Errorf("Login: %v", err)
				}
			})
			if got := audit.names(); res.StatusCode != 503 || !slices.Equal(got, want) {
				t.Fatalf("status %d, records %v", res.StatusCode, got)
			}
			announced, last := audit.records[0], audit.records[len(audit.records)-1]
			if last["outcome"] != "failure" || last["session"] != announced["session"] || last["actor"] != "ada" || last["reason"] != session.ErrUnavailable.Error() {
				t.Errorf("%v", last)
			}
			for _, r := range audit.records {
				if strings.Contains(fmt.Sprint(r), errDown.Error()) {
					t.Errorf("the trail holds an address of ours: %v", r)
				}
			}
		})
	}
}

func TestALoginWhoseResponseNeverLeftIsTakenBack(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.3.1")
	for name, c := range map[string]struct {
		after func(*session.Manager[visit], *http.Request, *spy)
		want  []string
	}{
		"a panic": {func(*session.Manager[visit], *http.Request, *spy) { panic("x") }, []string{"session_created", "authn_login_success", "authn_login_fail"}},
		"a save that fails": {func(m *session.Manager[visit], r *http.Request, store *spy) {
			s, _ := m.Get(r.Context())
			_ = s.Update(func(v *visit) { v.Count++ })
			store.hook = func(op string) { store.down.Store(op == "update") }
		}, []string{"session_created", "authn_login_success", "authn_login_fail"}},
		"a logout, and a panic": {func(m *session.Manager[visit], r *http.Request, _ *spy) {
			_ = m.Logout(r.Context())
			panic("x")
		}, []string{"session_created", "authn_login_success", "session_expired"}},
		"nothing": {func(*session.Manager[visit], *http.Request, *spy) {}, []string{"session_created", "authn_login_success"}},
	} {
		audit, store := new(trail), newSpy(t)
		m := newManager(t, session.Config{Audit: audit, Store: store})
		func() {
			defer func() { _ = recover() }()
			call(m, "", func(_ http.ResponseWriter, r *http.Request) {
				if err := m.Login(r.Context(), "ada", session.Auth{}); err != nil {
					t.Error(err)
				}
				c.after(m, r, store)
			})
		}()
		if got := audit.names(); !slices.Equal(got, c.want) {
			t.Errorf("%s: records %v", name, got)
		}
		if n := store.Store.(*session.MemoryStore).Len(); (n == 1) != (name == "nothing") {
			t.Errorf("%s: %d sessions", name, n)
		}
	}
}

// What ends a session must not depend on a disk that has room: the record is
// missed, the client is told so, and the session is over.
func TestTrap_AnAuditTrailThatFailsKeepsAStolenSessionAlive(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.1")
	for name, end := range map[string]func(*session.Manager[visit], *http.Request) error{
		"logout": func(m *session.Manager[visit], r *http.Request) error { return m.Logout(r.Context()) },
		"of the user": func(m *session.Manager[visit], r *http.Request) error {
			n, err := m.RevokeUser(r.Context(), "ada")
			if n != 2 {
				t.Errorf("%d sessions", n)
			}
			return err
		},
		"of others": func(m *session.Manager[visit], r *http.Request) error {
			_, err := m.RevokeOthers(r.Context())
			return err
		},
		"of one": func(m *session.Manager[visit], r *http.Request) error {
			all, err := m.List(r.Context(), "ada")
			if err != nil || len(all) != 2 {
				t.Fatalf("List: %d, %v", len(all), err)
			}
			for _, s := range all {
				if s.Current {
					_, err = m.RevokeOne(r.Context(), "ada", s.Handle)
				}
			}
			return err
		},
		"of all": func(m *session.Manager[visit], r *http.Request) error { return m.RevokeAll(r.Context()) },
		"of an erased user": func(m *session.Manager[visit], r *http.Request) error {
			_, err := m.EraseUser(r.Context(), "ada")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			audit := new(trail)
			m := newManager(t, session.Config{Audit: audit})
			id, other := login(t, m, "", "ada"), login(t, m, "", "ada")
			audit.refuse = "session_revoked"
			if name == "logout" {
				audit.refuse = "session_expired"
			}
			res := call(m, id, func(w http.ResponseWriter, r *http.Request) {
				err := end(m, r)
				if !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, session.ErrUnrecorded) || !errors.Is(err, errAudit) {
					t.Errorf("error %v", err)
				}
				_, _ = w.Write([]byte("done"))
			})
			if res.StatusCode != 503 {
				t.Errorf("status %d", res.StatusCode)
			}
			dead := id
			if name == "of others" {
				dead = other
			}
			if user, _ := look(t, m, dead); user != "" {
				t.Error("the session lives")
			}
		})
	}
}

func TestAbuseGoesToAuditAndTroubleToTheLogger(t *testing.T) {
	var out bytes.Buffer
	audit, store := new(trail), newSpy(t)
	m := newManager(t, session.Config{Audit: audit, Store: store, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	id := login(t, m, "", "ada")
	audit.records = nil
	logged := func(want ...string) {
		t.Helper()
		var got []string
		for line := range strings.Lines(out.String()) {
			for f := range strings.FieldsSeq(line) {
				if name, ok := strings.CutPrefix(f, "msg="); ok {
					got = append(got, name)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v\n%s", got, want, &out)
		}
		out.Reset()
	}
	look(t, m, "garbage")
	logged()
	look(t, m, id[:70]+strings.Repeat("A", len(id)-70))
	logged()
	if _, err := m.RevokeUser(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	look(t, m, id)
	logged()
	audit.refuse = "session_use_after_expire" // nothing is refused, and nothing lost
	look(t, m, id)
	logged("session_use_after_expire")
	audit.refuse = ""

	store.down.Store(true)
	for range 3 {
		call(m, id, func(_ http.ResponseWriter, r *http.Request) { _, _ = m.Get(r.Context()) })
	}
	logged("store_degraded")
	store.down.Store(false)
	look(t, m, id)
	logged("store_recovered")
	if got := audit.names(); !slices.Equal(got, []string{"session_forged", "session_revoked", "session_use_after_expire", "session_use_after_expire"}) {
		t.Errorf("audit got %v", got)
	}
}

// Whatever the store, a session that ended of itself is on record when its cookie
// comes back, under the name that its login has.
func TestACookieAfterItsExpiryIsOnRecord(t *testing.T) {
	for kind, want := range map[string]string{"memory": "session_use_after_expire", "sealed": "session_use_after_expire", "cookies": "session_expired"} {
		synctest.Test(t, func(t *testing.T) {
			audit := new(trail)
			m := newManager(t, session.Config{Audit: audit, Store: kinds(t)[kind], Keys: newRing("one")})
			id := login(t, m, "", "ada")
			time.Sleep(24*time.Hour + time.Second)
			if user, _ := look(t, m, id); user != "" {
				t.Errorf("%s: it is open", kind)
			}
			if last := audit.records[len(audit.records)-1]; len(audit.records) != 3 || last["msg"] != want || last["session"] != audit.records[0]["session"] {
				t.Errorf("%s: %v", kind, audit.records)
			}
		})
	}
}

// What a shorter policy ends is an expiry, on every store.
func TestAnEndByAShorterPolicyIsOnRecord(t *testing.T) {
	for kind := range kinds(t) {
		synctest.Test(t, func(t *testing.T) {
			audit, store, keys := new(trail), kinds(t)[kind], newRing("one")
			id := login(t, newManager(t, session.Config{Store: store, Keys: keys}), "", "ada")
			time.Sleep(13 * time.Hour)
			look(t, newManager(t, session.Config{Audit: audit, Store: store, Keys: keys, Policy: session.PolicyAAL3()}), id)
			if got := audit.names(); !slices.Equal(got, []string{"session_expired"}) {
				t.Errorf("%s: %v", kind, got)
			}
		})
	}
}

// A record that does not open, and cookies that somebody planted, are
// abuse or look like it: each is on record, and gives nobody a session.
func TestWhatLooksLikeAbuseIsOnRecord(t *testing.T) {
	audit, liar := new(trail), &liar{Store: newMemory(t)}
	m := newManager(t, session.Config{Audit: audit, Keys: newRing("one"), Store: liar})
	ada, eva := login(t, m, "", "ada"), login(t, m, "", "eva")
	want := func(name, reason string) {
		t.Helper()
		if len(audit.records) != 1 || audit.records[0]["msg"] != name || !strings.Contains(fmt.Sprint(audit.records[0]["reason"]), reason) {
			t.Errorf("want %s with %q, got %v", name, reason, audit.records)
		}
		audit.records = nil
	}
	with := func(header string) {
		audit.records = nil
		callWith(m, newRequest(header), func(_ http.ResponseWriter, r *http.Request) {
			if s, err := m.Get(r.Context()); s.User() != "" || err != nil {
				t.Errorf("%q, %v", s.User(), err)
			}
		})
	}
	with("__Host-id=" + ada + "; __Host-id=" + eva)
	want("session_forged", "two genuine sessions")
	with("__Host-id=1; __Host-id=2; __Host-id=3; __Host-id=4; __Host-id=5")
	want("session_forged", "more cookies of this name")
	look(t, m, eva)
	liar.answer = liar.last
	with("__Host-id=" + ada)
	want("crypt_decrypt_fail", "")
}

func TestRecordsNeverHoldAnID(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.2.5")
	var out bytes.Buffer
	m := newManager(t, session.Config{Logger: slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	id := login(t, m, "", "ada")
	for range 2 {
		call(m, id, func(_ http.ResponseWriter, r *http.Request) { _ = m.Logout(r.Context()) })
	}
	look(t, m, id[:81]+"A")
	if !strings.Contains(out.String(), "session_use_after_expire") || !strings.Contains(out.String(), "authn_login_success") {
		t.Errorf("records are missing: %s", &out)
	}
	for i := 0; i+12 <= len(id); i++ {
		if i >= 7 && strings.Contains(out.String(), id[i:i+12]) {
			t.Fatalf("a part of the id is in the log: %s", &out)
		}
	}
}

func TestOnDenyAnswersRefusals(t *testing.T) {
	store := newSpy(t)
	var seen *hardening.Problem
	m := newManager(t, session.Config{Store: store, OnDeny: func(w http.ResponseWriter, r *http.Request, p *hardening.Problem) {
		seen = p
		http.Redirect(w, r, "/sorry", http.StatusSeeOther)
	}})
	id := login(t, m, "", "ada")
	store.down.Store(true)
	res := call(m, id, func(w http.ResponseWriter, r *http.Request) {
		_, _ = m.Get(r.Context())
		_, _ = w.Write([]byte("SECRET"))
	})
	if res.StatusCode != 303 || res.Header.Get("Location") != "/sorry" || seen == nil || seen.Status != 503 || !errors.Is(seen, session.ErrUnavailable) {
		t.Errorf("%d %v %v", res.StatusCode, res.Header, seen)
	}
}

// An OnDeny that asks for the session again must get an answer, not a deadlock.
func TestOnDenyMayAskTheSession(t *testing.T) {
	store := newSpy(t)
	var m *session.Manager[visit]
	m = newManager(t, session.Config{Store: store, OnDeny: func(w http.ResponseWriter, r *http.Request, p *hardening.Problem) {
		s, _ := m.Get(r.Context())
		if err := s.Update(func(v *visit) { v.Count++ }); err == nil {
			t.Error("an update was accepted though it can not be saved any more")
		}
		w.WriteHeader(p.Status)
	}})
	id := login(t, m, "", "ada")
	res := slow(t, m, id, func() { _, _ = m.RevokeUser(t.Context(), "ada") })
	if res.StatusCode != 401 {
		t.Errorf("status %d", res.StatusCode)
	}
}

// A bare 500 tells the client nothing, as it must; then the log has to.
func TestARequestThatTheProgramServesWronglyIsExplainedOnceAMinute(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	for name, c := range map[string]struct {
		serve func(*session.Manager[visit]) http.Handler
		want  string
	}{
		"Require outside of Wrap":    {func(m *session.Manager[visit]) http.Handler { return m.Require(session.Need{})(ok) }, "serve the handler inside it"},
		"CSRF outside of Wrap":       {func(m *session.Manager[visit]) http.Handler { return m.CSRF(ok) }, "serve the handler inside it"},
		"a Need that makes no sense": {func(m *session.Manager[visit]) http.Handler { return m.Wrap(m.Require(session.Need{AAL: 4})(ok)) }, "an AAL that is not 0 to 3"},
		"a Need of a negative age":   {func(m *session.Manager[visit]) http.Handler { return m.Wrap(m.Require(session.Need{Fresh: -1})(ok)) }, "or a negative Fresh"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := new(trail)
				m := newManager(t, session.Config{Logger: slog.New(log)})
				post := func() {
					w := httptest.NewRecorder()
					r := newRequest("")
					r.Method = "POST"
					c.serve(m).ServeHTTP(w, r)
					if w.Code != 500 || strings.Contains(w.Body.String(), "Wrap") || strings.Contains(w.Body.String(), "Need") {
						t.Errorf("%d %s", w.Code, w.Body)
					}
				}
				for range 3 {
					post()
				}
				if got := log.records; len(got) != 1 || got[0]["msg"] != "http_server_error" || !strings.Contains(fmt.Sprint(got[0]["error"]), c.want) || got[0]["client_addr"] != "192.0.2.1" {
					t.Fatalf("records %v", got)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				post()
				if got := log.records; len(got) != 2 || fmt.Sprint(got[1]["count"]) != "3" {
					t.Errorf("a minute later: %v", got)
				}
			})
		})
	}
}

func TestRefusalsNameTheRequest(t *testing.T) {
	edge, err := hardening.NewEdge(hardening.EdgeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	audit := new(trail)
	m := newManager(t, session.Config{Audit: audit})
	w := httptest.NewRecorder()
	edge.Wrap(m.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _ = m.Login(r.Context(), "ada", session.Auth{}) }))).ServeHTTP(w, newRequest(""))
	if got := audit.records[0]["request_id"]; got == nil || got != w.Header().Get("X-Request-Id") {
		t.Errorf("request id %v", got)
	}
}
