package session_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/securecookie"

	"github.com/inovy/hardening/session"
)

func inCookies(t testing.TB, keys session.KeySource) *session.Manager[visit] {
	t.Helper()
	ended, err := session.NewMemoryStore(session.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := session.NewCookieStore(session.CookieStoreConfig{Ended: ended})
	if err != nil {
		t.Fatal(err)
	}
	return newManager(t, session.Config{Store: store, Keys: keys})
}

// write changes a note and returns the cookie after that.
func write(t *testing.T, m *session.Manager[visit], cookie, note string) string {
	t.Helper()
	res := call(m, cookie, func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		if err := s.Update(func(v *visit) { v.Note = note }); err != nil {
			t.Error(err)
		}
	})
	if res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
	return issued(res)
}

func TestASessionTravelsInItsCookie(t *testing.T) {
	m := inCookies(t, newRing("one"))
	id := write(t, m, login(t, m, "", "margaret.hamilton"), "lunar landing")
	if user, d := look(t, m, id); user != "margaret.hamilton" || d.Note != "lunar landing" {
		t.Errorf("%q %q", user, d.Note)
	}
	for _, text := range []string{"margaret", "hamilton", "lunar landing"} {
		if b, _ := base64.URLEncoding.DecodeString(id[7:]); strings.Contains(id, text) || strings.Contains(string(b), text) {
			t.Errorf("%q can be read in the cookie", text)
		}
	}
	if _, err := m.List(t.Context(), "ada"); !errors.Is(err, session.ErrNotKept) {
		t.Errorf("List: %v", err)
	}
	if _, err := m.RevokeOne(t.Context(), "ada", "x"); !errors.Is(err, session.ErrNotKept) {
		t.Errorf("RevokeOne: %v", err)
	}
}

// gorilla's CookieStore deletes the cookie and leaves every copy of it valid.
func TestTrap_ACopyOfACookieWorksAfterLogout(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.1")
	for name, end := range map[string]func(*testing.T, *session.Manager[visit], string){
		"logout": func(_ *testing.T, m *session.Manager[visit], id string) {
			res := call(m, id, func(_ http.ResponseWriter, r *http.Request) { _ = m.Logout(r.Context()) })
			if len(res.Cookies()) != 1 || res.Cookies()[0].Value != "" {
				t.Errorf("the expired cookie holds %v", res.Cookies())
			}
		},
		"renewal":    func(t *testing.T, m *session.Manager[visit], id string) { login(t, m, id, "ada") },
		"revocation": func(t *testing.T, m *session.Manager[visit], _ string) { _, _ = m.RevokeUser(t.Context(), "ada") },
		"all":        func(t *testing.T, m *session.Manager[visit], _ string) { _ = m.RevokeAll(t.Context()) },
		"erasure":    func(t *testing.T, m *session.Manager[visit], _ string) { _, _ = m.EraseUser(t.Context(), "ada") },
	} {
		t.Run(name, func(t *testing.T) {
			m := inCookies(t, newRing("one"))
			first := login(t, m, "", "ada")
			second := write(t, m, first, "a change re-issues the cookie")
			end(t, m, second)
			if n := ended(t, m, first, second); n != 2 {
				t.Errorf("%d of 2 copies are dead", n)
			}
			if res := slowCookie(t, m, second, func() {}); issued(res) != "" {
				t.Error("a dead copy comes back to life")
			}
			if user, _ := look(t, m, login(t, m, "", "ada")); user != "ada" {
				t.Error("nobody can log in any more")
			}
		})
	}
}

func slowCookie(t *testing.T, m *session.Manager[visit], cookie string, meanwhile func()) *http.Response {
	t.Helper()
	return call(m, cookie, func(w http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		if s.User() != "" {
			_ = s.Update(func(v *visit) { v.Note = "from the grave" })
		}
		meanwhile()
		w.WriteHeader(200)
	})
}

