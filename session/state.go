package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/inovy/hardening"
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

	op sync.Mutex // one Update, Login, Logout or commit at a time

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
	expire  bool      // tell the client to forget its id
	clear   bool      // tell the client to clear its storage
	watched <-chan struct{}
	stop    func()
	made    *Ref // a record that this request made and whose id has not left yet
}

// record is what the state knows of its record in the store.
type record struct {
	ref     Ref
	token   token
	version uint64
	expires time.Time
}

// now is the server's clock in the resolution of records.
func now() time.Time { return time.Now().Truncate(time.Microsecond) }

// load finds out once per request what the cookie stands for.
func (s *state) load(ctx context.Context) error {
	if s.r == nil {
		return ErrNotWrapped
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded {
		return s.err
	}
	s.loaded = true
	if err := s.find(ctx); err != nil {
		s.failLocked(err)
	}
	return s.err
}

func (s *state) touched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loaded
}

// failLocked makes the request end in 503.
func (s *state) failLocked(cause error) {
	if errors.Is(cause, ErrUnavailable) {
		s.err = cause
	} else {
		s.err = fmt.Errorf("%w: %w", ErrUnavailable, cause)
	}
	s.loaded = true
	s.expire, s.clear = false, false
	s.forgetLocked()
}

// forgetLocked makes the session anonymous for the rest of the request.
func (s *state) forgetLocked() {
	s.record, s.content, s.view, s.pending = nil, content{}, nil, nil
	s.issue = false
}

func (s *state) fail(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(cause)
	return s.err
}

// find reads the cookie and the record. Whatever is wrong with a cookie is no
// session and never an error; only our own troubles are.
func (s *state) find(ctx context.Context) error {
	name, _ := s.core.names.of(s.r)
	var values [maxCandidates]string
	n, ok := candidates(s.r.Header, name, &values)
	if n == 0 {
		return nil
	}
	if !ok {
		s.notice(ctx, event.SessionForged, "more cookies of this name than a browser sends", "")
		return nil
	}
	keys, err := s.core.keys.get()
	if err != nil {
		return err
	}
	s.keys = keys
	var tok token
	found := 0
	for _, v := range values[:n] {
		t, verdict := parseToken(keys, name, v)
		switch verdict {
		case genuine:
			tok = t
			found++
		case forged:
			s.notice(ctx, event.SessionForged, "bad signature under a key in force", "")
		}
	}
	switch {
	case found == 0:
		return nil
	case found > 1: // someone planted a session of theirs; which one, nobody can tell
		s.notice(ctx, event.SessionForged, "two genuine sessions under one name", "")
		return nil
	}
	return s.fetch(ctx, tok)
}

func (s *state) fetch(ctx context.Context, tok token) error {
	ref := tok.ref()
	if !s.core.memory { // memory cannot hang, and need not pay for a timer
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, storeTimeout)
		defer cancel()
	}
	rec, err := s.core.store.Load(ctx, ref)
	if errors.Is(err, ErrNotFound) {
		s.core.fine(ctx)
		s.notice(ctx, event.SessionUseAfterExpire, "the session is gone", s.keys.keys[0].nameOf(ref))
		return nil
	}
	if err != nil {
		s.core.trouble(ctx, err)
		return err
	}
	s.core.fine(ctx)
	c, err := decode(s.keys, ref, rec.Blob, !s.core.memory)
	if err != nil {
		s.notice(ctx, event.CryptDecryptFail, err.Error(), s.keys.keys[0].nameOf(ref))
		return nil
	}
	t, p := now(), s.core.cfg.Policy
	// The policy in force decides, not the one under which the record was
	// written: a shorter one takes effect on the sessions there are.
	if !rec.Expires.After(t) || !c.began.Add(p.Absolute).After(t) {
		s.notice(ctx, event.SessionUseAfterExpire, "the session is over", s.keys.keys[0].nameOf(ref))
		return nil
	}
	expires := p.expiry(c.began, t)
	if expires.Sub(rec.Expires) >= p.Touch {
		switch err := s.core.store.Touch(ctx, ref, expires); {
		case errors.Is(err, ErrNotFound):
			return nil
		case err != nil:
			s.core.trouble(ctx, err)
			return err
		}
		rec.Expires = expires
	}
	s.record = &record{ref: ref, token: tok, version: rec.Version, expires: rec.Expires}
	s.content, s.view = c, c.data
	return nil
}

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

func (s *state) isSent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

