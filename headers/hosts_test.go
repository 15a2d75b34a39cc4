package headers_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

func TestOnlyOurHostsAreAnswered(t *testing.T) {
	var log strings.Builder
	c := must(headers.NewHostCheck(headers.HostCheckConfig{
		Hosts:  []string{"app.example", "*.tenant.example", "192.0.2.1", "2001:db8::1"},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}))
	handler := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	for host, ok := range map[string]bool{
		"app.example": true, "APP.example": true, "app.example:8443": true, "a.tenant.example": true, "a.b.tenant.example:1": true,
		"192.0.2.1": true, "192.0.2.1:443": true, "[2001:db8::1]": true, "[2001:db8::1]:8443": true,
		"": false, "evil.example": false, "app.example.evil.example": false, "evilapp.example": false, "app.example@evil.example": false,
		"tenant.example": false, ".tenant.example": false, "a..tenant.example": false, "evil.example/.tenant.example": false, "a\x00.tenant.example": false,
		"app.example.": false, "app.example:80:80": false, "192.0.2.2": false, "[2001:db8::2]": false, "[app.example": false, "[app.example]": false, "[app.example]:443": false,
		"app.example:": true, "app.example:65535": true, "app.example:65536": false, "app.example:x": false, "app.example:80.evil.example": false,
		"app.example:/../evil": false, "app.example:x\"<script>": false, "app.example:x@evil.example": false, "a.tenant.example:;": false, "[2001:db8::1]:x": false, ":80": false,
		strings.Repeat("a.", 1<<16) + "tenant.example": false,
	} {
		r := request("https", "GET", "/")
		r.Host = host
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if ok != (w.Code == http.StatusTeapot) || !ok && (w.Code != 421 || w.Header().Get("Content-Type") != "application/problem+json") {
			t.Errorf("%.60q: %d", host, w.Code)
		}
	}
	if n := strings.Count(log.String(), "input_validation_fail"); n != 1 || len(log.String()) > 600 {
		t.Errorf("%d events: %.700s", n, log.String())
	}
}

func TestTheHostCheckLooksBeforeItRefuses(t *testing.T) {
	var log strings.Builder
	c := must(headers.NewHostCheck(headers.HostCheckConfig{Hosts: []string{"other.example"}, DangerouslyReportOnly: true, Logger: slog.New(slog.NewTextHandler(&log, nil))}))
	if f := c.Check(); len(f) != 1 || f[0].Passed {
		t.Errorf("%v", f)
	}
	w := httptest.NewRecorder()
	c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })).ServeHTTP(w, request("https", "GET", "/"))
	if w.Code != http.StatusTeapot || !strings.Contains(log.String(), "outcome=success") || !strings.Contains(log.String(), "object=app.example") {
		t.Errorf("%d %s", w.Code, &log)
	}
	if f := must(headers.NewHostCheck(headers.HostCheckConfig{Hosts: []string{"other.example"}})).Check(); !f[0].Passed {
		t.Errorf("%v", f)
	}
}

func TestTheHostCheckRefusesThroughOnDeny(t *testing.T) {
	c := must(headers.NewHostCheck(headers.HostCheckConfig{Hosts: []string{"other.example"}, Logger: slog.New(slog.DiscardHandler), OnDeny: func(w http.ResponseWriter, r *http.Request, p *hardening.Problem) {
		w.WriteHeader(p.Status + 1)
	}}))
	w := httptest.NewRecorder()
	c.Wrap(nothing).ServeHTTP(w, request("https", "GET", "/"))
	if w.Code != 422 {
		t.Errorf("status %d", w.Code)
	}
}

func TestTheHostCheckNamesEveryFault(t *testing.T) {
	_, err := headers.NewHostCheck(headers.HostCheckConfig{Name: "a\nb", Hosts: []string{"ok.example", "ok.example", "", "*", "*.com", "x.example:80", "X.example", "2001:DB8::1", "*.192.0.2.1", "*.ok.example", "::1"}})
	var fields []string
	for e := range hardening.Faults(err) {
		fields = append(fields, e.Field)
		complete(t, e)
	}
	want := []string{"Name", "Hosts[1]", "Hosts[2]", "Hosts[3]", "Hosts[4]", "Hosts[5]", "Hosts[6]", "Hosts[7]", "Hosts[8]"}
	if !slices.Equal(fields, want) {
		t.Errorf("got  %v\nwant %v", fields, want)
	}
	if _, err := headers.NewHostCheck(headers.HostCheckConfig{}); err == nil {
		t.Error("no host passed")
	}
}

// People copy from address bars and Host headers: what they meant is proposed,
// and is accepted.
func TestAFaultOfAHostProposesWhatWasMeant(t *testing.T) {
	for host, meant := range map[string]string{
		"App.Example": "app.example", "app.example:8443": "app.example", "https://App.example/login": "app.example", "app.example.": "app.example",
		"https://*.app.example": "*.app.example", "2001:DB8::1": "2001:db8::1", "[2001:db8::1]:443": "2001:db8::1", "http://192.0.2.1:80/": "192.0.2.1",
	} {
		_, err := headers.NewHostCheck(headers.HostCheckConfig{Hosts: []string{host}})
		for e := range hardening.Faults(err) {
			complete(t, e)
			if want := `write "` + meant + `"`; e.Fix != want {
				t.Errorf("%s: fix %q, want %q", host, e.Fix, want)
			}
		}
		if err == nil {
			t.Errorf("%s passed", host)
		}
		if _, err := headers.NewHostCheck(headers.HostCheckConfig{Hosts: []string{meant}}); err != nil {
			t.Errorf("%s proposes %s: %v", host, meant, err)
		}
	}
	_, err := headers.RedirectHTTPS(headers.RedirectConfig{Hosts: []string{"*.app.example"}})
	if err == nil || !strings.Contains(err.Error(), "list each name") {
		t.Errorf("%v", err)
	}
	for _, host := range []string{"*", "*.com", "*.192.0.2.1", "a b", "/", "://", "[", strings.Repeat("a", 300), "x\r\ny"} {
		_, err := headers.NewHostCheck(headers.HostCheckConfig{Hosts: []string{host}})
		for e := range hardening.Faults(err) {
			complete(t, e)
		}
		if err == nil {
			t.Errorf("%q passed", host)
		}
	}
}
