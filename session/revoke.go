package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/inovy/hardening/internal/event"
)

// RevokeUser ends every session of user at once, on every node that shares the
// store, and returns how many there were (0 with a [CookieStore], which does
// not know). It needs no Wrap. Logins of the user that began before it fail.
// If the request's own session is among those, the request goes on anonymously
// and may log in anew.
//
// Errors: [ErrInvalid], [ErrUnavailable]: then some may still live; call it
// again. The record session_revoked goes to Audit first; if Audit does not
// take it, the sessions end all the same and the error is [ErrUnavailable] and
// [ErrUnrecorded]. The same holds for the other revocations.
func (m *Manager[Data]) RevokeUser(ctx context.Context, user string) (int, error) {
	return m.core.revokeUser(ctx, m.state(ctx), user, "")
}

// RevokeOthers ends every session of the request's user but this one (ASVS
// v5.0.0-7.4.3), and returns how many there were. Errors: those of RevokeUser,
// [ErrNotWrapped], [ErrTooLate], [ErrAnonymous] if nobody is logged in, and
// [ErrRevoked] if this one was ended meanwhile: then it ends no other.
func (m *Manager[Data]) RevokeOthers(ctx context.Context) (int, error) {
	s := m.lookup(ctx)
	if s == nil {
		return 0, ErrNotWrapped
	}
	return s.revokeOthers(ctx)
}

// RevokeOne ends the session of user that List called by this handle, and
// reports whether there was one. Check that the user is the one who asks, or
// an administrator. Errors: those of RevokeUser, and [ErrNotKept].
func (m *Manager[Data]) RevokeOne(ctx context.Context, user, handle string) (bool, error) {
	return m.core.revokeOne(ctx, m.state(ctx), user, handle)
}

// RevokeAll ends every session of everybody, anonymous ones included (ASVS
// v5.0.0-7.4.5). Logins that began before it fail. Errors: those of RevokeUser.
func (m *Manager[Data]) RevokeAll(ctx context.Context) error {
	return m.core.revokeAll(ctx, m.state(ctx))
}

// state is the request's, or nil outside of Wrap.
func (m *Manager[Data]) state(ctx context.Context) *state {
	if s := m.lookup(ctx); s != nil {
		return &s.state
	}
	return nil
}

