package session_test

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
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

func newRequest(cookie string) *http.Request {
	r := httptest.NewRequest("GET", "https://portal.example/", nil)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	return r
}

// setCookie returns the Set-Cookie lines of a login, the id replaced by ID.
func setCookie(t *testing.T, cfg session.Config, r *http.Request, before func(http.ResponseWriter)) []string {
	t.Helper()
	m := newManager(t, cfg)
	res := callWith(m, r, func(w http.ResponseWriter, r *http.Request) {
		if before != nil {
			before(w)
		}
		if err := m.Login(r.Context(), "ada", session.Auth{}); err != nil {
			t.Error(err)
		}
	})
	if got := res.Header["Cache-Control"]; !slices.Equal(got, []string{"no-store"}) {
		t.Errorf("Cache-Control %q on a response that sets an id", got)
	}
	var lines []string
	for _, l := range res.Header["Set-Cookie"] {
		name, rest, _ := strings.Cut(l, "=")
		value, attrs, _ := strings.Cut(rest, ";")
		if len(name)+len(value) > 4096 {
			t.Errorf("%d bytes of name and value", len(name)+len(value))
		}
		if len(value) > 40 {
			value = "ID"
		}
		lines = append(lines, name+"="+value+";"+attrs)
	}
	return lines
}

func TestCookie(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.3.1")
	t.Attr("control", "ASVS v5.0.0-3.3.2")
	t.Attr("control", "ASVS v5.0.0-3.3.3")
	t.Attr("control", "ASVS v5.0.0-3.3.4")
	plain := func(url string) *http.Request { return httptest.NewRequest("GET", url, nil) }
	overTLS := func(url string) *http.Request {
		r := httptest.NewRequest("GET", url, nil)
		r.TLS = &tls.ConnectionState{}
		return r
	}
	dev := session.Config{Environment: hardening.Development, Policy: session.PolicyAAL2()}
	const host = "__Host-id=ID; Path=/; HttpOnly; Secure; SameSite=Lax"
	for _, tt := range []struct {
		name string
		cfg  session.Config
		r    *http.Request
		want string
	}{
		{"the default", session.Config{}, newRequest(""), "__Host-id=ID; Path=/; Max-Age=604800; HttpOnly; Secure; SameSite=Lax"},
		{"a policy that does not outlive the browser", session.Config{Policy: session.PolicyAAL2()}, newRequest(""), host},
		{"strict, with a name", session.Config{Policy: session.PolicyAAL2(), Cookie: session.Cookie{Name: "care", SameSite: http.SameSiteStrictMode}}, newRequest(""), "__Host-care=ID; Path=/; HttpOnly; Secure; SameSite=Strict"},
		{"shared with subdomains", session.Config{Policy: session.PolicyAAL2(), Cookie: session.Cookie{DangerouslyDomain: "care.example"}}, newRequest(""), "__Secure-id=ID; Path=/; Domain=care.example; HttpOnly; Secure; SameSite=Lax"},
		{"plain HTTP in production stays Secure", session.Config{Policy: session.PolicyAAL2()}, plain("http://localhost:8080/"), host},
		{"plain HTTP in staging stays Secure", session.Config{Environment: hardening.Staging, Policy: session.PolicyAAL2()}, plain("http://localhost:8080/"), host},
		{"plain HTTP to localhost in development", dev, plain("http://localhost:8080/"), "id=ID; Path=/; HttpOnly; SameSite=Lax"},
		{"plain HTTP to a loopback address in development", dev, plain("http://[::1]:8080/"), "id=ID; Path=/; HttpOnly; SameSite=Lax"},
		{"plain HTTP to another host in development", dev, plain("http://portal.example/"), host},
		{"plain HTTP to a host that only looks local", dev, plain("http://localhost.evil.example/"), host},
		{"TLS to localhost in development", dev, overTLS("https://localhost:8443/"), host},
	} {
		if got := setCookie(t, tt.cfg, tt.r, nil); len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s:\n got %q\nwant %q", tt.name, got, tt.want)
		}
	}
}

func TestTheCookieIsSetOnceWhateverTheHandlerWrote(t *testing.T) {
	got := setCookie(t, session.Config{Policy: session.PolicyAAL2()}, newRequest(""), func(w http.ResponseWriter) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		w.Header().Add("Set-Cookie", "__Host-id=planted; Path=/; Secure")
		w.Header().Add("Set-Cookie", "theme=dark")
		w.Header().Add("Set-Cookie", "__Host-id2=other; Path=/; Secure")
	})
	want := []string{"theme=dark;", "__Host-id2=other; Path=/; Secure", "__Host-id=ID; Path=/; HttpOnly; Secure; SameSite=Lax"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestDevelopmentOverPlainHTTPKeepsTheSession(t *testing.T) {
	m := newManager(t, session.Config{Environment: hardening.Development})
	srv := httptest.NewServer(m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		if r.URL.Path == "/login" {
			_ = m.Login(r.Context(), "ada", session.Auth{})
		}
		fmt.Fprint(w, s.User())
	})))
	defer srv.Close()
	b := newBrowser(t, srv)
	b.get("/login")
	if _, user := b.get("/"); user != "ada" {
		t.Errorf("user %q", user)
	}
}

func TestMaxAgeIsWhatIsLeftOfTheAbsoluteLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, session.Config{})
		res := call(m, "", func(_ http.ResponseWriter, r *http.Request) {
			_ = m.Login(r.Context(), "ada", session.Auth{})
			time.Sleep(time.Hour) // a handler that takes its time
		})
		if got := res.Cookies()[0].MaxAge; got != (7*24-1)*3600 {
			t.Errorf("Max-Age %d", got)
		}
	})
}

