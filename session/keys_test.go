package session_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/session"
)

func TestKeysRotateWithoutLoggingAnyoneOut(t *testing.T) {
	for kind, store := range kinds(t) {
		if kind == "cookies" {
			continue // told by TestTrap_ARotationKeepsSealingUnderTheOldKey
		}
		keys := newRing("one")
		m := newManager(t, session.Config{Keys: keys, Store: store})
		old := login(t, m, "", "ada")
		keys.set("two", "one")
		fresh := login(t, m, "", "ada")
		for _, id := range []string{old, fresh} {
			if user, _ := look(t, m, id); user != "ada" {
				t.Errorf("%s: logged out by a rotation", kind)
			}
		}
		if n, err := m.RevokeUser(t.Context(), "ada"); n != 2 || err != nil {
			t.Errorf("%s: revoked %d, %v; sessions under both keys are the user's", kind, n, err)
		}
		last := login(t, m, "", "ada")
		keys.set("three")
		if user, _ := look(t, m, last); user != "" {
			t.Errorf("%s: a withdrawn key still opens sessions", kind)
		}
		keys.set()
		call(m, last, func(_ http.ResponseWriter, r *http.Request) {
			if err := m.Login(r.Context(), "ada", session.Auth{}); !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("%s: login without a key: %v", kind, err)
			}
		})
	}
}

// A session outlives two rotations as long as the key of its login is in force;
// its data moves to the primary key with each change, and its revocation finds it
// through all of them.
func TestASessionOutlivesTwoRotations(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.4")
	for name, open := range map[string]func(keys session.KeySource) *session.Manager[visit]{
		"kept in memory": func(k session.KeySource) *session.Manager[visit] {
			return newManager(t, session.Config{Keys: k, Store: newMemory(t)})
		},
		"sealed": func(k session.KeySource) *session.Manager[visit] {
			return newManager(t, session.Config{Keys: k, Store: newSpy(t)})
		},
		"in cookie": func(k session.KeySource) *session.Manager[visit] {
			return cookieManager(t, newMemory(t).(*session.MemoryStore), k)
		},
	} {
		keys := newRing("one")
		m := open(keys)
		id := write(t, m, login(t, m, "", "ada"), "one")
		cookie := func(after string) {
			if after != "" { // only sessions in cookies are told anew
				id = after
			}
		}
		if id == "" {
			id = login(t, m, "", "ada")
		}
		for _, ring := range [][]string{{"two", "one"}, {"three", "two", "one"}} {
			keys.set(ring...)
			if user, _ := look(t, m, id); user != "ada" {
				t.Fatalf("%s: logged out by %q", name, ring)
			}
			cookie(write(t, m, id, ring[0]))
			if user, d := look(t, m, id); user != "ada" || d.Note != ring[0] {
				t.Errorf("%s: %q with %q under %q", name, user, d.Note, ring)
			}
		}
		if _, err := m.RevokeUser(t.Context(), "ada"); err != nil {
			t.Error(err)
		}
		if user, _ := look(t, m, id); user != "" {
			t.Errorf("%s: the revocation did not find the session of the first key", name)
		}
		id = login(t, m, "", "ada")
		keys.set("five", "four") // the key of its login is gone
		if user, _ := look(t, m, id); user != "" {
			t.Errorf("%s: a withdrawn key still opens sessions", name)
		}
	}
}

// Keys that turn bad while the service runs are an outage: nobody gets in under
// them, and nobody is logged out by them.
func TestKeysThatTurnBadAre503AndEndNoSession(t *testing.T) {
	for kind, store := range kinds(t) {
		keys := newRing("one")
		m := newManager(t, session.Config{Keys: keys, Store: store})
		id := login(t, m, "", "ada")
		for what, bad := range map[string][]string{"no key": nil, "two equal keys": {"two", "two"}} {
			keys.set(bad...)
			for how, f := range map[string]func(r *http.Request) error{
				"Get":        func(r *http.Request) error { _, err := m.Get(r.Context()); return err },
				"Login":      func(r *http.Request) error { return m.Login(r.Context(), "ada", session.Auth{}) },
				"Logout":     func(r *http.Request) error { return m.Logout(r.Context()) },
				"RevokeUser": func(r *http.Request) error { _, err := m.RevokeUser(r.Context(), "ada"); return err },
			} {
				res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
					if err := f(r); !errors.Is(err, session.ErrUnavailable) {
						t.Errorf("%s, %s: %s: %v", kind, what, how, err)
					}
				})
				if res.StatusCode != 503 || len(res.Header["Set-Cookie"]) > 0 {
					t.Errorf("%s, %s: %s: status %d, %d cookies", kind, what, how, res.StatusCode, len(res.Header["Set-Cookie"]))
				}
			}
			keys.set("one")
			if user, _ := look(t, m, id); user != "ada" {
				t.Errorf("%s, %s: the outage ended a session", kind, what)
			}
		}
	}
}

