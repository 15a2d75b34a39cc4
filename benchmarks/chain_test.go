package benchmarks

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	ululehttp "github.com/ulule/limiter/v3/drivers/middleware/stdlib"
)

// accessAttrs is one access to a patient's record, as the last handler of
// every chain logs it: who, in which role, did what to whom, from where.
func accessAttrs(user string, r *http.Request) []slog.Attr {
	return []slog.Attr{
		slog.String("actor", user),
		slog.String("actor_role", "doctor"),
		slog.String("actor_org", "cardiology"),
		slog.String("subject", "999911120"),
		slog.String("object_type", "record"),
		slog.String("object", "42"),
		slog.String("action", "R"),
		slog.String("outcome", "success"),
		slog.String("client_addr", "192.0.2.10"),
		slog.String("request_id", "QWERTZUIOPASDFGHJKLYXCVBNM"),
		slog.String("path", r.URL.Path),
	}
}

// page is what the service answers: 2 KiB, a small page.
var page [2048]byte

// accessHandler stands at the end of a chain: it reads the session, writes
// the access event, then answers.
func accessHandler(log *slog.Logger, session func(*http.Request) (string, visit, bool)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, v, ok := session(r)
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		log.LogAttrs(r.Context(), slog.LevelWarn, "sensitive_read", accessAttrs(user, r)...)
		right(w, user, v)
		_, _ = w.Write(page[:])
	})
}

// chain is a whole service's worth of middleware and a request that passes it.
type chain func(tb testing.TB, out io.Writer) (http.Handler, *http.Request)

// peersChain puts the peers together as their documentation says. It writes
// the event as plain slog JSON: it redacts nothing.
func peersChain(tb testing.TB, out io.Writer) (http.Handler, *http.Request) {
	rig := scsRig(tb)
	log := slog.New(slog.NewJSONHandler(out, nil))
	limited := ululehttp.NewMiddleware(newUlule()).Handler(accessHandler(log, rig.visitOf))
	return unrolledNonce().Handler(rig.wrap(limited)), rig.loggedIn(tb)
}

// handwrittenChain is what a careful team would write for itself: the limits
// of the other benchmarks, and slog JSON with a list of keys to redact.
func handwrittenChain(tb testing.TB, out io.Writer) (http.Handler, *http.Request) {
	rig := limitRig(tb)
	redacted := map[string]bool{"password": true, "token": true, "cookie": true, "authorization": true, "bsn": true, "session": true}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if redacted[a.Key] {
			return slog.String(a.Key, "[redacted]")
		}
		return a
	}}))
	limited := newLimitTable(perHour, time.Hour).middleware(accessHandler(log, rig.visitOf))
	return limitWithNonce(rig.wrap(limited)), rig.loggedIn(tb)
}

var chains = []struct {
	name  string
	chain chain
}{
	{"handwritten", handwrittenChain},
	{"peers", peersChain},
}

// The whole chain in memory: headers with a nonce, a limit by address, the
// session read, the access event encoded and thrown away. Not durable.
func BenchmarkChain(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		for _, c := range chains {
			b.Run(c.name, func(b *testing.B) {
				h, r := c.chain(b, io.Discard)
				serve(b, h, r)
			})
		}
	})
	// The same over TLS on loopback, client and server in this process.
	b.Run("https", func(b *testing.B) {
		b.Run("http1", func(b *testing.B) { benchmarkHTTPS(b, 1) })
		b.Run("http2", func(b *testing.B) { benchmarkHTTPS(b, 2) })
	})
}

const connections = 16

// benchmarkHTTPS sends requests over 16 connections, one after the other on
// each. "bare" is a handler without any middleware that sends the headers and
// bytes that our chain sends, behind a bare crypto/tls configuration.
func benchmarkHTTPS(b *testing.B, version int) {
	for _, c := range chains {
		b.Run(c.name, func(b *testing.B) {
			h, r := c.chain(b, io.Discard)
			rig := newTLSRig(b)
			overHTTPS(b, version, rig, &http.Server{Handler: h, TLSConfig: rig.bare}, r.Header)
		})
	}
	b.Run("bare", func(b *testing.B) {
		h, r := handwrittenChain(b, io.Discard)
		w := newResponse()
		h.ServeHTTP(w, r)
		sent := w.header
		bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			header := w.Header()
			maps.Copy(header, sent)
			_, _ = w.Write(page[:])
		})
		rig := newTLSRig(b)
		overHTTPS(b, version, rig, &http.Server{Handler: bare, TLSConfig: rig.bare}, r.Header)
	})
}

func overHTTPS(b *testing.B, version int, rig tlsRig, srv *http.Server, header http.Header) {
	b.Helper()
	srv.ErrorLog = log.New(io.Discard, "", 0)
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(version == 1)
	srv.Protocols.SetHTTP2(version == 2)
	l := must(net.Listen("tcp", "127.0.0.1:0"))(b)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.ServeTLS(l, "", "") }()
	b.Cleanup(func() { _ = srv.Close(); <-done })
	url := "https://" + l.Addr().String() + "/records/42"

	b.ReportAllocs()
	b.SetParallelism((connections + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		t := &http.Transport{Protocols: srv.Protocols, TLSClientConfig: &tls.Config{RootCAs: rig.roots, ServerName: "localhost"}}
		defer t.CloseIdleConnections()
		var buf [4096]byte
		for pb.Next() {
			if err := fetch(b.Context(), t, url, header, version, buf[:]); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// fetch makes one request and reads the whole answer.
func fetch(ctx context.Context, t http.RoundTripper, url string, header http.Header, version int, buf []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Header = header
	resp, err := t.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n := 0
	for {
		m, err := resp.Body.Read(buf)
		n += m
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != version || n != len(page) {
		return fmt.Errorf("status %d, HTTP/%d, %d bytes", resp.StatusCode, resp.ProtoMajor, n)
	}
	return nil
}

// Every chain must send the policy, count the request, know the user and log
// the access.
func TestChainsDoTheirWork(t *testing.T) {
	for _, c := range chains {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			h, r := c.chain(t, &out)
			w := newResponse()
			h.ServeHTTP(w, r)
			if w.status != http.StatusOK {
				t.Fatalf("status %d", w.status)
			}
			if csp := w.header.Get("Content-Security-Policy"); !strings.Contains(csp, "'nonce-") {
				t.Errorf("Content-Security-Policy %q has no nonce", csp)
			}
			var event map[string]any
			if err := json.Unmarshal(out.Bytes(), &event); err != nil {
				t.Fatalf("%v in %s", err, &out)
			}
			for key, want := range map[string]string{"actor": sessionUser, "action": "R", "object": "42", "msg": "sensitive_read"} {
				if event[key] != want {
					t.Errorf("%s is %v in the event, want %s", key, event[key], want)
				}
			}
			w.reset()
			h.ServeHTTP(w, httpsRequest("/records/42"))
			if w.status != http.StatusUnauthorized {
				t.Errorf("status %d without a session", w.status)
			}
		})
	}
}
