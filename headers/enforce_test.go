package headers_test

import (
	"bytes"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

func TestEnforcePutsBackWhatAHandlerRemovesOrDoubles(t *testing.T) {
	policy := must(headers.New(headers.Config{}))
	vandal := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		switch r.URL.Path {
		case "/clear":
			clear(h)
		case "/double":
			for k, v := range h {
				h[k] = append(v, v[0])
			}
		case "/empty":
			for k := range h {
				h[k] = []string{""}
			}
		case "/own":
			h.Set("Cache-Control", "no-cache")
		}
		if r.URL.Query().Get("write") != "" {
			_, _ = w.Write([]byte("x"))
		}
	})
	for _, path := range []string{"/clear", "/double", "/empty", "/untouched", "/clear?write=1", "/double?write=1", "/own"} {
		w := httptest.NewRecorder()
		policy.Enforce(vandal).ServeHTTP(w, request("https", "GET", path))
		got := flat(t, w.Header())
		for _, want := range []map[string]string{seedSix, webMore} {
			for k, v := range want {
				if path == "/own" && k == "Cache-Control" {
					v = "no-cache"
				}
				if got[k] != v {
					t.Errorf("%s: %s is %q", path, k, got[k])
				}
			}
		}
	}
}

func TestEnforceLeavesOneOfEachHeaderHoweverItIsWritten(t *testing.T) {
	strict := must(headers.New(headers.Strict()))
	web := must(headers.New(headers.Config{}))
	for _, c := range []struct {
		name   string
		policy *headers.Middleware
		scheme string
		write  http.Header
		key    string
		want   string // "" = not sent
	}{
		{"HSTS never goes out over plain HTTP", web, "http", http.Header{"Strict-Transport-Security": {"max-age=1"}}, "Strict-Transport-Security", ""},
		{"nor twice, nor in capitals", web, "http", http.Header{"STRICT-TRANSPORT-SECURITY": {"max-age=1", "max-age=2"}}, "Strict-Transport-Security", ""},
		{"what the policy leaves out stands once", web, "https", http.Header{"Cross-Origin-Embedder-Policy": {"require-corp", "unsafe-none"}}, "Cross-Origin-Embedder-Policy", "require-corp"},
		{"and under its own name", web, "https", http.Header{"cross-origin-embedder-policy": {"require-corp"}}, "Cross-Origin-Embedder-Policy", "require-corp"},
		{"a name in small letters adds no second header", strict, "https", http.Header{"x-frame-options": {"SAMEORIGIN"}}, "X-Frame-Options", "DENY"},
		{"nor does the spelling of the standard", strict, "https", http.Header{"X-DNS-Prefetch-Control": {"on"}}, "X-Dns-Prefetch-Control", "off"},
		{"a blank value is none", strict, "https", http.Header{"X-Content-Type-Options": {" \t"}}, "X-Content-Type-Options", "nosniff"},
		{"nor is a line break", strict, "https", http.Header{"X-Frame-Options": {"\r\n"}}, "X-Frame-Options", "DENY"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			c.policy.Enforce(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				maps.Copy(w.Header(), c.write)
			})).ServeHTTP(w, request(c.scheme, "GET", "/"))
			var got []string
			for k, v := range w.Header() {
				if strings.EqualFold(k, c.key) {
					got = append(got, v...)
				}
			}
			if c.want == "" && len(got) > 0 || c.want != "" && !slices.Equal(got, []string{c.want}) {
				t.Errorf("sent %q, want %q", got, c.want)
			}
		})
	}
}

func TestTrap_AnUpstreamsEarlyHintsBringNoSecondPolicy(t *testing.T) {
	policy := must(headers.New(headers.API()))
	srv := httptest.NewServer(policy.Enforce(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Content-Security-Policy", "default-src *")
		w.Header().Add("Link", "</x>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
	})))
	defer srv.Close()
	var hints []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, h["Content-Security-Policy"]...)
		return nil
	}}
	req := must(http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", srv.URL, nil))
	res := must(srv.Client().Do(req))
	_ = res.Body.Close()
	want := []string{headers.API().CSP.String()}
	if !slices.Equal(hints, want) || !slices.Equal(res.Header["Content-Security-Policy"], want) {
		t.Errorf("hints %q, response %q", hints, res.Header["Content-Security-Policy"])
	}
}

