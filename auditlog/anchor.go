package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/inovy/hardening/internal/durable"
)

// Anchor keeps the newest checkpoint of a log where whoever can write to the
// log can not: on another machine, in a database, with a witness.
type Anchor interface {
	// Put takes a signed checkpoint (C2SP tlog-checkpoint), which is over more
	// records than any before. Calls never overlap, and are never in the way of
	// Record or of another anchor. It should return when ctx ends; one that does
	// not gets no other call until it returns.
	Put(ctx context.Context, checkpoint []byte) error
}

// FileAnchor is an [Anchor] that keeps the newest checkpoint in a file, which
// belongs on storage of another owner than the log's: a mount that this machine
// may write to, and its administrators can not change.
type FileAnchor struct{ path string }

// NewFileAnchor returns an anchor in the file, whose directory must exist.
func NewFileAnchor(path string) (*FileAnchor, error) {
	if path == "" {
		return nil, errors.New("auditlog: an anchor needs a file")
	}
	info, err := os.Stat(filepath.Dir(path))
	if err == nil && !info.IsDir() {
		err = errors.New("its directory is none")
	}
	if err != nil {
		return nil, fmt.Errorf("auditlog: an anchor can not be kept in %q: %w", path, err)
	}
	return &FileAnchor{path}, nil
}

// Put replaces the file. It refuses a checkpoint of another log, one over fewer
// records than the one it has, and another one over as many.
func (a *FileAnchor) Put(_ context.Context, checkpoint []byte) error {
	origin, size, err := anchored(checkpoint)
	if err != nil {
		return err
	}
	before, err := os.ReadFile(a.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		o, n, err := anchored(before)
		if err != nil || o != origin {
			return fmt.Errorf("auditlog: %s is no anchor of this log", a.path)
		}
		switch {
		case n > size:
			return fmt.Errorf("%w: the anchor %s has seen %d records, and the log has %d", ErrTampered, a.path, n, size)
		case bytes.Equal(before, checkpoint):
			return nil
		case n == size: // signatures are deterministic: this is another history
			return fmt.Errorf("%w: the anchor %s has seen other records among the first %d", ErrTampered, a.path, n)
		}
	}
	return durable.Replace(a.path, checkpoint, 0o600)
}

// anchored reads which log a checkpoint is of and how many records it is over,
// without its signature.
func anchored(note []byte) (origin string, size int64, err error) {
	lines := strings.SplitN(string(note), "\n", 3)
	if len(lines) == 3 {
		size, err = strconv.ParseInt(lines[1], 10, 64)
	}
	if len(lines) != 3 || err != nil || size < 1 || lines[0] == "" {
		return "", 0, errors.New("auditlog: this is no checkpoint")
	}
	return lines[0], size, nil
}

// anchorer brings checkpoints to the anchors. Its goroutine ends with stop.
type anchorer struct {
	l      *Log
	cancel context.CancelFunc
	done   chan struct{}
	guests []*guest // the anchors

	mu     sync.Mutex // guards the fields below
	newest []byte     // C line, or nil
	failed []error    // of each anchor's last call
}

func startAnchors(l *Log) *anchorer {
	ctx, cancel := context.WithCancel(context.Background())
	a := &anchorer{l: l, cancel: cancel, done: make(chan struct{}), failed: make([]error, len(l.cfg.Anchors))}
	for _, anchor := range l.cfg.Anchors {
		a.guests = append(a.guests, newGuest(anchor))
	}
	if len(l.cfg.Anchors) == 0 {
		close(a.done)
		return a
	}
	a.newest = bytes.Clone(l.checkpoint)
	go a.run(ctx)
	return a
}

// tellAnchors notes the newest checkpoint.
func (l *Log) tellAnchors() {
	if len(l.cfg.Anchors) == 0 {
		return
	}
	l.anchors.mu.Lock()
	l.anchors.newest = append(l.anchors.newest[:0], l.checkpoint...)
	l.anchors.mu.Unlock()
}

func (a *anchorer) run(ctx context.Context) {
	defer close(a.done)
	tick := time.NewTicker(a.l.cfg.AnchorEvery)
	defer tick.Stop()
	for {
		a.put(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			a.put(context.WithoutCancel(ctx)) // the last checkpoint counts most
			return
		}
	}
}

func (a *anchorer) put(ctx context.Context) {
	a.mu.Lock()
	line := bytes.TrimSuffix(bytes.Clone(a.newest), []byte("\n"))
	a.mu.Unlock()
	note, err := decodeCheckpointLine(line)
	if err != nil {
		return // only this library's own lines come here
	}
	ctx, cancel := context.WithTimeout(ctx, a.l.cfg.ReplicaTimeout)
	defer cancel()
	var all sync.WaitGroup
	for i, g := range a.guests { // at once: one that hangs keeps nothing from the others
		all.Go(func() { a.putOne(ctx, i, g, bytes.Clone(note)) })
	}
	all.Wait()
}

func (a *anchorer) putOne(ctx context.Context, i int, g *guest, note []byte) {
	err := g.call(ctx, func(ctx context.Context) error { return a.l.cfg.Anchors[i].Put(ctx, note) })
	if err != nil && errors.Is(ctx.Err(), context.Canceled) { // Close: the call that follows tells how it is
		return
	}
	a.mu.Lock()
	before := a.failed[i]
	a.failed[i] = err
	a.mu.Unlock()
	if err != nil && before == nil { // once, until it works again
		a.l.report.minded(context.Background(), fmt.Sprintf("anchor %d did not take the checkpoint", i), err)
		a.l.report.tell(fmt.Errorf("auditlog: anchor %d: %w", i, err))
	}
}

// failures counts the anchors that did not take the newest checkpoint.
func (a *anchorer) failures() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, err := range a.failed {
		if err != nil {
			n++
		}
	}
	return n
}

func (a *anchorer) stop() {
	a.cancel()
	<-a.done
}
