package auditlog

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/inovy/hardening"
)

func describe(r *http.Request) (Event, error) {
	if r.PathValue("patient") == "nobody" {
		return Event{}, &hardening.Problem{Status: http.StatusNotFound, Detail: "no such patient"}
	}
	if r.PathValue("patient") == "broken" {
		return Event{}, errors.New("the directory does not answer")
	}
	if r.PathValue("patient") == "wild" {
		panic(http.ErrAbortHandler)
	}
	if r.PathValue("patient") == "invalid" {
		return Event{Type: SensitiveRead}, nil
	}
	return Event{Type: SensitiveRead, Action: Read, Actor: Actor{ID: "vermeer"}, Subject: Subject{ID: r.PathValue("patient")}, Object: Object{Type: "file"}}, nil
}

func accessMux(t *testing.T, l *Log, h http.HandlerFunc) http.Handler {
	t.Helper()
	a, err := l.Access(AccessConfig{Describe: describe})
	must(t, err)
	mux := http.NewServeMux()
	mux.Handle("GET /patients/{patient}", a.Wrap(h))
	return mux
}

func TestTheAttemptIsRecordedBeforeAndTheOutcomeAfter(t *testing.T) {
	t.Attr("control", "NEN7513 6")
	for name, c := range map[string]struct {
		handler func(w http.ResponseWriter)
		want    Outcome
		status  int
	}{
		"silent":       {func(http.ResponseWriter) {}, Success, 200},
		"body":         {func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) }, Success, 200},
		"redirect":     {func(w http.ResponseWriter) { w.WriteHeader(303) }, Success, 303},
		"forbidden":    {func(w http.ResponseWriter) { w.WriteHeader(403) }, Denied, 403},
		"unauthorised": {func(w http.ResponseWriter) { w.WriteHeader(401) }, Denied, 401},
		"not found":    {func(w http.ResponseWriter) { w.WriteHeader(404) }, Failure, 404},
		"broken":       {func(w http.ResponseWriter) { w.WriteHeader(500) }, Failure, 500},
		"panic":        {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, Failure, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, testConfig(privateDir(t)))
			h := accessMux(t, l, func(w http.ResponseWriter, r *http.Request) {
				if all := entries(t, l, Filter{}); len(all) != 1 || all[0].Outcome != Attempted || all[0].Subject.ID != "jansen" {
					t.Errorf("before the handler: %v", all)
				}
				c.handler(w)
			})
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", "/patients/jansen", nil)
			r.RemoteAddr = "192.0.2.9:1234"
			func() {
				defer func() {
					if p := recover(); (p != nil) != (c.status == 0) {
						t.Errorf("panic %v", p)
					}
				}()
				h.ServeHTTP(w, r)
			}()
			all := entries(t, l, Filter{})
			if len(all) != 2 {
				t.Fatalf("%d entries", len(all))
			}
			if e := all[1]; e.Outcome != c.want || e.Attempt != all[0].Seq || e.Origin.IP.String() != "192.0.2.9" || e.Attrs[0].Value.Int64() != int64(c.status) {
				t.Errorf("%+v", e)
			}
			if c.status > 0 && w.Code != c.status {
				t.Errorf("answered %d", w.Code)
			}
		})
	}
}

func TestTheHandlerDoesNotRunIfTheAttemptCanNotBeRecorded(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.5.3")
	for name, c := range map[string]struct {
		path   string
		closed bool
		status int
	}{
		"closed log":    {"/patients/jansen", true, 503},
		"no event":      {"/patients/broken", false, 503},
		"invalid event": {"/patients/invalid", false, 503},
		"a problem":     {"/patients/nobody", false, 404},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, testConfig(privateDir(t)))
			if c.closed {
				must(t, l.Close())
			}
			h := accessMux(t, l, func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") })
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
			if w.Code != c.status || w.Header().Get("Content-Type") != "application/problem+json" || strings.Contains(w.Body.String(), "directory does not") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

func TestAnOutcomeThatCanNotBeRecorded(t *testing.T) {
	for name, c := range map[string]struct {
		write  bool
		status int
	}{"nothing sent yet": {false, 503}, "already sent": {true, 200}} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(privateDir(t))
			var said *lockedBuffer
			cfg.ErrorLog, said = quiet()
			l := open(t, cfg)
			h := accessMux(t, l, func(w http.ResponseWriter, _ *http.Request) {
				if c.write {
					w.WriteHeader(200)
				}
				must(t, l.Close())
			})
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/patients/jansen", nil))
			if w.Code != c.status || !strings.Contains(said.String(), "was not recorded") {
				t.Errorf("%d; said %s", w.Code, said)
			}
		})
	}
}

func TestAccessConfigFaults(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	_, err := l.Access(AccessConfig{})
	if fs := slices.Collect(hardening.Faults(err)); len(fs) != 1 || fs[0].Field != "AccessConfig.Describe" || fs[0].Fix == "" {
		t.Errorf("%v", err)
	}
}

func TestADescribeThatPanicsIsReportedAndNothingRuns(t *testing.T) {
	cfg := testConfig(privateDir(t))
	var said *lockedBuffer
	cfg.ErrorLog, said = quiet()
	l := open(t, cfg)
	h := accessMux(t, l, func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") })
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("panic %v", p)
		}
		if !strings.Contains(said.String(), "Describe panicked") || len(entries(t, l, Filter{})) != 0 {
			t.Errorf("said %s", said)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/patients/wild", nil))
}

// A connection that was taken over has no response: its outcome is a success
// with 101.
func TestTheOutcomeOfAConnectionThatWasTakenOver(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	done := make(chan struct{})
	h := accessMux(t, l, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = c.Close()
	})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		h.ServeHTTP(w, r)
	}))
	defer s.Close()
	if _, err := http.Get(s.URL + "/patients/jansen"); err == nil {
		t.Error("there is an answer")
	}
	<-done
	all := entries(t, l, Filter{})
	if len(all) != 2 || all[1].Outcome != Success || all[1].Attrs[0].Value.Int64() != 101 {
		t.Errorf("%+v", all)
	}
}

// Anyone can come without a login: that must not ring an alarm.
func TestARefusalOfDescribesOwnIsNoLostEvent(t *testing.T) {
	for name, tt := range map[string]struct {
		path string
		told int
		says string
	}{
		"a Problem of 404": {"/patients/nobody", 0, ""},
		"an error":         {"/patients/broken", 1, "GET /patients/{patient}"},
		"an invalid event": {"/patients/invalid", 1, SensitiveRead},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(privateDir(t))
			told := 0
			cfg.OnError = func(error) { told++ }
			var said *lockedBuffer
			cfg.ErrorLog, said = quiet()
			l := open(t, cfg)
			h := accessMux(t, l, func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") })
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", tt.path, nil))
			if told != tt.told || !strings.Contains(said.String(), tt.says) || tt.told == 0 && said.String() != "" {
				t.Errorf("told %d times; said %s", told, said)
			}
		})
	}
}
