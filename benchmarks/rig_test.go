package benchmarks

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
)

// response is the ResponseWriter of every rig. It is reused, and its header
// map cleared, between requests: net/http makes a new map for each response,
// which costs all implementations the same and would hide what they differ in.
// The case "freshmap" shows what that is.
type response struct {
	header http.Header
	status int
	bytes  int
}

func newResponse() *response { return &response{header: make(http.Header)} }

func (w *response) Header() http.Header  { return w.header }
func (w *response) WriteHeader(code int) { w.status = code }
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.bytes += len(p)
	return len(p), nil
}

func (w *response) reset() {
	clear(w.header)
	w.status, w.bytes = 0, 0
}

// httpsRequest is what a browser's GET over TLS looks like to a handler.
func httpsRequest(path string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://portal.example"+path, nil)
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
	r.RemoteAddr = "192.0.2.10:49152"
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	r.Header.Set("Accept-Language", "nl,en;q=0.7")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return r
}

// serve measures one request through h per iteration, and fails when h
// answers with another status than 200.
func serve(b *testing.B, h http.Handler, r *http.Request) {
	b.Helper()
	w := newResponse()
	b.ReportAllocs()
	for b.Loop() {
		w.reset()
		h.ServeHTTP(w, r)
		if w.status != http.StatusOK {
			b.Fatalf("status %d", w.status)
		}
	}
}

// ok is the handler behind every middleware.
var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })

// must stops a rig that could not be built.
func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}