func TestAManagerWithoutKeysTrustsNoOther(t *testing.T) {
	store := newMemory(t)
	a, b := newManager(t, session.Config{Store: store}), newManager(t, session.Config{Store: store})
	if user, _ := look(t, b, login(t, a, "", "ada")); user != "" {
		t.Error("two processes without a common key share sessions")
	}
}

// recorder sees everything that a store sees.
type recorder struct {
	session.Store
	seen bytes.Buffer
}

func (r *recorder) note(ref session.Ref, rec session.Record) {
	r.seen.Write(ref.Tag[:])
	r.seen.Write(ref.Hash[:])
	r.seen.Write(rec.Blob)
}

func (r *recorder) Create(ctx context.Context, ref session.Ref, rec session.Record, q session.Quota) ([]session.Ref, error) {
	r.note(ref, rec)
	return r.Store.Create(ctx, ref, rec, q)
}

func (r *recorder) Update(ctx context.Context, ref session.Ref, rec session.Record) error {
	r.note(ref, rec)
	return r.Store.Update(ctx, ref, rec)
}

func TestAStoreLearnsNeitherIDsNorUsersNorData(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-14.2.4")
	rec := &recorder{Store: newMemory(t)}
	m := newManager(t, session.Config{Keys: newRing("one"), Store: rec})
	id := login(t, m, "", "burgerservicenummer-999990019")
	call(m, id, func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		_ = s.Update(func(v *visit) { v.Note = "diagnosis" })
	})
	if _, d := look(t, m, id); d.Note != "diagnosis" {
		t.Fatal("not saved")
	}
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string][]byte{
		"cookie": []byte(id), "id": raw[13:29], "user": []byte("burgerservicenummer"), "data": []byte("diagnosis"), "method": []byte("pwd"),
	} {
		if bytes.Contains(rec.seen.Bytes(), secret) {
			t.Errorf("the store saw the %s", name)
		}
	}
}

// A store that answers with someone else's record, or with rubbish, gives
// nobody a session.
func TestAStoreThatLies(t *testing.T) {
	mem := newMemory(t)
	liar := &liar{Store: mem}
	m := newManager(t, session.Config{Keys: newRing("one"), Store: liar})
	ada, eva := login(t, m, "", "ada"), login(t, m, "", "eva")
	look(t, m, eva)
	liar.answer = liar.last // eva's
	if user, _ := look(t, m, ada); user != "" {
		t.Errorf("ada got the session of %q", user)
	}
	for _, blob := range [][]byte{nil, {0}, {1}, {2}, bytes.Repeat([]byte{2}, 100), []byte("\x01garbage garbage garbage")} {
		liar.answer = &session.Record{Version: 1, Expires: time.Now().Add(time.Hour), Blob: blob}
		if user, _ := look(t, m, ada); user != "" {
			t.Errorf("rubbish opens the session of %q", user)
		}
	}
}

type liar struct {
	session.Store
	last, answer *session.Record
}

func (l *liar) Load(ctx context.Context, ref session.Ref) (session.Record, error) {
	if l.answer != nil {
		return *l.answer, nil
	}
	rec, err := l.Store.Load(ctx, ref)
	l.last = &rec
	return rec, err
}

func TestAStoreThatHangsIsGivenUpOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, session.Config{Keys: newRing("one"), Store: hanging{newMemory(t)}})
		id := login(t, newManager(t, session.Config{Keys: newRing("one")}), "", "ada")
		start := time.Now()
		res := call(m, id, func(_ http.ResponseWriter, r *http.Request) { _, _ = m.Get(r.Context()) })
		if took := time.Since(start); res.StatusCode != 503 || took > 5*time.Second {
			t.Errorf("%d after %v", res.StatusCode, took)
		}
	})
}

