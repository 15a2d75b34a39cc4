package filepoll

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"
)

// Config says what to watch.
type Config struct {
	// Paths are the files, read together as one snapshot.
	Paths []string
	// MaxBytes bounds each file. Default: 1 MiB.
	MaxBytes int64
	// Interval is the time between two looks. Default: 10 s.
	Interval time.Duration
	// Apply is called with a changed snapshot once it has stood still for one
	// interval. It runs in the poller's goroutine, never twice at once, and
	// must not keep the data. An error means that the snapshot was refused; it
	// is offered again only when the files change once more or [Poller.Poll]
	// is called, or at the next look if the error wraps [ErrRetry].
	Apply func(context.Context, Snapshot) error
}

// ErrRetry in an error of [Config.Apply] says that the same contents may be taken
// later: they are offered again at the next look.
var ErrRetry = errors.New("to be tried again")

// Poller watches files until it is closed.
type Poller struct {
	cfg    Config
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex // guards the fields below and serialises looks
	applied [sha256.Size]byte
	pending [sha256.Size]byte
	again   bool // applied was refused with ErrRetry
}

// Start begins to watch. The contents of initial count as applied: pass the
// snapshot that the caller has already taken over. ctx ends the poller as
// Close does.
func Start(ctx context.Context, cfg Config, initial Snapshot) *Poller {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 1 << 20
	}
	if cfg.Interval == 0 {
		cfg.Interval = 10 * time.Second
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &Poller{cfg: cfg, cancel: cancel, done: make(chan struct{}), applied: initial.Sum()}
	p.pending = p.applied
	go p.run(ctx)
	return p
}

func (p *Poller) run(ctx context.Context) {
	defer close(p.done)
	tick := time.NewTicker(p.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.look(ctx)
		}
	}
}

// look applies a change that two looks in a row have seen alike.
func (p *Poller) look(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Read(p.cfg.Paths, p.cfg.MaxBytes)
	defer s.Wipe()
	sum := s.Sum()
	settled := sum == p.pending
	p.pending = sum
	if !settled || sum == p.applied && !p.again {
		return
	}
	_ = p.apply(ctx, s, sum)
}

// apply offers a snapshot. Applied or refused, in both cases it is not offered
// again until it changes, unless Apply asks for that. p.mu is held.
func (p *Poller) apply(ctx context.Context, s Snapshot, sum [sha256.Size]byte) error {
	err := p.cfg.Apply(ctx, s)
	p.applied, p.again = sum, errors.Is(err, ErrRetry)
	return err
}

// Poll looks at once and applies what it finds without waiting for it to
// settle, also if it did not change since it was refused. It returns the error
// of Apply.
func (p *Poller) Poll(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	s := Read(p.cfg.Paths, p.cfg.MaxBytes)
	defer s.Wipe()
	p.pending = s.Sum()
	return p.apply(ctx, s, p.pending)
}

// Close stops the poller and waits for an Apply that is under way. It may be
// called more than once, but not from within Apply.
func (p *Poller) Close() {
	p.cancel()
	<-p.done
}
