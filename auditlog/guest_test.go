package auditlog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// deaf is a replica and an anchor that ignores its context while it is
// told to, and counts how many calls it is in.
type deaf struct {
	memory
	gate        chan struct{} // closed = it answers
	in, most, n atomic.Int64
}

func newDeaf() *deaf {
	d := &deaf{memory: memory{got: map[string][]byte{}}, gate: make(chan struct{})}
	return d
}

func (d *deaf) wait() {
	d.n.Add(1)
	d.most.Store(max(d.most.Load(), d.in.Add(1)))
	<-d.gate
	d.in.Add(-1)
}

func (d *deaf) Put(context.Context, []byte) error { d.wait(); return nil }

// deafReplica begins to ignore its context when it is told to.
type deafReplica struct {
	*deaf
	now atomic.Bool
}

func (d *deafReplica) Append(ctx context.Context, segment string, offset int64, data []byte) error {
	if d.now.Load() {
		d.wait()
	}
	return d.memory.Append(ctx, segment, offset, data)
}

func TestAReplicaThatIgnoresItsContextHoldsUpNobodyAndNothingIsAcknowledged(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.5.3")
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, d := testConfig(privateDir(t)), &deafReplica{deaf: newDeaf()}
				for cfg.Mode.String() != mode {
					cfg.Mode++
				}
				cfg.Replica, cfg.MaxWait = d, time.Minute
				said, text := quiet()
				cfg.ErrorLog = said
				var mu sync.Mutex
				var told []error
				cfg.OnError = func(err error) { mu.Lock(); told = append(told, err); mu.Unlock() }
				l := open(t, cfg)
				record(t, l, read("before"))
				synctest.Wait()
				d.now.Store(true)
				start := time.Now()
				for range 3 {
					err := l.Record(t.Context(), read("p"))
					if cfg.Mode != BestEffort && !errors.Is(err, ErrNotReplicated) {
						t.Errorf("%v", err)
					}
				}
				if cfg.Mode != BestEffort && time.Since(start) != 3*defaultReplicaTimeout {
					t.Errorf("three records took %v", time.Since(start))
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				mu.Lock()
				if n := strings.Count(text.String(), "nothing is acknowledged until it does"); n != 1 || len(told) != 1 || !errors.Is(told[0], ErrNotReplicated) {
					t.Errorf("OnError was told %v, ErrorLog %d times", told, n)
				}
				mu.Unlock()
				if d.n.Load() != 1 {
					t.Errorf("%d calls while the first had not returned", d.n.Load())
				}
				// Back again: everything arrives, once and in order.
				d.now.Store(false)
				close(d.gate)
				synctest.Wait()
				record(t, l, read("after"))
				must(t, l.Close())
				for segment, got := range d.got {
					content, err := os.ReadFile(filepath.Join(cfg.Dir, segment))
					must(t, err)
					if string(got) != string(content) {
						t.Errorf("%s: the replica has %d other bytes", segment, len(got))
					}
				}
				if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK || r.Events != 5 {
					t.Errorf("%v", r)
				}
			})
		})
	}
}

func TestAReplicaThatIgnoresItsContextHoldsNeitherOpenNorClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, d := testConfig(privateDir(t)), &deafReplica{deaf: newDeaf()}
		defer close(d.gate)
		cfg.Replica = d
		l := open(t, cfg)
		d.now.Store(true)
		start := time.Now()
		if err := l.Close(); !errors.Is(err, ErrNotReplicated) || time.Since(start) > 2*defaultReplicaTimeout {
			t.Errorf("Close took %v: %v", time.Since(start), err)
		}
		start = time.Now()
		if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrNotReplicated) || time.Since(start) > 2*defaultReplicaTimeout {
			t.Errorf("Open took %v: %v", time.Since(start), err)
		}
	})
}

func TestAnAnchorThatIgnoresItsContextHoldsNeitherCloseNorOtherAnchors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, d := testConfig(privateDir(t)), newDeaf()
		defer close(d.gate)
		var last atomic.Pointer[[]byte]
		cfg.Anchors = []Anchor{d, &stuck{}, anchorFunc(func(_ context.Context, note []byte) error { last.Store(&note); return nil })}
		said, text := quiet()
		cfg.ErrorLog = said
		l := open(t, cfg)
		record(t, l, read("p"))
		time.Sleep(10 * time.Minute)
		_, before, err := anchored(*last.Load())
		must(t, err)
		if before < 3 {
			t.Errorf("the anchor that answers has seen %d records", before)
		}
		if n := l.anchors.failures(); n != 2 {
			t.Errorf("%d failures", n)
		}
		for _, s := range []string{"anchor 0 did not take", "anchor 1 did not take"} {
			if strings.Count(text.String(), s) != 1 {
				t.Errorf("%s: %s", s, text)
			}
		}
		start := time.Now()
		must(t, l.Close())
		if waited := time.Since(start); waited > defaultReplicaTimeout {
			t.Errorf("Close waited %v", waited)
		}
		if _, n, err := anchored(*last.Load()); err != nil || n <= before {
			t.Errorf("the last checkpoint did not arrive: %d, %v", n, err)
		}
		if d.most.Load() != 1 || d.n.Load() != 1 {
			t.Errorf("%d calls, %d at once", d.n.Load(), d.most.Load())
		}
	})
}

type anchorFunc func(context.Context, []byte) error

func (f anchorFunc) Put(ctx context.Context, note []byte) error { return f(ctx, note) }
