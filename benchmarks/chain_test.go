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
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ululehttp "github.com/ulule/limiter/v3/drivers/middleware/stdlib"

	"github.com/inovy/hardening/auditlog"
	"github.com/inovy/hardening/headers"
	"github.com/inovy/hardening/ratelimit"
)

// accessAttrs is one access to a patient's record, as the last handler of
// every chain logs it: who, in which role, did what to whom, from where.
func accessAttrs(user string, r *http.Request) []slog.Attr {
	return []slog.Attr{
		slog.String("actor", user),
		slog.String("actor_role", "doctor"),
		slog.String("actor_org", "cardiology"),
		slog.String("subject", "patient-4711"),
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

// hardeningChain is ours, wrapped as the package documentation says.
func hardeningChain(tb testing.TB, out io.Writer) (http.Handler, *http.Request) {
	rig := hardeningRig(tb)
	policy := must(headers.New(headers.Config{}))(tb)
	limits := newLimiter(tb, func(r *http.Request) (ratelimit.Identity, error) {
		user, err := rig.user(r)
		return ratelimit.Identity{User: user}, err
	})
	redactor := must(auditlog.NewRedactor(auditlog.RedactorConfig{}))(tb)
	log := slog.New(redactor.Handler(slog.NewJSONHandler(out, nil)))
	return policy.Wrap(rig.wrap(limits.Wrap(accessHandler(log, rig.visitOf)))), rig.loggedIn(tb)
}

// peersChain puts the peers together as their documentation says. It writes
// the event as plain slog JSON: it redacts nothing.
func peersChain(tb testing.TB, out io.Writer) (http.Handler, *http.Request) {
	rig := scsRig(tb)
	log := slog.New(slog.NewJSONHandler(out, nil))
	byUser := ululehttp.NewMiddleware(newUlule(), ululehttp.WithKeyGetter(func(r *http.Request) string {
		user, _ := rig.user(r) // never fails
		return user
	}))
	limited := ululehttp.NewMiddleware(newUlule()).Handler(byUser.Handler(accessHandler(log, rig.visitOf)))
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
	app, users := accessHandler(log, rig.visitOf), newLimitTable(perHour, time.Hour)
	limited := newLimitTable(perHour, time.Hour).middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := rig.user(r)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if _, ok := users.take(user); !ok {
			http.Error(w, "too many requests", http.StatusTooManyRequests)
			return
		}
		app.ServeHTTP(w, r)
	}))
	return limitWithNonce(rig.wrap(limited)), rig.loggedIn(tb)
}

var chains = []struct {
	name  string
	chain chain
}{
	{"hardening", hardeningChain},
	{"handwritten", handwrittenChain},
	{"peers", peersChain},
}

// The whole chain in memory: headers with a nonce, a limit by address and one
// by user, the session read, the access event encoded and thrown away. Not durable.
func BenchmarkChain(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		for _, c := range chains {
			b.Run(c.name, func(b *testing.B) {
				h, r := c.chain(b, io.Discard)
				serve(b, h, r)
			})
		}
	})
	// The same with the event on the disk before the handler runs.
	b.Run("durable", func(b *testing.B) {
		b.Run("hardening", func(b *testing.B) { h, r := durableChain(b); benchmarkDurable(b, h, r) })
		b.Run("limit", func(b *testing.B) { h, r := durableBare(b); benchmarkDurable(b, h, r) })
	})
	// The chain in memory over TLS on loopback, client and server in this process.
	b.Run("https", func(b *testing.B) {
		b.Run("http1", func(b *testing.B) { benchmarkHTTPS(b, 1) })
		b.Run("http2", func(b *testing.B) { benchmarkHTTPS(b, 2) })
	})
}

