package tlsconfig

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

const (
	// defaultConnAge: a peer is authenticated when it connects, so that a new
	// certificate, CA or allow-list does not reach a connection that is open.
	// Six handshakes an hour cost a client nothing that can be measured.
	defaultConnAge = 10 * time.Minute

	// minConnAge: below it, every request would pay for a handshake.
	minConnAge = time.Second

	// maxConnAge: a revocation that takes longer than a day to work is none.
	maxConnAge = 24 * time.Hour

	// defaultConnGrace holds where clients are authenticated by certificate.
	// WebSockets and event streams reconnect by themselves; a transfer of an
	// hour is no longer a request.
	defaultConnGrace = time.Hour
)

// connAge checks the two fields and returns the limit; 0 = none.
func connAge(f *faults.Collector, age time.Duration, endless bool) time.Duration {
	switch {
	case endless && age != 0:
		f.Add("DangerouslyEndlessConns", endless, "contradicts MaxConnAge", "set one of them")
	case endless:
		return 0
	case age < 0:
		f.Add("MaxConnAge", age, "is negative", "leave it zero for 10m, or set DangerouslyEndlessConns")
	case age > 0 && age < minConnAge:
		f.Add("MaxConnAge", age, "is shorter than a second, so that every request would need a connection of its own", "set at least 1s, or leave it zero for 10m")
	case age == 0:
		return defaultConnAge
	}
	return age
}

// connGrace checks the field and returns how long after its age a connection
// is cut that is in use; 0 = never.
func connGrace(f *faults.Collector, grace time.Duration, endless, authenticates bool) time.Duration {
	switch {
	case endless && grace != 0:
		f.Add("ConnGrace", grace, "has no age to begin at with DangerouslyEndlessConns", "set one of them")
	case endless:
		return 0
	case grace < 0:
		f.Add("ConnGrace", grace, "is negative", "leave it zero for 1h with ClientAuth, and for none without")
	case grace > 0 && grace < minConnAge:
		f.Add("ConnGrace", grace, "is shorter than a second, so that the last response might not get through", "set at least 1s")
	case grace == 0 && authenticates:
		return defaultConnGrace
	}
	return grace
}

type connEndKey struct{}

// limitConnAge makes srv end its connections at the first request after age:
// with "Connection: close" in HTTP/1.1 (RFC 9112 section 9.6), which net/http
// turns into a graceful GOAWAY in HTTP/2 (RFC 9113 section 6.8). Requests that
// run are not cut off before grace has passed too; 0 = never.
func limitConnAge(srv *http.Server, age, grace time.Duration, sink event.Sink) {
	next := srv.Handler
	warn := sync.OnceFunc(func() {
		_ = sink.Emit(context.Background(), event.SysMonitorDisabled, slog.String(event.KeyField, "MaxConnAge"), // without Audit it never fails
			slog.String(event.KeyReason, "http.Server.ConnContext was replaced by one that does not call it"))
	})
	var cuts connCuts
	if grace > 0 {
		srv.ConnState = cuts.state
	}
	before := srv.ConnContext
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if before != nil {
			ctx = before(ctx, c)
		}
		// Up to a tenth less, so that clients which came together do not all
		// come back together.
		left := age - rand.N(age/10+1) // #nosec G404 -- jitter, so that connections do not end at once
		if grace > 0 && c != nil {
			cuts.in(left+min(grace, math.MaxInt64-left), c) // whoever means "never" writes the longest there is
		}
		return context.WithValue(ctx, connEndKey{}, time.Now().Add(left))
	}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if end, ok := r.Context().Value(connEndKey{}).(time.Time); !ok {
			warn()
		} else if !time.Now().Before(end) {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// connCuts end connections for good, those included that a handler has taken
// over. It is safe for concurrent use.
type connCuts struct{ timers sync.Map } // net.Conn to *time.Timer

func (c *connCuts) in(d time.Duration, conn net.Conn) {
	c.timers.Store(conn, time.AfterFunc(d, func() { _ = conn.Close() })) // it writes no more than an alert, for 5 s at most
}

// state is an http.Server's ConnState. What becomes of a connection that was
// taken over, nobody says: its timer runs to the end.
func (c *connCuts) state(conn net.Conn, s http.ConnState) {
	if s != http.StateClosed && s != http.StateHijacked {
		return
	}
	if t, ok := c.timers.LoadAndDelete(conn); ok && s == http.StateClosed {
		t.(*time.Timer).Stop()
	}
}

// connAgeFinding judges the limits; 0 = none.
func connAgeFinding(age, grace time.Duration, component string) hardening.Finding {
	f := hardening.Finding{
		ID: "HDN-TLS-053", Component: component, Title: "Connections end, so that clients are authenticated again", Severity: hardening.Medium,
		Passed: age > 0 && age <= maxConnAge, Observed: fmt.Sprintf("after %v", age), Expected: fmt.Sprintf("after %v or less", maxConnAge),
		Remedy: "leave ServerConfig.MaxConnAge zero",
		Controls: []hardening.Control{
			{Framework: hardening.ASVS, ID: "v5.0.0-12.1.3", Relation: hardening.Supports},
			{Framework: hardening.CWE, ID: "613", Relation: hardening.Supports},
			{Framework: hardening.ISO27002, ID: "8.24", Relation: hardening.Supports},
		},
	}
	switch {
	case age == 0:
		f.Observed = "never"
	case grace == 0:
		f.Observed += ", those in use when the response ends"
	default:
		f.Observed += fmt.Sprintf(", those in use %v later", grace)
	}
	return f
}
