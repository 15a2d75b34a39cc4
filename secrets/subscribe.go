package secrets

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/inovy/hardening/internal/event"
)

// Change tells a subscriber which secrets have a new value, and which came into
// another [State]. It holds no value.
type Change struct {
	At     time.Time
	Names  []string // with a new value, in the order of the fields; may be empty
	States []Status // of those in another state than before; may be empty
}

// Subscribe calls fn after each reload that changed something: once per reload,
// however many secrets it changed, so that a pool of connections is rebuilt
// once for a user and its password. The new values are in place by then. It
// calls fn too when only time has passed and a secret became due, overdue or
// expired; then Names is empty.
//
// fn runs in a goroutine of its own, one call at a time, in order and outside
// all locks: a slow subscriber holds up nobody, and a panic in it is logged and
// goes no further. While a call runs, up to 16 changes wait for it; more are
// merged into the last. The function that is returned ends the subscription,
// and may be called from within fn and more than once; a call under way is not
// waited for. Nothing is called after [Loader.Close].
func (l *Loader) Subscribe(fn func(Change)) (cancel func()) {
	s := &subscriber{fn: fn, panicked: func() {
		log := l.opts.Logger
		if log == nil {
			log = slog.Default()
		}
		// What it panicked with may hold a secret.
		log.LogAttrs(context.Background(), slog.LevelError, "secrets: a subscriber panicked", slog.String(event.KeyInstance, l.opts.Name))
	}}
	l.subscribers.add(s)
	return func() { l.subscribers.remove(s) }
}

// maxWaiting bounds the changes that wait for a slow subscriber.
const maxWaiting = 16

type subscribers struct {
	mu     sync.Mutex // guards the fields below
	all    map[*subscriber]struct{}
	closed bool
}

func (s *subscribers) add(one *subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.all == nil {
		s.all = map[*subscriber]struct{}{}
	}
	s.all[one] = struct{}{}
}

func (s *subscribers) remove(one *subscriber) {
	s.mu.Lock()
	delete(s.all, one)
	s.mu.Unlock()
	one.end()
}

func (s *subscribers) tell(c Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.all {
		one.tell(c)
	}
}

func (s *subscribers) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for one := range s.all {
		one.end()
	}
	clear(s.all)
}

// subscriber has a goroutine only while changes wait for it.
type subscriber struct {
	fn       func(Change)
	panicked func()

	mu      sync.Mutex // guards the fields below
	waiting []Change
	running bool
	ended   bool
}

func (s *subscriber) tell(c Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.waiting); n == maxWaiting {
		last := &s.waiting[n-1]
		last.At = c.At
		for _, name := range c.Names {
			if !slices.Contains(last.Names, name) {
				last.Names = append(last.Names[:len(last.Names):len(last.Names)], name)
			}
		}
		last.States = mergeStates(last.States, c.States)
		return
	}
	c.Names = append([]string(nil), c.Names...)
	c.States = append([]Status(nil), c.States...)
	s.waiting = append(s.waiting, c)
	if !s.running {
		s.running = true
		go s.run()
	}
}

// mergeStates returns what holds after both.
func mergeStates(before, after []Status) []Status {
	out := slices.DeleteFunc(slices.Clone(before), func(old Status) bool {
		return slices.ContainsFunc(after, func(s Status) bool { return s.Field == old.Field })
	})
	return append(out, after...)
}

func (s *subscriber) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.waiting = true, nil
}

func (s *subscriber) run() {
	for {
		s.mu.Lock()
		if s.ended || len(s.waiting) == 0 {
			s.running = false
			s.mu.Unlock()
			return
		}
		c := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.mu.Unlock()
		s.call(c)
	}
}

func (s *subscriber) call(c Change) {
	defer func() {
		if recover() != nil {
			s.panicked()
		}
	}()
	s.fn(c)
}
