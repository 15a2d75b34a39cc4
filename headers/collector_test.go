package headers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

const (
	legacyType = "application/csp-report"
	modernType = "application/reports+json"
	// Both as Chromium sends them.
	legacyReport = `{"csp-report":{"document-uri":"https://app.example/patients/jansen?bsn=123456782","referrer":"https://app.example/","violated-directive":"script-src-elem","effective-directive":"script-src-elem","original-policy":"script-src 'nonce-SECRETNONCE'","disposition":"enforce","blocked-uri":"https://evil.example/x.js?token=abc","line-number":12,"status-code":200,"script-sample":"alert(1)"}}`
	modernReport = `[{"age":1,"body":{"blockedURL":"inline","disposition":"report","documentURL":"https://app.example/login?user=piet","effectiveDirective":"style-src-attr","lineNumber":3,"originalPolicy":"style-src 'nonce-SECRETNONCE'","sample":"color: red"},"type":"csp-violation","url":"https://app.example/login?user=piet","user_agent":"Mozilla/5.0"},` +
		`{"age":2,"body":{"featureId":"geolocation","disposition":"enforce"},"type":"permissions-policy-violation","url":"https://app.example/map","user_agent":"Mozilla/5.0"}]`
)

type collected struct {
	*headers.ReportCollector
	log  bytes.Buffer
	kept []headers.Report
}

func collector(change func(*headers.ReportCollectorConfig)) *collected {
	c := &collected{}
	cfg := headers.ReportCollectorConfig{
		Logger:   slog.New(slog.NewJSONHandler(&c.log, nil)),
		OnReport: func(_ context.Context, r headers.Report) { c.kept = append(c.kept, r) },
	}
	if change != nil {
		change(&cfg)
	}
	c.ReportCollector = must(headers.NewReportCollector(cfg))
	return c
}

func (c *collected) post(contentType, body string) int {
	return c.from("192.0.2.1:1", contentType, body)
}

func (c *collected) from(addr, contentType, body string) int {
	r := httptest.NewRequest("POST", "/_reports", strings.NewReader(body))
	r.RemoteAddr = addr
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w.Code
}

func TestReportsOfBothFormatsAreKeptWithoutPersonalData(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.4.7")
	c := collector(func(cfg *headers.ReportCollectorConfig) { cfg.Routes = []string{"/login"} })
	if got := c.post(legacyType, legacyReport); got != 204 {
		t.Fatalf("status %d", got)
	}
	if got := c.post(modernType+"; charset=utf-8", modernReport); got != 204 {
		t.Fatalf("status %d", got)
	}
	want := []headers.Report{
		{Type: "csp-violation", Directive: "script-src-elem", Blocked: "https://evil.example", Document: "/patients/*", Disposition: "enforce", Line: 12, Count: 1},
		{Type: "csp-violation", Directive: "style-src-attr", Blocked: "inline", Document: "/login", Disposition: "report", Line: 3, Count: 1},
		{Type: "permissions-policy-violation", Directive: "geolocation", Document: "/map", Disposition: "enforce", Count: 1},
	}
	if fmt.Sprint(c.kept) != fmt.Sprint(want) {
		t.Errorf("got\n%+v\nwant\n%+v", c.kept, want)
	}
	for _, leak := range []string{"jansen", "123456782", "piet", "SECRETNONCE", "token", "alert", "color", "Mozilla", "192.0.2.1"} {
		if strings.Contains(c.log.String(), leak) {
			t.Errorf("%s is in the log: %s", leak, &c.log)
		}
	}
	if n := strings.Count(c.log.String(), `"malicious_csp_violation"`); n != 2 || strings.Count(c.log.String(), `"browser_report"`) != 1 {
		t.Errorf("events: %s", &c.log)
	}
}

func TestPathsOfPagesNameNobody(t *testing.T) {
	c := collector(func(cfg *headers.ReportCollectorConfig) {
		cfg.Routes = []string{"/patients/{id}/records/{record}", "/static/"}
	})
	for url, want := range map[string]string{
		"https://app.example": "/", "https://app.example/": "/", "https://app.example/login#x": "/login", "https://app.example/patients/jansen/records/7": "/patients/{id}/records/{record}",
		"https://app.example/patients/jansen": "/patients/*", "https://app.example/static/a/b/c": "/static/", "https://app.example/123456782": "/*", "https://app.example/j%40x.nl/a": "/*",
		"https://app.example/static/../patients/jansen": "/static/*", "about": "other", "": "/", "\x00": "other", "https://app.example/" + strings.Repeat("a", 9<<10): "other", "data:text/html,x": "other",
	} {
		c.kept = nil
		body, _ := json.Marshal([]any{map[string]any{"type": "csp-violation", "body": map[string]any{"documentURL": url, "effectiveDirective": fmt.Sprintf("a%s", strings.Repeat("b", len(want)))}}})
		if got := c.from("192.0.2.2:1", modernType, string(body)); got != 204 {
			t.Fatalf("status %d", got)
		}
		for _, r := range c.kept {
			if r.Document != want {
				t.Errorf("%.60q: %q, want %q", url, r.Document, want)
			}
		}
	}
}