func TestTrap_TrailersBringNoSecondPolicy(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		prefix := http.TrailerPrefix
		if r.URL.Path == "/announced" {
			prefix = ""
			w.Header()["Trailer"] = []string{"Content-Security-Policy, X-Sum", "strict-transport-security,Server"}
		}
		_, _ = io.WriteString(w, "body")
		_ = http.NewResponseController(w).Flush()
		for k, v := range map[string]string{"Content-Security-Policy": "default-src *", "Strict-Transport-Security": "max-age=0", "Server": "x", "X-Sum": "1"} {
			w.Header().Set(prefix+k, v)
		}
	}))
	defer upstream.Close()
	target := must(url.Parse(upstream.URL))
	p := must(headers.New(headers.Web()))
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, ModifyResponse: p.SanitizeUpstream}
	for _, http2 := range []bool{false, true} {
		srv := httptest.NewUnstartedServer(p.Enforce(proxy))
		srv.EnableHTTP2 = http2
		srv.StartTLS()
		defer srv.Close()
		for _, path := range []string{"/announced", "/late"} {
			res := must(srv.Client().Get(srv.URL + path))
			body := string(must(io.ReadAll(res.Body)))
			_ = res.Body.Close()
			if len(res.Trailer) != 1 || res.Trailer.Get("X-Sum") != "1" || body != "body" || len(res.Header["Content-Security-Policy"]) != 1 {
				t.Errorf("HTTP/2 %t, %s: %q and the trailers %v", http2, path, body, res.Trailer)
			}
		}
	}
}

func TestTrap_EnforceTakesTheNonceFromA304(t *testing.T) {
	notModified := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) })
	cfg := reporting()
	w := httptest.NewRecorder()
	must(headers.New(cfg)).Enforce(notModified).ServeHTTP(w, request("https", "GET", "/"))
	got := flat(t, w.Header())
	for _, k := range []string{"Content-Security-Policy", "Content-Security-Policy-Report-Only"} {
		if v, ok := got[k]; ok {
			t.Errorf("%s: %q would block the kept page's scripts", k, v)
		}
	}
	if got["X-Frame-Options"] != "DENY" || got["Strict-Transport-Security"] == "" || len(got) != 10 {
		t.Errorf("the others stay: %v", got)
	}
	w = httptest.NewRecorder()
	must(headers.New(headers.API())).Enforce(notModified).ServeHTTP(w, request("https", "GET", "/"))
	if flat(t, w.Header())["Content-Security-Policy"] == "" {
		t.Error("a policy without a nonce stays")
	}
}

func TestEnforceRespectsADerivedPolicy(t *testing.T) {
	root := must(headers.New(headers.Strict()))
	assets := must(root.With("assets", func(c *headers.Config) {
		c.CSP, c.COEP, c.NoDNSPrefetch = headers.API().CSP, "", false
		c.CacheControl = "public, max-age=60"
	}))
	styled := must(root.With("styled", func(c *headers.Config) { c.CSP.StyleSrc = []headers.Source{headers.NonceSource}; c.COEP = "" }))
	vandal := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		clear(w.Header())
		w.WriteHeader(200)
	})
	w := httptest.NewRecorder()
	root.Enforce(root.Recover(assets.Wrap(vandal))).ServeHTTP(w, request("https", "GET", "/"))
	got := flat(t, w.Header())
	if got["Content-Security-Policy"] != headers.API().CSP.String() || got["Cache-Control"] != "public, max-age=60" || got["Cross-Origin-Embedder-Policy"] != "" {
		t.Errorf("%v", got)
	}
	w = httptest.NewRecorder()
	nonce := ""
	root.Enforce(styled.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nonce = headers.Nonce(r.Context())
		vandal(w, r)
	}))).ServeHTTP(w, request("https", "GET", "/"))
	if csp := w.Header().Get("Content-Security-Policy"); nonce == "" || strings.Count(csp, "'nonce-"+nonce+"'") != 2 || w.Header()["Cross-Origin-Embedder-Policy"] != nil {
		t.Errorf("nonce %q in %q", nonce, csp)
	}
}

// As in httputil.ReverseProxy, which adds what the upstream sends.
func TestTrap_AnUpstreamsHeadersDoNotStandTwice(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for k := range seedSix {
			h[k] = []string{"of the upstream", "twice"}
		}
		for _, k := range []string{"Server", "X-Powered-By", "X-AspNet-Version", "X-BEServer", "X-XSS-Protection", "Feature-Policy", "SourceMap", "X-dtAgentId"} {
			h.Set(k, "leak")
		}
		h.Set("X-Request-Kind", "kept")
		switch r.URL.Path {
		case "/304":
			w.WriteHeader(http.StatusNotModified)
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "late")
		default:
			_, _ = io.WriteString(w, "ok")
		}
	}))
	defer upstream.Close()
	target := must(url.Parse(upstream.URL))
	policy := must(headers.New(headers.Config{}))
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }, ModifyResponse: policy.SanitizeUpstream}
	for name, h := range map[string]http.Handler{"Wrap": policy.Wrap(proxy), "Enforce": policy.Enforce(proxy)} {
		srv := httptest.NewTLSServer(h)
		for _, path := range []string{"/", "/early", "/304"} {
			res, err := srv.Client().Get(srv.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			got := flat(t, res.Header)
			for k, want := range seedSix {
				if name == "Wrap" && path == "/early" {
					continue // ReverseProxy clears every header after a 103: this is what Enforce is for
				}
				if name == "Enforce" && path == "/304" && k == "Content-Security-Policy" {
					want = ""
				}
				if got[k] != want {
					t.Errorf("%s%s: %s is %q", name, path, k, got[k])
				}
			}
			if strings.Contains(res.Header.Get("X-Request-Kind"), "kept") != true {
				t.Errorf("%s: %v", path, res.Header)
			}
			for k, v := range got {
				if v == "leak" {
					t.Errorf("%s%s: %s is passed on", name, path, k)
				}
			}
		}
		srv.Close()
	}
}

