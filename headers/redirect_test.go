package headers_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

func TestRedirectSendsListedHostsToHTTPS(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-4.1.2")
	for _, c := range []struct {
		name         string
		cfg          headers.RedirectConfig
		method, host string
		target       string
		status       int
		location     string
	}{
		{"the path and query stay", headers.RedirectConfig{}, "GET", "app.example", "/a%2Fb/c?q=1&r=%0d%0a", 308, "https://app.example/a%2Fb/c?q=1&r=%0d%0a"},
		{"the port of plain HTTP goes", headers.RedirectConfig{}, "GET", "app.example:8080", "/", 308, "https://app.example/"},
		{"another HTTPS port is named", headers.RedirectConfig{Port: 8443}, "GET", "app.example:8080", "/", 308, "https://app.example:8443/"},
		{"port 443 is not named", headers.RedirectConfig{Port: 443}, "GET", "app.example", "/", 308, "https://app.example/"},
		{"a host in capitals is the same host", headers.RedirectConfig{}, "GET", "APP.example", "/", 308, "https://app.example/"},
		{"a POST keeps its method by 308", headers.RedirectConfig{}, "POST", "app.example", "/x", 308, "https://app.example/x"},
		{"two slashes are a path, not a host", headers.RedirectConfig{}, "GET", "app.example", "//evil.example/x", 308, "https://app.example//evil.example/x"},
		{"bytes that no URI has are escaped", headers.RedirectConfig{}, "GET", "app.example", "/?q=\xc3\xa9\xff\"<&r=%22", 308, "https://app.example/?q=%C3%A9%FF%22%3C&r=%22"},
		{"what is no port is refused", headers.RedirectConfig{}, "GET", "app.example:x", "/", 421, ""},
		{"a foreign host is refused", headers.RedirectConfig{}, "GET", "evil.example", "/", 421, ""},
		{"a host that begins with ours is refused", headers.RedirectConfig{}, "GET", "app.example.evil.example", "/", 421, ""},
		{"a host that ends with ours is refused", headers.RedirectConfig{}, "GET", "evil-app.example", "/", 421, ""},
		{"a user before our host is refused", headers.RedirectConfig{}, "GET", "app.example@evil.example", "/", 421, ""},
		{"an empty host is refused", headers.RedirectConfig{}, "GET", "", "/", 421, ""},
		{"an API sends readers on", headers.RedirectConfig{API: true}, "GET", "app.example", "/x", 308, "https://app.example/x"},
		{"an API refuses a POST in the clear", headers.RedirectConfig{API: true}, "POST", "app.example", "/x", 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Hosts = []string{"app.example"}
			h := must(headers.RedirectHTTPS(c.cfg))
			r := httptest.NewRequest(c.method, c.target, nil)
			r.Host, r.TLS = c.host, nil
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.status || w.Header().Get("Location") != c.location {
				t.Errorf("%d %q, want %d %q", w.Code, w.Header().Get("Location"), c.status, c.location)
			}
			if c.status != 308 && w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("a refusal is a problem: %v", w.Header())
			}
		})
	}
}

func TestTrap_AnAsteriskDoesNotRunIntoTheHost(t *testing.T) {
	r := request("http", "OPTIONS", "/")
	r.URL.Path = "*"
	w := httptest.NewRecorder()
	must(headers.RedirectHTTPS(headers.RedirectConfig{Hosts: []string{"app.example"}})).ServeHTTP(w, r)
	if got := w.Header().Get("Location"); got != "https://app.example/" {
		t.Errorf("Location %q", got)
	}
}

func TestARequestOverHTTPSIsNotRedirectedForEver(t *testing.T) {
	cfg := headers.RedirectConfig{Hosts: []string{"app.example"}}
	w := httptest.NewRecorder()
	must(headers.RedirectHTTPS(cfg)).ServeHTTP(w, request("https", "GET", "/"))
	if w.Code != 421 {
		t.Errorf("status %d", w.Code)
	}
	cfg.Next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	h := must(headers.RedirectHTTPS(cfg))
	for scheme, want := range map[string]int{"https": http.StatusTeapot, "http": 308} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request(scheme, "GET", "/"))
		if w.Code != want {
			t.Errorf("%s: status %d, want %d", scheme, w.Code, want)
		}
	}
}

func TestRedirectAnswersCarryThePolicy(t *testing.T) {
	policy := must(headers.New(headers.Config{}))
	h := policy.Wrap(must(headers.RedirectHTTPS(headers.RedirectConfig{Hosts: []string{"app.example"}})))
	for host, status := range map[string]int{"app.example": 308, "evil.example": 421} {
		r := request("http", "GET", "/")
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got := flat(t, w.Header())
		if w.Code != status || got["X-Frame-Options"] != "DENY" || got["Content-Security-Policy"] == "" || got["Strict-Transport-Security"] != "" {
			t.Errorf("%s: %d %v", host, w.Code, got)
		}
	}
}

func TestRedirectRefusalsGoThroughOnDeny(t *testing.T) {
	h := must(headers.RedirectHTTPS(headers.RedirectConfig{Hosts: []string{"other.example"}, OnDeny: func(w http.ResponseWriter, r *http.Request, p *hardening.Problem) {
		w.WriteHeader(p.Status + 1)
	}}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("http", "GET", "/"))
	if w.Code != 422 {
		t.Errorf("status %d", w.Code)
	}
}

func TestRedirectNamesEveryFaultAtOnce(t *testing.T) {
	hosts := []string{"ok.example", "ok.example", "", "https://x.example", "x.example:80", "*.example", "X.example", "x..example", "x\r\nset-cookie", "x/y"}
	_, err := headers.RedirectHTTPS(headers.RedirectConfig{Hosts: hosts, Port: -1})
	var fields []string
	for e := range hardening.Faults(err) {
		fields = append(fields, e.Field)
		complete(t, e)
	}
	want := []string{"Hosts[1]", "Hosts[2]", "Hosts[3]", "Hosts[4]", "Hosts[5]", "Hosts[6]", "Hosts[7]", "Hosts[8]", "Hosts[9]", "Port"}
	if !slices.Equal(fields, want) {
		t.Errorf("got  %v\nwant %v", fields, want)
	}
	for _, hosts := range [][]string{nil, {}} {
		if _, err := headers.RedirectHTTPS(headers.RedirectConfig{Hosts: hosts}); err == nil {
			t.Errorf("hosts %#v passed", hosts)
		}
	}
}
