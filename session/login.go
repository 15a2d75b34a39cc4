package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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
	// Device is what List shows of the session, such as "Firefox on Windows":
	// the application's word, kept with the session and erased with it. At
	// most 200 bytes of printable UTF-8. Default: empty.
	Device string
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
// Errors: [ErrNotWrapped], [ErrTooLate], [ErrInvalid], [ErrUnavailable],
// [ErrTooLarge] if auth and the data of a user who proves again who they are do
// not fit into one cookie together (with a [CookieStore]; nothing changes), and
// [ErrRevoked] if the user was logged in and that session was ended meanwhile,
// or if the user was revoked after Login began: a login that rests on an
// earlier one must not outlive it. [ErrTooMany] under [DenyNewest]; a user who
// proves again who they are stays logged in then.
//
// The records session_created, or session_renewed for a user who was logged in
// already, and authn_login_success go to Audit before anything changes. If it
// fails after all, authn_login_fail follows.
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
// reason logout goes to Audit first; if Audit does not take it, the session
// ends all the same, the error is also [ErrUnrecorded], and the client gets
// 503.
//
// Serve it on POST: a link must not log anyone out.
func (m *Manager[Data]) Logout(ctx context.Context) error {
	s := m.lookup(ctx)
	if s == nil {
		return ErrNotWrapped
	}
	return s.logout(ctx)
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
	if len(a.Device) > maxDevice || !utf8.ValidString(a.Device) || strings.ContainsFunc(a.Device, unicode.IsControl) {
		return fmt.Errorf("%w: the device is longer than %d bytes or not printable UTF-8", ErrInvalid, maxDevice)
	}
	for _, m := range a.Methods {
		if m == "" || len(m) > maxMethod || !isToken(m) {
			return fmt.Errorf("%w: a method is not a token of 1 to %d bytes", ErrInvalid, maxMethod)
		}
	}
	return nil
}

func (s *state) login(ctx context.Context, user string, auth Auth) error {
	began := now() // before it waits or asks, so that a revocation from here on counts
	if err := errors.Join(checkUser(user), auth.check()); err != nil {
		return err
	}
	if err := s.hold(); err != nil {
		return err
	}
	defer s.release()
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
	c := content{began: began, user: user, aal: max(1, auth.AAL), methods: append([]string(nil), auth.Methods...), device: auth.Device}
	again := s.record != nil && s.content.user == user
	if s.core.cookies != nil { // while nothing has ended yet
		all := c
		if again {
			all.data = s.view
		}
		if err := (inCookie{s}).room(all.size()); err != nil {
			return err
		}
	}

	created := event.SessionCreated
	if again {
		created = event.SessionRenewed
	}
	attrs := append(s.who(user, k.nameOf(tok.ref())), s.origin()...)
	if err := s.core.audit.Emit(ctx, created, attrs...); err != nil {
		return s.fail(err)
	}
	if err := s.core.audit.Emit(ctx, event.AuthnLoginSuccess, attrs...); err != nil {
		return s.undone(ctx, err, attrs)
	}

	ctx, cancel := finish(ctx)
	defer cancel()
	returned := false
	defer func() {
		if !returned { // a store that panics
			s.takeBack(ctx, ErrUnavailable, attrs)
		}
	}()
	if again && s.core.quota.Deny && s.core.cookies == nil {
		err = s.exchange(ctx, tok, c, attrs)
	} else {
		err = s.replace(ctx, tok, c, again, attrs)
	}
	returned = true
	return err
}

// replace ends the session that the request came with, if any, and makes the
// new one.
func (s *state) replace(ctx context.Context, tok token, c content, again bool, attrs []slog.Attr) error {
	if s.record != nil {
		old, err := s.records().Delete(ctx, s.record.ref)
		switch {
		case errors.Is(err, ErrNotFound) && again:
			return s.refused(ctx, ErrRevoked, attrs)
		case errors.Is(err, ErrNotFound): // the session of someone else; it was to end anyway
		case err != nil:
			s.core.trouble(ctx, err)
			return s.undone(ctx, err, attrs)
		case again:
			if c.data, err = s.carry(old.Blob); errors.Is(err, ErrRevoked) {
				return s.refused(ctx, ErrRevoked, attrs)
			} else if err != nil {
				return s.undone(ctx, err, attrs)
			}
		}
	}
	rec, err := s.create(ctx, tok, c, s.core.quota)
	for _, refusal := range []error{ErrRevoked, ErrTooMany} {
		if errors.Is(err, refusal) {
			return s.refused(ctx, refusal, attrs)
		}
	}
	if err != nil {
		s.core.trouble(ctx, err)
		return s.undone(ctx, err, attrs)
	}
	s.adopt(rec, c)
	s.announced(attrs)
	return nil
}

