package session

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/respw"
)

// mutator is one Update, from JSON to JSON. It may run more than once.
type mutator func(data []byte) ([]byte, error)

// state is a Session apart from the type of its data.
//
// Application code (mutators) runs under op and never under mu, so that it may
// ask the session who the user is.
type state struct {
	core  *core
	r     *http.Request       // nil if not wrapped
	w     *respw.Writer       // what the handler writes to
	under http.ResponseWriter // what the room answers with

	op       sync.Mutex  // one Update, Login, Logout or commit at a time: see hold
	mutating atomic.Bool // a mutator runs under op

	mu      sync.Mutex // guards the fields below; writers after load also hold op
	loaded  bool
	sent    bool  // the header is decided; nothing can change any more
	err     error // why sessions are unavailable to this request
	keys    *keyset
	record  *record // nil = nothing is stored
	content content
	view    []byte    // content.data after the mutators
	pending []mutator // not saved yet
	issue   bool      // tell the client the record's id
	again   bool      // the cookie that the request came with is to be written anew
	over    bool      // the request has ended
	expire  bool      // tell the client to forget its id
	clear   bool      // tell the client to clear its storage
	watched <-chan struct{}
	stop    func()
	carried Record      // what the cookie held, or is to hold, with a CookieStore
	made    *Ref        // a record that this request made and whose id has not left yet
	told    []slog.Attr // how the login was announced that made it
	owed    []func()    // what waits until op is free: see settled
	untold  []func()    // records that wait until mu is free: see tellLocked
}

// record is what the state knows of its record in the store.
type record struct {
	ref     Ref
	token   token
	version uint64
	expires time.Time
}

// records is where this request's record is kept: the store, or the cookie.
type records interface {
	Load(ctx context.Context, ref Ref) (Record, error)
	Create(ctx context.Context, ref Ref, rec Record, q Quota) ([]Ref, error)
	Update(ctx context.Context, ref Ref, rec Record) error
	Touch(ctx context.Context, ref Ref, expires time.Time) error
	Delete(ctx context.Context, ref Ref) (Record, error)
}

func (s *state) records() records {
	if s.core.cookies != nil {
		return inCookie{s}
	}
	return s.core.store
}

// sealed says whether records are sealed: those in memory need not be, and
// those in cookies are by the cookie.
func (m *core) sealed() bool { return !m.memory && m.cookies == nil }

// now is the server's clock in the resolution of records.
func now() time.Time { return time.Now().Truncate(time.Microsecond) }

// json is what Data decodes.
func (s *state) json() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view
}

// User is the id that Login was given, or "" for an anonymous session.
func (s *state) User() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.content.user
}

// AuthTime is when the user last logged in or proved who they are, or the zero
// time for an anonymous session.
func (s *state) AuthTime() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.content.user == "" {
		return time.Time{}
	}
	return s.content.began
}

// AAL is the authentication assurance level of the login, 1 to 3 (NIST SP
// 800-63B), or 0 for an anonymous session.
func (s *state) AAL() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.content.aal
}

// Methods are the authentication methods that Login was given. The caller owns
// the slice.
func (s *state) Methods() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.content.methods...)
}

// Done is closed when the session ends: by logout, renewal, revocation or
// expiry. It is nil, which blocks for ever in a select, if nothing is stored.
// A store that is no [Watcher] is not watched: then Done is closed at the time
// at which the session expires if nothing happens. The channel serves until
// the request ends.
func (s *state) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watched != nil || s.record == nil {
		return s.watched
	}
	if s.over { // nobody would stop the watch
		s.watched = make(chan struct{})
		return s.watched
	}
	if s.core.watcher != nil {
		s.watched, s.stop = s.core.watcher.Watch(s.record.ref)
		return s.watched
	}
	ended := make(chan struct{})
	timer := time.AfterFunc(time.Until(s.record.expires), func() { close(ended) })
	s.watched, s.stop = ended, func() { timer.Stop() }
	return s.watched
}

