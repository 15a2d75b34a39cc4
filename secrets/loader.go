package secrets

import (
	"context"
	"errors"
	"hash/maphash"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/inovy/hardening/internal/filepoll"
)

// ErrClosed is returned by [Loader.Reload] and [Loader.Health] after
// [Loader.Close].
var ErrClosed = errors.New("secrets: the loader is closed")

// Loader reports on what one [Load] loaded, keeps Live and Ring fields up to
// date, and wipes it in the end. It holds the same opaque secrets as the struct
// that was filled. All methods are safe for concurrent use.
//
// Keep the Loader, and Close it in the end. One that watches files or a Provider
// lives until then; one that watches nothing may be dropped, and then announces
// no secret that becomes due.
type Loader struct {
	_       [0]func()
	opts    Options
	plan    *plan
	seed    maphash.Seed
	scrub   scrubbed
	fixed   []string // names whose files can not be seen to change
	state   atomic.Pointer[state]
	cleanup runtime.Cleanup          // of the vault of Secret fields
	lives   *atomic.Pointer[liveSet] // shared with all Live fields
	watched []watched                // one per path that poller looks at
	vaults  []int                    // sources that are Providers of fields that may change
	asking  chan struct{}            // holds one: who asks Providers and takes over what they said

	poller *filepoll.Poller   // nil if no file is watched
	cancel context.CancelFunc // nil if nothing is watched
	fetch  sync.WaitGroup     // the goroutine that asks providers

	mu       sync.Mutex        // guards the fields below and serialises reloads
	closed   bool              // see ended
	told     map[string]string // last failure that was announced, by group
	states   []State           // that were announced, by item; nil: all are Unproven
	reviewed bool              // at least once
	ages     *time.Timer       // for the next change of a state; nil if there is none

	ended       atomic.Bool // closed, for who must not wait for a reload
	subscribers subscribers
}

// state is what is loaded at one moment. It is never changed once stored.
type state struct {
	items    []item
	own      reflect.Value // a struct with Load's fields alone, to validate
	failures []failure     // of the last look at each group of files
	stale    []string      // names of Secret fields whose source has a new value
	ledger   error         // why the ledger can not be used
}

func (l *Loader) current() *state { return l.state.Load() }

// loader turns a load that found no fault into a Loader. filled is the struct.
func (l *load) loader(filled reflect.Value) *Loader {
	out := &Loader{opts: l.opts, plan: l.plan, seed: l.seed, cleanup: l.vault.cleanup, asking: make(chan struct{}, 1)}
	s := &state{items: l.items}
	if l.lives != nil {
		out.lives = l.shared
		s.own = reflect.New(filled.Type())
		for _, f := range l.plan.fields {
			field := filled.FieldByIndex(f.index)
			s.own.Elem().FieldByIndex(f.index).Set(field)
		}
	}
	out.state.Store(s)
	return out
}

// Close stops watching, and wipes every secret and ring that was loaded, also
// in the struct that Load filled and in all copies of it; public settings stay.
// After Close an exposed secret is empty and a Ring derives nothing, so it comes
// last. Close waits for a reload that is under way, not for subscribers. It may
// be called more than once and always returns nil.
func (l *Loader) Close() error {
	if l.cancel != nil {
		l.cancel()
	}
	if l.poller != nil {
		l.poller.Close()
	}
	l.fetch.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.ended.Store(true)
	if l.ages != nil {
		l.ages.Stop()
	}
	l.subscribers.close()
	for _, it := range l.current().items {
		it.secret.Destroy()
		it.ring.Destroy()
	}
	l.cleanup.Stop() // all that it would wipe is wiped
	return nil
}
