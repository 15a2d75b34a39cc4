package auditlog

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAPanicInATailsOnErrorStopsNeitherTheProcessNorTheTail(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	fail, arrived := true, make(chan struct{})
	tail, err := l.Tail(TailConfig{
		File: filepath.Join(t.TempDir(), "sink"), Every: time.Millisecond,
		OnError: func(error) { panic("OnError") },
		Sink: sinkFunc(func(context.Context, []Line) error {
			if fail {
				fail = false
				return errors.New("down")
			}
			close(arrived)
			return nil
		}),
	})
	must(t, err)
	<-arrived
	must(t, tail.Close())
}

// A log put back from a backup ends before what the sink has: what is recorded
// from there on would be passed over without a word.
func TestATailRefusesALogThatEndsBeforeWhatTheSinkHas(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	record(t, l, read("jansen"))
	file := filepath.Join(t.TempDir(), "sink")
	must(t, os.WriteFile(file, []byte("v1 900\n"), 0o600))
	tail, err := l.Tail(TailConfig{File: file, Sink: sinkFunc(func(context.Context, []Line) error { return nil })})
	if err == nil {
		_ = tail.Close()
	}
	if !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), "900") {
		t.Errorf("%v", err)
	}
}

func TestAPanicInOnErrorReachesNeitherTheCallerNorTheLog(t *testing.T) {
	cfg := testConfig(privateDir(t))
	said, text := quiet()
	cfg.ErrorLog = said
	cfg.OnError = func(error) { panic("123456782") }
	l := open(t, cfg)
	must(t, l.Close())
	e := slog.NewRecord(time.Now(), slog.LevelInfo, SensitiveRead, 0)
	if err := l.Handler().Handle(t.Context(), e); err == nil {
		t.Error("an event after Close is taken")
	}
	l.report.stopped(errors.New("disk")) // as the committer does, on its own goroutine
	if s := text.String(); strings.Count(s, "OnError panicked") != 2 || strings.Contains(s, "123456782") {
		t.Errorf("%s", s)
	}
}
