package session_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/session"
)

// tokens returns n tokens of the session, and its cookie.
func tokens(t *testing.T, m *session.Manager[visit], cookie string, n int) (all []string, id string) {
	t.Helper()
	res := call(m, cookie, func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		for range n {
			token, err := s.CSRFToken()
			if err != nil {
				t.Error(err)
			}
			all = append(all, token)
		}
	})
	if id = issued(res); id == "" {
		id = cookie
	}
	return all, id
}

// post sends a form, or only a header, and returns the status.
func post(m *session.Manager[visit], cookie, token string, change func(*http.Request)) int {
	r := httptest.NewRequest("POST", "https://portal.example/", strings.NewReader(url.Values{session.CSRFField: {token}, "amount": {"1"}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Cookie", "__Host-id="+cookie)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	m.Wrap(m.CSRF(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("amount") == "1" {
			w.WriteHeader(204)
		}
	}))).ServeHTTP(w, r)
	return w.Code
}

func TestCSRF(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.5.1")
	for kind, store := range kinds(t) {
		t.Run(kind, func(t *testing.T) {
			keys := newRing("one")
			m := newManager(t, session.Config{Store: store, Keys: keys})
			ada, eva := login(t, m, "", "ada"), login(t, m, "", "eva")
			mine, _ := tokens(t, m, ada, 2)
			hers, _ := tokens(t, m, eva, 1)
			if mine[0] == mine[1] {
				t.Error("two tokens are equal: a compressed page leaks them")
			}
			raw, err := base64.RawURLEncoding.DecodeString(mine[0])
			if err != nil {
				t.Fatal(err)
			}
			raw[40] ^= 1
			for name, c := range map[string]struct {
				token  string
				change func(*http.Request)
				want   int
			}{
				"its own token in a form":            {mine[0], nil, 204},
				"its own token in the header":        {"", func(r *http.Request) { r.Header.Set(session.CSRFHeader, mine[1]) }, 204},
				"no token":                           {"", nil, 403},
				"another session's token":            {hers[0], nil, 403},
				"a token with a bit flipped":         {base64.RawURLEncoding.EncodeToString(raw), nil, 403},
				"a token cut short":                  {mine[0][:85], nil, 403},
				"a token with a line feed":           {mine[0][:40] + "\n" + mine[0][41:], nil, 403},
				"a megabyte":                         {strings.Repeat("A", 1<<20), nil, 403},
				"a wrong header wins over the field": {mine[0], func(r *http.Request) { r.Header.Set(session.CSRFHeader, hers[0]) }, 403},
				"a token in the URL":                 {"", func(r *http.Request) { r.URL.RawQuery = url.Values{session.CSRFField: {mine[0]}}.Encode() }, 403},
				"cross-site with the right token":    {mine[0], func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
				"same-site with the right token":     {mine[0], func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, 403},
				"another origin, an old browser":     {mine[0], func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403},
				"same-origin":                        {mine[0], func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") }, 204},
				"no session":                         {mine[0], func(r *http.Request) { r.Header.Del("Cookie") }, 403},
				"DELETE":                             {"", func(r *http.Request) { r.Method = "DELETE" }, 403},
				"GET":                                {"", func(r *http.Request) { r.Method = "GET" }, 200},
				"an upgrade from our page":           {"", func(r *http.Request) { upgrade(r, "https://portal.example") }, 200},
				"an upgrade from their page":         {"", func(r *http.Request) { upgrade(r, "https://evil.example") }, 403},
				"an upgrade from our host over http": {"", func(r *http.Request) { upgrade(r, "http://portal.example") }, 403},
				"an upgrade from a null origin":      {"", func(r *http.Request) { upgrade(r, "null") }, 403},
			} {
				if got := post(m, ada, c.token, c.change); got != c.want {
					t.Errorf("%s: %d, want %d", name, got, c.want)
				}
			}
			keys.set("two", "one")
			if got := post(m, ada, mine[0], nil); got != 204 {
				t.Errorf("after a rotation of keys: %d", got)
			}
			renewed := login(t, m, ada, "ada")
			if got := post(m, renewed, mine[0], nil); got != 403 {
				t.Errorf("the token outlives the id: %d", got)
			}
			if fresh, _ := tokens(t, m, renewed, 1); post(m, renewed, fresh[0], nil) != 204 {
				t.Error("the new id's token does not work")
			}
		})
	}
}

// Whoever reads the records must be able to tell an attack from a cookie that
// does not come back and from a form that sends its token where nobody looks.
func TestCSRFSaysWhatWasMissing(t *testing.T) {
	audit := new(trail)
	var causes []error
	m := newManager(t, session.Config{Audit: audit, OnDeny: func(_ http.ResponseWriter, _ *http.Request, p *hardening.Problem) { causes = append(causes, p.Err) }})
	ada, eva := login(t, m, "", "ada"), login(t, m, "", "eva")
	mine, _ := tokens(t, m, ada, 1)
	hers, _ := tokens(t, m, eva, 1)
	for _, c := range []struct {
		token  string
		change func(*http.Request)
		want   string
	}{
		{mine[0], func(r *http.Request) { r.Header.Del("Cookie") }, "no session: its cookie did not come, or it ended"},
		{"", nil, "no token in X-CSRF-Token, nor in csrf_token of a form that is not multipart"},
		{mine[0], func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=x") }, "no token in X-CSRF-Token, nor in csrf_token of a form that is not multipart"},
		{hers[0], nil, "the token is of another session, or damaged"},
		{mine[0][1:], nil, "the token is of another session, or damaged"},
		{mine[0], func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, "the browser calls it cross-origin"},
	} {
		causes = nil
		post(m, ada, c.token, c.change)
		if last := audit.records[len(audit.records)-1]; last["msg"] != "malicious_csrf" || last["reason"] != c.want {
			t.Errorf("recorded %v, want %q", last, c.want)
		}
		if len(causes) != 1 || !errors.Is(causes[0], session.ErrCSRF) || !strings.HasSuffix(causes[0].Error(), c.want) {
			t.Errorf("OnDeny got %v, want %q", causes, c.want)
		}
	}
}

func upgrade(r *http.Request, origin string) {
	r.Method = "GET"
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Origin", origin)
}

// The form of the login page is a target too: without a token someone logs the
// victim in as themselves.
func TestCSRFTokenStartsASessionForTheLoginForm(t *testing.T) {
	for kind, store := range kinds(t) {
		t.Run(kind, func(t *testing.T) {
			audit := new(trail)
			m := newManager(t, session.Config{Store: store, Audit: audit})
			all, id := tokens(t, m, "", 1)
			if id == "" {
				t.Fatal("no session was started")
			}
			if got := post(m, id, all[0], nil); got != 204 {
				t.Errorf("status %d", got)
			}
			if again, same := tokens(t, m, id, 1); same != id || post(m, id, again[0], nil) != 204 {
				t.Error("the second form starts another session")
			}
			if got := post(m, "", "", nil); got != 403 {
				t.Errorf("without: %d", got)
			}
			if names := audit.names(); len(names) == 0 || names[len(names)-1] != "malicious_csrf" {
				t.Errorf("records %v", names)
			}
			call(m, "", func(w http.ResponseWriter, r *http.Request) {
				s, _ := m.Get(r.Context())
				w.WriteHeader(200)
				if _, err := s.CSRFToken(); !errors.Is(err, session.ErrTooLate) {
					t.Errorf("after the header: %v", err)
				}
			})
			call(m, id, func(w http.ResponseWriter, r *http.Request) {
				s, _ := m.Get(r.Context())
				w.WriteHeader(200)
				if _, err := s.CSRFToken(); err != nil {
					t.Errorf("of a session that there is, after the header: %v", err)
				}
			})
		})
	}
}