// Every damage to a cookie is an anonymous session, not an error, and never
// reaches the store.
func TestHostileCookies(t *testing.T) {
	store, keys := newSpy(t), newRing("one")
	m := newManager(t, session.Config{Store: store, Keys: keys})
	other := newManager(t, session.Config{Store: store, Keys: keys, Cookie: session.Cookie{Name: "other"}})
	good := login(t, m, "", "ada")
	var foreign string
	for _, c := range call(other, "", func(_ http.ResponseWriter, r *http.Request) { _ = other.Login(r.Context(), "ada", session.Auth{}) }).Cookies() {
		foreign = c.Value
	}
	if foreign == "" {
		t.Fatal("no cookie under the other name")
	}
	hostile := map[string]string{
		"another name's cookie":     foreign,
		"nothing":                   "",
		"one byte":                  "a",
		"a megabyte":                strings.Repeat("A", 1<<20),
		"padded":                    good + "=",
		"doubly padded":             good + "==",
		"quoted":                    `"` + good + `"`,
		"with a trailing line feed": good + "\n",
		"with a line feed inside":   good[:40] + "\n" + good[40:],
		"a line feed for a byte":    good[:40] + "\n" + good[41:],
		"with a carriage return":    good[:40] + "\r\n" + good[42:],
		"with a space inside":       good[:40] + " " + good[41:],
		"in the standard alphabet":  "+" + good[1:],
		"percent-encoded":           strings.Replace(good, good[:1], "%"+fmt.Sprintf("%02x", good[0]), 1),
		"with a NUL":                good[:81] + "\x00",
		"twice in one value":        good + good,
	}
	for i := range len(good) {
		for bit := range 6 {
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			c := alphabet[strings.IndexByte(alphabet, good[i])^1<<bit]
			hostile[fmt.Sprintf("bit %d of character %d flipped", bit, i)] = good[:i] + string(c) + good[i+1:]
		}
		hostile[fmt.Sprintf("cut to %d", i)] = good[:i]
		hostile[fmt.Sprintf("without character %d", i)] = good[:i] + good[i+1:]
	}
	store.loads.Store(0)
	for name, value := range hostile {
		if user, _ := look(t, m, value); user != "" {
			t.Errorf("%s: opens the session of %q", name, user)
		}
	}
	if n := store.loads.Load(); n != 0 {
		t.Errorf("%d of %d hostile cookies reached the store", n, len(hostile))
	}
	for _, header := range []string{
		"__host-id=" + good, "__Host-ID=" + good, "id=" + good, "__Secure-id=" + good, "__Host-id" + good, "__Host-id ==" + good,
		" =__Host-id=" + good, "a=b,__Host-id=" + good,
	} {
		user := "?"
		callWith(m, newRequest(header), func(_ http.ResponseWriter, r *http.Request) { s, _ := m.Get(r.Context()); user = s.User() })
		if user != "" {
			t.Errorf("Cookie: %.30s... opens the session of %q", header, user)
		}
	}
	for _, header := range []string{
		"__Host-id=" + good, "a=b; __Host-id=" + good + "; c=d", "a=b;__Host-id=" + good, ";;; __Host-id=" + good + " ;", "\t__Host-id=" + good,
	} {
		user := ""
		callWith(m, newRequest(header), func(_ http.ResponseWriter, r *http.Request) { s, _ := m.Get(r.Context()); user = s.User() })
		if user != "ada" {
			t.Errorf("Cookie: %.30s... does not open the session", header)
		}
	}
}

// Whatever comes as Cookie lines: a request without a session, and nothing else.
func FuzzARequestWithAnyCookies(f *testing.F) {
	keys := newRing(rand.Text()) // workers are processes of their own
	store := newSpy(f)
	kept := newManager(f, session.Config{Keys: keys, Store: store})
	held := inCookies(f, keys)
	genuine := map[string]bool{}
	for _, m := range []*session.Manager[visit]{kept, held} {
		id := login(f, m, "", "ada")
		genuine[id] = true
		f.Add("__Host-id="+id, "__Host-id="+id[:40])
	}
	f.Add("__Host-id=a; __Host-id=b; __Host-id=c", "__Host-id=d; __Host-id=e")
	f.Add(" =; ;==;__Host-id", "\x00\xff\r\n")
	store.loads.Store(0)
	f.Fuzz(func(t *testing.T, one, two string) {
		for id := range genuine {
			if strings.Contains(one, id) || strings.Contains(two, id) {
				return
			}
		}
		for kind, m := range map[string]*session.Manager[visit]{"kept": kept, "in cookie": held} {
			r := newRequest("")
			r.Header["Cookie"] = []string{one, two}
			res := callWith(m, r, func(_ http.ResponseWriter, r *http.Request) {
				if s, err := m.Get(r.Context()); err != nil || s.User() != "" {
					t.Errorf("%s: %q, %v", kind, s.User(), err)
				}
			})
			if res.StatusCode != 200 || len(res.Header["Set-Cookie"]) != 0 {
				t.Errorf("%s: status %d, %d cookies", kind, res.StatusCode, len(res.Header["Set-Cookie"]))
			}
		}
		if store.loads.Load() != 0 {
			t.Error("a cookie that nobody issued reached the store")
		}
	})
}
