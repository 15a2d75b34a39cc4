package auditlog

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// quiet is a logger that keeps what the room says about itself.
func quiet() (*slog.Logger, *lockedBuffer) {
	b := &lockedBuffer{}
	return slog.New(slog.NewTextHandler(b, nil)), b
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// privateDir is a directory that only its owner may enter.
func privateDir(t testing.TB) string { return filepath.Join(t.TempDir(), "audit") }

func testConfig(dir string) Config {
	log, _ := quiet()
	return Config{Dir: dir, ErrorLog: log, Next: slog.DiscardHandler}
}

func open(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// read is a valid event.
func read(patient string) Event {
	return Event{Type: SensitiveRead, Action: Read, Outcome: Success, Actor: Actor{ID: "vermeer"}, Subject: Subject{ID: patient}, Object: Object{Type: "record", ID: "r1"}}
}

func record(t testing.TB, l *Log, e Event) {
	t.Helper()
	if err := l.Record(context.Background(), e); err != nil {
		t.Fatal(err)
	}
}

func entries(t testing.TB, l *Log, f Filter) (all []Entry) {
	t.Helper()
	for e, err := range l.Query(context.Background(), f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func verify(t testing.TB, dir, key string) *VerifyReport {
	t.Helper()
	r, err := Verify(context.Background(), dir, key, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func edit(t testing.TB, dir string, change func(string) string) {
	t.Helper()
	path := filepath.Join(dir, segmentName(0))
	text, err := os.ReadFile(path)
	must(t, err)
	changed := change(string(text))
	if changed == string(text) {
		t.Fatal("nothing changed")
	}
	must(t, os.WriteFile(path, []byte(changed), 0o600))
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