// unwatchLocked forgets the watch of a record that is replaced. Whoever holds
// the channel is told by the store, which loses the record now.
func (s *state) unwatchLocked() (stop func()) {
	stop = s.stop
	s.watched, s.stop = nil, nil
	return stop
}

// begin is how an operation that changes something starts, with op held.
func (s *state) begin(ctx context.Context) error {
	if err := s.load(ctx); err != nil {
		return err
	}
	if s.isSent() {
		return ErrTooLate
	}
	return nil
}

// hold takes op. A mutator that calls what needs op would wait for itself, and so
// would a handler of records. So nobody waits longer for a mutator than for a
// store, nor longer than maxHold for anything else.
func (s *state) hold() error {
	if s.op.TryLock() {
		s.pay()
		return nil
	}
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		if s.op.TryLock() {
			s.pay()
			return nil
		}
		if waited := time.Since(begun); waited > maxHold || waited > storeTimeout && s.mutating.Load() {
			return ErrInUpdate
		}
	}
}

// maxHold is more than an operation on a store takes, and a record of it.
const maxHold = 6 * storeTimeout

// settled runs f, which changes what the request knows of its session, with op
// and mu held: at once or, if something holds op, before that lets go of it. So a
// revocation takes effect in the store whatever the request it comes from is
// doing, and also from within a mutator or the handler of a record.
func (s *state) settled(f func()) {
	s.mu.Lock()
	s.owed = append(s.owed, f)
	s.mu.Unlock()
	if s.op.TryLock() { // else whoever holds it looks after letting go of it
		s.release()
	}
}

// release lets go of op, and leaves nothing owed that nobody pays.
func (s *state) release() {
	for {
		s.pay()
		s.op.Unlock()
		s.mu.Lock()
		owing := len(s.owed) > 0
		s.mu.Unlock()
		if !owing || !s.op.TryLock() {
			return
		}
	}
}

// pay runs what is owed, with op held.
func (s *state) pay() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.owed {
		f()
	}
	s.owed = nil
}

// mutate runs application code, with op held. Its error is ErrRevoked if the
// session was ended meanwhile by its own request.
func (s *state) mutate(f mutator, data []byte) ([]byte, error) {
	before := s.record
	data, err := s.call(f, data)
	s.pay()
	switch {
	case err != nil:
		return nil, err
	case s.err != nil:
		return nil, s.err
	case s.record != before:
		return nil, ErrRevoked
	}
	return data, nil
}

func (s *state) call(f mutator, data []byte) ([]byte, error) {
	s.mutating.Store(true)
	defer s.mutating.Store(false)
	return f(data)
}

func (s *state) isSent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

func (s *state) update(f mutator) error {
	if s.r == nil {
		return ErrNotWrapped
	}
	if err := s.hold(); err != nil {
		return err
	}
	defer s.release()
	if err := s.begin(s.r.Context()); err != nil {
		return err
	}
	view, err := s.mutate(f, s.view) // op keeps writers away
	if err != nil {
		return err
	}
	if err := s.fits(view); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view = view
	s.pending = append(s.pending, f)
	return nil
}

// storeTimeout bounds how long a request waits for a store that hangs, so that
// goroutines do not pile up behind it.
const storeTimeout = 5 * time.Second

// finish is a context for ending sessions: a client that hangs up must not be
// able to stop its own logout half-way.
func finish(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
}

// tellLocked keeps a record for [state.load] to emit without mu: a handler of
// records may ask the session who the user is.
func (s *state) tellLocked(emit func()) { s.untold = append(s.untold, emit) }

// notice records abuse. It announces no change, so nothing depends on it; what
// Audit would not take goes to Logger.
func (s *state) notice(ctx context.Context, name, reason, session string) {
	attrs := []slog.Attr{slog.String(event.KeyReason, reason), slog.String(event.KeyOutcome, event.OutcomeDenied)}
	if session != "" {
		attrs = append(attrs, slog.String(event.KeySession, session))
	}
	attrs = append(attrs, s.origin()...)
	if s.core.audit.Emit(ctx, name, attrs...) != nil {
		_ = s.core.log.Emit(ctx, name, attrs...)
	}
}