func TestBlockedIsAnOriginAndNoMore(t *testing.T) {
	for url, want := range map[string]string{
		"inline": "inline", "eval": "eval", "data": "data:", "data:text/html,<script>": "data:", "blob:https://x/1": "blob:", "chrome-extension://abcdef/x.js": "chrome-extension:",
		"https://CDN.example:8443/a?b#c": "https://cdn.example:8443", "https://user:pass@cdn.example/x": "https://cdn.example", "wss://rt.example/s": "wss://rt.example",
		"trusted-types-sink": "trusted-types-sink", "": "", "piet jansen": "other", "https://a b/": "other", "http://[::1]:80/x": "http://[::1]:80", "\n": "other",
		"https://a:65535": "https://a:65535", "https://a:65536": "other", "https://a:" + strings.Repeat("123456782", 300): "other", "https://[fe80::1%25piet.jansen]/": "other",
	} {
		c := collector(nil)
		body, _ := json.Marshal(map[string]any{"csp-report": map[string]any{"blocked-uri": url}})
		c.post(legacyType, string(body))
		if len(c.kept) != 1 || c.kept[0].Blocked != want {
			t.Errorf("%q: %+v, want %q", url, c.kept, want)
		}
	}
}

func TestTheCollectorRefusesWhatIsNoReport(t *testing.T) {
	for _, c := range []struct {
		name, contentType, body string
		want                    int
	}{
		{"another type", "application/json", legacyReport, 415},
		{"no type", "", legacyReport, 415},
		{"a broken type", "application/csp-report; =", legacyReport, 415},
		{"a mebibyte", legacyType, `{"csp-report":{"a":"` + strings.Repeat("x", 1<<20) + `"}}`, 413},
		{"one byte too many", legacyType, legacyReport + strings.Repeat(" ", 64<<10-len(legacyReport)+1), 413},
		{"exactly as much as fits", legacyType, legacyReport + strings.Repeat(" ", 64<<10-len(legacyReport)), 204},
		{"nothing", legacyType, "", 400},
		{"an array where an object belongs", legacyType, modernReport, 400},
		{"an object where an array belongs", modernType, legacyReport, 400},
		{"no report inside", legacyType, `{}`, 400},
		{"half a report", legacyType, legacyReport[:100], 400},
		{"an empty array", modernType, `[]`, 204},
		{"wrong types inside", modernType, `[{"type":1,"url":{},"body":{"lineNumber":"x","documentURL":[],"effectiveDirective":null}}]`, 204},
		{"a body that is no object", modernType, `[{"body":[]}]`, 400},
		{"nothing in the array", modernType, `[null,null]`, 204},
		{"ten thousand brackets", modernType, strings.Repeat("[", 10001), 400},
	} {
		if got := collector(nil).post(c.contentType, c.body); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	w := httptest.NewRecorder()
	collector(nil).ServeHTTP(w, httptest.NewRequest("GET", "/_reports", nil))
	if w.Code != 405 || w.Header().Get("Allow") != "POST, OPTIONS" || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestTheCollectorAnswersThePreflight(t *testing.T) {
	r := httptest.NewRequest("OPTIONS", "/_reports", nil)
	r.Header.Set("Origin", "https://app.example")
	r.Header.Set("Access-Control-Request-Method", "POST")
	r.Header.Set("Access-Control-Request-Headers", "content-type")
	w := httptest.NewRecorder()
	collector(nil).ServeHTTP(w, r)
	h := w.Header()
	if w.Code != 204 || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Methods") != "POST" || h.Get("Access-Control-Allow-Headers") != "Content-Type" || h["Access-Control-Allow-Credentials"] != nil {
		t.Errorf("%d %v", w.Code, h)
	}
}

func TestOneKindOfReportIsOneEventAnHourWithItsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := collector(nil)
		for i := range 30 {
			c.post(legacyType, strings.Replace(legacyReport, "jansen?bsn=", fmt.Sprintf("p%d?bsn=", i), 1))
		}
		time.Sleep(time.Hour)
		c.post(legacyType, legacyReport)
		if len(c.kept) != 2 || c.kept[0].Count != 1 || c.kept[1].Count != 30 {
			t.Errorf("%+v", c.kept)
		}
	})
}