// Every way in which a response can come about carries each policy header
// exactly once.
func TestEveryResponsePathCarriesEachHeaderOnce(t *testing.T) {
	policy := must(headers.New(headers.Config{Logger: slog.New(slog.DiscardHandler)}))
	hosts := must(headers.NewHostCheck(headers.HostCheckConfig{Hosts: []string{"127.0.0.1"}, Logger: slog.New(slog.DiscardHandler)}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ok", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc("GET /dir/", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("secret") })
	mux.HandleFunc("GET /500", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "broken", http.StatusInternalServerError) })
	mux.HandleFunc("POST /big", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 10)); err != nil {
			hardening.WriteProblem(w, r, &hardening.Problem{Status: http.StatusRequestEntityTooLarge})
		}
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Errorf("deadline: %v", err)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			_, _ = io.WriteString(w, "data: x\n\n")
			if err := rc.Flush(); err != nil {
				t.Errorf("flush: %v", err)
			}
		}
	})
	mux.Handle("GET /slow", http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), time.Millisecond, "too slow"))
	files := http.FileServerFS(fstest.MapFS{"a.txt": {Data: []byte("0123456789"), ModTime: time.Unix(1e9, 0)}})
	mux.Handle("GET /files/", http.StripPrefix("/files", files))
	for _, http2 := range []bool{false, true} {
		srv := httptest.NewUnstartedServer(policy.Enforce(policy.Recover(hosts.Wrap(mux))))
		srv.Config.DisableGeneralOptionsHandler = true
		srv.EnableHTTP2 = http2
		srv.StartTLS()
		client := srv.Client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		for _, c := range []struct {
			name, method, path, host, header, value string
			status                                  int
		}{
			{"200", "GET", "/ok", "", "", "", 200}, {"HEAD", "HEAD", "/ok", "", "", "", 200}, {"redirect", "GET", "/dir", "", "", "", 307},
			{"304", "GET", "/files/a.txt", "", "If-Modified-Since", "Sun, 09 Sep 2040 01:46:40 GMT", 304},
			{"404", "GET", "/none", "", "", "", 404}, {"405", "DELETE", "/ok", "", "", "", 405}, {"500", "GET", "/500", "", "", "", 500},
			{"panic", "GET", "/panic", "", "", "", 500}, {"413", "POST", "/big", "", "", "", 413},
			{"416", "GET", "/files/a.txt", "", "Range", "bytes=50-60", 416}, {"file 404", "GET", "/files/b.txt", "", "", "", 404},
			{"206", "GET", "/files/a.txt", "", "Range", "bytes=1-2", 206}, {"bad host", "GET", "/ok", "evil.example", "", "", 421},
			{"OPTIONS *", "OPTIONS", "*", "", "", "", 404}, {"stream", "GET", "/events", "", "", "", 200}, {"timeout", "GET", "/slow", "", "", "", 503},
		} {
			req := must(http.NewRequestWithContext(t.Context(), c.method, srv.URL+"/", strings.NewReader(strings.Repeat("x", 20))))
			if c.method != "POST" {
				req.Body, req.ContentLength = nil, 0
			}
			req.URL = must(url.Parse(srv.URL))
			if req.URL.Path = c.path; c.path == "*" {
				req.URL.Path, req.URL.Opaque = "", "*"
			}
			req.Host = c.host
			if c.header != "" {
				req.Header.Set(c.header, c.value)
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if c.name == "OPTIONS *" && (res.StatusCode == 400 || res.StatusCode == 405) {
				c.status = res.StatusCode
			}
			if res.StatusCode != c.status || bytes.Contains(body, []byte("secret")) {
				t.Errorf("%s: %s %s", c.name, res.Proto, res.Status)
			}
			got := flat(t, res.Header)
			for _, want := range []map[string]string{seedSix, webMore} {
				for k, v := range want {
					switch {
					case k == "Content-Security-Policy" && c.status == 304:
						v = ""
					case k == "Cache-Control" && (c.status == 413 || c.name == "panic" || c.status == 421):
						v = "no-store" // a problem says so itself
					}
					if got[k] != v {
						t.Errorf("%s over %s: %s is %q", c.name, res.Proto, k, got[k])
					}
				}
			}
		}
		srv.Close()
	}
}
