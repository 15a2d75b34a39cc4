package auditlog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func BenchmarkRedactingHandlerTenCleanAttributes(b *testing.B) {
	rec := cleanRecord()
	for name, h := range map[string]slog.Handler{
		"slog":     slog.NewJSONHandler(io.Discard, nil),
		"redacted": newRedactor(RedactorConfig{}).Handler(slog.NewJSONHandler(io.Discard, nil)),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = h.Handle(context.Background(), rec)
			}
		})
	}
}

func BenchmarkScanCleanText(b *testing.B) {
	r := newRedactor(RedactorConfig{})
	text := "user 4711 requested /records/17 from 192.0.2.7 and was answered 200 in 12.5 ms; nothing to see in this line"
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, ok := r.find(text, 0); ok {
			b.Fatal("false positive")
		}
	}
}

func BenchmarkEncodeEvent(b *testing.B) {
	e := read("jansen")
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendEvent(buf[:0], &e, e.Time, 0, nil, nil)
	}
}

// BenchmarkRecord writes beside this file, not to a temporary directory, which
// may lie in memory.
func BenchmarkRecord(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(map[int]string{1: "1 caller", 64: "64 callers"}[callers], func(b *testing.B) {
			dir, err := os.MkdirTemp(".", ".bench-")
			must(b, err)
			b.Cleanup(func() { _ = os.RemoveAll(dir) })
			l := open(b, testConfig(dir))
			b.ReportAllocs()
			if callers == 1 {
				for b.Loop() {
					record(b, l, read("jansen"))
				}
				return
			}
			b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := l.Record(context.Background(), read("jansen")); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkVerify reads commits of 32 records each.
func BenchmarkVerify(b *testing.B) {
	k, err := newKey("bench")
	must(b, err)
	signer, err := note.NewSigner(k.Secret)
	must(b, err)
	var t tree
	text := appendHeader(nil, k.Origin, &t, epoch{0, k.First})
	const commits, each = 100, 32
	after := int64(0)
	for range commits {
		for range each {
			e := read("jansen")
			body := appendEvent(nil, &e, time.Now(), 0, nil, nil)
			if t.size == 0 {
				body = appendControl(nil, kindGenesis, time.Now(), control{Format: formatVersion, Origin: k.Origin, VKey: k.First})
			}
			h := tlog.RecordHash(body)
			text = appendRecordLine(text, t.size, h, body)
			t.add(h)
		}
		signed, err := signCheckpoint(signer, k.Origin, &t, after)
		after = t.size
		must(b, err)
		text = appendCheckpointLine(text, signed)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		c, err := newChain(k.First)
		must(b, err)
		if _, f, err := c.segment(context.Background(), segmentName(0), bytes.NewReader(text), true); err != nil || f != nil {
			b.Fatal(f, err)
		}
	}
	b.ReportMetric(float64(commits*each*b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkOpenAfterACrash opens logs of which the end was torn off, as a crash
// leaves them: only the newest segment is read, whatever is before it.
func BenchmarkOpenAfterACrash(b *testing.B) {
	for _, size := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprintf("%d records", size), func(b *testing.B) {
			dir, err := os.MkdirTemp(".", ".bench-")
			must(b, err)
			b.Cleanup(func() { _ = os.RemoveAll(dir) })
			cfg := testConfig(dir)
			cfg.Mode, cfg.MaxWaiting = BestEffort, size
			l := open(b, cfg)
			e := Event{Type: SysStartup, Action: Execute, Outcome: Success, Origin: Origin{Service: "bench"}}
			for done := 0; done < size; {
				err := l.Record(b.Context(), e)
				must(b, err)
				if done++; done%10_000 == 0 { // the next ones wait for the disk
					_, err := l.control(b.Context(), kindOpen, control{})
					must(b, err)
				}
			}
			must(b, l.Close())
			r := verify(b, dir, l.VerifierKey())
			if r.Status != StatusOK || r.Size < int64(size) || r.Lost != 0 {
				b.Fatalf("%v", r)
			}
			for b.Loop() {
				b.StopTimer()
				firsts, err := segments(dir)
				must(b, err)
				f, err := os.OpenFile(filepath.Join(dir, segmentName(firsts[len(firsts)-1])), os.O_WRONLY|os.O_APPEND, 0)
				must(b, err)
				_, err = f.WriteString("R 17 half a rec")
				must(b, err)
				must(b, f.Close())
				b.StartTimer()
				l := open(b, cfg)
				b.StopTimer()
				must(b, l.Close())
				b.StartTimer()
			}
			b.ReportMetric(float64(r.Segments), "segments")
		})
	}
}
