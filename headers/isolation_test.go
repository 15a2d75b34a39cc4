package headers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

type h = map[string][]string

func one(k, v string) h { return h{k: {v}} }

func with(base h, k string, v ...string) h {
	out := h{k: v}
	maps.Copy(out, base)
	return out
}

func TestIsolationRefusesWhatOtherSitesSend(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.5.1")
	upgrade := h{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}
	for _, c := range []struct {
		name, scheme, method string
		h                    h
		want                 error
	}{
		{"a cross-site POST", "https", "POST", one("Sec-Fetch-Site", "cross-site"), headers.ErrCrossOrigin},
		{"a same-site POST of a sibling host", "https", "POST", one("Sec-Fetch-Site", "same-site"), headers.ErrCrossOrigin},
		{"a cross-site PUT", "https", "PUT", one("Sec-Fetch-Site", "cross-site"), headers.ErrCrossOrigin},
		{"a cross-site DELETE", "https", "DELETE", one("Sec-Fetch-Site", "cross-site"), headers.ErrCrossOrigin},
		{"a method nobody knows", "https", "FROB", one("Sec-Fetch-Site", "cross-site"), headers.ErrCrossOrigin},
		{"a lower-case get, which is not GET", "https", "get", one("Sec-Fetch-Site", "cross-site"), headers.ErrCrossOrigin},
		{"an old browser's POST from elsewhere", "https", "POST", one("Origin", "https://evil.example"), headers.ErrCrossOrigin},
		{"an old browser's POST from another port", "https", "POST", one("Origin", "https://app.example:8443"), headers.ErrCrossOrigin},
		{"an old browser's POST from a sandbox", "https", "POST", one("Origin", "null"), headers.ErrCrossOrigin},
		{"plain HTTP of our own host, from a network attacker", "https", "POST", one("Origin", "http://app.example"), headers.ErrCrossOrigin},
		{"our host with a user before it", "https", "POST", one("Origin", "https://evil@app.example"), headers.ErrMalformedOrigin},
		{"our host with a user and password", "https", "POST", one("Origin", "https://a:b@app.example"), headers.ErrMalformedOrigin},
		{"our origin with a path", "https", "POST", one("Origin", "https://app.example/x"), headers.ErrMalformedOrigin},
		{"two Origin headers", "https", "POST", with(nil, "Origin", "https://app.example", "https://evil.example"), headers.ErrMalformedOrigin},
		{"two origins in one header", "https", "POST", one("Origin", "https://app.example, https://evil.example"), headers.ErrMalformedOrigin},
		{"two Sec-Fetch-Site headers", "https", "POST", with(nil, "Sec-Fetch-Site", "same-origin", "cross-site"), headers.ErrMalformedOrigin},
		{"an app that calls itself by our host", "https", "POST", one("Origin", "app://app.example"), headers.ErrCrossOrigin},
		{"the same over plain HTTP", "http", "POST", one("Origin", "app://app.example"), headers.ErrCrossOrigin},
		{"an empty Sec-Fetch-Site", "https", "POST", one("Sec-Fetch-Site", ""), headers.ErrMalformedOrigin},
		{"an empty Sec-Fetch-Site beside plain HTTP", "https", "POST", with(one("Sec-Fetch-Site", ""), "Origin", "http://app.example"), headers.ErrMalformedOrigin},
		{"an empty Origin", "https", "POST", one("Origin", ""), headers.ErrMalformedOrigin},
		{"a mebibyte of Origin", "https", "POST", one("Origin", "https://"+strings.Repeat("a", 1<<20)), headers.ErrMalformedOrigin},
		{"a cross-site WebSocket", "https", "GET", with(upgrade, "Sec-Fetch-Site", "cross-site"), headers.ErrCrossOrigin},
		{"a cross-site WebSocket of an old browser", "https", "GET", with(upgrade, "Origin", "https://evil.example"), headers.ErrCrossOrigin},
		{"a WebSocket from a user in Origin", "https", "GET", with(upgrade, "Origin", "https://x@app.example"), headers.ErrMalformedOrigin},
		{"a WebSocket over HTTP/2", "https", "CONNECT", with(h{":protocol": {"websocket"}}, "Sec-Fetch-Site", "cross-site"), headers.ErrCrossOrigin},

		{"a report with cookies", "https", "POST", with(with(one("Sec-Fetch-Site", "cross-site"), "Content-Type", "application/csp-report"), "Cookie", "a=b"), headers.ErrCrossOrigin},
		{"a report with two types", "https", "POST", with(one("Sec-Fetch-Site", "cross-site"), "Content-Type", "application/csp-report", "text/plain"), headers.ErrCrossOrigin},
		{"a report by PUT", "https", "PUT", with(one("Sec-Fetch-Site", "cross-site"), "Content-Type", "application/csp-report"), headers.ErrCrossOrigin},
		{"a WebSocket that claims to be a report", "https", "POST", with(with(upgrade, "Sec-Fetch-Site", "cross-site"), "Content-Type", "application/csp-report"), headers.ErrCrossOrigin},

		{"our own POST", "https", "POST", with(one("Sec-Fetch-Site", "same-origin"), "Origin", "https://app.example"), nil},
		{"our own POST under no-referrer", "https", "POST", with(one("Sec-Fetch-Site", "same-origin"), "Origin", "null"), nil},
		{"a POST the user began", "https", "POST", one("Sec-Fetch-Site", "none"), nil},
		{"our own POST of an old browser", "https", "POST", one("Origin", "https://app.example"), nil},
		{"our own POST behind a proxy that we do not know", "http", "POST", one("Origin", "https://app.example"), nil},
		{"our own POST in development, without TLS", "http", "POST", one("Origin", "http://app.example"), nil},
		{"a trusted origin's POST", "https", "POST", with(one("Sec-Fetch-Site", "cross-site"), "Origin", "https://trusted.example"), nil},
		{"a command-line client", "https", "POST", nil, nil},
		{"a browser's report to us from another site", "https", "POST", with(one("Sec-Fetch-Site", "cross-site"), "Content-Type", "application/csp-report"), nil},
		{"reports of another origin's page", "https", "POST", with(one("Origin", "https://other.example"), "Content-Type", "application/reports+json; charset=utf-8"), nil},
		{"a cross-site preflight", "https", "OPTIONS", one("Sec-Fetch-Site", "cross-site"), nil},
		{"our own WebSocket", "https", "GET", with(with(upgrade, "Sec-Fetch-Site", "same-origin"), "Origin", "https://app.example"), nil},
		{"a command-line WebSocket", "https", "GET", upgrade, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			iso := must(headers.NewIsolation(headers.IsolationConfig{
				TrustedOrigins: []string{"https://trusted.example"},
				Logger:         slog.New(slog.NewJSONHandler(&log, nil)),
			}))
			ran := false
			handler := iso.Wrap(http.HandlerFunc(func(w http.ResponseWriter, got *http.Request) {
				ran = true
				if got.Method != c.method || got.Host != "app.example" {
					t.Errorf("the handler got a changed request: %s %s", got.Method, got.Host)
				}
			}))
			r := request(c.scheme, "GET", "/")
			r.Method, r.Header = c.method, http.Header(c.h).Clone()
			if r.Header == nil {
				r.Header = http.Header{}
			}
			if err := iso.Allow(r); !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
				t.Fatalf("Allow: %v, want %v", err, c.want)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if ran != (c.want == nil) {
				t.Fatalf("the handler ran: %t", ran)
			}
			if c.want == nil {
				if log.Len() != 0 {
					t.Errorf("an honest request is in the log: %s", &log)
				}
				return
			}
			if w.Code != 403 || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("answer %d %v", w.Code, w.Header())
			}
			if strings.Contains(w.Body.String(), "headers:") {
				t.Errorf("the cause reached the client: %s", w.Body)
			}
			var record map[string]any
			if err := json.Unmarshal(log.Bytes(), &record); err != nil {
				t.Fatalf("%v in %.300s", err, &log)
			}
			if record["msg"] != "malicious_csrf" || record["outcome"] != "denied" || record["reason"] != c.want.Error() || record["instance"] != "isolation" || record["client_addr"] != "192.0.2.1" {
				t.Errorf("record %.400s", &log)
			}
			if len(record["object"].(string)) > 140 {
				t.Errorf("a client's header fills the log")
			}
		})
	}
}

