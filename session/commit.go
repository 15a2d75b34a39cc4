package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"

	"github.com/inovy/hardening"
)

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
		err := s.records().Update(ctx, ref, Record{Version: version, Expires: expires, Blob: c.encode(s.keys.keys[0], ref, s.core.sealed())})
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		rec, err := s.records().Load(ctx, ref)
		if err != nil {
			return err
		}
		if c, err = decode(s.keys, ref, rec.Blob, s.core.sealed()); err != nil {
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
		if data, err = s.mutate(f, data); err != nil {
			return nil, err
		}
		if err := s.fits(data); err != nil {
			return nil, err
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
	rec, err := s.create(ctx, newToken(keys.keys[0], name, tag), c, Quota{})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record, s.content = rec, c
	s.issue = true
	return nil
}

func (s *state) create(ctx context.Context, tok token, c content, q Quota) (*record, error) {
	ref := tok.ref()
	expires := s.core.cfg.Policy.expiry(c.began, now())
	dropped, err := s.records().Create(ctx, ref, Record{
		Born: c.began, Expires: expires, Anonymous: c.user == "",
		Blob: c.encode(s.keys.keys[0], ref, s.core.sealed()),
	}, q)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.made, s.told = &ref, nil
	s.mu.Unlock()
	for _, d := range dropped {
		owner := "" // of another user, where the store was full: whose, nobody can tell
		if d.Tag == ref.Tag {
			owner = c.user
		}
		s.evicted(ctx, d, owner)
	}
	return &record{ref: ref, token: tok, version: 1, expires: expires}, nil
}

// commit is the hook before the first header: it saves what is pending and
// tells the client its id. If it returns false it has answered the request.
func (s *state) commit(int) bool {
	if s.passUntouched() {
		return true
	}
	refusal := s.settle()
	if refusal == nil {
		return true
	}
	// The handler's headers described a page that is not sent.
	h := s.under.Header()
	for _, name := range ofThePage {
		delete(h, name)
	}
	s.core.deny(s.under, s.r, refusal)
	return false
}

// passUntouched decides the header if nobody asked for the session. Whoever
// asks from then on is too late, in the same moment.
func (s *state) passUntouched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.loaded {
		s.sent = true
	}
	return !s.loaded
}

// ofThePage are the headers that say what the body is, where else it is, and
// for how long it holds (RFC 9110 section 8, RFC 9111 section 5): beside another
// body they cut it short, garble it or have it cached.
var ofThePage = []string{
	"Accept-Ranges", "Age", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length",
	"Content-Location", "Content-Range", "Content-Type", "Digest", "Etag", "Expires", "Last-Modified", "Location", "Refresh",
	"Repr-Digest", "Content-Digest", "Trailer", "Transfer-Encoding",
}

func (s *state) settle() *hardening.Problem {
	if err := s.hold(); err != nil {
		return unavailable(s.fail(err))
	}
	defer s.release()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sent = true
	}()
	if s.err == nil && len(s.pending) > 0 {
		ctx, cancel := finish(s.r.Context())
		defer cancel()
		switch err := s.save(ctx); {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrRevoked):
			s.mu.Lock()
			s.forgetLocked()
			s.mu.Unlock()
			return &hardening.Problem{Status: http.StatusUnauthorized, Title: "Your session has ended", Detail: "Log in again; what you just changed was not saved.", Err: ErrRevoked}
		case err != nil:
			s.core.trouble(ctx, err)
			_ = s.fail(err)
		}
	}
	if s.err == nil && s.again {
		s.confirm()
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

// confirm asks once more whether the session is alive whose cookie is to be
// written again, with op held: a slow request must not put a dead one in the
// place of the one that a login has issued meanwhile.
func (s *state) confirm() {
	ctx, cancel := finish(s.r.Context())
	defer cancel()
	switch err := (inCookie{s}).live(ctx, s.record.ref); {
	case errors.Is(err, ErrNotFound):
		s.mu.Lock()
		defer s.mu.Unlock()
		s.forgetLocked()
	case err != nil:
		s.core.trouble(ctx, err)
		_ = s.fail(err)
	}
}

// value is what the cookie is to hold.
func (s *state) value(name string) string {
	if s.core.cookies != nil {
		return sealCookie(s.keys.keys[0], name, s.record.token, s.carried)
	}
	return s.record.token.value()
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
		cookie.write(h, name, secure, s.value(name), p.maxAge(s.content.began, now()))
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
	stop, made, told := s.stop, s.made, s.told
	s.stop = nil
	s.sent, s.over = true, true
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
	if made == nil {
		return
	}
	ctx, cancel := finish(s.r.Context())
	defer cancel()
	_, err := s.records().Delete(ctx, *made)
	if errors.Is(err, ErrNotFound) {
		return // this very request has ended it
	}
	if err != nil {
		s.core.trouble(ctx, err)
	}
	if told != nil {
		s.takeBack(ctx, errNotSent, told)
	}
}

var errNotSent = errors.New("session: no response told the client of it")