// failed is how a revocation fails: the request, if there is one, gets 503.
func (s *state) failed(err error) error {
	if s != nil {
		s.settled(func() { s.failLocked(err) })
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// announced records a revocation. Its error does not keep the revocation from
// taking effect.
func (m *core) announced(ctx context.Context, s *state, attrs ...slog.Attr) error {
	if s != nil {
		attrs = append(attrs, actor(s.User()))
		attrs = append(attrs, s.origin()...)
	}
	attrs = append(attrs, slog.String(event.KeyOutcome, event.OutcomeSuccess))
	if err := m.audit.Emit(ctx, event.SessionRevoked, attrs...); err != nil {
		return fmt.Errorf("%w: %w", ErrUnrecorded, err)
	}
	return nil
}

func aboutUser(user string) []slog.Attr {
	return []slog.Attr{slog.String(event.KeyObjectType, "user"), slog.String(event.KeyObject, user)}
}

// minMark is how long a revocation mark stays at least: long enough for any
// login that was under way.
const minMark = time.Hour

func (m *core) revocation(keys *keyset, user string, at time.Time) Revocation {
	return Revocation{Tags: keys.tagsOf(user), At: at, Until: m.markUntil(at)}
}

func (m *core) markUntil(at time.Time) time.Time { return at.Add(max(m.cfg.Policy.Absolute, minMark)) }

// tagsOf returns the user's tags. Sessions issued under each key in force have
// their own. Those of a key that is gone open no more.
func (s *keyset) tagsOf(user string) []Tag {
	tags := make([]Tag, len(s.keys))
	for i, k := range s.keys {
		tags[i] = k.tagOf(user)
	}
	return tags
}

func (m *core) revokeUser(ctx context.Context, s *state, user, because string) (int, error) {
	if err := checkUser(user); err != nil {
		return 0, err
	}
	keys, err := m.keys.get()
	if err != nil {
		return 0, s.failed(err)
	}
	about := aboutUser(user)
	if because != "" {
		about = append(about, reason(because))
	}
	unrecorded := m.announced(ctx, s, about...)
	ctx, cancel := finish(ctx)
	defer cancel()
	n, err := m.store.Revoke(ctx, m.revocation(keys, user, now()))
	if err != nil {
		m.trouble(ctx, err)
		return n, s.failed(err)
	}
	if s != nil {
		s.disown(func() bool { return s.content.user == user })
	}
	if unrecorded != nil {
		return n, s.failed(unrecorded)
	}
	return n, nil
}

func (s *state) revokeOthers(ctx context.Context) (int, error) {
	if err := s.hold(); err != nil {
		return 0, err
	}
	defer s.release()
	ctx, cancel := finish(ctx)
	defer cancel()
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	if s.content.user == "" {
		return 0, ErrAnonymous
	}
	m := s.core
	// Asked after the time was taken: a session that was ended while this request
	// ran must neither spare itself nor end the user's other ones.
	r := m.revocation(s.keys, s.content.user, now())
	r.Keep = s.record.ref
	switch _, err := s.records().Load(ctx, r.Keep); {
	case errors.Is(err, ErrNotFound):
		s.mu.Lock()
		s.forgetLocked()
		s.mu.Unlock()
		return 0, ErrRevoked
	case err != nil:
		m.trouble(ctx, err)
		return 0, s.fail(err)
	}
	unrecorded := m.announced(ctx, s, append(aboutUser(s.content.user), reason("all but the present session"))...)
	var n int
	var err error
	if m.cookies != nil {
		err = inCookie{s}.spare(ctx, r)
	} else {
		n, err = m.store.Revoke(ctx, r)
	}
	if errors.Is(err, ErrNotFound) { // between the look and this
		s.mu.Lock()
		s.forgetLocked()
		s.mu.Unlock()
		return 0, ErrRevoked
	}
	if err != nil {
		m.trouble(ctx, err)
		return n, s.fail(err)
	}
	if unrecorded != nil {
		return n, s.fail(unrecorded)
	}
	return n, nil
}

func (m *core) revokeOne(ctx context.Context, s *state, user, handle string) (bool, error) {
	if err := checkUser(user); err != nil {
		return false, err
	}
	all, keys, err := m.list(ctx, s, user)
	if err != nil {
		return false, err
	}
	for _, e := range all {
		if keys.keys[0].nameOf(e.Ref) != handle {
			continue
		}
		unrecorded := m.announced(ctx, s, append(aboutUser(user), slog.String(event.KeySession, handle))...)
		ctx, cancel := finish(ctx)
		defer cancel()
		if _, err := m.store.Delete(ctx, e.Ref); err != nil && !errors.Is(err, ErrNotFound) {
			m.trouble(ctx, err)
			return false, s.failed(err)
		}
		if s != nil {
			s.disown(func() bool { return s.record != nil && s.record.ref == e.Ref })
		}
		if unrecorded != nil {
			return true, s.failed(unrecorded)
		}
		return true, nil
	}
	return false, nil
}

func (m *core) revokeAll(ctx context.Context, s *state) error {
	unrecorded := m.announced(ctx, s, slog.String(event.KeyObjectType, "sessions"), reason("all sessions"))
	ctx, cancel := finish(ctx)
	defer cancel()
	at := now()
	if err := m.store.RevokeAll(ctx, at, m.markUntil(at)); err != nil {
		m.trouble(ctx, err)
		return s.failed(err)
	}
	if s != nil {
		s.disown(func() bool { return s.record != nil })
	}
	if unrecorded != nil {
		return s.failed(unrecorded)
	}
	return nil
}

// disown makes the request's own session anonymous if it was just revoked, by
// the request itself: it may then log in anew.
func (s *state) disown(revoked func() bool) {
	s.settled(func() {
		if revoked() {
			s.forgetLocked()
			s.expire = true
		}
	})
}

// evicted records a session that made room for another. It is gone already.
func (s *state) evicted(ctx context.Context, ref Ref, owner string) {
	attrs := []slog.Attr{
		slog.String(event.KeySession, s.keys.keys[0].nameOf(ref)), reason("too many sessions"),
		slog.String(event.KeyOutcome, event.OutcomeSuccess),
	}
	if owner != "" {
		attrs = append(attrs, actor(owner))
	}
	if s.core.audit.Emit(ctx, event.SessionExpired, attrs...) != nil {
		_ = s.core.log.Emit(ctx, event.SessionExpired, attrs...)
	}
}
