package integration

import (
	"context"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"github.com/inovy/hardening/headers"
)

func made[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A WebSocket of a real client library passes every wrapper of the room, also
// behind a reverse proxy; one of another site does not.
func TestWebSocketsPassTheHeaders(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	policy := made[*headers.Middleware](t)(headers.New(headers.Config{Logger: quiet}))
	isolation := made[*headers.Isolation](t)(headers.NewIsolation(headers.IsolationConfig{Logger: quiet}))
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // origins are Isolation's to judge
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		defer func() { _ = c.CloseNow() }()
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if err := c.Write(r.Context(), kind, b); err != nil {
				return
			}
		}
	})
	upstream := httptest.NewServer(echo)
	defer upstream.Close()
	target := made[*url.URL](t)(url.Parse(upstream.URL))
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }, ModifyResponse: policy.SanitizeUpstream}
	for name, h := range map[string]http.Handler{
		"Wrap":                    policy.Wrap(isolation.Wrap(echo)),
		"Enforce and Recover":     policy.Enforce(policy.Recover(isolation.Wrap(echo))),
		"Enforce, Recover, proxy": policy.Enforce(policy.Recover(isolation.Wrap(proxy))),
		"a derived policy, proxy": policy.Enforce(made[*headers.Middleware](t)(policy.With("rt", func(c *headers.Config) { c.CSP = headers.API().CSP })).Wrap(proxy)),
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c, _, err := websocket.Dial(ctx, srv.URL, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {srv.URL}}})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				want := fmt.Sprint("message ", i)
				if err := c.Write(ctx, websocket.MessageText, []byte(want)); err != nil {
					t.Fatal(err)
				}
				if _, got, err := c.Read(ctx); err != nil || string(got) != want {
					t.Fatalf("%q, %v", got, err)
				}
			}
			_ = c.Close(websocket.StatusNormalClosure, "")
			if strings.HasPrefix(name, "a derived") {
				return // has no Isolation
			}
			_, res, err := websocket.Dial(ctx, srv.URL, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://evil.example"}}})
			if err == nil || res == nil || res.StatusCode != http.StatusForbidden {
				t.Errorf("another site's WebSocket: %v", err)
			}
		})
	}
}

// A real browser runs the nonced script of a page that it revalidates with its
// ETag, blocks the inline one without nonce, and its reports arrive parsed.
func TestNoncePageInChromium(t *testing.T) {
	ctx, console := browser(t)
	var mu sync.Mutex
	var kept []headers.Report
	collector := made[*headers.ReportCollector](t)(headers.NewReportCollector(headers.ReportCollectorConfig{
		Logger: slog.New(slog.DiscardHandler), Routes: []string{"/page/{name}"},
		OnReport: func(_ context.Context, r headers.Report) { mu.Lock(); defer mu.Unlock(); kept = append(kept, r) },
	}))
	cfg := headers.Web()
	cfg.CSP.ReportURI = []string{"/_reports"}
	policy := made[*headers.Middleware](t)(headers.New(cfg))
	isolation := made[*headers.Isolation](t)(headers.NewIsolation(headers.IsolationConfig{}))
	page := template.Must(template.New("").Parse(`<!doctype html><title>x</title><body><script {{.}}>window.ran = (window.ran || 0) + 1</script><script>window.injected = 1</script></body>`))
	var asked, confirmed int
	mux := http.NewServeMux()
	mux.Handle("/_reports", collector)
	mux.HandleFunc("GET /page/{name}", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked++
		mu.Unlock()
		h := w.Header()
		h.Set("Etag", `"v1"`)
		h.Set("Cache-Control", "no-cache") // the handler overrides no-store: the page is kept and revalidated
		if r.Header.Get("If-None-Match") == `"v1"` {
			mu.Lock()
			confirmed++
			mu.Unlock()
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		_ = page.Execute(w, headers.NonceAttr(r.Context()))
	})
	srv := httptest.NewServer(policy.Enforce(policy.Recover(isolation.Wrap(mux)))) // a browser keeps nothing from a site whose certificate it does not trust
	defer srv.Close()
	for visit := range 2 {
		var ran, injected string
		err := chromedp.Run(ctx, log.Enable(), runtime.Enable(), chromedp.Navigate(srv.URL+"/page/jansen?bsn=1"),
			chromedp.Evaluate(`String(window.ran)`, &ran), chromedp.Evaluate(`String(window.injected)`, &injected), chromedp.Navigate("about:blank"))
		if err != nil {
			t.Fatalf("%v; the console says %q", err, console())
		}
		if ran != "1" || injected != "undefined" {
			t.Errorf("visit %d: the nonced script ran %s times, the injected one %s", visit, ran, injected)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		mu.Lock()
		reports, pages, unchanged := append([]headers.Report(nil), kept...), asked, confirmed
		mu.Unlock()
		if len(reports) > 0 {
			want := headers.Report{Type: "csp-violation", Directive: "script-src-elem", Blocked: "inline", Document: "/page/{name}", Disposition: "enforce", Line: 1, Count: 1}
			if reports[0] != want {
				t.Errorf("report %+v, want %+v", reports[0], want)
			}
			if pages < 2 || unchanged == 0 {
				t.Errorf("%d visits, %d revalidated: the trap was not tried", pages, unchanged)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no report arrived; the console says %q", console())
		}
		select {
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// What a proxied stream needs: bytes arrive as they are sent.
func TestAStreamIsNotHeldBack(t *testing.T) {
	policy := made[*headers.Middleware](t)(headers.New(headers.Config{}))
	next := make(chan struct{})
	srv := httptest.NewServer(policy.Enforce(policy.Recover(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}))))
	defer srv.Close()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for i := range 3 {
		b := make([]byte, len("data: 0\n\n"))
		if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != fmt.Sprintf("data: %d\n\n", i) {
			t.Fatalf("%q, %v", b, err)
		}
		next <- struct{}{}
	}
}