func TestTrap_ASlowResponseBringsACookieBack(t *testing.T) {
	m := inCookies(t, newRing("one"))
	id := login(t, m, "", "ada")
	res := slowCookie(t, m, id, func() {
		call(m, id, func(_ http.ResponseWriter, r *http.Request) { _ = m.Logout(r.Context()) })
	})
	if res.StatusCode != 401 || issued(res) != "" {
		t.Errorf("%d %q", res.StatusCode, issued(res))
	}
	for range 1000 {
		id := login(t, m, "", "ada")
		var all sync.WaitGroup
		var fresh string
		all.Go(func() { fresh = issued(slowCookie(t, m, id, func() {})) })
		all.Go(func() { call(m, id, func(_ http.ResponseWriter, r *http.Request) { _ = m.Logout(r.Context()) }) })
		all.Wait()
		if fresh != "" && ended(t, m, fresh) != 1 || ended(t, m, id) != 1 {
			t.Fatal("a session outlives its logout")
		}
	}
}

// securecookie reads several spellings of one value, accepts what is signed for
// what is encrypted, and keeps whatever name and purpose the keys are used for
// apart only if the caller does.
func TestTrap_OneCookieHasManySpellings(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-9.1.1")
	m := inCookies(t, newRing("one"))
	id := login(t, m, "", "ada")
	for i := range len(id) {
		for _, c := range []byte{id[i] ^ 1, 'A', '\n', '='} {
			if c == id[i] {
				continue
			}
			if user, _ := look(t, m, id[:i]+string(c)+id[i+1:]); user != "" {
				t.Fatalf("with %q at %d it is still %s's", c, i, user)
			}
		}
		if user, _ := look(t, m, id[:i]); user != "" {
			t.Fatalf("cut at %d it is still %s's", i, user)
		}
		if user, _ := look(t, m, id[:i]+"\n"+id[i:]); user != "" {
			t.Fatalf("with a line feed at %d it is still %s's", i, user)
		}
	}
	for _, more := range []string{"=", "A", "AAAA", "\n", " x"} {
		if user, _ := look(t, m, id+more); user != "" {
			t.Errorf("with %q after it, it is still %s's", more, user)
		}
	}
	other, err := session.New[visit](session.Config{Keys: newRing("one"), Store: mustCookieStore(t), Cookie: session.Cookie{Name: "other"}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRequest("__Host-other=" + id)
	callWith(other, r, func(_ http.ResponseWriter, r *http.Request) {
		if s, _ := other.Get(r.Context()); s.User() != "" {
			t.Error("the cookie works under another name")
		}
	})
	server := newManager(t, session.Config{Keys: newRing("one")})
	if user, _ := look(t, server, id); user != "" {
		t.Error("a store that keeps sessions takes a cookie that holds one")
	}
	if user, _ := look(t, m, login(t, server, "", "ada")); user != "" {
		t.Error("a cookie that only names a session holds one")
	}
	// The keys of one purpose are of no use for the other.
	keys := newRing("one")
	forge := securecookie.New(keys.Derive("session/id", 32)[0], keys.Derive("session/cookie/enc", 32)[0]).SetSerializer(securecookie.NopEncoder{})
	forged, err := forge.Encode("__Host-id", []byte("anything"))
	if err != nil {
		t.Fatal(err)
	}
	if user, _ := look(t, m, id[:7]+forged); user != "" {
		t.Error("signed by the key of another purpose")
	}
}

// The end of a session is remembered for as long as any copy of it could live,
// not only for as long as the copy that was sent with the logout.
func TestTrap_ACopyThatWasUsedLongerOutlivesTheLogout(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.1")
	synctest.Test(t, func(t *testing.T) {
		m := inCookies(t, newRing("one"))
		stolen := login(t, m, "", "ada")
		use := func(cookie string) string {
			t.Helper()
			res := call(m, cookie, func(_ http.ResponseWriter, r *http.Request) { _, _ = m.Get(r.Context()) })
			if cookie = issued(res); cookie == "" {
				t.Fatal("use did not prolong the session")
			}
			return cookie
		}
		time.Sleep(5 * time.Minute)
		mine := use(stolen) // until 24:05
		time.Sleep(4 * time.Minute)
		stolen = use(stolen) // until 24:09
		call(m, mine, func(_ http.ResponseWriter, r *http.Request) { _ = m.Logout(r.Context()) })
		time.Sleep(23*time.Hour + 57*time.Minute) // 24:06
		if ended(t, m, stolen) != 1 {
			t.Error("the copy lives again")
		}
	})
}

func mustCookieStore(t *testing.T) session.Store {
	t.Helper()
	s, err := session.NewCookieStore(session.CookieStoreConfig{Ended: newMemory(t).(*session.MemoryStore)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// EncodeMulti falls back to an old key without a word; here a value is always
// sealed by the primary key, and an older one is replaced.
func TestTrap_ARotationKeepsSealingUnderTheOldKey(t *testing.T) {
	keys := newRing("one")
	m := inCookies(t, keys)
	old := write(t, m, login(t, m, "", "ada"), "kept")
	keys.set("two", "one")
	res := call(m, old, func(_ http.ResponseWriter, r *http.Request) {
		if s, _ := m.Get(r.Context()); s.User() != "ada" {
			t.Error("logged out by a rotation")
		}
	})
	fresh := issued(res)
	if fresh == "" || fresh[:6] == old[:6] {
		t.Fatalf("not sealed again under the new key: %q", fresh)
	}
	if user, d := look(t, m, fresh); user != "ada" || d.Note != "kept" {
		t.Errorf("%q %q", user, d.Note)
	}
	if again := issued(call(m, fresh, func(_ http.ResponseWriter, r *http.Request) { _, _ = m.Get(r.Context()) })); again != "" {
		t.Error("sealed again without need")
	}
	if _, err := m.RevokeUser(t.Context(), "ada"); err != nil || ended(t, m, old, fresh) != 2 {
		t.Errorf("a revocation after the rotation misses one: %v", err)
	}
	last := login(t, m, "", "ada")
	keys.set("three", "two")
	last = issued(call(m, last, func(_ http.ResponseWriter, r *http.Request) { _, _ = m.Get(r.Context()) }))
	keys.set("three")
	// RevokeUser could not find the tag of its login any more.
	if ended(t, m, last) != 1 {
		t.Error("a session outlives the key of its login")
	}
}

func TestTrap_ACookieThatBrowsersDrop(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.3.5")
	m := inCookies(t, newRing("one"))
	id := login(t, m, "", "ada")
	last := 0
	for n := 0; n < 4096; n += 7 {
		res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
			s, _ := m.Get(r.Context())
			switch err := s.Update(func(v *visit) { v.Note = strings.Repeat("x", n) }); {
			case err == nil:
				last = n
			case !errors.Is(err, session.ErrTooLarge):
				t.Fatalf("%d bytes: %v", n, err)
			}
		})
		if v := issued(res); len("__Host-id")+len(v) > 4096 {
			t.Fatalf("%d bytes of data make a cookie of %d", n, len("__Host-id")+len(v))
		} else if last == n && n > 0 {
			if _, d := look(t, m, v); len(d.Note) != n {
				t.Fatalf("%d bytes of %d come back", len(d.Note), n)
			}
		}
	}
	if last < 1500 || last > 3000 {
		t.Errorf("room for %d bytes", last)
	}
}

// A step-up says more of a login than the login before it. Where data has filled
// the cookie it is refused, and the session that was there goes on.
func TestTrap_AStepUpThatDoesNotFitLogsOut(t *testing.T) {
	audit := new(trail)
	m := newManager(t, session.Config{Store: mustCookieStore(t), Keys: newRing("one"), Audit: audit})
	id, note := login(t, m, "", "ada"), 0
	for n := 2600; note == 0; n-- { // to the brim
		res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
			s, _ := m.Get(r.Context())
			if s.Update(func(v *visit) { v.Note = strings.Repeat("x", n) }) == nil {
				note = n
			}
		})
		if note != 0 {
			id = issued(res)
		}
	}
	audit.records = nil
	stepUp := func(_ http.ResponseWriter, r *http.Request) {
		err := m.Login(r.Context(), "ada", session.Auth{Methods: []string{"pwd", "otp"}, AAL: 2, Device: strings.Repeat("d", 200)})
		if !errors.Is(err, session.ErrTooLarge) || errors.Is(err, session.ErrUnavailable) {
			t.Errorf("Login: %v", err)
		}
		if s, err := m.Get(r.Context()); s.User() != "ada" || s.AAL() != 1 || err != nil {
			t.Errorf("the request goes on as %q at level %d, %v", s.User(), s.AAL(), err)
		}
	}
	if res := call(m, id, stepUp); res.StatusCode != 200 || len(audit.names()) != 0 {
		t.Errorf("status %d, records %v", res.StatusCode, audit.names())
	}
	if user, d := look(t, m, id); user != "ada" || len(d.Note) != note {
		t.Errorf("the session is %q's, with %d bytes", user, len(d.Note))
	}
	if user, d := look(t, m, login(t, m, id, "bob")); user != "bob" || d.Note != "" {
		t.Errorf("another user, who takes no data along, is %q", user)
	}
}

// downEnder is an Ender that can fail.
type downEnder struct {
	*session.MemoryStore
	down bool
}

func (d *downEnder) Ended(ctx context.Context, ref session.Ref, born time.Time) (bool, error) {
	if d.down {
		return false, errDown
	}
	return d.MemoryStore.Ended(ctx, ref, born)
}

func (d *downEnder) Begin(ctx context.Context, ref session.Ref, born, until time.Time) (time.Time, error) {
	if d.down {
		return time.Time{}, errDown
	}
	return d.MemoryStore.Begin(ctx, ref, born, until)
}

func (d *downEnder) Spare(ctx context.Context, r session.Revocation, stamp, until time.Time) (time.Time, error) {
	if d.down {
		return time.Time{}, errDown
	}
	return d.MemoryStore.Spare(ctx, r, stamp, until)
}

func TestAnEnderThatIsDownIs503(t *testing.T) {
	down := &downEnder{}
	store, err := session.NewCookieStore(session.CookieStoreConfig{Ended: down})
	if err != nil {
		t.Fatal(err)
	}
	down.MemoryStore = newMemory(t).(*session.MemoryStore)
	m := newManager(t, session.Config{Store: store})
	id := login(t, m, "", "ada")
	down.down = true
	res := call(m, id, func(w http.ResponseWriter, r *http.Request) {
		if s, err := m.Get(r.Context()); !errors.Is(err, session.ErrUnavailable) || s.User() != "" {
			t.Errorf("%q, %v", s.User(), err)
		}
		_, _ = w.Write([]byte("SECRET"))
	})
	if res.StatusCode != 503 {
		t.Errorf("status %d", res.StatusCode)
	}
	for what, f := range map[string]func(ctx context.Context) error{
		"Login": func(ctx context.Context) error { return m.Login(ctx, "ada", session.Auth{}) },
		"RevokeOthers": func(ctx context.Context) error {
			_, err := m.RevokeOthers(ctx)
			return err
		},
	} {
		down.down = false
		res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
			s, _ := m.Get(r.Context())
			_ = s.User()
			down.down = true
			if err := f(r.Context()); !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("%s: %v", what, err)
			}
		})
		if res.StatusCode != 503 || issued(res) != "" {
			t.Errorf("%s: status %d, a cookie: %t", what, res.StatusCode, issued(res) != "")
		}
	}
}
