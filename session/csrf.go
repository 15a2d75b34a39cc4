package session

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
)

// Where [Manager.CSRF] looks for a token: first in the header, which fetch can
// set, then in the field of a form.
const (
	CSRFHeader = "X-CSRF-Token"
	CSRFField  = "csrf_token"
)

// ErrCSRF is the cause of the refusals of [Manager.CSRF].
var ErrCSRF = errors.New("session: the request carries no token of its session")

// The token is base64url of a mask of 32 random bytes and, XORed with it, the
// HMAC-SHA256 of the session's hash. The mask keeps a compressed page from
// leaking the token byte by byte (BREACH).
const (
	csrfSize  = 32
	csrfValue = (2*csrfSize*8 + 5) / 6
)

// CSRFToken returns a token for a form of this session, in a field called
// [CSRFField], or for fetch, in [CSRFHeader]. It differs at each call and holds
// until the session's id changes: by login, logout or expiry. On an anonymous
// session it starts one, so call it where a form is shown, not on every page.
//
// Errors: those of Update.
func (s *state) CSRFToken() (string, error) {
	if s.r == nil {
		return "", ErrNotWrapped
	}
	ctx := s.r.Context()
	if err := s.hold(); err != nil {
		return "", err
	}
	defer s.release()
	if err := s.load(ctx); err != nil {
		return "", err
	}
	if s.record == nil {
		if s.isSent() {
			return "", ErrTooLate
		}
		ctx, cancel := finish(ctx)
		defer cancel()
		if err := s.start(ctx); err != nil {
			s.core.trouble(ctx, err)
			return "", s.fail(err)
		}
	}
	var b [2 * csrfSize]byte
	_, _ = rand.Read(b[:csrfSize]) // never fails (Go 1.24)
	sum := s.keys.keys[0].csrf.sum(s.record.ref.Hash[:])
	subtle.XORBytes(b[csrfSize:], b[:csrfSize], sum[:])
	return base64url.EncodeToString(b[:]), nil
}

// lacksToken says why the token is not one of this session, or nothing if it
// is. Whoever reads the record wants to tell an attack from a cookie that did
// not come back and from a page that was left open.
func (s *state) lacksToken(token string) (why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const another = "the token is of another session, or damaged"
	switch {
	case s.record == nil:
		return "no session: its cookie did not come, or it ended"
	case token == "":
		return "no token in " + CSRFHeader + ", nor in " + CSRFField + " of a form that is not multipart"
	case len(token) != csrfValue:
		return another
	}
	b, err := base64url.DecodeString(token)
	if err != nil || len(b) != 2*csrfSize {
		return another
	}
	subtle.XORBytes(b[csrfSize:], b[csrfSize:], b[:csrfSize])
	for _, k := range s.keys.keys {
		if sum := k.csrf.sum(s.record.ref.Hash[:]); hmac.Equal(b[csrfSize:], sum[:]) {
			return ""
		}
	}
	return another
}

// CSRF lets a request that changes something through only with a token of its
// session (ASVS v5.0.0-3.5.1), in [CSRFHeader] or, for a form that is not
// multipart, in [CSRFField]. What a browser itself calls cross-origin is
// refused whatever it carries, and so is an Upgrade from another origin, which
// is a GET that a token cannot protect. GET, HEAD, OPTIONS and TRACE pass: they
// must change nothing. It belongs inside Wrap, and reads the body of forms:
// bound it outside (http.MaxBytesHandler).
//
// Others get 403 ([ErrCSRF]) or 503, and outside of Wrap 500. malicious_csrf,
// with what was missing as its reason, goes to Audit.
func (m *Manager[Data]) CSRF(next http.Handler) http.Handler {
	fetch := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		why, needed, safe := "", true, false
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
			safe = true
			if needed = r.Header.Get("Upgrade") != ""; needed && !sameOrigin(r) {
				why = "an upgrade from another origin"
			}
		default:
			if fetch.Check(r) != nil {
				why = "the browser calls it cross-origin"
			}
		}
		if !needed {
			next.ServeHTTP(w, r)
			return
		}
		s, err := m.Get(r.Context())
		switch {
		case errors.Is(err, ErrNotWrapped):
			m.core.misused(w, r, err)
			return
		case err != nil:
			m.core.deny(w, r, unavailable(err))
			return
		}
		if why == "" && !safe {
			why = s.lacksToken(tokenOf(r))
		}
		if why != "" {
			s.suspect(r.Context(), why)
			m.core.deny(w, r, &hardening.Problem{Status: http.StatusForbidden, Title: "This request does not come from our own page", Detail: "Load the page again and repeat what you did.", Err: fmt.Errorf("%w: %s", ErrCSRF, why)})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func tokenOf(r *http.Request) string {
	if t := r.Header.Get(CSRFHeader); t != "" {
		return t
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		return ""
	}
	return r.PostForm.Get(CSRFField)
}

// sameOrigin says whether the page that asks is one of ours. Browsers send
// Origin with every upgrade to a WebSocket (RFC 6455 section 4.1); what sends
// none is no browser, and carries no cookie that it did not mean to send.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return r.Header.Get("Sec-Fetch-Site") == "" || r.Header.Get("Sec-Fetch-Site") == "same-origin"
	}
	u, err := url.Parse(origin)
	c := hardening.ClientOf(r)
	return err == nil && u.Scheme == c.Scheme && u.Host == c.Host
}

func (s *state) suspect(ctx context.Context, why string) {
	s.mu.Lock()
	name := ""
	if s.record != nil {
		name = s.keys.keys[0].nameOf(s.record.ref)
	}
	s.mu.Unlock()
	s.notice(ctx, event.MaliciousCSRF, why, name)
}
