package auditlog

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/internal/event"
)

var twoLines = []Line{{Seq: 0, Type: "a", JSON: []byte(`{"n":0}`)}, {Seq: 1, Type: "a", JSON: []byte(`{"n":1}`)}}

// A 302 turns a POST into a GET without a body, and a login page answers 200; a
// 307 carries the records to whatever host it names.
func TestTrap_ARedirectTakesRecordsAwayOrLosesThem(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/login" {
				elsewhere.Add(1)
				return
			}
			target := "/login"
			if status > 306 {
				target = other.URL
			}
			http.Redirect(w, r, target, status)
		}))
		client := server.Client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
		sink, err := HTTPSink(client, server.URL+"/records")
		must(t, err)
		if err := sink.Send(t.Context(), twoLines); err == nil || !strings.Contains(err.Error(), strconv.Itoa(status)) {
			t.Errorf("%d: %v", status, err)
		}
		server.Close()
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

func TestAnHTTPSinkTakesNoURLThatLosesOrShowsRecords(t *testing.T) {
	for url, want := range map[string]string{
		"":                           "no server",
		"foo":                        "no server",
		"/records":                   "no server",
		"https://":                   "no server",
		"https:records":              "no server",
		"ftp://collector/x":          "no server",
		"http://collector.example/x": "clear",
		"http://127.0.0.1.example/":  "clear",
		"http://[::1]:9000/records":  "",
		"http://localhost:9000":      "",
		"https://collector.example/": "",
	} {
		_, err := HTTPSink(http.DefaultClient, url)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", url, err)
		case want == "no server" && (err == nil || !strings.Contains(err.Error(), "not a URL of a server")),
			want == "clear" && (err == nil || !strings.Contains(err.Error(), "in the clear")):
			t.Errorf("%s: %v", url, err)
		}
	}
}

// receive reads one message that is counted by octets.
func receive(in *bufio.Reader) (string, error) {
	count, err := in.ReadString(' ')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if err != nil {
		return "", err
	}
	message := make([]byte, n)
	_, err = io.ReadFull(in, message)
	return string(message), err
}

// RFC 5425: a receiver that verifies, restarts between two batches, and has a
// certificate that nobody vouches for.
func TestSyslogOverTLS(t *testing.T) {
	source := httptest.NewTLSServer(nil) // for its certificate
	defer source.Close()
	roots := x509.NewCertPool()
	roots.AddCert(source.Certificate())
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: source.TLS.Certificates, MinVersion: tls.VersionTLS12})
	must(t, err)
	defer listener.Close()
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	dial := func(d *tls.Dialer) func(context.Context) (net.Conn, error) {
		return func(ctx context.Context) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", listener.Addr().String())
		}
	}
	sink, err := SyslogSink(dial(dialer), "records")
	must(t, err)
	for round := range 3 {
		sent := make(chan error, 1)
		go func() { sent <- sink.Send(context.WithoutCancel(t.Context()), twoLines) }()
		conn, err := listener.Accept()
		must(t, err)
		in := bufio.NewReader(conn)
		for i := range twoLines {
			got, err := receive(in)
			if err != nil || !strings.HasSuffix(got, `{"seq":`+strconv.Itoa(i)+`,"record":{"n":`+strconv.Itoa(i)+`}}`) {
				t.Errorf("round %d, message %d: %q, %v", round, i, got, err)
			}
		}
		must(t, <-sent)
		must(t, conn.Close()) // the receiver restarts; the next batch must not go into the closed connection
	}

	strangers, err := SyslogSink(dial(&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}), "records")
	must(t, err)
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}()
	if err := strangers.Send(t.Context(), twoLines); err == nil || !strings.Contains(err.Error(), "dial") {
		t.Errorf("a receiver that nobody vouches for: %v", err)
	}
}

func TestASyslogReceiverThatHangsIsGivenUp(t *testing.T) {
	for name, dial := range map[string]func(context.Context) (net.Conn, error){
		"while it is dialled": func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"while it is written to": func(context.Context) (net.Conn, error) {
			here, _ := net.Pipe()
			return here, nil
		},
		"and gives nothing": func(context.Context) (net.Conn, error) { return nil, nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			sink, err := SyslogSink(dial, "records")
			must(t, err)
			began := time.Now()
			for range 2 {
				if sink.Send(context.Background(), twoLines) == nil {
					t.Errorf("%s: it is taken for success", name)
				}
			}
			if d := time.Since(began); d > 2*syslogTimeout {
				t.Errorf("%s: it took %v", name, d)
			}
		})
	}
}