// exchange renews a session under [DenyNewest]: the new record is there before
// the old one goes, or another login of that moment could take its place, and
// the user would be refused and logged out as well.
func (s *state) exchange(ctx context.Context, tok token, c content, attrs []slog.Attr) error {
	c.data = s.view
	rec, err := s.create(ctx, tok, c, Quota{Max: s.core.quota.Max + 1, Deny: true})
	switch {
	case errors.Is(err, ErrTooMany): // two renewals at one time; the session goes on
		if unrecorded := s.core.audit.Emit(ctx, event.AuthnLoginFail, loginFail(ErrTooMany, event.OutcomeDenied, attrs)...); unrecorded != nil {
			return errors.Join(ErrTooMany, s.fail(unrecorded))
		}
		return ErrTooMany
	case errors.Is(err, ErrRevoked):
		return s.refused(ctx, ErrRevoked, attrs)
	case err != nil:
		s.core.trouble(ctx, err)
		return s.undone(ctx, err, attrs)
	}
	old, err := s.records().Delete(ctx, s.record.ref)
	if err == nil {
		err = s.settleData(ctx, rec, &c, old.Blob)
	} else if errors.Is(err, ErrNotFound) {
		err = ErrRevoked
	}
	switch {
	case errors.Is(err, ErrRevoked):
		_, err := s.records().Delete(ctx, rec.ref) // it rests on one that has ended
		if err != nil && !errors.Is(err, ErrNotFound) {
			s.core.trouble(ctx, err)
			return s.undone(ctx, err, attrs)
		}
		return s.refused(ctx, ErrRevoked, attrs)
	case err != nil: // end drops the new one
		s.core.trouble(ctx, err)
		return s.undone(ctx, err, attrs)
	}
	s.adopt(rec, c)
	s.announced(attrs)
	return nil
}

// settleData puts into rec what the session held last, if another request has
// changed it since this one read it.
func (s *state) settleData(ctx context.Context, rec *record, c *content, blob []byte) error {
	data, err := s.carry(blob)
	if err != nil || bytes.Equal(data, c.data) {
		return err
	}
	c.data = data
	err = s.records().Update(ctx, rec.ref, Record{Version: rec.version, Expires: rec.expires, Blob: c.encode(s.keys.keys[0], rec.ref, s.core.sealed())})
	if errors.Is(err, ErrNotFound) {
		return ErrRevoked
	}
	rec.version++
	return err
}

// announced keeps how the login was announced, in case no response tells the
// client of it.
func (s *state) announced(attrs []slog.Attr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = attrs
}

// carry takes the data of a session that is renewed from what the store held
// last, not from what this request read, so that no other request's change is
// lost.
func (s *state) carry(blob []byte) ([]byte, error) {
	old, err := decode(s.keys, s.record.ref, blob, s.core.sealed())
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
	s.issue, s.again, s.expire = true, false, false
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// refused takes back a login that was announced, and leaves the request
// anonymous.
func (s *state) refused(ctx context.Context, why error, attrs []slog.Attr) error {
	unrecorded := s.core.audit.Emit(ctx, event.AuthnLoginFail, loginFail(why, event.OutcomeDenied, attrs)...)
	s.mu.Lock()
	s.forgetLocked()
	s.mu.Unlock()
	if unrecorded != nil {
		return errors.Join(why, s.fail(unrecorded))
	}
	return why
}

// undone takes back a login that was announced and then failed, by no fault of
// the user's. What Audit would not take goes to Logger.
func (s *state) undone(ctx context.Context, cause error, attrs []slog.Attr) error {
	s.takeBack(ctx, ErrUnavailable, attrs)
	return s.fail(cause)
}

func (s *state) takeBack(ctx context.Context, why error, attrs []slog.Attr) {
	attrs = loginFail(why, event.OutcomeFailure, attrs)
	if s.core.audit.Emit(ctx, event.AuthnLoginFail, attrs...) != nil {
		_ = s.core.log.Emit(ctx, event.AuthnLoginFail, attrs...)
	}
}

// loginFail are the attributes of a login's announcement, turned into those of
// its failure.
func loginFail(why error, outcome string, attrs []slog.Attr) []slog.Attr {
	attrs = slices.DeleteFunc(slices.Clone(attrs), func(a slog.Attr) bool { return a.Key == event.KeyOutcome })
	return append(attrs, reason(why.Error()), slog.String(event.KeyOutcome, outcome))
}

func (s *state) logout(ctx context.Context) error {
	if err := s.hold(); err != nil {
		return err
	}
	defer s.release()
	ctx, cancel := finish(ctx) // from the first look on: who hangs up is logged out as well
	defer cancel()
	if err := s.begin(ctx); err != nil {
		return err
	}
	var unrecorded error
	if s.record != nil {
		if user := s.content.user; user != "" {
			attrs := append(s.who(user, s.keys.keys[0].nameOf(s.record.ref)), s.origin()...)
			unrecorded = s.core.audit.Emit(ctx, event.SessionExpired, append(attrs, reason("logout"))...)
		}
		if _, err := s.records().Delete(ctx, s.record.ref); err != nil && !errors.Is(err, ErrNotFound) {
			s.core.trouble(ctx, err)
			return s.fail(err)
		}
	}
	if unrecorded != nil {
		return s.fail(fmt.Errorf("%w: %w", ErrUnrecorded, unrecorded))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked()
	s.expire, s.clear = true, true
	return nil
}
