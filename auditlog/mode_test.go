package auditlog

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// gated returns a config whose disk hangs once shut is called, until opened is.
func gated(t testing.TB) (cfg Config, shut, opened func()) {
	cfg = testConfig(privateDir(t))
	var mu sync.Mutex
	free := make(chan struct{})
	close(free)
	now := free
	cfg.openFile = func(path string) (appendFile, error) {
		f, err := openAppend(path)
		return hung{f, func() chan struct{} { mu.Lock(); defer mu.Unlock(); return now }}, err
	}
	shut = func() { mu.Lock(); now = make(chan struct{}); mu.Unlock() }
	opened = func() {
		mu.Lock()
		defer mu.Unlock()
		if now != free {
			close(now)
			now = free
		}
	}
	t.Cleanup(opened)
	return cfg, shut, opened
}

type hung struct {
	appendFile
	gate func() chan struct{}
}

func (h hung) Write(p []byte) (int, error) { <-h.gate(); return h.appendFile.Write(p) }

func TestBoundedGivesUpAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, shut, opened := gated(t)
		cfg.Mode = Bounded
		l := open(t, cfg)
		shut()
		start := time.Now()
		err := l.Record(context.Background(), read("p"))
		if waited := time.Since(start); !errors.Is(err, ErrBusy) || waited != defaultMaxWait {
			t.Errorf("after %v: %v", waited, err)
		}
		opened()
		synctest.Wait()
		record(t, l, read("q"))
		must(t, l.Close())
	})
}

func TestStrictWaitsAndIsBoundedInMemory(t *testing.T) {
	cfg, shut, opened := gated(t)
	cfg.MaxWaiting = 64
	l := open(t, cfg)
	shut()
	ctx, cancel := context.WithCancel(t.Context())
	var busy, cancelled atomic.Int64
	var wg sync.WaitGroup
	for range 300 {
		wg.Go(func() {
			switch err := l.Record(ctx, read("p")); {
			case errors.Is(err, ErrBusy):
				busy.Add(1)
			case errors.Is(err, context.Canceled):
				cancelled.Add(1)
			default:
				t.Errorf("got %v", err)
			}
		})
	}
	for busy.Load() < 300-2*64-1 { // at most a batch that is being written, and one that waits
		if err := ctx.Err(); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	cancel()
	wg.Wait()
	if busy.Load()+cancelled.Load() != 300 {
		t.Errorf("%d busy, %d gave up", busy.Load(), cancelled.Load())
	}
	opened()
	err := l.Record(t.Context(), read("q"))
	for errors.Is(err, ErrBusy) { // what waited is being written
		err = l.Record(t.Context(), read("q"))
	}
	must(t, err)
	must(t, l.Close())
	if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK || r.Lost != 0 {
		t.Errorf("%v", r)
	}
}

func TestBestEffortCountsWhatItDropsInTheLog(t *testing.T) {
	cfg, shut, opened := gated(t)
	cfg.Mode, cfg.MaxWaiting = BestEffort, 64
	l := open(t, cfg)
	shut()
	const n = 1000
	for range n {
		if err := l.Record(t.Context(), read("p")); err != nil {
			t.Fatalf("it waits or refuses: %v", err)
		}
	}
	opened()
	must(t, l.Close())
	r := verify(t, cfg.Dir, l.VerifierKey())
	if r.Status != StatusOK || r.Events+r.Lost != n || r.Lost == 0 || r.Events < 64 {
		t.Errorf("%v: %d lost", r, r.Lost)
	}
	for _, f := range l.Check() {
		if f.ID == "HDN-AUDITLOG-009" && f.Passed {
			t.Error("the finding passes")
		}
	}
}
