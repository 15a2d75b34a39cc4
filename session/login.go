package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/inovy/hardening/internal/event"
)

// Auth says how a user proved who they are. It is the application's word; the
// room keeps it and [Manager.Require] asks for it.
type Auth struct {
	// Methods names what was verified, in the words of RFC 8176: "pwd",
	// "otp", "hwk". At most 8 of at most 32 bytes.
	Methods []string
	// AAL is the authentication assurance level reached (NIST SP 800-63B), 1
	// to 3. Zero means 1.
	AAL int
}

// Login makes user the owner of a new session, under a new id that no one has
// seen (ASVS v5.0.0-7.2.4). The session that the request came with, if any, is
// dead when Login returns. It takes effect at once; the client learns the id
// with the response.
//
// What an anonymous session or another user's session remembered is not
// carried over: read Data before, and Update after, if it should be. A user
// who proves again who they are keeps their data.
//
// Errors: [ErrNotWrapped], [ErrTooLate], [ErrInvalid], [ErrUnavailable], and
// [ErrRevoked] if the user was logged in and that session was ended meanwhile,
// or if the user was revoked after Login began: a login that rests on an
// earlier one must not outlive it.
//
// The records session_created, or session_renewed for a user who was logged in
// already, and authn_login_success go to Audit before anything changes.
func (m *Manager[Data]) Login(ctx context.Context, user string, auth Auth) error {
	s := m.lookup(ctx)
	if s == nil {
		return ErrNotWrapped
	}
	return s.login(ctx, user, auth)
}

// Logout ends the session: the record is gone, for this request and for any
// that is still running. The response expires the cookie and carries
// Clear-Site-Data and Cache-Control: no-store. Without a session it does the
// same for the client and is no error.
//
// Errors: [ErrNotWrapped], [ErrTooLate], [ErrUnavailable]: then the session
// may still live and the client gets 503. The record session_expired with
// reason logout goes to Audit first.
//
// Serve it on POST: a link must not log anyone out.
func (m *Manager[Data]) Logout(ctx context.Context) error {
	s := m.lookup(ctx)
	if s == nil {
		return ErrNotWrapped
	}
	return s.logout(ctx)
}

// RevokeUser ends every session of user at once, on every node that shares the
// store, and returns how many there were. It needs no Wrap. Logins of the user
// that began before it fail. If the request's own session is among those, the
// request goes on anonymously and may log in anew.
//
// Errors: [ErrInvalid], [ErrUnavailable]: then some may still live; call it
// again. The record session_revoked goes to Audit first.
func (m *Manager[Data]) RevokeUser(ctx context.Context, user string) (int, error) {
	s := m.lookup(ctx)
	if s == nil {
		return m.core.revokeUser(ctx, nil, user)
	}
	return m.core.revokeUser(ctx, &s.state, user)
}

func checkUser(user string) error {
	switch {
	case user == "":
		return fmt.Errorf("%w: the user id is empty", ErrInvalid)
	case len(user) > maxUser:
		return fmt.Errorf("%w: the user id is longer than %d bytes", ErrInvalid, maxUser)
	case !utf8.ValidString(user) || strings.ContainsFunc(user, unicode.IsControl):
		return fmt.Errorf("%w: the user id is not printable UTF-8", ErrInvalid)
	}
	return nil
}

func (a Auth) check() error {
	if a.AAL < 0 || a.AAL > 3 {
		return fmt.Errorf("%w: AAL %d is not 1 to 3", ErrInvalid, a.AAL)
	}
	if len(a.Methods) > maxMethods {
		return fmt.Errorf("%w: more than %d methods", ErrInvalid, maxMethods)
	}
	for _, m := range a.Methods {
		if m == "" || len(m) > maxMethod || !isToken(m) {
			return fmt.Errorf("%w: a method is not a token of 1 to %d bytes", ErrInvalid, maxMethod)
		}
	}
	return nil
}

