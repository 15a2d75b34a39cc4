package auditlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// seen is a sink that keeps the numbers that it got, and what the tail said.
type seen struct {
	mu   sync.Mutex
	seqs []int64
	said []error
}

func (s *seen) Send(_ context.Context, lines []Line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range lines {
		s.seqs = append(s.seqs, l.Seq)
	}
	return nil
}

func (s *seen) onError(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, err)
}

// got returns what arrived and what was said since the last call.
func (s *seen) got() ([]int64, []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seqs, said := s.seqs, s.said
	s.seqs, s.said = nil, nil
	return seqs, said
}

func upTo(from, to int64) (all []int64) {
	for ; from < to; from++ {
		all = append(all, from)
	}
	return all
}

// segmented is an open log of at least n segments, and the seqs they begin with.
func segmented(t *testing.T, n int) (*Log, []int64) {
	t.Helper()
	cfg := testConfig(privateDir(t))
	cfg.SegmentBytes = minSegment
	l := open(t, cfg)
	for {
		e := read("p")
		e.Reason = strings.Repeat("r", 2000)
		record(t, l, e)
		if firsts, err := segments(cfg.Dir); err != nil || len(firsts) >= n {
			must(t, err)
			record(t, l, read("p")) // the rotation is over when this is answered
			return l, firsts
		}
	}
}

func (l *Log) size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.extent.size
}

func TestWhatWasPrunedBeforeTheSinkTookItIsToldOfAndTheRestIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, firsts := segmented(t, 4)
		file := filepath.Join(t.TempDir(), "sink")
		s := &seen{}
		tail := func() {
			t.Helper()
			tail, err := l.Tail(TailConfig{Sink: s, File: file, OnError: s.onError})
			must(t, err)
			time.Sleep(10 * time.Second)
			must(t, tail.Close())
		}
		must(t, os.WriteFile(file, []byte("v1 3\n"), 0o600)) // the sink was away for long
		l.cfg.Retention = -1
		if r, err := l.Prune(t.Context()); err != nil || r.Upto != firsts[3] {
			t.Fatalf("%+v %v", r, err)
		}
		tail()
		seqs, said := s.got()
		if !slices.Equal(seqs, upTo(firsts[3], l.size())) {
			t.Errorf("sent %v", seqs)
		}
		if len(said) != 1 || !strings.Contains(said[0].Error(), fmt.Sprintf("records 3 to %d were pruned", firsts[3]-1)) {
			t.Errorf("told %v", said)
		}
		record(t, l, read("q"))
		tail() // it is told once, and the sink's place is remembered
		if seqs, said := s.got(); !slices.Equal(seqs, upTo(l.size()-1, l.size())) || len(said) != 0 {
			t.Errorf("sent %v, told %v", seqs, said)
		}
	})
}

func TestATailIsPrunedUnderneathAndLosesNothingUntold(t *testing.T) {
	l, _ := segmented(t, 2)
	l.cfg.Retention = -1
	s := &seen{}
	tail, err := l.Tail(TailConfig{Sink: s, File: filepath.Join(t.TempDir(), "sink"), Every: time.Millisecond, OnError: s.onError})
	must(t, err)
	var writers sync.WaitGroup
	stop := make(chan struct{})
	writers.Go(func() {
		for more := true; more; {
			if _, err := l.Prune(t.Context()); err != nil {
				t.Errorf("prune: %v", err)
			}
			select {
			case <-stop:
				more = false
			default:
			}
		}
	})
	for range 200 {
		e := read("p")
		e.Reason = strings.Repeat("r", 2000)
		record(t, l, e)
	}
	close(stop)
	writers.Wait()
	last := l.size() - 1
	for arrived := false; !arrived; runtime.Gosched() {
		s.mu.Lock()
		arrived = len(s.seqs) > 0 && s.seqs[len(s.seqs)-1] >= last
		s.mu.Unlock()
	}
	must(t, tail.Close())
	seqs, said := s.got()
	next, told := int64(0), 0
	for _, seq := range seqs {
		if seq != next {
			if told++; told > len(said) || !strings.Contains(said[told-1].Error(), fmt.Sprintf("records %d to %d were pruned", next, seq-1)) {
				t.Fatalf("records %d to %d did not arrive; told %v", next, seq-1, said)
			}
		}
		next = seq + 1
	}
	if told != len(said) {
		t.Errorf("%d gaps, and told %v", told, said)
	}
	if r := verify(t, l.cfg.Dir, l.first); r.Status != StatusOK || r.Pruned == 0 {
		t.Errorf("%v", r)
	}
}

func TestAFaultInTheLogCostsATailNoRecord(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, path string){
		"a byte that reads wrong": func(t *testing.T, path string) {
			text, err := os.ReadFile(path)
			must(t, err)
			at := len(text) * 2 / 3
			text[at] ^= 1
			must(t, os.WriteFile(path, text, 0o600))
		},
		"a segment that is away": func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"a segment that is cut": func(t *testing.T, path string) {
			text, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, text[:strings.LastIndex(string(text[:len(text)/2]), "\n")+1], 0o600))
		},
		"a directory": func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, firsts := segmented(t, 4)
				path := filepath.Join(l.cfg.Dir, segmentName(firsts[1]))
				whole, err := os.ReadFile(path)
				must(t, err)
				harm(t, path)
				s := &seen{}
				tail, err := l.Tail(TailConfig{Sink: s, File: filepath.Join(t.TempDir(), "sink"), OnError: s.onError})
				must(t, err)
				time.Sleep(10 * time.Second)
				before, said := s.got()
				if len(said) == 0 {
					t.Error("nothing was told")
				}
				for _, err := range said {
					if !errors.Is(err, ErrTampered) {
						t.Errorf("told %v", err)
					}
				}
				must(t, os.RemoveAll(path))
				must(t, os.WriteFile(path, whole, 0o600))
				time.Sleep(10 * time.Second)
				must(t, tail.Close())
				after, _ := s.got()
				if all := append(before, after...); !slices.Equal(all, upTo(0, l.size())) {
					t.Errorf("sent %v", all)
				}
			})
		})
	}
}

func TestASinkAndAnOnErrorThatIgnoreTheirContextDoNotHoldClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, testConfig(privateDir(t)))
		free := make(chan struct{})
		defer close(free)
		for _, cfg := range []TailConfig{
			{Sink: sinkFunc(func(context.Context, []Line) error { <-free; return nil })},
			{Sink: sinkFunc(func(context.Context, []Line) error { return errors.New("down") }), OnError: func(error) { <-free }},
		} {
			cfg.File = filepath.Join(t.TempDir(), "sink")
			tail, err := l.Tail(cfg)
			must(t, err)
			time.Sleep(time.Minute)
			start := time.Now()
			must(t, tail.Close())
			if waited := time.Since(start); waited != 0 {
				t.Errorf("Close waited %v", waited)
			}
		}
	})
}
