package session_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"testing"

	"github.com/inovy/hardening/session"
)

// packing is what a middleware outside of Wrap gives: a ResponseWriter that packs
// the body and knows no other methods, or shows what it wraps.
type packing struct {
	http.ResponseWriter
	z *gzip.Writer
}

func (p packing) Write(b []byte) (int, error) { return p.z.Write(b) }

func (p packing) WriteHeader(status int) {
	p.Header().Del("Content-Length") // it is that of the body before it is packed
	p.ResponseWriter.WriteHeader(status)
}

type unwrapping struct{ packing }

func (u unwrapping) Unwrap() http.ResponseWriter { return u.ResponseWriter }

func (u unwrapping) FlushError() error {
	_ = u.z.Flush()
	return http.NewResponseController(u.ResponseWriter).Flush()
}

func packed(h http.Handler, shows bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/gzip")
		p := packing{w, gzip.NewWriter(w)}
		defer p.z.Close()
		if shows {
			h.ServeHTTP(unwrapping{p}, r)
		} else {
			h.ServeHTTP(p, r)
		}
	})
}

// A middleware outside of Wrap packs what the room sends: the session is saved and
// its cookie set before, and a session that cannot be saved is 503 all the same.
func TestHoweverAResponseIsPackedOutsideTheSessionIsSavedFirst(t *testing.T) {
	for name, shows := range map[string]bool{"a writer of its own": false, "a writer that can be unwrapped": true} {
		t.Run(name, func(t *testing.T) {
			store := newSpy(t)
			m := newManager(t, session.Config{Store: store})
			app := m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, _ := m.Get(r.Context())
				if err := s.Update(func(v *visit) { v.Count++ }); err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(w, "body")
				_ = http.NewResponseController(w).Flush()
				_, _ = io.WriteString(w, " and more")
			}))
			srv := newServer(t, packed(app, shows))
			get := func() (*http.Response, string) {
				t.Helper()
				res, err := srv.Client().Get(srv.URL)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				raw, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				z, err := gzip.NewReader(bytes.NewReader(raw))
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(z)
				if err != nil {
					t.Fatal(err)
				}
				return res, string(text)
			}
			res, text := get()
			if res.StatusCode != 200 || text != "body and more" || issued(res) == "" || len(res.Cookies()) != 1 {
				t.Errorf("%d %q %v", res.StatusCode, text, res.Cookies())
			}
			if _, d := look(t, m, issued(res)); d.Count != 1 {
				t.Errorf("count %d", d.Count)
			}
			store.down.Store(true)
			if res, text := get(); res.StatusCode != 503 || bytes.Contains([]byte(text), []byte("body")) || issued(res) != "" {
				t.Errorf("store down: %d %q %v", res.StatusCode, text, res.Cookies())
			}
		})
	}
}

// A mutator that is run again because another request was first, and panics, is a
// handler that panics: nothing of its request is saved or sent.
func TestAMutatorThatPanicsWhenItIsRunAgainSavesNothing(t *testing.T) {
	m := newManager(t, session.Config{})
	id := login(t, m, "", "ada")
	srv := serve(t, m, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		runs := 0
		if err := s.Update(func(v *visit) {
			if runs++; runs > 1 {
				panic("the second time")
			}
			v.Count += 100
		}); err != nil {
			t.Error(err)
		}
		write(t, m, id, "another request")
		_, _ = io.WriteString(w, "body")
	}))
	req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", "__Host-id="+id)
	if res, err := srv.Client().Do(req); err == nil {
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		t.Errorf("answered: %d %q", res.StatusCode, body)
	}
	if user, d := look(t, m, id); user != "ada" || d.Count != 0 || d.Note != "another request" {
		t.Errorf("%q %+v", user, d)
	}
	write(t, m, id, "it is not held up")
	if _, d := look(t, m, id); d.Note != "it is not held up" {
		t.Errorf("%+v", d)
	}
}