func (s *state) login(ctx context.Context, user string, auth Auth) error {
	if err := errors.Join(checkUser(user), auth.check()); err != nil {
		return err
	}
	s.op.Lock()
	defer s.op.Unlock()
	began := now() // before anything is asked, so that a revocation from here on counts
	if err := s.begin(ctx); err != nil {
		return err
	}
	keys, err := s.keysInForce()
	if err != nil {
		return s.fail(err)
	}
	k := keys.keys[0]
	name, _ := s.core.names.of(s.r)
	tok := newToken(k, name, k.tagOf(user))
	c := content{began: began, user: user, aal: max(1, auth.AAL), methods: append([]string(nil), auth.Methods...)}
	again := s.record != nil && s.content.user == user

	created := event.SessionCreated
	if again {
		created = event.SessionRenewed
	}
	attrs := append(s.who(user, k.nameOf(tok.ref())), s.origin()...)
	for _, name := range []string{created, event.AuthnLoginSuccess} {
		if err := s.core.audit.Emit(ctx, name, attrs...); err != nil {
			return s.fail(err)
		}
	}

	ctx, cancel := finish(ctx)
	defer cancel()
	if s.record != nil {
		old, err := s.core.store.Delete(ctx, s.record.ref)
		switch {
		case errors.Is(err, ErrNotFound) && again:
			return s.revoked()
		case errors.Is(err, ErrNotFound): // the session of someone else; it was to end anyway
		case err != nil:
			s.core.trouble(ctx, err)
			return s.fail(err)
		case again:
			if c.data, err = s.carry(old.Blob); err != nil {
				return s.fail(err)
			}
		}
	}
	rec, err := s.create(ctx, tok, c)
	if errors.Is(err, ErrRevoked) {
		return s.revoked()
	}
	if err != nil {
		s.core.trouble(ctx, err)
		return s.fail(err)
	}
	s.adopt(rec, c)
	return nil
}

// carry takes the data of a session that is renewed from what the store held
// last, not from what this request read, so that no other request's change is
// lost.
func (s *state) carry(blob []byte) ([]byte, error) {
	old, err := decode(s.keys, s.record.ref, blob, !s.core.memory)
	if err != nil {
		return nil, err
	}
	return s.replay(old.data)
}

// adopt makes a stored record the request's session.
func (s *state) adopt(rec *record, c content) {
	s.mu.Lock()
	stop := s.unwatchLocked()
	s.record, s.content, s.view, s.pending = rec, c, c.data, nil
	s.issue, s.expire = true, false
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
}

func (s *state) revoked() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked()
	return ErrRevoked
}

func (s *state) logout(ctx context.Context) error {
	s.op.Lock()
	defer s.op.Unlock()
	if err := s.begin(ctx); err != nil {
		return err
	}
	if s.record != nil {
		if user := s.content.user; user != "" {
			attrs := append(s.who(user, s.keys.keys[0].nameOf(s.record.ref)), s.origin()...)
			if err := s.core.audit.Emit(ctx, event.SessionExpired, append(attrs, reason("logout"))...); err != nil {
				return s.fail(err)
			}
		}
		ctx, cancel := finish(ctx)
		defer cancel()
		if _, err := s.core.store.Delete(ctx, s.record.ref); err != nil && !errors.Is(err, ErrNotFound) {
			s.core.trouble(ctx, err)
			return s.fail(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked()
	s.expire, s.clear = true, true
	return nil
}

func (m *core) revokeUser(ctx context.Context, s *state, user string) (int, error) {
	if err := checkUser(user); err != nil {
		return 0, err
	}
	unavailable := func(err error) error {
		if s != nil {
			return s.fail(err)
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	keys, err := m.keys.get()
	if err != nil {
		return 0, unavailable(err)
	}
	attrs := revocation(user)
	if s != nil {
		attrs = append(attrs, actor(s.User()))
		attrs = append(attrs, s.origin()...)
	}
	if err := m.audit.Emit(ctx, event.SessionRevoked, attrs...); err != nil {
		return 0, unavailable(err)
	}
	// Sessions issued under each key in force have their own tag. Those of a
	// key that is gone open no more.
	tags := make([]Tag, len(keys.keys))
	for i, k := range keys.keys {
		tags[i] = k.tagOf(user)
	}
	ctx, cancel := finish(ctx)
	defer cancel()
	at := now()
	n, err := m.store.Revoke(ctx, tags, at, at.Add(max(m.cfg.Policy.Absolute, minMark)))
	if err != nil {
		m.trouble(ctx, err)
		return n, unavailable(err)
	}
	if s != nil {
		s.disown(user)
	}
	return n, nil
}

// minMark is how long a revocation mark stays at least: long enough for any
// login that was under way.
const minMark = time.Hour

// disown makes the request's own session anonymous if it was just revoked, by
// the request itself: it may then log in anew.
func (s *state) disown(user string) {
	s.op.Lock()
	defer s.op.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.content.user == user {
		s.forgetLocked()
		s.expire = true
	}
}
