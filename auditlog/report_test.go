package auditlog

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
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

func TestAnOnErrorThatHangsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(privateDir(t))
		free := make(chan struct{})
		var calls atomic.Int64
		var l *Log
		cfg.OnError = func(error) {
			if calls.Add(1) == 1 {
				slog.New(l.Handler()).Info(SensitiveRead, "actor", "x") // fails as well, and is told of
			}
			<-free
		}
		var broke atomic.Bool
		cfg.openFile = func(path string) (appendFile, error) {
			f, err := openAppend(path)
			return brokenFile{f, &broke}, err
		}
		l = open(t, cfg)
		broke.Store(true)
		start := time.Now()
		for range 200 {
			if err := l.Record(t.Context(), read("p")); !errors.Is(err, ErrFailed) {
				t.Fatalf("%v", err)
			}
		}
		if waited := time.Since(start); waited > 2*time.Second {
			t.Errorf("200 calls waited for %v", waited)
		}
		e := slog.NewRecord(time.Now(), slog.LevelInfo, SensitiveRead, 0)
		for range 2 * maxHooks {
			if err := l.Handler().Handle(t.Context(), e); !errors.Is(err, ErrFailed) {
				t.Fatalf("%v", err)
			}
		}
		if err := l.Close(); !errors.Is(err, ErrFailed) {
			t.Errorf("%v", err)
		}
		if n := l.report.waiting.Load(); n > maxHooks {
			t.Errorf("%d calls wait", n)
		}
		close(free)
		synctest.Wait()
		if calls.Load() < 2 {
			t.Errorf("%d calls", calls.Load())
		}
	})
}

type brokenFile struct {
	appendFile
	broke *atomic.Bool
}

func (f brokenFile) Write(p []byte) (int, error) {
	if f.broke.Load() {
		return 0, syscall.EIO
	}
	return f.appendFile.Write(p)
}

// wildHandler is a slog.Handler that does what is asked instead of logging.
type wildHandler struct{ handle func() error }

func (wildHandler) Enabled(context.Context, slog.Level) bool    { return true }
func (h wildHandler) Handle(context.Context, slog.Record) error { return h.handle() }
func (h wildHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h wildHandler) WithGroup(string) slog.Handler             { return h }

func TestAnErrorLogThatPanicsOrHangsStopsNeitherProcessNorCallers(t *testing.T) {
	for name, handle := range map[string]func() error{
		"panics": func() error { panic("ErrorLog") },
		"fails":  func() error { return errors.New("ErrorLog") },
		"hangs":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				free := make(chan struct{})
				if handle == nil {
					handle = func() error { <-free; return nil }
				}
				cfg := testConfig(privateDir(t))
				cfg.ErrorLog = slog.New(wildHandler{handle})
				var broke atomic.Bool
				cfg.openFile = func(path string) (appendFile, error) {
					f, err := openAppend(path)
					return brokenFile{f, &broke}, err
				}
				told := 0
				cfg.OnError = func(error) { told++ }
				l := open(t, cfg)
				broke.Store(true)
				start := time.Now()
				for range 100 {
					if err := l.Record(t.Context(), read("p")); !errors.Is(err, ErrFailed) {
						t.Fatalf("%v", err)
					}
				}
				if err := l.Handler().Handle(t.Context(), slog.NewRecord(time.Now(), 0, SensitiveRead, 0)); !errors.Is(err, ErrFailed) {
					t.Errorf("%v", err)
				}
				if err := l.Close(); !errors.Is(err, ErrFailed) {
					t.Errorf("%v", err)
				}
				if waited := time.Since(start); waited > 3*time.Second || told != 2 {
					t.Errorf("the callers waited for %v; OnError was told %d times", waited, told)
				}
				close(free)
			})
		})
	}
}

// Whoever waits in a second Close may begin anew as soon as it returns.
func TestTheSecondCloseWaitsForTheFirst(t *testing.T) {
	for range 50 {
		cfg := testConfig(privateDir(t))
		l := open(t, cfg)
		first := make(chan error, 1)
		go func() { first <- l.Close() }()
		for l.Healthy() == nil {
			runtime.Gosched()
		}
		must(t, l.Close())
		again, err := Open(t.Context(), cfg)
		must(t, err)
		must(t, again.Close())
		must(t, <-first)
	}
}