// A resource isolation policy for every method that only reads.
func TestIsolationOfResources(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.5.8")
	fetch := func(site, mode, dest string) h {
		return h{"Sec-Fetch-Site": {site}, "Sec-Fetch-Mode": {mode}, "Sec-Fetch-Dest": {dest}}
	}
	iso := must(headers.NewIsolation(headers.IsolationConfig{
		TrustedOrigins: []string{"https://trusted.example"}, Public: []string{"/assets/", "/logo.svg"}, Logger: slog.New(slog.DiscardHandler),
	}))
	for _, c := range []struct {
		name, method, path string
		h                  h
		want               error
	}{
		{"a link", "GET", "/", fetch("cross-site", "navigate", "document"), nil},
		{"a link in a browser that names no destination", "GET", "/", h{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}}, nil},
		{"our own picture", "GET", "/", fetch("same-origin", "no-cors", "image"), nil},
		{"a sibling's picture", "GET", "/", fetch("same-site", "no-cors", "image"), nil},
		{"an address that was typed", "GET", "/", fetch("none", "navigate", "document"), nil},
		{"a client that is no browser", "GET", "/", nil, nil},
		{"a preflight", "OPTIONS", "/", fetch("cross-site", "cors", "empty"), nil},
		{"a public file", "GET", "/assets/a/b.css", fetch("cross-site", "no-cors", "style"), nil},
		{"a public picture", "HEAD", "/logo.svg", fetch("cross-site", "no-cors", "image"), nil},
		{"a trusted site's fetch", "GET", "/", with(fetch("cross-site", "cors", "empty"), "Origin", "https://trusted.example"), nil},

		{"another site's picture tag", "GET", "/", fetch("cross-site", "no-cors", "image"), headers.ErrCrossSiteResource},
		{"another site's script tag", "GET", "/api", fetch("cross-site", "no-cors", "script"), headers.ErrCrossSiteResource},
		{"another site's HEAD", "HEAD", "/", fetch("cross-site", "no-cors", "empty"), headers.ErrCrossSiteResource},
		{"another site's frame", "GET", "/", fetch("cross-site", "navigate", "iframe"), headers.ErrCrossSiteResource},
		{"another site's object", "GET", "/", fetch("cross-site", "navigate", "object"), headers.ErrCrossSiteResource},
		{"another site's fetch", "GET", "/", with(fetch("cross-site", "cors", "empty"), "Origin", "https://evil.example"), headers.ErrCrossSiteResource},
		{"a site value nobody knows", "GET", "/", fetch("other", "no-cors", "image"), headers.ErrCrossSiteResource},
		{"no mode", "GET", "/", one("Sec-Fetch-Site", "cross-site"), headers.ErrCrossSiteResource},
		{"two modes", "GET", "/", h{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate", "no-cors"}}, headers.ErrCrossSiteResource},
		{"two sites", "GET", "/", h{"Sec-Fetch-Site": {"same-origin", "cross-site"}}, headers.ErrMalformedOrigin},
		{"a way out of what is public", "GET", "/assets/../admin", fetch("cross-site", "no-cors", "image"), headers.ErrCrossSiteResource},
		{"two slashes in what is public", "GET", "/assets//x", fetch("cross-site", "no-cors", "image"), headers.ErrCrossSiteResource},
		{"what only begins like a public file", "GET", "/logo.svg.bak", fetch("cross-site", "no-cors", "image"), headers.ErrCrossSiteResource},
		{"a POST to what is public", "POST", "/assets/", fetch("cross-site", "no-cors", "empty"), headers.ErrCrossOrigin},
	} {
		r := request("https", c.method, "/")
		r.URL.Path, r.Header = c.path, http.Header(c.h).Clone()
		if err := iso.Allow(r); !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// What a server behind us may read as another path is not public: Java drops
// parameters, Windows has another separator, some decode twice.
func TestTrap_APathWithTwoReadingsIsNotPublic(t *testing.T) {
	iso := must(headers.NewIsolation(headers.IsolationConfig{Public: []string{"/assets/"}}))
	for path, public := range map[string]bool{
		"/assets/..;/secret": false, "/assets/..%5csecret": false, "/assets/%2e%2e/secret": false, "/assets/%252e%252e/secret": false,
		"/assets/..%00/x": false, "/assets/a%3b/b": false, "/assets/a%0ab": false, "/assets/../secret": false, "/assets//x": false,
		"/assets/caf%C3%A9.svg": true, "/assets/a..b,c=d@2x.png": true, "/assets/": true, "/assets": false,
	} {
		r := request("https", "GET", path)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if err := iso.Allow(r); (err == nil) != public {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// ServeMux sends /assets%2fx to the handler of "/{file}".
func TestTrap_AnEncodedSlashIsNotPublic(t *testing.T) {
	iso := must(headers.NewIsolation(headers.IsolationConfig{Public: []string{"/assets/"}}))
	for path, want := range map[string]error{"/assets%2fx": headers.ErrCrossSiteResource, "/assets/a%2Fx": headers.ErrCrossSiteResource, "/assets/a%20b%26": nil} {
		r := request("https", "GET", path)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if err := iso.Allow(r); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

func TestTrap_AnOpaqueOriginIsNotARequestWithoutHost(t *testing.T) {
	iso := must(headers.NewIsolation(headers.IsolationConfig{}))
	for _, scheme := range []string{"http", "https"} {
		r := request(scheme, "POST", "/")
		r.Host = "" // HTTP/1.0, as some proxies speak it
		r.Header.Set("Origin", "null")
		if err := iso.Allow(r); !errors.Is(err, headers.ErrCrossOrigin) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

func TestAHotlinkedPictureIsOneEventAMinute(t *testing.T) {
	var log bytes.Buffer
	handler := must(headers.NewIsolation(headers.IsolationConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))})).Wrap(nothing)
	for range 500 {
		r := request("https", "GET", "/")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	if n := strings.Count(log.String(), "malicious_csrf"); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestIsolationCanRequireAnOrigin(t *testing.T) {
	iso := must(headers.NewIsolation(headers.IsolationConfig{RequireOrigin: true}))
	if err := iso.Allow(request("https", "POST", "/")); !errors.Is(err, headers.ErrNoOrigin) {
		t.Errorf("got %v", err)
	}
	r := request("https", "POST", "/")
	r.Header.Set("Origin", "https://app.example")
	if err := iso.Allow(r); err != nil {
		t.Errorf("our own request: %v", err)
	}
	if err := iso.Allow(request("https", "GET", "/")); err != nil {
		t.Errorf("a GET: %v", err)
	}
}

func TestIsolationComparesWithTheHostOfTheEdge(t *testing.T) {
	iso := must(headers.NewIsolation(headers.IsolationConfig{}))
	edge := must(hardening.NewEdge(hardening.EdgeConfig{TrustedProxies: prefixes("192.0.2.0/24"), ForwardedHost: true}))
	var err error
	handler := edge.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { err = iso.Allow(r) }))
	for origin, want := range map[string]error{"https://public.example": nil, "https://evil.example": headers.ErrCrossOrigin} {
		r := request("http", "POST", "/")
		r.Host = "backend.internal"
		r.Header.Set("X-Forwarded-Host", "public.example")
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("Origin", origin)
		handler.ServeHTTP(httptest.NewRecorder(), r)
		if !errors.Is(err, want) || (want == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", origin, err, want)
		}
	}
}

func TestIsolationReportOnlyLetsThroughAndTells(t *testing.T) {
	var log bytes.Buffer
	iso := must(headers.NewIsolation(headers.IsolationConfig{DangerouslyReportOnly: true, Logger: slog.New(slog.NewTextHandler(&log, nil))}))
	ran := false
	r := request("https", "POST", "/")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	iso.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true })).ServeHTTP(httptest.NewRecorder(), r)
	if !ran || !strings.Contains(log.String(), "msg=malicious_csrf") || !strings.Contains(log.String(), "outcome=success") {
		t.Errorf("ran %t, log %s", ran, &log)
	}
}

func TestIsolationOnDenyAnswersInstead(t *testing.T) {
	iso := must(headers.NewIsolation(headers.IsolationConfig{
		Logger: slog.New(slog.DiscardHandler),
		OnDeny: func(w http.ResponseWriter, r *http.Request, p *hardening.Problem) {
			if p.Status != 403 || !errors.Is(p, headers.ErrCrossOrigin) {
				t.Errorf("problem %v", p)
			}
			w.WriteHeader(http.StatusTeapot)
		},
	}))
	r := request("https", "POST", "/")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	iso.Wrap(nothing).ServeHTTP(w, r)
	if w.Code != http.StatusTeapot {
		t.Errorf("status %d", w.Code)
	}
}

func TestIsolationNamesEveryFaultAtOnce(t *testing.T) {
	_, err := headers.NewIsolation(headers.IsolationConfig{
		Name: "a\nb",
		TrustedOrigins: []string{
			"https://ok.example", "https://ok.example", "http://plain.example", "https://user@x.example", "https://x.example/",
			"https://*.example", "https://X.example", "https://x.example:443", "https://x.example:0", "null", "", "https://x\r\nSet-Cookie: a",
		},
	})
	var fields []string
	for e := range hardening.Faults(err) {
		fields = append(fields, e.Field)
		complete(t, e)
	}
	want := []string{"Name"}
	for _, i := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"} {
		want = append(want, "TrustedOrigins["+i+"]")
	}
	if !slices.Equal(fields, want) {
		t.Errorf("got  %v\nwant %v", fields, want)
	}
	if _, err := headers.NewIsolation(headers.IsolationConfig{TrustedOrigins: []string{}}); err == nil {
		t.Error("an empty list passed")
	}
}

func TestPublicPathsAreValidated(t *testing.T) {
	_, err := headers.NewIsolation(headers.IsolationConfig{
		DangerouslyAllowResources: true,
		Public:                    []string{"/ok/", "/ok/", "/", "a", "", "/a/../b", "//a", "/a?b", "/a#b", "/a*", "/%61", "/a\nb", "/fine.svg", "/a;b"},
	})
	var fields []string
	for e := range hardening.Faults(err) {
		fields = append(fields, e.Field)
		complete(t, e)
	}
	want := []string{"Public", "Public[1]", "Public[2]", "Public[3]", "Public[4]", "Public[5]", "Public[6]", "Public[7]", "Public[8]", "Public[9]", "Public[10]", "Public[11]", "Public[13]"}
	if !slices.Equal(fields, want) {
		t.Errorf("got  %v\nwant %v", fields, want)
	}
	if _, err := headers.NewIsolation(headers.IsolationConfig{Public: []string{}}); err == nil {
		t.Error("an empty list passed")
	}
}
