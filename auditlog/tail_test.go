package auditlog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// collector is a sink that can fail, and tells when it has a record.
type collector struct {
	fail  int
	seqs  []int64
	until int64
	got   chan struct{}
}

func (c *collector) Send(_ context.Context, lines []Line) error {
	if c.fail > 0 {
		c.fail--
		if c.fail == 0 {
			panic("sink")
		}
		return errors.New("down")
	}
	for _, l := range lines {
		if c.seqs = append(c.seqs, l.Seq); l.Seq == c.until {
			close(c.got)
		}
	}
	return nil
}

func TestATailSendsEveryRecordOnceInOrderAcrossRestartsAndSegments(t *testing.T) {
	cfg := testConfig(filepath.Join(t.TempDir(), "log"))
	cfg.SegmentBytes = minSegment
	l := open(t, cfg)
	file := filepath.Join(t.TempDir(), "sink")
	var all []int64
	for round := range 3 {
		for range 300 {
			record(t, l, read("jansen"))
		}
		l.mu.Lock()
		last := l.extent.size - 1
		l.mu.Unlock()
		c := &collector{fail: round, until: last, got: make(chan struct{})}
		tail, err := l.Tail(TailConfig{Sink: c, File: file, Every: time.Millisecond, OnError: func(error) {}})
		must(t, err)
		<-c.got
		must(t, tail.Close())
		all = append(all, c.seqs...)
	}
	for i, seq := range all {
		if seq != int64(i) {
			t.Fatalf("record %d stands at %d", seq, i)
		}
	}
	if len(all) < 900 {
		t.Errorf("%d records", len(all))
	}
}

func TestARecordDoesNotWaitForASink(t *testing.T) {
	l := open(t, testConfig(filepath.Join(t.TempDir(), "log")))
	stuck := make(chan struct{})
	tail, err := l.Tail(TailConfig{File: filepath.Join(t.TempDir(), "sink"), Every: time.Millisecond, Sink: sinkFunc(func(ctx context.Context, _ []Line) error {
		close(stuck)
		<-ctx.Done()
		return ctx.Err()
	})})
	must(t, err)
	<-stuck
	record(t, l, read("jansen"))
	must(t, tail.Close())
}

type sinkFunc func(context.Context, []Line) error

func (f sinkFunc) Send(ctx context.Context, lines []Line) error { return f(ctx, lines) }

func TestSinksSpeakTheirProtocols(t *testing.T) {
	lines := []Line{{Seq: 0, Time: time.Unix(0, 0), Type: "genesis", JSON: []byte(`{"a":1}`)}, {Seq: 1, Time: time.Unix(1, 0), Type: AuthzFail, Level: 12, JSON: []byte(`{"b":2}`)}}
	const want = `{"seq":0,"record":{"a":1}}` + "\n" + `{"seq":1,"record":{"b":2}}` + "\n"
	var out bytes.Buffer
	must(t, WriterSink(&out).Send(t.Context(), lines))
	if out.String() != want {
		t.Errorf("writer: %s", &out)
	}

	status := 500
	var body, key string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body, key = string(b), r.Header.Get("Idempotency-Key")
		w.WriteHeader(status)
	}))
	defer server.Close()
	post, err := HTTPSink(server.Client(), server.URL)
	must(t, err)
	if post.Send(t.Context(), lines) == nil {
		t.Error("500 is taken for success")
	}
	status = 204
	must(t, post.Send(t.Context(), lines))
	if body != want || key != "0-1" {
		t.Errorf("http: %q %q", body, key)
	}

	here, there := net.Pipe()
	sys, err := SyslogSink(func(context.Context) (net.Conn, error) { return here, nil }, "records")
	must(t, err)
	go func() { _ = sys.Send(context.Background(), lines) }()
	in := bufio.NewReader(there)
	for i, priority := range []string{"<110>1 ", "<106>1 "} {
		count, err := in.ReadString(' ')
		must(t, err)
		n, err := strconv.Atoi(strings.TrimSpace(count))
		must(t, err)
		message := make([]byte, n)
		_, err = io.ReadFull(in, message)
		must(t, err)
		form := regexp.MustCompile(`^<\d+>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ records \d+ \S{1,32} \[meta sequenceId="\d+"\] \{"seq":\d,"record":\{.*\}\}$`)
		if !form.Match(message) || !strings.HasPrefix(string(message), priority) {
			t.Errorf("message %d: %s", i, message)
		}
	}
	must(t, there.Close())
	if sys.Send(t.Context(), lines) == nil {
		t.Error("a closed connection is taken for success")
	}
}

func TestFaultsOfTailsAndSinks(t *testing.T) {
	l := open(t, testConfig(filepath.Join(t.TempDir(), "log")))
	_, err := l.Tail(TailConfig{Every: -1})
	for _, want := range []string{"Sink", "File", "Every"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := HTTPSink(nil, ""); err == nil {
		t.Error("HTTPSink takes nothing")
	}
	if _, err := SyslogSink(nil, "a b"); err == nil {
		t.Error("SyslogSink takes nothing")
	}
}

// tearing takes part of each write, and fails or does not say so, until healed.
type tearing struct {
	bytes.Buffer
	part int
	err  error
}

func (w *tearing) Write(p []byte) (int, error) {
	if w.part < 0 {
		return w.Buffer.Write(p)
	}
	n, _ := w.Buffer.Write(p[:min(w.part, len(p))])
	return n, w.err
}

// What a writer took of a line is no part of the line that is sent again.
func TestAWriterThatFailsWithinALineSpoilsNoOther(t *testing.T) {
	lines := []Line{{Seq: 0, JSON: []byte(`{"a":1}`)}, {Seq: 1, JSON: []byte(`{"b":2}`)}}
	whole := appendLines(nil, lines)
	for part := range len(whole) {
		for _, fault := range []error{errors.New("pipe full"), nil} {
			w := &tearing{part: part, err: fault}
			sink := WriterSink(w)
			for range 2 {
				if sink.Send(t.Context(), lines) == nil {
					t.Fatalf("%d of %d bytes are taken for all", part, len(whole))
				}
			}
			w.part = -1
			must(t, sink.Send(t.Context(), lines))
			must(t, sink.Send(t.Context(), lines[:1]))
			seen := map[string]int{}
			for line := range strings.Lines(w.String()) {
				seen[line]++
			}
			if seen[string(appendLines(nil, lines[:1]))] < 2 || seen[string(appendLines(nil, lines[1:]))] < 1 || seen["\n"] > 0 {
				t.Errorf("after %d bytes: %q", part, w.String())
			}
		}
	}
}