// A context that ends while the connection fails must not meet a connection that
// is gone, nor the next one.
func TestASyslogSendThatIsCancelledSpoilsNoOther(t *testing.T) {
	var conns sync.WaitGroup
	var received atomic.Int64
	sink, err := SyslogSink(func(context.Context) (net.Conn, error) {
		here, there := net.Pipe()
		conns.Go(func() {
			in := bufio.NewReader(there)
			for {
				if _, err := receive(in); err != nil {
					_ = there.Close()
					return
				}
				received.Add(1)
			}
		})
		return here, nil
	}, "records")
	must(t, err)
	for i := range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		_ = sink.Send(ctx, twoLines)
		<-ctx.Done()
		if i%10 == 9 { // the last one too
			before := received.Load()
			if err := sink.Send(t.Context(), twoLines); err != nil {
				t.Fatalf("after a cancelled one: %v", err)
			}
			if received.Load() < before {
				t.Fatal("nothing was received")
			}
		}
	}
	sink.(*syslogSink).drop()
	conns.Wait()
}

// An OnError that panics ends neither a log call nor the process.
func TestAPanicOfOnErrorStaysInside(t *testing.T) {
	told := make(chan string, 10)
	var out strings.Builder
	route, err := NewRoute(RouteConfig{
		All:   []slog.Handler{broken{how: "panic"}, slog.NewJSONHandler(&out, nil)},
		Alert: func(slog.Record, int) { panic("in the hook") },
		OnError: func(_ context.Context, err error) {
			told <- err.Error()
			panic("in OnError")
		},
	})
	must(t, err)
	slog.New(route.Handler()).With("a", 1).WithGroup("g").Log(t.Context(), event.LevelCritical, "alarm", "b", 2)
	must(t, route.Close())
	close(told)
	var all strings.Builder
	for s := range told {
		all.WriteString(s + "\n")
	}
	if !strings.Contains(all.String(), "alert hook panicked") || !strings.Contains(all.String(), "auditlog.broken panicked") || !strings.Contains(out.String(), "alarm") {
		t.Errorf("told %q, written %q", all.String(), out.String())
	}
}

func TestAlertsKeepTheirDistance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		began := time.Now()
		lost := 0
		route, err := NewRoute(RouteConfig{
			All: []slog.Handler{slog.DiscardHandler}, AlertInterval: time.Minute,
			Alert: func(_ slog.Record, dropped int) {
				at = append(at, time.Since(began))
				lost += dropped
			},
		})
		must(t, err)
		log := slog.New(route.Handler())
		for range 100 {
			log.Log(t.Context(), event.LevelCritical, "alarm")
		}
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		for i, d := range at {
			if d != time.Duration(i)*time.Minute {
				t.Errorf("alert %d after %v", i, d)
			}
		}
		if len(at) != 3 {
			t.Errorf("%d alerts in two minutes", len(at))
		}
		must(t, route.Close()) // tells the rest at once
		if d := time.Since(began); d != 2*time.Minute+time.Second || len(at)+lost != 100 || len(at) > maxAlerts+1 {
			t.Errorf("%d told, %d dropped, closed after %v", len(at), lost, d)
		}
	})
	if _, err := NewRoute(RouteConfig{All: []slog.Handler{slog.DiscardHandler}, AlertInterval: -1}); err == nil || !strings.Contains(err.Error(), "AlertInterval") {
		t.Errorf("a negative interval: %v", err)
	}
}

// What Handle took before Close is told; what it did not take is an error.
func TestNoAlertIsLostBetweenHandleAndClose(t *testing.T) {
	for range 200 {
		var told, lost int // by the hook's one goroutine
		a := startAlerts(func(_ slog.Record, dropped int) { told++; lost += dropped }, 0, func(context.Context, error) {})
		var taken atomic.Int64
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 8 {
					if a.Handle(context.Background(), slog.Record{Level: event.LevelCritical}) == nil {
						taken.Add(1)
					}
				}
			})
		}
		all.Go(func() { a.close() })
		all.Wait()
		lost += int(a.dropped.Load())
		if int(taken.Load()) != told+lost {
			t.Fatalf("%d taken, %d told, %d dropped", taken.Load(), told, lost)
		}
	}
}

func TestFailoverRefusesHandlersThatLogIntoThemselves(t *testing.T) {
	for name, h := range map[string]slog.Handler{"none": nil, "slog's own": slog.Default().Handler(), "a nil pointer": (*slog.JSONHandler)(nil)} {
		if _, err := Failover(slog.DiscardHandler, h); err == nil || !strings.Contains(err.Error(), "handlers[1]") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Failover(); err == nil || errors.Is(err, ErrNotWritten) {
		t.Errorf("no handlers: %v", err)
	}
}
