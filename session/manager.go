package session

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/internal/respw"
)

// Manager keeps the sessions of one service. Data is what the application
// remembers in a session, a type that JSON round-trips. It is safe for
// concurrent use.
type Manager[Data any] struct{ core *core }

// New returns a Manager, or every fault of cfg at once as
// hardening.ConfigErrors. A Data of which JSON would lose a part is a fault.
func New[Data any](cfg Config) (*Manager[Data], error) {
	c := faults.For("session")
	checkRoundTrip(c, reflect.TypeFor[Data]())
	core := newCore(cfg, c)
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &Manager[Data]{core: core}, nil
}

// request is one request's session together with the context that carries it,
// so that an untouched request pays for one allocation.
type request[Data any] struct {
	context.Context
	session Session[Data]
}

// contextKey tells the sessions of several managers apart.
type contextKey struct{ core *core }

func (c *request[Data]) Value(key any) any {
	if k, ok := key.(contextKey); ok && k.core == c.session.core {
		return &c.session
	}
	return c.Context.Value(key)
}

// Wrap makes sessions available to next. It belongs inside the security
// headers and outside everything that asks who the user is. Wrapping twice
// with one manager is the same as once.
func (m *Manager[Data]) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.lookup(r.Context()) != nil {
			next.ServeHTTP(w, r)
			return
		}
		c := &request[Data]{Context: r.Context()}
		s := &c.session.state
		s.core = m.core
		s.under = w
		s.w = respw.New(w, s.commit)
		s.r = r.WithContext(c)
		defer s.end()
		next.ServeHTTP(s.w, s.r)
		if s.touched() {
			s.w.Finish()
		}
	})
}

// Get returns the session of the request that ctx belongs to. It is never nil.
// It is anonymous if there is none, if it ended, or if Get returns an error:
// [ErrNotWrapped], or [ErrUnavailable], after which the room answers the
// request with 503 whatever the handler writes.
//
// The first Get of a request reads the cookie and, if it is genuine, the
// store. The Session belongs to the request and must not outlive it.
func (m *Manager[Data]) Get(ctx context.Context) (*Session[Data], error) {
	s := m.lookup(ctx)
	if s == nil {
		s = new(Session[Data])
		s.core = m.core
		return s, ErrNotWrapped
	}
	return s, s.load(ctx)
}

func (m *Manager[Data]) lookup(ctx context.Context) *Session[Data] {
	s, _ := ctx.Value(contextKey{m.core}).(*Session[Data])
	return s
}

// Session is what one request knows of its session. It is safe for use by
// several goroutines of the request.
type Session[Data any] struct{ state }

// Data returns what the session remembers, decoded afresh: what the caller
// does to it, nested maps and slices included, stays with the caller. It is
// the zero value for an anonymous session that never called Update.
func (s *Session[Data]) Data() Data {
	var d Data
	if b := s.json(); b != nil {
		if json.Unmarshal(b, &d) != nil {
			// Stored by a version of the application whose Data had other
			// types. Half a value is worse than none.
			var zero Data
			return zero
		}
	}
	return d
}

// Update changes what the session remembers. The change shows in Data at once
// and is saved with the response, under compare-and-swap: when another request
// changed the session meanwhile, f is run again on what that left. f must
// therefore do nothing but change its argument: Update, CSRFToken, Login, Logout,
// RevokeOthers or a write of the response inside f would wait for f itself, and
// fail with [ErrInUpdate] after 5 seconds. On an anonymous session Update starts
// one.
//
// Errors: [ErrNotWrapped], [ErrUnavailable], [ErrTooLate] after the header was
// sent, [ErrTooLarge], and [ErrRevoked] if this very request ended the session
// while f ran. If it was ended elsewhere, the room answers the request with 401
// and the change is dropped.
func (s *Session[Data]) Update(f func(*Data)) error {
	return s.update(func(b []byte) ([]byte, error) {
		var d Data
		if b != nil && json.Unmarshal(b, &d) != nil {
			var zero Data // as in Data
			d = zero
		}
		f(&d)
		return json.Marshal(&d)
	})
}
