package headers_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

const patient = "BSN 999990019 of the panic"

func recovering(log io.Writer, change func(*headers.Config), next http.HandlerFunc) http.Handler {
	cfg := headers.Web()
	cfg.Logger = slog.New(slog.NewJSONHandler(log, nil))
	if change != nil {
		change(&cfg)
	}
	policy := must(headers.New(cfg))
	return policy.Wrap(policy.Recover(next))
}

func TestAPanicBecomesACleanProblem(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.5.1")
	t.Attr("control", "ASVS v5.0.0-16.5.3")
	var log bytes.Buffer
	var nonce string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /patients/{id}", func(w http.ResponseWriter, r *http.Request) {
		nonce = headers.Nonce(r.Context())
		w.Header().Set("Set-Cookie", "session=half-made")
		w.Header().Set("X-Patient", patient)
		w.Header().Set("Content-Length", "7")
		w.Header().Set("Cache-Control", "public")
		w.Header()["Content-Security-Policy"][0] = "default-src *"
		w.Header().Del("X-Frame-Options")
		panic(patient)
	})
	h := must(hardening.NewEdge(hardening.EdgeConfig{})).Wrap(recovering(&log, nil, mux.ServeHTTP))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("https", "GET", "/patients/42"))
	res := w.Result()
	if res.StatusCode != 500 {
		t.Errorf("status %d", res.StatusCode)
	}
	got, want := flat(t, res.Header), maps.Clone(seedSix)
	maps.Copy(want, webMore)
	want["Cache-Control"] = "no-store"
	want["Content-Type"] = "application/problem+json"
	want["Content-Length"], want["X-Request-Id"] = got["Content-Length"], got["X-Request-Id"]
	if !maps.Equal(got, want) || got["X-Request-Id"] == "" {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	if !strings.Contains(res.Header.Get("Content-Security-Policy"), "'nonce-"+nonce+"'") {
		t.Error("the policy lost the request's nonce")
	}
	body := w.Body.String()
	if strings.Contains(body, "999990019") || strings.Contains(body, "goroutine") || strings.Contains(body, ".go") {
		t.Errorf("the cause reached the client: %s", body)
	}
	var problem, record map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem["status"] != 500.0 || problem["request_id"] != got["X-Request-Id"] {
		t.Errorf("body %s: %v", body, err)
	}
	if err := json.Unmarshal(log.Bytes(), &record); err != nil {
		t.Fatal(err)
	}
	if record["msg"] != "sys_crash" || record["error"] != patient || record["object"] != "GET /patients/{id}" || record["request_id"] != got["X-Request-Id"] {
		t.Errorf("record %s", &log)
	}
	if stack, _ := record["stack"].(string); !strings.Contains(stack, "recover_test.go") {
		t.Errorf("no stack that names the handler: %s", &log)
	}
	if strings.Contains(log.String(), "/patients/42") {
		t.Error("the path, which names the patient, is in the log")
	}
}

func TestAPanicWithinTheStreamCutsTheConnection(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.5.3")
	for name, write := range map[string]func(http.ResponseWriter){
		"after a write":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, "half") },
		"after a flush":  func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
		"after a status": func(w http.ResponseWriter) { w.WriteHeader(200) },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			srv := httptest.NewServer(recovering(&log, nil, func(w http.ResponseWriter, r *http.Request) {
				write(w)
				panic(patient)
			}))
			res, err := srv.Client().Get(srv.URL)
			var body []byte
			if err == nil {
				body, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			srv.Close() // waits for the handler, so the log is complete
			if err == nil {
				t.Errorf("the client takes %q for the whole answer", body)
			}
			if bytes.Contains(body, []byte("999990019")) || !strings.Contains(log.String(), "sys_crash") {
				t.Errorf("body %q log %s", body, &log)
			}
		})
	}
}

func TestErrAbortHandlerIsPassedOnSilently(t *testing.T) {
	var log bytes.Buffer
	h := recovering(&log, nil, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("recovered %v", v)
		}
		if log.Len() != 0 {
			t.Errorf("log %s", &log)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), request("https", "GET", "/"))
	t.Error("the panic was swallowed")
}

func TestEveryKindOfPanicValueIsAnswered(t *testing.T) {
	for name, panicking := range map[string]func(){
		"nil":                func() { panic(nil) },
		"a map, not ==-able": func() { panic(map[string]int{"a": 1}) },
		"a run-time error":   func() { _ = []int(nil)[len(t.Name())] },
		"an error":           func() { panic(io.ErrUnexpectedEOF) },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			w := httptest.NewRecorder()
			recovering(&log, nil, func(http.ResponseWriter, *http.Request) { panicking() }).ServeHTTP(w, request("https", "GET", "/"))
			if w.Code != 500 || !strings.Contains(log.String(), "sys_crash") {
				t.Errorf("status %d log %s", w.Code, &log)
			}
		})
	}
}

func TestRecoverUsesOnDenyAfterTheHeadersAreSet(t *testing.T) {
	h := recovering(io.Discard, func(c *headers.Config) {
		c.OnDeny = func(w http.ResponseWriter, r *http.Request, p *hardening.Problem) {
			if p.Status != 500 || p.Err == nil || strings.Contains(p.Error(), "999990019") {
				t.Errorf("problem %v", p)
			}
			if w.Header().Get("X-Frame-Options") != "DENY" || w.Header().Get("Set-Cookie") != "" {
				t.Errorf("headers %v", w.Header())
			}
			w.WriteHeader(http.StatusTeapot)
		}
	}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "a=b")
		panic(patient)
	})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("https", "GET", "/"))
	if w.Code != http.StatusTeapot {
		t.Errorf("status %d", w.Code)
	}
}

func TestRecoverOutsideWrapStillSendsThePolicy(t *testing.T) {
	policy := must(headers.New(headers.Config{Logger: slog.New(slog.DiscardHandler)}))
	h := policy.Recover(policy.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(1) })))
	got := flat(t, get(h, "https"))
	for k, v := range seedSix {
		if got[k] != v {
			t.Errorf("%s: %q", k, got[k])
		}
	}
}

func TestAPanicAfterAnInformationalAnswerIsStillAnswered(t *testing.T) {
	srv := httptest.NewServer(recovering(io.Discard, nil, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		panic(patient)
	}))
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 500 || res.Header.Get("X-Frame-Options") != "DENY" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
}
