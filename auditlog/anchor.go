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
	// records than any before. It is called by one goroutine, and never in the
	// way of Record. It must return when ctx ends.
	Put(ctx context.Context, checkpoint []byte) error
}

// FileAnchor is an [Anchor] that keeps the newest checkpoint in a file, which
// belongs on storage of another owner than the log's: a mount that this machine
// may write to, and its administrators can not change.
type FileAnchor struct{ path string }

// NewFileAnchor returns an anchor in the file, whose directory must exist.
func NewFileAnchor(path string) (*FileAnchor, error) {
	info, err := os.Stat(filepath.Dir(path))
	if err == nil && !info.IsDir() {
		err = errors.New("its directory is none")
	}
	if err != nil || path == "" {
		return nil, fmt.Errorf("auditlog: an anchor can not be kept in %q: %w", path, errors.Join(err, errNoPath(path)))
	}
	return &FileAnchor{path}, nil
}

func errNoPath(path string) error {
	if path == "" {
		return errors.New("name a file")
	}
	return nil
}

// Put replaces the file. It refuses a checkpoint of another log, and one over
// fewer records than the one it has.
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
		if n > size {
			return fmt.Errorf("%w: the anchor %s has seen %d records, and the log has %d", ErrTampered, a.path, n, size)
		}
		if bytes.Equal(before, checkpoint) {
			return nil
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

	mu     sync.Mutex
	newest []byte // C line, or nil
	failed map[int]error
}

func startAnchors(l *Log) *anchorer {
	ctx, cancel := context.WithCancel(context.Background())
	a := &anchorer{l: l, cancel: cancel, done: make(chan struct{}), failed: map[int]error{}}
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
			// The last checkpoint counts most. It has as long as the replica would.
			last, cancel := context.WithTimeout(context.Background(), a.l.cfg.ReplicaTimeout)
			defer cancel()
			a.put(last)
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
	for i, anchor := range a.l.cfg.Anchors {
		err := putSafely(ctx, anchor, note)
		a.mu.Lock()
		before := a.failed[i]
		a.failed[i] = err
		a.mu.Unlock()
		if err != nil && before == nil { // once, until it works again
			a.l.report.minded(ctx, fmt.Sprintf("anchor %d did not take the checkpoint", i), err)
			a.l.report.tell(fmt.Errorf("auditlog: anchor %d: %w", i, err))
		}
	}
}

// putSafely turns a panic, which would end the process, into an error.
func putSafely(ctx context.Context, a Anchor, note []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%T panicked with a %T", a, p)
		}
	}()
	return a.Put(ctx, note)
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