// Requests that find the store hanging give up one by one; a bubble cannot end
// before all of their goroutines have.
func TestAStoreThatHangsHoldsUpNoGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := login(t, newManager(t, session.Config{Keys: newRing("one")}), "", "ada")
		m := newManager(t, session.Config{Keys: newRing("one"), Store: hanging{newMemory(t)}})
		start := time.Now()
		for range 200 {
			go func() {
				if res := call(m, id, func(_ http.ResponseWriter, r *http.Request) { _, _ = m.Get(r.Context()) }); res.StatusCode != 503 {
					t.Errorf("status %d", res.StatusCode)
				}
			}()
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if took := time.Since(start); took > 7*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

type hanging struct{ session.Store }

func (hanging) Load(ctx context.Context, _ session.Ref) (session.Record, error) {
	<-ctx.Done()
	return session.Record{}, ctx.Err()
}

// What hangs while it is written to is given up on as well, and nothing of the
// answer gets out.
func TestAStoreThatHangsInTheMiddleIsGivenUpOn(t *testing.T) {
	for op, f := range map[string]func(m *session.Manager[visit], s *session.Session[visit], ctx context.Context) error{
		"touch": func(*session.Manager[visit], *session.Session[visit], context.Context) error { return nil },
		"update": func(_ *session.Manager[visit], s *session.Session[visit], _ context.Context) error {
			return s.Update(func(v *visit) { v.Count++ })
		},
		"create": func(m *session.Manager[visit], _ *session.Session[visit], ctx context.Context) error {
			return m.Login(ctx, "bob", session.Auth{})
		},
		"delete": func(m *session.Manager[visit], _ *session.Session[visit], ctx context.Context) error {
			return m.Logout(ctx)
		},
		"revoke": func(m *session.Manager[visit], _ *session.Session[visit], ctx context.Context) error {
			_, err := m.RevokeUser(ctx, "ada")
			return err
		},
		"list": func(m *session.Manager[visit], _ *session.Session[visit], ctx context.Context) error {
			_, err := m.List(ctx, "ada")
			return err
		},
	} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hangsAt{spy: newSpy(t)}
				m := newManager(t, session.Config{Store: h})
				id := login(t, m, "", "ada")
				time.Sleep(10 * time.Minute) // a touch is due
				if h.op = op; op != "touch" {
					look(t, m, id)
				}
				start := time.Now()
				res := call(m, id, func(w http.ResponseWriter, r *http.Request) {
					s, _ := m.Get(r.Context())
					if err := f(m, s, r.Context()); op != "update" && op != "touch" && !errors.Is(err, session.ErrUnavailable) {
						t.Errorf("%v", err)
					}
					_, _ = w.Write([]byte("SECRET"))
				})
				body, _ := io.ReadAll(res.Body)
				if took := time.Since(start); res.StatusCode != 503 || took > 5*time.Second || len(res.Header["Set-Cookie"]) > 0 || bytes.Contains(body, []byte("SECRET")) {
					t.Errorf("%d %q after %v, %d cookies", res.StatusCode, body, took, len(res.Header["Set-Cookie"]))
				}
			})
		})
	}
}

// hangsAt is a store that hangs at one operation.
type hangsAt struct {
	*spy
	op string
}

func (h *hangsAt) wait(ctx context.Context, op string) error {
	if h.op == op {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (h *hangsAt) Create(ctx context.Context, ref session.Ref, rec session.Record, q session.Quota) ([]session.Ref, error) {
	if err := h.wait(ctx, "create"); err != nil {
		return nil, err
	}
	return h.spy.Create(ctx, ref, rec, q)
}

func (h *hangsAt) Update(ctx context.Context, ref session.Ref, rec session.Record) error {
	if err := h.wait(ctx, "update"); err != nil {
		return err
	}
	return h.spy.Update(ctx, ref, rec)
}

func (h *hangsAt) Touch(ctx context.Context, ref session.Ref, e time.Time) error {
	if err := h.wait(ctx, "touch"); err != nil {
		return err
	}
	return h.spy.Touch(ctx, ref, e)
}

func (h *hangsAt) Delete(ctx context.Context, ref session.Ref) (session.Record, error) {
	if err := h.wait(ctx, "delete"); err != nil {
		return session.Record{}, err
	}
	return h.spy.Delete(ctx, ref)
}

func (h *hangsAt) Revoke(ctx context.Context, r session.Revocation) (int, error) {
	if err := h.wait(ctx, "revoke"); err != nil {
		return 0, err
	}
	return h.spy.Revoke(ctx, r)
}

func (h *hangsAt) List(ctx context.Context, tags []session.Tag) ([]session.Entry, error) {
	if err := h.wait(ctx, "list"); err != nil {
		return nil, err
	}
	return h.spy.List(ctx, tags)
}
