package session

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/inovy/hardening"
)

// Need is what a route asks of the session. The zero value asks for a user who
// is logged in.
type Need struct {
	// AAL is the lowest assurance level, 1 to 3. Zero means 1.
	AAL int
	// Fresh is how long ago the user may have logged in or proved again who
	// they are (ASVS v5.0.0-7.5.1, 7.5.3). Zero means any time.
	Fresh time.Duration
}

// Require lets a request through whose session meets need. Others get 401 if
// nobody is logged in ([ErrAnonymous]), 403 if the login is too weak or too
// long ago ([ErrStepUp]), or 503. It belongs inside Wrap: outside of it, and
// with a Need that makes no sense, every request gets 500 and Logger hears why.
func (m *Manager[Data]) Require(need Need) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := m.Get(r.Context())
			if err == nil {
				err = need.met(&s.state)
			}
			switch {
			case errors.Is(err, errNeed) || errors.Is(err, ErrNotWrapped):
				m.core.misused(w, r, err)
				return
			case err != nil:
				m.core.deny(w, r, need.refusal(err))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

var errNeed = errors.New("session: a Need given to Require has an AAL that is not 0 to 3, or a negative Fresh")

func (n Need) met(s *state) error {
	switch {
	case n.AAL < 0 || n.AAL > 3 || n.Fresh < 0:
		return errNeed
	case s.User() == "":
		return ErrAnonymous
	case s.AAL() < n.AAL:
		return fmt.Errorf("%w: assurance level %d, needs %d", ErrStepUp, s.AAL(), n.AAL)
	case n.Fresh > 0 && time.Since(s.AuthTime()) > n.Fresh:
		return fmt.Errorf("%w: logged in at %s, needs to be within %v", ErrStepUp, s.AuthTime().UTC().Format(time.RFC3339), n.Fresh)
	}
	return nil
}

func (n Need) refusal(err error) *hardening.Problem {
	switch {
	case errors.Is(err, ErrAnonymous):
		return &hardening.Problem{Status: http.StatusUnauthorized, Title: "Not logged in", Detail: "Log in to go on.", Err: err}
	case errors.Is(err, ErrStepUp):
		p := &hardening.Problem{Status: http.StatusForbidden, Title: "Confirm that it is you", Detail: "This needs a stronger or more recent login.", Err: err, Extensions: map[string]any{}}
		if n.AAL > 0 {
			p.Extensions["need_aal"] = n.AAL
		}
		if n.Fresh > 0 {
			p.Extensions["need_fresh_seconds"] = int64(n.Fresh / time.Second)
		}
		return p
	}
	return unavailable(err)
}