// durableChain is hardeningChain with an audit log on the disk: the attempt is
// there before the handler runs, the outcome before the client is told.
func durableChain(b *testing.B) (http.Handler, *http.Request) {
	rig := hardeningRig(b)
	policy := must(headers.New(headers.Config{}))(b)
	limits := newLimiter(b, func(r *http.Request) (ratelimit.Identity, error) {
		user, err := rig.user(r)
		return ratelimit.Identity{User: user}, err
	})
	access := must(openLog(b, onDisk(b)).Access(auditlog.AccessConfig{Describe: func(r *http.Request) (auditlog.Event, error) {
		user, err := rig.user(r)
		ev := accessEvent()
		ev.Actor.ID = user
		return ev, err
	}}))(b)
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rig.read(w, r)
		_, _ = w.Write(page[:])
	})
	return policy.Wrap(rig.wrap(limits.Wrap(access.Wrap(app)))), rig.loggedIn(b)
}

// durableBare does nothing but wait twice for the disk and answer.
func durableBare(b *testing.B) (http.Handler, *http.Request) {
	g := must(newGroupCommit(filepath.Join(onDisk(b), "log"), nil))(b)
	b.Cleanup(func() { _ = g.close() })
	p := make([]byte, recordBytes(b))
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := g.record(p); err != nil {
			check(w, err)
			return
		}
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(page[:])
		_ = g.record(p)
	}), httpsRequest("/records/42")
}

// benchmarkDurable has 64 callers, each waiting for its own answer, and
// reports the median time that one of them waited.
func benchmarkDurable(b *testing.B, h http.Handler, r *http.Request) {
	var mu sync.Mutex
	var waited []time.Duration // guarded by mu
	b.ReportAllocs()
	b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		w := newResponse()
		var mine []time.Duration
		for pb.Next() {
			w.reset()
			began := time.Now()
			h.ServeHTTP(w, r)
			mine = append(mine, time.Since(began))
			if w.status != http.StatusOK {
				b.Errorf("status %d", w.status)
				return
			}
		}
		mu.Lock()
		waited = append(waited, mine...)
		mu.Unlock()
	})
	b.StopTimer()
	slices.Sort(waited)
	b.ReportMetric(float64(waited[len(waited)/2].Nanoseconds()), "p50-ns/op")
}

const connections = 16

// benchmarkHTTPS sends requests over 16 connections, one after the other on
// each. "bare" is a handler without any middleware that sends the headers and
// bytes that our chain sends, behind a bare crypto/tls configuration. The nonce
// differs from answer to answer there too: a policy that repeats is one byte
// in HTTP/2, and the rows would compare header compression.
func benchmarkHTTPS(b *testing.B, version int) {
	for _, c := range chains {
		b.Run(c.name, func(b *testing.B) {
			h, r := c.chain(b, io.Discard)
			rig := newTLSRig(b)
			srv := &http.Server{Handler: h, TLSConfig: rig.bare}
			if c.name == "hardening" {
				srv = rig.server.HTTPServer(h)
			}
			overHTTPS(b, version, rig, srv, r.Header)
		})
	}
	b.Run("bare", func(b *testing.B) {
		h, r := hardeningChain(b, io.Discard)
		var sent [1024]http.Header // more than a connection's table of headers holds
		for i := range sent {
			w := newResponse()
			h.ServeHTTP(w, r)
			sent[i] = w.header
		}
		var answers atomic.Uint32
		bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			header := w.Header()
			maps.Copy(header, sent[answers.Add(1)%uint32(len(sent))])
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

	clients := make(chan *http.Transport, connections)
	for range connections { // connected before the clock starts
		t := &http.Transport{Protocols: srv.Protocols, TLSClientConfig: &tls.Config{RootCAs: rig.roots, ServerName: "localhost"}}
		defer t.CloseIdleConnections()
		if err := fetch(b.Context(), t, url, header, version, new([4096]byte)[:]); err != nil {
			b.Fatal(err)
		}
		clients <- t
	}
	b.ReportAllocs()
	b.SetParallelism((connections + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		t := <-clients
		defer func() { clients <- t }()
		var buf [4096]byte
		for pb.Next() {
			if err := fetch(b.Context(), t, url, header, version, buf[:]); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
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
