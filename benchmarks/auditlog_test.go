package benchmarks

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	slogmulti "github.com/samber/slog-multi"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/inovy/hardening/auditlog"
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
	key  ed25519.PrivateKey // nil, or what each write is signed with

	mu      sync.Mutex // guards the fields below
	work    sync.Cond  // for run: something is queued, or it is over
	durable sync.Cond  // for callers: synced grew
	pending []byte
	queued  int // records ever queued
	synced  int // of which on the disk
	closed  bool
	err     error
}

func newGroupCommit(path string, key ed25519.PrivateKey) (*groupCommit, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	g := &groupCommit{f: f, done: make(chan struct{}), key: key}
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
		if g.key != nil {
			batch = append(batch, ed25519.Sign(g.key, batch)...)
		}
		_, err := g.f.Write(batch)
		if err == nil {
			err = syncData(g.f)
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
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := record(); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
}

// accessEvent is one access to a patient's record, as NEN 7513 wants it.
func accessEvent() auditlog.Event {
	return auditlog.Event{
		Type: auditlog.SensitiveRead, Action: auditlog.Read, Outcome: auditlog.Success,
		Actor:   auditlog.Actor{ID: sessionUser, Role: "doctor", Org: "cardiology"},
		Subject: auditlog.Subject{ID: "patient-4711"},
		Object:  auditlog.Object{Type: "record", ID: "42"},
		Origin:  auditlog.Origin{IP: netip.AddrFrom4([4]byte{192, 0, 2, 10})},
		Purpose: "TREAT", RequestID: "QWERTZUIOPASDFGHJKLYXCVBNM",
	}
}

func openLog(tb testing.TB, dir string) *auditlog.Log {
	tb.Helper()
	quiet := slog.New(slog.DiscardHandler)
	log := must(auditlog.Open(tb.Context(), auditlog.Config{Dir: filepath.Join(dir, "log"), Next: quiet.Handler(), ErrorLog: quiet}))(tb)
	tb.Cleanup(func() { _ = log.Close() })
	return log
}

// writeLog writes n records of each caller and returns the directory, the
// verifier key and the content of the log.
func writeLog(tb testing.TB, callers, n int) (dir, key string, lines [][]byte) {
	tb.Helper()
	dir = onDisk(tb)
	log := openLog(tb, dir)
	dir = filepath.Join(dir, "log")
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range n {
				if err := log.Record(tb.Context(), accessEvent()); err != nil {
					tb.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := log.Close(); err != nil {
		tb.Fatal(err)
	}
	files := must(filepath.Glob(filepath.Join(dir, "seg-*")))(tb)
	if len(files) != 1 {
		tb.Fatalf("%d segments, want one", len(files))
	}
	text := must(os.ReadFile(files[0]))(tb)
	return dir, log.VerifierKey(), bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
}

// recordBytes is how much one record takes on the disk when 64 callers
// write, its share of the checkpoints included: what the raw loop writes too.
func recordBytes(tb testing.TB) int {
	tb.Helper()
	_, _, lines := writeLog(tb, callers, 16)
	total := 0
	for _, l := range lines {
		total += len(l) + 1
	}
	return total / (callers * 16)
}

// proof is what verification cannot do without: the records to hash and the
// signatures to check, taken from a log beforehand.
type proof struct {
	key     ed25519.PublicKey
	records [][]byte
	texts   [][]byte
	sigs    [][]byte
}

func proofOf(tb testing.TB, key string, lines [][]byte) proof {
	tb.Helper()
	_, b64, _ := strings.Cut(key[strings.IndexByte(key, '+')+1:], "+")
	pub := must(base64.StdEncoding.DecodeString(b64))(tb)
	if len(pub) != 1+ed25519.PublicKeySize || pub[0] != 1 {
		tb.Fatalf("the verifier key is not one of ed25519: %q", key)
	}
	p := proof{key: pub[1:]}
	for _, line := range lines {
		switch line[0] {
		case 'R':
			p.records = append(p.records, bytes.SplitN(line, []byte(" "), 4)[3])
		case 'C':
			note := must(base64.StdEncoding.DecodeString(string(line[2:])))(tb)
			text, sig, _ := bytes.Cut(note, []byte("\n\n"))
			raw := must(base64.StdEncoding.DecodeString(string(bytes.TrimSpace(sig[bytes.LastIndexByte(sig, ' '):]))))(tb)
			p.texts = append(p.texts, append(text, '\n'))
			p.sigs = append(p.sigs, raw[4:]) // after the key's id
		}
	}
	return p
}

// check hashes every leaf and checks every signature, in memory, without
// asking whether they belong together.
func (p proof) check() bool {
	var last tlog.Hash
	for _, r := range p.records {
		last = tlog.RecordHash(r)
	}
	ok := last != tlog.Hash{}
	for i := range p.texts {
		ok = ed25519.Verify(p.key, p.texts[i], p.sigs[i]) && ok
	}
	return ok
}

// verify measures the verification of a whole log; one iteration is one log.
func verify(b *testing.B, callers, n int) {
	dir, key, lines := writeLog(b, callers, n)
	p := proofOf(b, key, lines)
	perCommit := float64(len(p.records)) / float64(len(p.sigs))
	b.Run("hardening", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r, err := auditlog.Verify(b.Context(), dir, key, auditlog.VerifyOptions{})
			if err != nil || r.Status != auditlog.StatusOK || r.Size != int64(len(p.records)) {
				b.Fatalf("%v %v", r, err)
			}
		}
		b.ReportMetric(perCommit, "records/commit")
		b.ReportMetric(float64(len(p.records)*b.N)/b.Elapsed().Seconds(), "records/s")
	})
	b.Run("limit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !p.check() {
				b.Fatal("a signature is wrong")
			}
		}
		b.ReportMetric(perCommit, "records/commit")
		b.ReportMetric(float64(len(p.records)*b.N)/b.Elapsed().Seconds(), "records/s")
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

// hideKeys is redactKeys as a middleware of slog-multi.
func hideKeys(next slog.Handler) slog.Handler {
	return slogmulti.NewHandleInlineMiddleware(func(ctx context.Context, rec slog.Record, next func(context.Context, slog.Record) error) error {
		clean := slog.NewRecord(rec.Time, rec.Level, rec.Message, rec.PC)
		rec.Attrs(func(a slog.Attr) bool {
			clean.AddAttrs(redactKeys(nil, a))
			return true
		})
		return next(ctx, clean)
	})(next)
}

// zapLine writes the line of cleanAttrs with zap's own fields.
func zapLine(b *testing.B) {
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zap.InfoLevel))
	var fields []zap.Field
	for _, a := range cleanAttrs() {
		fields = append(fields, zap.Any(a.Key, a.Value.Any()))
	}
	b.ReportAllocs()
	for b.Loop() {
		log.Info("request", fields...)
	}
}

