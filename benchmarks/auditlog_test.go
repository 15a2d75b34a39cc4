package benchmarks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// onDisk returns a directory beside this file, which goes when the test ends.
// Not tb.TempDir: where the temporary directory lies in memory, syncing it
// costs nothing and proves nothing.
func onDisk(tb testing.TB) string {
	tb.Helper()
	dir := must(os.MkdirTemp(".", ".bench-"))(tb)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return must(filepath.Abs(dir))(tb)
}

// groupCommit is the least that makes records of many callers durable: one
// goroutine writes what has gathered while it last waited for the disk, syncs,
// and wakes all whose records that were. No hash, no signature, no parsing.
type groupCommit struct {
	f    *os.File
	done chan struct{}

	mu      sync.Mutex // guards the fields below
	work    sync.Cond  // for run: something is queued, or it is over
	durable sync.Cond  // for callers: synced grew
	pending []byte
	queued  int // records ever queued
	synced  int // of which on the disk
	closed  bool
	err     error
}

func newGroupCommit(path string) (*groupCommit, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	g := &groupCommit{f: f, done: make(chan struct{})}
	g.work.L, g.durable.L = &g.mu, &g.mu
	go g.run()
	return g, nil
}

func (g *groupCommit) run() {
	defer close(g.done)
	var batch []byte
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		for g.queued == g.synced && !g.closed {
			g.work.Wait()
		}
		if g.queued == g.synced {
			return
		}
		batch, g.pending = g.pending, batch[:0]
		upTo := g.queued
		g.mu.Unlock()
		_, err := g.f.Write(batch)
		if err == nil {
			err = g.f.Sync()
		}
		g.mu.Lock()
		g.synced = upTo
		if g.err == nil {
			g.err = err
		}
		g.durable.Broadcast()
	}
}

// record returns when the record is on the disk.
func (g *groupCommit) record(p []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pending = append(g.pending, p...)
	g.queued++
	mine := g.queued
	g.work.Signal()
	for g.synced < mine {
		g.durable.Wait()
	}
	return g.err
}

func (g *groupCommit) close() error {
	g.mu.Lock()
	g.closed = true
	g.work.Signal()
	g.mu.Unlock()
	<-g.done
	return g.f.Close()
}

const callers = 64

// fromCallers measures record called by 64 goroutines at once.
func fromCallers(b *testing.B, record func() error) {
	b.Helper()
	b.ReportAllocs()
	b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := record(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// cleanAttrs are ten attributes without a secret, the usual case: the work is
// to find out that there is nothing to hide.
func cleanAttrs() []slog.Attr {
	return []slog.Attr{
		slog.String("method", "GET"),
		slog.String("path", "/records/42/medication"),
		slog.Int("status", 200),
		slog.Int64("bytes", 18_231),
		slog.Duration("took", 1830*time.Microsecond),
		slog.String("client_addr", "192.0.2.10"),
		slog.String("request_id", "QWERTZUIOPASDFGHJKLYXCVBNM"),
		slog.String("user_agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
		slog.Bool("cached", false),
		slog.String("ward", "cardiology"),
	}
}

// redactKeys is what most services do: a list of names, checked per attribute
// at the top level. It finds no secret in a value.
func redactKeys(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case "password", "token", "cookie", "authorization", "bsn", "session", "secret", "api_key":
		return slog.String(a.Key, "[redacted]")
	}
	return a
}

func BenchmarkAuditLog(b *testing.B) {
	b.Run("redact", func(b *testing.B) {
		handle := func(b *testing.B, h slog.Handler) {
			ctx, attrs := context.Background(), cleanAttrs()
			b.ReportAllocs()
			for b.Loop() {
				r := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
				r.AddAttrs(attrs...)
				if err := h.Handle(ctx, r); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.Run("slog", func(b *testing.B) { handle(b, slog.NewJSONHandler(io.Discard, nil)) })
		b.Run("handwritten", func(b *testing.B) {
			handle(b, slog.NewJSONHandler(io.Discard, &slog.HandlerOptions{ReplaceAttr: redactKeys}))
		})
	})
	// Durable: 64 callers, each waits until its record is on the disk.
	b.Run("record", func(b *testing.B) {
		b.Run("limit", func(b *testing.B) {
			g := must(newGroupCommit(filepath.Join(onDisk(b), "log")))(b)
			defer g.close()
			p := make([]byte, recordBytes)
			fromCallers(b, func() error { return g.record(p) })
		})
	})
}

// recordBytes is how much one access event takes on the disk.
const recordBytes = 512

// The limit must keep what it promised to keep.
func TestTheGroupCommitKeepsEveryRecord(t *testing.T) {
	path := filepath.Join(onDisk(t), "log")
	g := must(newGroupCommit(path))(t)
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := range 20 {
				line := fmt.Appendf(nil, "%d %02d\n", c, i)
				if err := g.record(line); err != nil {
					t.Error(err)
				}
				if i == 19 {
					text, err := os.ReadFile(path)
					if err != nil || !bytes.Contains(text, line) {
						t.Errorf("acknowledged, but not in the file: %q (%v)", line, err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := g.close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 8*20*5 {
		t.Errorf("the file has %v, want %d bytes", info, 8*20*5)
	}
}
