package respw_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/inovy/hardening/internal/respw"
)

// serve runs handler behind a Writer on a real server and returns the answer.
func serve(t *testing.T, hook func(w http.ResponseWriter, status int) bool, handler http.HandlerFunc) (*http.Response, string, int) {
	t.Helper()
	calls := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rw := respw.New(w, func(status int) bool { calls++; return hook(w, status) })
		handler(rw, r)
		rw.Finish()
	}))
	defer srv.Close()
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body), calls
}

var waysToWrite = map[string]http.HandlerFunc{
	"Write":       func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "SECRET") },
	"WriteHeader": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); _, _ = io.WriteString(w, "SECRET") },
	"Flush": func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "SECRET")
	},
	"FlushController": func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "SECRET")
	},
	"ReadFrom": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader("SECRET")})
	},
	"1xx first": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); _, _ = io.WriteString(w, "SECRET") },
	"nothing":   func(http.ResponseWriter, *http.Request) {},
}

func TestHookRunsOnceBeforeTheHeaderHoweverItIsSent(t *testing.T) {
	for name, handler := range waysToWrite {
		t.Run(name, func(t *testing.T) {
			res, body, calls := serve(t, func(w http.ResponseWriter, status int) bool {
				w.Header().Set("X-Late", "yes")
				return status == 200
			}, handler)
			if calls != 1 || res.Header.Get("X-Late") != "yes" || res.StatusCode != 200 {
				t.Errorf("calls %d, header %q, status %d", calls, res.Header.Get("X-Late"), res.StatusCode)
			}
			if name != "nothing" && body != "SECRET" {
				t.Errorf("body %q", body)
			}
		})
	}
}

func TestARefusingHookLetsNotOneByteThrough(t *testing.T) {
	for name, handler := range waysToWrite {
		t.Run(name, func(t *testing.T) {
			res, body, calls := serve(t, func(w http.ResponseWriter, _ int) bool {
				http.Error(w, "unavailable", http.StatusServiceUnavailable)
				return false
			}, handler)
			if calls != 1 || res.StatusCode != 503 || body != "unavailable\n" {
				t.Errorf("calls %d, status %d, body %q", calls, res.StatusCode, body)
			}
		})
	}
}

func TestHijackRunsTheHook(t *testing.T) {
	for _, allow := range []bool{true, false} {
		hooked := false
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			rw := respw.New(w, func(status int) bool {
				hooked = status == http.StatusSwitchingProtocols
				if !allow {
					w.WriteHeader(503)
				}
				return allow
			})
			c, _, err := rw.Hijack()
			if allow != (err == nil) || rw.Hijacked() != allow {
				t.Errorf("allow %t: err %v, hijacked %t", allow, err, rw.Hijacked())
			}
			if err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
				_ = c.Close()
			}
		}))
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		line, _ := bufio.NewReader(conn).ReadString('\n')
		if want := map[bool]string{true: "101", false: "503"}[allow]; !strings.Contains(line, want) || !hooked {
			t.Errorf("allow %t: %q, hooked %t", allow, line, hooked)
		}
		_ = conn.Close()
		srv.Close()
	}
}

func TestStatusIsTheFirstFinalOne(t *testing.T) {
	w := respw.New(httptest.NewRecorder(), nil)
	w.WriteHeader(103)
	if w.Committed() || w.Status() != 0 {
		t.Error("103 is not final")
	}
	w.WriteHeader(404)
	w.Finish()
	if w.Status() != 404 || !w.Committed() || w.Discarded() {
		t.Errorf("status %d", w.Status())
	}
	if w.Unwrap() == nil {
		t.Error("deadlines must stay reachable")
	}
}