// zerologLine writes the line of cleanAttrs with zerolog's own methods.
func zerologLine(b *testing.B) {
	log := zerolog.New(io.Discard)
	attrs := cleanAttrs()
	b.ReportAllocs()
	for b.Loop() {
		e := log.Info().Time("time", time.Now())
		for _, a := range attrs {
			switch a.Value.Kind() {
			case slog.KindString:
				e.Str(a.Key, a.Value.String())
			case slog.KindInt64:
				e.Int64(a.Key, a.Value.Int64())
			case slog.KindDuration:
				e.Dur(a.Key, a.Value.Duration())
			case slog.KindBool:
				e.Bool(a.Key, a.Value.Bool())
			default:
				b.Fatalf("%v is not written", a)
			}
		}
		e.Msg("request")
	}
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
		b.Run("hardening", func(b *testing.B) {
			r := must(auditlog.NewRedactor(auditlog.RedactorConfig{}))(b)
			handle(b, r.Handler(slog.NewJSONHandler(io.Discard, nil)))
		})
		b.Run("slog", func(b *testing.B) { handle(b, slog.NewJSONHandler(io.Discard, nil)) })
		b.Run("handwritten", func(b *testing.B) {
			handle(b, slog.NewJSONHandler(io.Discard, &slog.HandlerOptions{ReplaceAttr: redactKeys}))
		})
		b.Run("slogmulti", func(b *testing.B) { handle(b, slogmulti.Pipe(hideKeys).Handler(slog.NewJSONHandler(io.Discard, nil))) })
		// zap and zerolog hide nothing: what writing the same line costs.
		b.Run("zap", func(b *testing.B) { zapLine(b) })
		b.Run("zerolog", func(b *testing.B) { zerologLine(b) })
	})
	// Durable: 64 callers, each waits until its record is on the disk.
	b.Run("record", func(b *testing.B) {
		b.Run("hardening", func(b *testing.B) {
			log, ctx := openLog(b, onDisk(b)), b.Context()
			fromCallers(b, func() error { return log.Record(ctx, accessEvent()) })
		})
		b.Run("limit", func(b *testing.B) {
			g := must(newGroupCommit(filepath.Join(onDisk(b), "log"), nil))(b)
			defer g.close()
			p := make([]byte, recordBytes(b))
			fromCallers(b, func() error { return g.record(p) })
		})
		// What a log costs that signs and hides the person, and does no more: each
		// caller seals and hashes as many bytes as it writes, each write is signed.
		b.Run("signing", func(b *testing.B) {
			_, key, err := ed25519.GenerateKey(nil)
			g := must(newGroupCommit(filepath.Join(onDisk(b), "log"), key))(b)
			defer g.close()
			aead := must(cipher.NewGCMWithRandomNonce(must(aes.NewCipher(make([]byte, 32)))(b)))(b)
			if err != nil {
				b.Fatal(err)
			}
			n := recordBytes(b)
			plain := make([]byte, n-64)
			fromCallers(b, func() error {
				p := aead.Seal(make([]byte, 0, n+64), nil, plain, nil)
				h := tlog.RecordHash(p)
				return g.record(append(p[:n-len(h)], h[:]...))
			})
		})
	})
	// A log that 64 callers wrote, and one in which every record has a
	// checkpoint of its own.
	b.Run("verify", func(b *testing.B) { verify(b, callers, 64) })
	b.Run("verify-single", func(b *testing.B) { verify(b, 1, 128) })
}

// The limit must keep what it promised to keep.
func TestTheGroupCommitKeepsEveryRecord(t *testing.T) {
	path := filepath.Join(onDisk(t), "log")
	g := must(newGroupCommit(path, nil))(t)
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

// The limit of verification must check the very records and signatures of
// the log: the number of records is the log's own, a changed record or
// signature does not pass for another reason.
func TestTheVerifyLimitChecksTheLog(t *testing.T) {
	dir, key, lines := writeLog(t, 4, 8)
	p := proofOf(t, key, lines)
	r, err := auditlog.Verify(t.Context(), dir, key, auditlog.VerifyOptions{})
	if err != nil || r.Status != auditlog.StatusOK || r.Size != int64(len(p.records)) {
		t.Errorf("the log has %v (%v), the limit hashes %d records", r, err, len(p.records))
	}
	if !p.check() {
		t.Fatal("the limit does not accept the log")
	}
	p.sigs[0][0] ^= 1
	if p.check() {
		t.Error("the limit accepts a changed signature")
	}
}
