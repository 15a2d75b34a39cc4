package auditlog

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/internal/respw"
)

// AccessConfig says how requests to one or more routes are described.
type AccessConfig struct {
	_ [0]func()

	// Describe says who wants to do what to whose data, and why: everything
	// but Outcome. Inside a mux, r.PathValue works. Origin.IP, RequestID and
	// TraceParent are filled in from [hardening.ClientOf] where it leaves them
	// empty. Its error refuses the request: as it is if it is a
	// [hardening.Problem], as 401 where nobody is logged in, else with 503, and so
	// does an Event that Record would refuse. Its panic is reported like an error and
	// goes up. Mandatory.
	Describe func(r *http.Request) (Event, error)

	// OnDeny answers a request that is refused because its attempt could not
	// be recorded. Default: [hardening.WriteProblem].
	OnDeny func(http.ResponseWriter, *http.Request, *hardening.Problem)
}

// Access records requests to data: the attempt before the handler runs, how it
// ended after. It is safe for concurrent use.
type Access struct {
	log *Log
	cfg AccessConfig
}

// Access returns a middleware for routes to data, or every fault of cfg.
func (l *Log) Access(cfg AccessConfig) (*Access, error) {
	f := faults.For(room)
	if cfg.Describe == nil {
		f.Missing("AccessConfig.Describe", "is not set", "return an Event that says who does what to whose data")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	if cfg.OnDeny == nil {
		cfg.OnDeny = hardening.WriteProblem
	}
	return &Access{log: l, cfg: cfg}, nil
}

// Wrap records two events for each request: one with Outcome Attempted, on the
// disk before next runs, and one with the outcome when it has returned, whose
// Attempt names the first and whose attribute status is that of the response.
// 401 and 403 are Denied, other statuses from 400 and panics are Failure.
//
// If the attempt can not be recorded, next does not run and the answer is 503
// (ASVS 16.5.3: no fail-open). If the outcome can not be, the answer is 503
// where nothing was sent yet; else the log reports itself unhealthy, and the
// attempt stands without an outcome.
//
// Wrap each route inside the mux, inside authentication.
func (a *Access) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ev, err := a.describe(r)
		if err == nil {
			err = ev.Validate()
		}
		var attempt int64
		if err == nil {
			first := ev
			attempt, err = a.log.record(r.Context(), &first, 0, nil)
		}
		if err != nil {
			a.refuse(w, r, ev.Type, err)
			return
		}
		rw := respw.New(w, nil)
		returned := false
		defer func() {
			err := a.outcome(r.Context(), ev, attempt, rw, returned)
			if err == nil {
				return
			}
			if returned && !rw.Committed() {
				a.refuse(w, r, ev.Type, err)
				return
			}
			a.log.report.lost(r.Context(), ev.Type, err)
		}()
		next.ServeHTTP(rw, r)
		returned = true
	})
}

func (a *Access) describe(r *http.Request) (Event, error) {
	described := false
	defer func() {
		if !described { // a panic, on its way up: the request ends here, unrecorded
			a.log.report.lost(r.Context(), "a request", errors.New("AccessConfig.Describe panicked"))
		}
	}()
	ev, err := a.cfg.Describe(r)
	described = true
	if err != nil {
		return ev, err
	}
	c := hardening.ClientOf(r)
	if !ev.Origin.IP.IsValid() {
		ev.Origin.IP = c.Addr
	}
	if ev.RequestID == "" {
		ev.RequestID = c.RequestID
	}
	if ev.TraceParent == "" {
		ev.TraceParent = c.TraceParent
	}
	ev.Outcome = Attempted
	return ev, nil
}

// outcome records how the request ended, whoever left meanwhile.
func (a *Access) outcome(ctx context.Context, ev Event, attempt int64, rw *respw.Writer, returned bool) error {
	status := rw.Status()
	switch {
	case !returned: // a panic, on its way up
		ev.Outcome = Failure
	case status == 0:
		status = http.StatusOK
		ev.Outcome = Success
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		ev.Outcome = Denied
	case status >= 400:
		ev.Outcome = Failure
	default:
		ev.Outcome = Success
	}
	ev.Attrs = append(slices.Clip(ev.Attrs), slog.Int("status", status))
	_, err := a.log.record(context.WithoutCancel(ctx), &ev, attempt, nil)
	return err
}

func (a *Access) refuse(w http.ResponseWriter, r *http.Request, name string, err error) {
	var p *hardening.Problem
	if name == "" {
		name = "a request to " + cmp.Or(r.Pattern, "a route")
	}
	if !errors.As(err, &p) || p.Status >= 500 { // else a refusal as Describe wants it: anyone can get one
		a.log.report.lost(r.Context(), name, err)
	}
	if p == nil {
		p = &hardening.Problem{
			Status: http.StatusServiceUnavailable, Title: "Access can not be recorded",
			Detail: "Nothing was shown or changed. Try again in a moment.", Err: err,
		}
	}
	a.cfg.OnDeny(w, r, p)
}
