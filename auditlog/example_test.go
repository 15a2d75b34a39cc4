package auditlog_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/inovy/hardening/auditlog"
)

func Example() {
	base, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(base)

	ctx := context.Background()
	dir := filepath.Join(base, "audit")
	trail, err := auditlog.Open(ctx, auditlog.Config{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	err = trail.Record(ctx, auditlog.Event{
		Type: auditlog.SensitiveRead, Action: auditlog.Read, Outcome: auditlog.Success,
		Actor:   auditlog.Actor{ID: "vermeer", Role: "doctor"},
		Subject: auditlog.Subject{ID: "jansen"}, Object: auditlog.Object{Type: "record", ID: "r1001"}, Purpose: "TREAT",
	})
	if err != nil {
		log.Fatal(err) // not on the disk: do not show the record
	}
	for e, err := range trail.Query(ctx, auditlog.Filter{Subject: "jansen"}) {
		fmt.Println(e.Actor.ID, e.Type, e.Object.ID, err)
	}
	key := trail.VerifierKey() // keep it where the log's administrators can not reach
	if err := trail.Close(); err != nil {
		log.Fatal(err)
	}
	report, err := auditlog.Verify(ctx, dir, key, auditlog.VerifyOptions{})
	fmt.Println(report.Status, report.Events, err)
	// Output:
	// vermeer sensitive_read r1001 <nil>
	// ok 1 <nil>
}

func ExampleNewRedactor() {
	redactor, err := auditlog.NewRedactor(auditlog.RedactorConfig{Safe: []string{"order_id"}})
	if err != nil {
		log.Fatal(err)
	}
	noTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	logger := slog.New(redactor.Handler(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: noTime})))
	logger.Info("mail to a.jansen@example.nl", "password", "hunter2", "order_id", "123456782", "note", "bsn 123456782")
	// Output:
	// level=INFO msg="mail to [REDACTED:email]" password=[REDACTED:key] order_id=123456782 note="bsn [REDACTED:bsn]"
}

func ExampleNewRoute() {
	paged := make(chan string, 1)
	route, err := auditlog.NewRoute(auditlog.RouteConfig{
		All:           []slog.Handler{slog.NewJSONHandler(io.Discard, nil)}, // os.Stdout in a service
		Errors:        slog.NewJSONHandler(io.Discard, nil),
		Alert:         func(rec slog.Record, dropped int) { paged <- fmt.Sprint(rec.Message, ", ", dropped, " more") },
		AlertInterval: time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer route.Close()
	logger := slog.New(route.Handler())
	logger.Error("no route to the printer")
	logger.Log(context.Background(), slog.Level(12), "keys of a.jansen@example.nl are gone")
	fmt.Println(<-paged)
	// Output:
	// keys of [REDACTED:email] are gone, 0 more
}

func ExampleSyslogSink() {
	dialer := &tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}} // or from package tlsconfig
	sink, err := auditlog.SyslogSink(func(ctx context.Context) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", "logs.example.nl:6514")
	}, "patients")
	fmt.Println(sink != nil, err)
	// Output:
	// true <nil>
}

func ExampleLog_Access() {
	base, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(base)
	trail, err := auditlog.Open(context.Background(), auditlog.Config{Dir: filepath.Join(base, "audit")})
	if err != nil {
		log.Fatal(err)
	}
	defer trail.Close()

	access, err := trail.Access(auditlog.AccessConfig{Describe: func(r *http.Request) (auditlog.Event, error) {
		return auditlog.Event{
			Type: auditlog.SensitiveRead, Action: auditlog.Read,
			Actor:   auditlog.Actor{ID: r.Header.Get("X-User")}, // in a service: from the session
			Subject: auditlog.Subject{ID: r.PathValue("patient")}, Object: auditlog.Object{Type: "patient_file"},
		}, nil
	}})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /patients/{patient}", access.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	})))
	r, _ := http.NewRequest(http.MethodGet, "/patients/jansen", strings.NewReader(""))
	r.Header.Set("X-User", "vermeer")
	mux.ServeHTTP(discard{}, r)
	for e := range trail.Query(context.Background(), auditlog.Filter{}) {
		fmt.Println(e.Actor.ID, e.Subject.ID, e.Outcome)
	}
	// Output:
	// vermeer jansen attempted
	// vermeer jansen denied
}

// discard is a client that does not listen.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
