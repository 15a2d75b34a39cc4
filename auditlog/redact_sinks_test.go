package auditlog

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/inovy/hardening/internal/event"
)

// sharedBuffer is a bytes.Buffer that several goroutines write to.
type sharedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *sharedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *sharedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// What is planted in events and in service records reaches no way out: neither
// the files of the log, nor what follows them to standard output, to syslog and
// over HTTP, nor the records that are none of the log's.
func TestNoPlantedSecretReachesASink(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.2.5")
	var next, stdout, syslog, posted sharedBuffer
	cfg := testConfig(privateDir(t))
	cfg.Next = slog.NewTextHandler(&next, nil)
	cfg.Redact.Declared = []string{"v", "m", "s", "note", "err", "req", "body"} // shown, so that patterns have to find what is in them
	l := open(t, cfg)

	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(&posted, r.Body) }))
	defer receiver.Close()
	post, err := HTTPSink(receiver.Client(), receiver.URL)
	must(t, err)
	here, there := net.Pipe()
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&syslog, there) })
	messages, err := SyslogSink(func(context.Context) (net.Conn, error) { return here, nil }, "records")
	must(t, err)

	n := int64(0)
	for _, attr := range corpus(t) {
		for _, log := range []*slog.Logger{slog.New(l.Handler()), slog.New(l.Handler()).With(attr), slog.New(l.Handler()).WithGroup("g").With(attr)} {
			log.LogAttrs(t.Context(), slog.LevelWarn, SensitiveRead, slog.String(event.KeyActor, "vermeer"), attr)
			log.LogAttrs(t.Context(), slog.LevelWarn, "no event: card "+card, attr)
			n++
		}
	}
	for name, sink := range map[string]Sink{"stdout": WriterSink(&stdout), "syslog": messages, "http": post} {
		sent := make(chan struct{})
		var once sync.Once
		tail, err := l.Tail(TailConfig{File: filepath.Join(t.TempDir(), name), Every: time.Millisecond, OnError: func(err error) { t.Errorf("%s: %v", name, err) },
			Sink: sinkFunc(func(ctx context.Context, lines []Line) error {
				err := sink.Send(ctx, lines)
				if lines[len(lines)-1].Seq >= n { // the first record is the log's own
					once.Do(func() { close(sent) })
				}
				return err
			})})
		must(t, err)
		<-sent
		must(t, tail.Close())
	}
	must(t, here.Close())
	reading.Wait()
	for name, out := range map[string]string{"next": next.String(), "stdout": stdout.String(), "syslog": syslog.String(), "http": posted.String(), "files": readAll(t, cfg.Dir)} {
		if len(out) < 10_000 {
			t.Errorf("%s: only %d bytes", name, len(out))
		}
		leaks(t, name, out)
	}
}

// readAll returns the segments of a log.
func readAll(t *testing.T, dir string) string {
	t.Helper()
	var all bytes.Buffer
	names, err := filepath.Glob(filepath.Join(dir, "seg-*"))
	must(t, err)
	for _, name := range names {
		text, err := os.ReadFile(name)
		must(t, err)
		all.Write(text)
	}
	return all.String()
}

// A logger that was derived before the service's policy was set goes through the
// policy of the handler that it came from; nothing derived later goes round the
// new one.
func TestALoggerKeepsThePolicyItWasDerivedUnder(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var out bytes.Buffer
	loose := newRedactor(RedactorConfig{DangerouslyAllow: []Pattern{PAN}})
	strict := newRedactor(RedactorConfig{Keys: []string{"nickname"}})
	slog.SetDefault(slog.New(loose.Handler(slog.NewJSONHandler(&out, nil))))
	early := slog.Default().With("nickname", "jo", "password", planted)
	slog.SetDefault(slog.New(strict.Handler(slog.NewJSONHandler(&out, nil))))
	late := slog.Default().With("nickname", "jo", "password", planted)

	early.Info("card " + card)
	if got := out.String(); !bytes.Contains([]byte(got), []byte(card)) || !bytes.Contains([]byte(got), []byte(`"nickname":"jo"`)) {
		t.Errorf("early: %s", got)
	}
	if bytes.Contains(out.Bytes(), []byte(planted)) {
		t.Errorf("early: %s", &out)
	}
	out.Reset()
	late.Info("card " + card)
	late.WithGroup("g").With("nickname", "jo").Info("m")
	if bytes.Contains(out.Bytes(), []byte(`"jo"`)) {
		t.Errorf("late: %s", &out)
	}
	leaks(t, "late", out.String())
}