func TestAnAddressHasSixtyReportsInAnyMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := collector(nil)
		var taken []time.Time
		for range 1200 { // one a second would be 60 a minute; here are four
			if c.post(legacyType, legacyReport) == 204 {
				taken = append(taken, time.Now())
			}
			time.Sleep(250 * time.Millisecond)
		}
		for i := range taken {
			if i >= 60 && taken[i].Sub(taken[i-60]) <= time.Minute {
				t.Fatalf("61 reports within %v", taken[i].Sub(taken[i-60]))
			}
		}
		if len(taken) < 200 {
			t.Errorf("only %d reports in five minutes", len(taken))
		}
		many := "[" + strings.Repeat(`{"type":"csp-violation","body":{}},`, 99) + `{"body":{}}]`
		if got := c.from("[2001:db8::1]:1", modernType, many); got != 429 {
			t.Errorf("a hundred reports in one body: %d", got)
		}
		if got := c.from("[2001:db8::ffff]:1", legacyType, legacyReport); got != 429 {
			t.Errorf("another address of the same network: %d", got)
		}
		if got := c.from("[2001:db8:0:1::1]:1", legacyType, legacyReport); got != 204 {
			t.Errorf("another network: %d", got)
		}
	})
}

func TestRequestsWithoutAReportCountToo(t *testing.T) {
	for name, body := range map[string]string{
		"an empty array": "[]", "half an object": "{", "spaces": "[" + strings.Repeat(" ", 60<<10) + "]", "too much": strings.Repeat("x", 65<<10),
	} {
		c := collector(nil)
		codes := map[int]int{}
		for range 100 {
			codes[c.post(modernType, body)]++
		}
		if codes[429] != 40 {
			t.Errorf("%s, 100 times: %v", name, codes)
		}
	}
}

// A flood of kinds and addresses fills the memory to its bound, and not beyond.
func TestTheHeapIsFlatAfterAMillionReports(t *testing.T) {
	total := 1_000_000
	if raceDetector || testing.Short() {
		total = 100_000
	}
	c := collector(func(cfg *headers.ReportCollectorConfig) {
		cfg.Logger, cfg.OnReport = slog.New(slog.DiscardHandler), nil
	})
	const each = 50
	alpha := func(n int) string {
		b := []byte("aaaaaa")
		for i := range b {
			b[i] += byte(n % 26)
			n /= 26
		}
		return string(b)
	}
	send := func(from, to int) {
		for n := from; n < to; n += each {
			var b strings.Builder
			for i := range each {
				fmt.Fprintf(&b, `,{"type":"csp-violation","body":{"effectiveDirective":"%s","documentURL":"https://x/%s"}}`, alpha(n+i), alpha((n+i)*7))
			}
			if got := c.from(fmt.Sprintf("[2001:db8:%x:%x::1]:1", n>>16, n&0xffff), modernType, "["+b.String()[1:]+"]"); got != 204 && got != 429 {
				t.Fatalf("status %d", got)
			}
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	send(0, total/4)
	before := heap()
	send(total/4, total)
	if after := heap(); after > before+4<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
	runtime.KeepAlive(c)
}

func TestCollectorConfigFaultsAndFindings(t *testing.T) {
	_, err := headers.NewReportCollector(headers.ReportCollectorConfig{Name: "a\nb", MaxBytes: -1, PerMinute: -1, Routes: []string{"/a/{x}", "/a/{y}", "GET /x", "/{", ""}})
	var fields []string
	for e := range hardening.Faults(err) {
		fields = append(fields, e.Field)
		complete(t, e)
	}
	if fmt.Sprint(fields) != "[Name MaxBytes PerMinute Routes[1] Routes[2] Routes[3] Routes[4]]" {
		t.Errorf("got %v", fields)
	}
	if _, err := headers.NewReportCollector(headers.ReportCollectorConfig{Routes: []string{}, MaxBytes: 2 << 20, PerMinute: 9999}); err == nil {
		t.Error("passed")
	}
	if f := must(headers.NewReportCollector(headers.ReportCollectorConfig{})).Check(); len(f) != 1 || !f[0].Passed || f[0].Component != "reports" {
		t.Errorf("%v", f)
	}
	for _, weak := range []headers.ReportCollectorConfig{{MaxBytes: 1 << 20}, {PerMinute: 600}} {
		if f := must(headers.NewReportCollector(weak)).Check(); f[0].Passed {
			t.Errorf("%v", f)
		}
	}
}

func FuzzReportCollector(f *testing.F) {
	f.Add(legacyType, legacyReport)
	f.Add(modernType, modernReport)
	f.Add(modernType, `[{"body":{"lineNumber":1e308,"blockedURL":"://","documentURL":"%zz"}}]`)
	c := must(headers.NewReportCollector(headers.ReportCollectorConfig{Logger: slog.New(slog.DiscardHandler), PerMinute: 6000, Routes: []string{"/a/{x}"}, OnReport: func(_ context.Context, r headers.Report) {
		for _, s := range []string{r.Type, r.Directive, r.Blocked, r.Document, r.Disposition} {
			if len(s) > 400 || strings.ContainsAny(s, "\r\n\x00?#\"'") {
				panic("kept: " + s)
			}
		}
	}}))
	n := 0
	f.Fuzz(func(t *testing.T, contentType, body string) {
		n++
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.RemoteAddr = fmt.Sprintf("[2001:db8:%x:%x::1]:1", n>>16&0xffff, n&0xffff)
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusNoContent, 400, 413, 415, 429:
		default:
			t.Fatalf("status %d", w.Code)
		}
	})
}
