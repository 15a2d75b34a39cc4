package session_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/session"
)

func TestKeysRotateWithoutLoggingAnyoneOut(t *testing.T) {
	for _, store := range []session.Store{newMemory(t), newSpy(t)} {
		keys := newRing("one")
		m := newManager(t, session.Config{Keys: keys, Store: store})
		old := login(t, m, "", "ada")
		keys.set("two", "one")
		fresh := login(t, m, "", "ada")
		for _, id := range []string{old, fresh} {
			if user, _ := look(t, m, id); user != "ada" {
				t.Errorf("%T: logged out by a rotation", store)
			}
		}
		if n, err := m.RevokeUser(t.Context(), "ada"); n != 2 || err != nil {
			t.Errorf("%T: revoked %d, %v; sessions under both keys are the user's", store, n, err)
		}
		last := login(t, m, "", "ada")
		keys.set("three")
		if user, _ := look(t, m, last); user != "" {
			t.Errorf("%T: a withdrawn key still opens sessions", store)
		}
		keys.set()
		call(m, last, func(_ http.ResponseWriter, r *http.Request) {
			if err := m.Login(r.Context(), "ada", session.Auth{}); !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("%T: login without a key: %v", store, err)
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
