package hardening_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/inovy/hardening"
)

func write(p *hardening.Problem, method, accept string, before http.Header) *http.Response {
	r := httptest.NewRequest(method, "/", nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	maps.Copy(w.Header(), before)
	hardening.WriteProblem(w, r, p)
	return w.Result()
}

func TestProblemAsJSON(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.5.1")
	secret := "postgres://root:hunter2@db/x"
	p := &hardening.Problem{
		Type: "https://example.org/quota", Title: "Too many", Detail: "Wait a minute.", Status: 429,
		Extensions: map[string]any{"violated-policies": []string{"user"}, "status": 200, "detail": "forged", "instance": "forged", "title": "forged"},
		Err:        errors.New(secret),
	}
	res := write(p, "GET", "*/*", http.Header{"Retry-After": {"7"}, "Etag": {`"x"`}, "Content-Encoding": {"gzip"}, "Cache-Control": {"public"}})
	body, _ := io.ReadAll(res.Body)
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if res.StatusCode != 429 || res.Header.Get("Content-Type") != "application/problem+json" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("status %d, headers %v", res.StatusCode, res.Header)
	}
	if res.Header.Get("Retry-After") != "7" {
		t.Error("Retry-After must stay")
	}
	if res.Header.Get("Etag") != "" || res.Header.Get("Content-Encoding") != "" {
		t.Error("headers of the replaced representation must go")
	}
	if m["type"] != p.Type || m["title"] != "Too many" || m["detail"] != "Wait a minute." || m["status"] != 429.0 || m["instance"] != nil {
		t.Errorf("members %v", m)
	}
	if _, ok := m["violated-policies"]; !ok {
		t.Error("an extension is missing")
	}
	if strings.Contains(string(body), secret) || strings.Contains(p.Error(), secret) {
		t.Error("the cause reached the client")
	}
	if !errors.Is(p, p.Err) {
		t.Error("the cause must be reachable by errors.Is")
	}
}

func TestProblemFormFollowsAccept(t *testing.T) {
	for _, tt := range []struct{ accept, want string }{
		{"", "application/problem+json"},
		{"*/*", "application/problem+json"},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"},
		{"application/json, text/html;q=0.9", "application/problem+json"},
		{"TEXT/HTML", "text/html; charset=utf-8"},
		{"text/html;q=0", "application/problem+json"},
		{"text/html;q=NaN", "application/problem+json"},
		{"text/html;q=7", "application/problem+json"},
		{strings.Repeat("a/b,", 1000) + "text/html", "application/problem+json"}, // only 32 ranges are read
	} {
		if got := write(&hardening.Problem{Status: 404}, "GET", tt.accept, nil).Header.Get("Content-Type"); got != tt.want {
			t.Errorf("Accept %.40q gives %q, want %q", tt.accept, got, tt.want)
		}
	}
}

func TestProblemHostileContent(t *testing.T) {
	p := &hardening.Problem{Status: 400, Title: "<script>alert(1)</script>", Detail: `"><img src=x>`}
	res := write(p, "GET", "text/html", nil)
	body, _ := io.ReadAll(res.Body)
	if strings.Contains(string(body), "<script>") || strings.Contains(string(body), "<img") {
		t.Errorf("unescaped: %s", body)
	}
	for _, tt := range []struct {
		name string
		p    *hardening.Problem
		want int
	}{
		{"a nil problem", nil, 500}, {"a zero problem", &hardening.Problem{}, 500}, {"a status of 200", &hardening.Problem{Status: 200}, 500},
		{"a status of 1000", &hardening.Problem{Status: 1000}, 500}, {"an unknown but legal status", &hardening.Problem{Status: 599}, 599},
		{"an extension without a JSON form", &hardening.Problem{Status: 429, Extensions: map[string]any{"x": math.NaN()}}, 429},
	} {
		res := write(tt.p, "GET", "", nil)
		var m map[string]any
		if err := json.NewDecoder(res.Body).Decode(&m); err != nil || res.StatusCode != tt.want || m["status"] != float64(tt.want) {
			t.Errorf("%s: status %d, members %v, %v", tt.name, res.StatusCode, m, err)
		}
	}
	if res := write(&hardening.Problem{Status: 404, Detail: "x"}, "HEAD", "", nil); res.ContentLength == 0 {
		t.Error("HEAD keeps the length")
	} else if b, _ := io.ReadAll(res.Body); len(b) != 0 {
		t.Errorf("HEAD got a body: %s", b)
	}
}

func TestProblemNamesTheRequest(t *testing.T) {
	e, err := hardening.NewEdge(hardening.EdgeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, accept := range []string{"", "text/html"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		e.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hardening.WriteProblem(w, r, &hardening.Problem{Status: 403})
		})).ServeHTTP(w, r)
		if id := w.Header().Get("X-Request-Id"); id == "" || !strings.Contains(w.Body.String(), id) {
			t.Errorf("Accept %q: the body lacks the request id %q: %s", accept, id, w.Body)
		}
	}
}

func FuzzWriteProblem(f *testing.F) {
	f.Add("text/html;q=0.5,application/json;q=.4", "title", "detail", 400)
	f.Add(",;,=;q=", "\x00\xff", "\u202e", -1)
	f.Fuzz(func(t *testing.T, accept, title, detail string, status int) {
		res := write(&hardening.Problem{Title: title, Detail: detail, Status: status}, "GET", accept, nil)
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode < 400 || res.StatusCode > 599 {
			t.Errorf("a refusal with status %d", res.StatusCode)
		}
		if res.Header.Get("Content-Type") == "application/problem+json" && !json.Valid(body) {
			t.Errorf("not JSON: %q", body)
		}
	})
}
