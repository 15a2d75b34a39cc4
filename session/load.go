package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/inovy/hardening/internal/event"
)

// load finds out once per request what the cookie stands for.
func (s *state) load(ctx context.Context) error {
	if s.r == nil {
		return ErrNotWrapped
	}
	untold, err := s.loadOnce(ctx)
	for _, emit := range untold {
		emit()
	}
	return err
}

func (s *state) loadOnce(ctx context.Context) (untold []func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded {
		return nil, s.err
	}
	s.loaded = true
	if err := s.find(ctx); err != nil {
		s.failLocked(err)
	}
	untold, s.untold = s.untold, nil
	return untold, s.err
}

// maxAhead is how far the clocks of nodes may differ before a session from the
// future is not believed.
const maxAhead = 5 * time.Minute

// withoutSession hides the session from what a store is called with while it is
// looked for: a client of the store that logs, or a store, may ask for it, and
// would wait for itself.
func (s *state) withoutSession(ctx context.Context) context.Context {
	return context.WithValue(ctx, contextKey{s.core}, nil)
}

func (s *state) noticeLocked(ctx context.Context, name, reason, session string) {
	s.tellLocked(func() { s.notice(ctx, name, reason, session) })
}

func (s *state) fineLocked(ctx context.Context) {
	if s.core.health.bad.Load() { // or every request would pay for the closure
		s.tellLocked(func() { s.core.fine(ctx) })
	}
}

func (s *state) troubleLocked(ctx context.Context, err error) {
	s.tellLocked(func() { s.core.trouble(ctx, err) })
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
	s.issue, s.again = false, false
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
		s.noticeLocked(ctx, event.SessionForged, "more cookies of this name than a browser sends", "")
		return nil
	}
	keys, err := s.core.keys.get()
	if err != nil {
		return err
	}
	s.keys = keys
	var tok token
	var from string
	found := 0
	for _, v := range values[:n] {
		t, verdict := s.parse(name, v)
		switch verdict {
		case genuine:
			tok, from = t, v
			found++
		case forged:
			s.noticeLocked(ctx, event.SessionForged, "bad signature under a key in force", "")
		}
	}
	switch {
	case found == 0:
		return nil
	case found > 1: // someone planted a session of theirs; which one, nobody can tell
		s.noticeLocked(ctx, event.SessionForged, "two genuine sessions under one name", "")
		return nil
	}
	if err := s.fetch(ctx, tok); err != nil {
		return err
	}
	if s.core.cookies != nil && s.record != nil && stale(keys, from) {
		s.issue, s.again = true, true // under the primary key
	}
	return nil
}

func (s *state) parse(name, value string) (token, verdict) {
	if s.core.cookies == nil {
		return parseToken(s.keys, name, value)
	}
	t, rec, v := openCookie(s.keys, name, value)
	if v == genuine {
		s.carried = rec
	}
	return t, v
}

func (s *state) fetch(ctx context.Context, tok token) error {
	ref, request := tok.ref(), ctx
	if !s.core.memory { // memory cannot hang, and need not pay for a timer
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(s.withoutSession(ctx), storeTimeout)
		defer cancel()
	}
	rec, err := s.records().Load(ctx, ref)
	if errors.Is(err, ErrNotFound) {
		s.fineLocked(request)
		s.noticeLocked(request, event.SessionUseAfterExpire, "the session is gone", s.keys.keys[0].nameOf(ref))
		return nil
	}
	if err != nil {
		s.troubleLocked(request, err)
		return err
	}
	s.fineLocked(request)
	c, err := decode(s.keys, ref, rec.Blob, s.core.sealed())
	if err != nil {
		s.noticeLocked(request, event.CryptDecryptFail, err.Error(), s.keys.keys[0].nameOf(ref))
		return nil
	}
	t, p := now(), s.core.cfg.Policy
	// The policy in force decides, not the one under which the record was
	// written: a shorter one takes effect on the sessions there are.
	if !rec.Expires.After(t) || !c.began.Add(p.Absolute).After(t) {
		s.noticeLocked(request, event.SessionExpired, "the session is over", s.keys.keys[0].nameOf(ref))
		return nil
	}
	if c.began.After(t.Add(maxAhead)) { // a clock was set back, or ours never was right
		s.noticeLocked(request, event.SessionForged, "the session begins in the future", s.keys.keys[0].nameOf(ref))
		return nil
	}
	switch err := s.prolong(ctx, ref, &rec, p.expiry(c.began, t)); {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		s.troubleLocked(request, err)
		return err
	}
	s.record = &record{ref: ref, token: tok, version: rec.Version, expires: rec.Expires}
	s.content, s.view = c, c.data
	return nil
}

// prolong writes that the session was used, with mu held: at most once per
// Policy.Touch, and if it was written under a policy with a longer idle time.
func (s *state) prolong(ctx context.Context, ref Ref, rec *Record, expires time.Time) error {
	p := s.core.cfg.Policy
	later := expires.Sub(rec.Expires)
	switch {
	case later >= p.Touch, s.core.cookies != nil && -later > p.Touch+maxAhead:
		if err := s.records().Touch(ctx, ref, expires); err != nil {
			return err
		}
	case -later > p.Touch+maxAhead: // Touch moves nothing backwards
		err := s.core.store.Update(ctx, ref, Record{Version: rec.Version, Expires: expires, Blob: rec.Blob})
		if errors.Is(err, ErrConflict) {
			return nil // another request writes, and with that an expiry of its own
		}
		if err != nil {
			return err
		}
		rec.Version++
	default:
		return nil
	}
	rec.Expires = expires
	return nil
}
