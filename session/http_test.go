package session_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening/session"
)

func TestAServerSentStreamEndsWithItsSession(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.1")
	m := newManager(t, session.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) { _ = m.Login(r.Context(), "ada", session.Auth{}) })
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		s, err := m.Get(r.Context())
		if err != nil {
			t.Error(err)
		}
		done := s.Done()
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: hello\n\n")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("Flush: %v", err)
		}
		select {
		case <-done:
			fmt.Fprint(w, "data: over\n\n")
		case <-r.Context().Done():
			t.Error("the client left first")
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s, _ := m.Get(r.Context()); fmt.Fprint(w, s.User()) })
	srv := serve(t, m, mux)
	here, there := newBrowser(t, srv), newBrowser(t, srv)
	here.get("/login")
	there.get("/login")
	res, err := here.client.Get(srv.URL + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	if line, err := lines.ReadString('\n'); line != "data: hello\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := m.RevokeUser(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	rest := make(chan string, 1)
	go func() { b, _ := io.ReadAll(lines); rest <- string(b) }()
	select {
	case got := <-rest:
		if got != "\ndata: over\n\n" {
			t.Errorf("%q", got)
		}
	case <-time.After(2 * time.Second):
		t.Error("the stream went on for two seconds")
	}
	if _, user := here.get("/"); user != "" {
		t.Errorf("the next page is for %q", user)
	}
}

// update is a handler that changes the session and then answers as write does.
func update(t *testing.T, m *session.Manager[visit], write http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := m.Get(r.Context())
		if err := errors.Join(err, s.Update(func(v *visit) { v.Count++ })); err != nil {
			t.Error(err)
		}
		write(w, r)
	}
}

func TestHoweverAResponseIsSentTheSessionIsSavedFirst(t *testing.T) {
	m := newManager(t, session.Config{})
	for _, tt := range []struct {
		name   string
		method string
		write  http.HandlerFunc
		status int
		body   string
	}{
		{"nothing", "GET", func(http.ResponseWriter, *http.Request) {}, 200, ""},
		{"HEAD", "HEAD", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "body") }, 200, ""},
		{"304", "GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, 304, ""},
		{"204", "GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, ""},
		{"103 and then 200", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(103)
			_, _ = io.WriteString(w, "body")
		}, 200, "body"},
		{"a file", "GET", func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "x.txt", time.Time{}, strings.NewReader("body"))
		}, 200, "body"},
		{"gzip inside", "GET", func(w http.ResponseWriter, _ *http.Request) {
			z := gzip.NewWriter(w)
			w.Header().Set("Content-Type", "application/gzip")
			_, _ = io.WriteString(z, "body")
			_ = z.Close()
		}, 200, "body"},
		{"an error", "GET", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 418) }, 418, "no\n"},
		{"in many flushes", "GET", func(w http.ResponseWriter, _ *http.Request) {
			for _, c := range "body" {
				_, _ = io.WriteString(w, string(c))
				w.(http.Flusher).Flush()
			}
		}, 200, "body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := login(t, m, "", "ada")
			srv := serve(t, m, update(t, m, tt.write))
			req, _ := http.NewRequestWithContext(t.Context(), tt.method, srv.URL, nil)
			req.Header.Set("Cookie", "__Host-id="+id)
			res, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			if res.Header.Get("Content-Type") == "application/gzip" {
				z, err := gzip.NewReader(bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				body, _ = io.ReadAll(z)
			}
			if res.StatusCode != tt.status || string(body) != tt.body {
				t.Errorf("%d %q", res.StatusCode, body)
			}
			if _, d := look(t, m, id); d.Count != 1 {
				t.Errorf("count %d", d.Count)
			}
		})
	}
}

func TestATimeoutHandlerInsideSavesNothingThatComesAfterItsAnswer(t *testing.T) {
	m := newManager(t, session.Config{})
	id := login(t, m, "", "ada")
	answered, finished := make(chan struct{}), make(chan error, 1)
	slow := http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-answered
		s, _ := m.Get(r.Context())
		finished <- s.Update(func(v *visit) { v.Count++ })
	}), 10*time.Millisecond, "slow")
	res := call(m, id, func(w http.ResponseWriter, r *http.Request) {
		if _, err := m.Get(r.Context()); err != nil {
			t.Error(err)
		}
		slow.ServeHTTP(w, r)
		close(answered)
	})
	if err := <-finished; res.StatusCode != 503 || !errors.Is(err, session.ErrTooLate) {
		t.Errorf("%d, %v", res.StatusCode, err)
	}
	if _, d := look(t, m, id); d.Count != 0 {
		t.Errorf("count %d", d.Count)
	}
}

func TestHijackSavesFirst(t *testing.T) {
	store := newSpy(t)
	m := newManager(t, session.Config{Store: store})
	for _, down := range []bool{false, true} {
		id := login(t, m, "", "ada")
		srv := httptest.NewServer(m.Wrap(update(t, m, func(w http.ResponseWriter, _ *http.Request) {
			store.down.Store(down)
			c, _, err := http.NewResponseController(w).Hijack()
			if (err != nil) != down {
				t.Errorf("down %t: %v", down, err)
			}
			if err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
				_ = c.Close()
			}
		})))
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nCookie: __Host-id=%s\r\n\r\n", id)
		line, _ := bufio.NewReader(conn).ReadString('\n')
		_ = conn.Close()
		srv.Close()
		store.down.Store(false)
		want, count := "101", 1
		if down {
			want, count = "503", 0
		}
		if _, d := look(t, m, id); !strings.Contains(line, want) || d.Count != count {
			t.Errorf("down %t: %q, count %d", down, line, d.Count)
		}
	}
}

// A client that hangs up must not keep a session from ending, or leave a login
// half done.
func TestWhatWasBegunHappensThoughTheClientLeft(t *testing.T) {
	store := newSpy(t)
	m := newManager(t, session.Config{Store: store})
	for name, change := range map[string]func(context.Context) error{
		"logout":     m.Logout,
		"login":      func(ctx context.Context) error { return m.Login(ctx, "bob", session.Auth{}) },
		"revocation": func(ctx context.Context) error { _, err := m.RevokeUser(ctx, "ada"); return err },
	} {
		id := login(t, m, "", "ada")
		ctx, hangUp := context.WithCancel(t.Context())
		callWith(m, newRequest("__Host-id="+id).WithContext(ctx), func(_ http.ResponseWriter, r *http.Request) {
			if s, err := m.Get(r.Context()); s.User() != "ada" {
				t.Error(err)
			}
			hangUp()
			if err := change(r.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		if user, _ := look(t, m, id); user != "" {
			t.Errorf("%s: still logged in", name)
		}
	}
}
