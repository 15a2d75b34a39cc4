package auditlog

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slowDisk takes its time for each sync, and counts them.
type slowDisk struct {
	appendFile
	takes time.Duration
	syncs *atomic.Int64
}

func (d slowDisk) Sync() error {
	d.syncs.Add(1)
	time.Sleep(d.takes)
	return d.appendFile.Sync()
}

func onSlowDisk(t *testing.T, takes time.Duration) (Config, *atomic.Int64) {
	var syncs atomic.Int64
	cfg := testConfig(privateDir(t))
	cfg.openFile = func(path string) (appendFile, error) {
		f, err := openAppend(path)
		return slowDisk{f, takes, &syncs}, err
	}
	return cfg, &syncs
}

func TestCallersThatComeBackAtOnceShareEveryWrite(t *testing.T) {
	for name, c := range map[string]struct {
		mode    Mode
		maxWait time.Duration
		shared  bool
	}{
		"Strict":                  {Strict, 0, true},
		"Bounded":                 {Bounded, 0, true},
		"Bounded, and in a hurry": {Bounded, 50 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, syncs := onSlowDisk(t, time.Millisecond)
				cfg.Mode, cfg.MaxWait = c.mode, c.maxWait
				l := open(t, cfg)
				const callers, each = 64, 100
				before := syncs.Load()
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for range each {
							record(t, l, read("p"))
							time.Sleep(20 * time.Microsecond) // what else it has to do
						}
					})
				}
				wg.Wait()
				// Two groups that take turns would need twice as many.
				if n := syncs.Load() - before; n < each || (n <= each+each/10) != c.shared {
					t.Errorf("%d writes for %d rounds of all callers", n, each)
				}
				must(t, l.Close())
				if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK || r.Events != callers*each {
					t.Errorf("%v: %d events", r, r.Events)
				}
			})
		})
	}
}

// Whoever comes on their own account is not made to wait for others, or now
// and then a little.
func TestNobodyWaitsForCallersThatDoNotComeBack(t *testing.T) {
	const disk = time.Millisecond
	for name, every := range map[string]time.Duration{
		"sparse": 3 * disk, "one in each write": disk, "many in each write": disk / 20,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, _ := onSlowDisk(t, disk)
				l := open(t, cfg)
				n := int(250 * disk / every)
				var late, most atomic.Int64
				var wg sync.WaitGroup
				for range n {
					wg.Go(func() {
						begun := time.Now()
						record(t, l, read("p"))
						took := int64(time.Since(begun))
						if took > int64(2*disk) { // the write under way, and its own
							late.Add(1)
						}
						for old := most.Load(); took > old && !most.CompareAndSwap(old, took); old = most.Load() {
						}
					})
					time.Sleep(every)
				}
				wg.Wait()
				t.Logf("%d of %d waited for others, the longest took %v", late.Load(), n, time.Duration(most.Load()))
				if late.Load() > int64(n/20) {
					t.Errorf("%d of %d waited for others", late.Load(), n)
				}
				if longest := time.Duration(most.Load()); longest > 4*disk {
					t.Errorf("one took %v on a disk that takes %v", longest, disk)
				}
			})
		})
	}
}

func TestCloseWaitsForNoCallers(t *testing.T) {
	for name, at := range map[string]time.Duration{"during a write": -time.Millisecond, "while callers are expected": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const disk = time.Second
				cfg, syncs := onSlowDisk(t, disk)
				l := open(t, cfg)
				var wg sync.WaitGroup
				for range 8 {
					wg.Go(func() {
						for l.Record(t.Context(), read("p")) == nil {
							time.Sleep(2 * time.Millisecond)
						}
					})
				}
				for before := syncs.Load(); syncs.Load() < before+10; {
					time.Sleep(time.Millisecond / 4)
				}
				time.Sleep(disk - time.Millisecond/4 + at)
				begun := time.Now()
				must(t, l.Close())
				if took := time.Since(begun); took > disk-min(at, 0) {
					t.Errorf("Close took %v", took)
				}
				wg.Wait()
			})
		})
	}
}