func (s *state) update(f mutator) error {
	if s.r == nil {
		return ErrNotWrapped
	}
	s.op.Lock()
	defer s.op.Unlock()
	if err := s.begin(s.r.Context()); err != nil {
		return err
	}
	view, err := f(s.view) // op keeps writers away
	if err != nil {
		return err
	}
	if len(view) > s.core.cfg.MaxDataBytes {
		return ErrTooLarge
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view = view
	s.pending = append(s.pending, f)
	return nil
}

// keysInForce returns the keys to issue under.
func (s *state) keysInForce() (*keyset, error) {
	keys, err := s.core.keys.get()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
	return keys, nil
}

// maxReplays bounds how often one commit meets a conflict. Each conflict means
// that another request got through, so only a session that very many requests
// change at once gets there.
const maxReplays = 256

// save writes what is pending, with op held.
func (s *state) save(ctx context.Context) error {
	if len(s.pending) == 0 {
		return nil
	}
	if s.record == nil {
		return s.start(ctx)
	}
	if bytes.Equal(s.view, s.content.data) {
		return nil
	}
	ref, c, version := s.record.ref, s.content, s.record.version
	c.data = s.view
	for range maxReplays {
		expires := s.core.cfg.Policy.expiry(c.began, now())
		err := s.core.store.Update(ctx, ref, Record{Version: version, Expires: expires, Blob: c.encode(s.keys.keys[0], ref, !s.core.memory)})
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		rec, err := s.core.store.Load(ctx, ref)
		if err != nil {
			return err
		}
		if c, err = decode(s.keys, ref, rec.Blob, !s.core.memory); err != nil {
			return err
		}
		version = rec.Version
		if c.data, err = s.replay(c.data); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w after %d attempts", ErrConflict, maxReplays)
}

// replay runs the pending mutators on data.
func (s *state) replay(data []byte) ([]byte, error) {
	var err error
	for _, f := range s.pending {
		if data, err = f(data); err != nil {
			return nil, err
		}
		if len(data) > s.core.cfg.MaxDataBytes {
			return nil, ErrTooLarge
		}
	}
	return data, nil
}

// start stores an anonymous session, with op held.
func (s *state) start(ctx context.Context) error {
	keys, err := s.keysInForce()
	if err != nil {
		return err
	}
	var tag Tag
	_, _ = rand.Read(tag[:]) // never fails (Go 1.24)
	name, _ := s.core.names.of(s.r)
	c := content{began: now(), data: s.view}
	rec, err := s.create(ctx, newToken(keys.keys[0], name, tag), c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record, s.content = rec, c
	s.issue = true
	return nil
}

func (s *state) create(ctx context.Context, tok token, c content) (*record, error) {
	ref := tok.ref()
	expires := s.core.cfg.Policy.expiry(c.began, now())
	err := s.core.store.Create(ctx, ref, Record{
		Born: c.began, Expires: expires, Anonymous: c.user == "",
		Blob: c.encode(s.keys.keys[0], ref, !s.core.memory),
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.made = &ref
	s.mu.Unlock()
	return &record{ref: ref, token: tok, version: 1, expires: expires}, nil
}

// commit is the hook before the first header: it saves what is pending and
// tells the client its id. If it returns false it has answered the request.
func (s *state) commit(int) bool {
	if !s.touched() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sent = true
		return true
	}
	refusal := s.settle()
	if refusal == nil {
		return true
	}
	// The handler's headers described a page that is not sent.
	delete(s.under.Header(), "Location")
	s.core.deny(s.under, s.r, refusal)
	return false
}

func (s *state) settle() *hardening.Problem {
	s.op.Lock()
	defer s.op.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sent = true
	}()
	if s.err == nil && len(s.pending) > 0 {
		ctx, cancel := finish(s.r.Context())
		defer cancel()
		switch err := s.save(ctx); {
		case errors.Is(err, ErrNotFound):
			s.mu.Lock()
			s.forgetLocked()
			s.mu.Unlock()
			return &hardening.Problem{Status: http.StatusUnauthorized, Title: "Your session has ended", Detail: "Log in again; what you just changed was not saved.", Err: ErrRevoked}
		case err != nil:
			s.core.trouble(ctx, err)
			_ = s.fail(err)
		}
	}
	if s.err != nil {
		return unavailable(s.err)
	}
	s.announce(s.under.Header())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made = nil
	return nil
}

// announce writes what the client is to know.
func (s *state) announce(h http.Header) {
	h["Vary"] = append(h["Vary"], "Cookie")
	if !s.issue && !s.expire {
		return
	}
	cookie, p := s.core.cfg.Cookie, s.core.cfg.Policy
	name, secure := s.core.names.of(s.r)
	// ASVS v5.0.0-14.3.2; no-cache="Set-Cookie" is not honoured by all caches.
	h.Set("Cache-Control", "no-store")
	if s.issue {
		cookie.write(h, name, secure, s.record.token.value(), p.maxAge(s.content.began, now()))
	} else {
		cookie.write(h, name, secure, "", -1)
	}
	if s.clear && !s.issue { // clearing cookies might take the new one along
		h.Set("Clear-Site-Data", `"cache", "cookies", "storage"`)
	}
}

// end releases what the request held. A session that this request made and
// whose id never left, because the handler panicked or the response was
// refused, is dropped.
func (s *state) end() {
	s.mu.Lock()
	stop, made := s.unwatchLocked(), s.made
	s.sent = true
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
	if made == nil {
		return
	}
	ctx, cancel := finish(s.r.Context())
	defer cancel()
	if _, err := s.core.store.Delete(ctx, *made); err != nil && !errors.Is(err, ErrNotFound) {
		s.core.trouble(ctx, err)
	}
}

// storeTimeout bounds how long a request waits for a store that hangs, so that
// goroutines do not pile up behind it.
const storeTimeout = 5 * time.Second

// finish is a context for ending sessions: a client that hangs up must not be
// able to stop its own logout half-way.
func finish(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
}

// notice records abuse. It announces no change, so nothing depends on it.
func (s *state) notice(ctx context.Context, name, reason, session string) {
	attrs := []slog.Attr{slog.String(event.KeyReason, reason), slog.String(event.KeyOutcome, event.OutcomeDenied)}
	if session != "" {
		attrs = append(attrs, slog.String(event.KeySession, session))
	}
	_ = s.core.log.Emit(ctx, name, append(attrs, s.origin()...)...)
}
