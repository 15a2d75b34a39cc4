package ratelimit

import (
	"net/http"
	"path"
	"strconv"
	"time"

	"github.com/inovy/hardening"
)

// The problem types that the RateLimit header draft registers
// (draft-ietf-httpapi-ratelimit-headers-11).
const (
	quotaExceeded   = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	reducedCapacity = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
)

// outageRetry is Retry-After while a store is away, in seconds: shared limits are
// back within 5 s of its return.
const outageRetry = "5"

// Wrap refuses requests that are over a limit with 429, Retry-After and a
// problem that names the violated policies. These and the admitted ones carry
// RateLimit-Policy and RateLimit of draft-ietf-httpapi-ratelimit-headers-11, about
// the limit that binds. Who is blocked gets 403. A store that fails is answered
// with 503: never open, never 500. So is a handler that gives up when
// [Tier.Timeout] is over.
//
// Wrap outside what is expensive and inside what knows the sender: behind
// hardening.Edge, headers and session.
func (l *Limiter) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := hardening.ClientOf(r)
		req := Request{Addr: client.Addr, Cost: 1}
		if l.unlimited && l.exempt(r) {
			next.ServeHTTP(w, r)
			return
		}
		if !l.cfg.DangerouslyReportOnly {
			if d := l.denied.find(l, req.Addr); d != nil {
				l.report(r.Context(), &req, d, client.RequestID)
				l.refuse(w, r, d)
				return
			}
		}
		l.describe(&req, r, client.RequestID)
		t := l.tier(req.Tier)
		if t.slots != nil {
			req.lease = new(lease)
			defer req.lease.end(r.Context())
		} else if t.concurrent > 0 {
			who := l.subject(&req)
			if req.crowded = !l.inFlight.acquire(who, t.concurrent); !req.crowded {
				defer l.inFlight.release(who)
			}
		}
		var d Decision
		by, err := l.take(r.Context(), &req, client.RequestID, &d)
		switch {
		case err != nil:
			l.unavailable(w, r, err)
		case !d.Allowed:
			l.denied.remember(l, &req, d, by)
			l.refuse(w, r, &d)
		default:
			l.writeHeaders(w.Header(), &d)
			if t.timeout > 0 {
				l.serveFor(w, r, t.timeout, next)
				return
			}
			next.ServeHTTP(w, r)
		}
	})
}

// describe adds what the service knows about the request: its cost, its route and
// who sent it.
func (l *Limiter) describe(req *Request, r *http.Request, requestID string) {
	if l.cfg.Cost != nil {
		req.Cost = max(l.cfg.Cost(r), 1)
	}
	if len(l.routes) > 0 {
		if i, _ := l.match.find(r); i >= 0 {
			req.Route = l.routes[i].pattern
		}
	}
	if l.cfg.Identify == nil {
		return
	}
	id, err := l.cfg.Identify(r)
	if err != nil {
		l.events.identifyFailed(r.Context(), req, requestID, err)
		return
	}
	req.Identity = id
}

// exempt reports whether the request matches a route without limits. A path
// that is not clean never does: a handler that is no ServeMux might read
// "/static/%2e%2e/login" as another route than we do. Nor does one that is only
// redirected to a route: a service may serve "/static" beside "/static/".
func (l *Limiter) exempt(r *http.Request) bool {
	p := r.URL.Path
	if clean := path.Clean(p); p != clean && p != clean+"/" {
		return false
	}
	i, served := l.match.find(r)
	return served && i >= 0 && l.routes[i].unlimited
}

// unavailable answers a request that no store could decide about.
func (l *Limiter) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("Retry-After", outageRetry)
	l.cfg.OnDeny(w, r, &hardening.Problem{
		Type: reducedCapacity, Status: http.StatusServiceUnavailable, Title: "Temporarily reduced capacity",
		Detail: "The service cannot check its limits now. Try again in " + outageRetry + " s.", Err: err,
	})
}

// refuse answers a request that the decision does not allow.
func (l *Limiter) refuse(w http.ResponseWriter, r *http.Request, d *Decision) {
	if d.Policy == policyBlocked {
		l.cfg.OnDeny(w, r, &hardening.Problem{Status: http.StatusForbidden, Detail: "Access is suspended."})
		return
	}
	l.writeHeaders(w.Header(), d)
	p := &hardening.Problem{
		Type: quotaExceeded, Status: http.StatusTooManyRequests, Title: "Too many requests",
		Extensions: map[string]any{"violated-policies": d.Violated},
	}
	if d.RetryAfter < 0 {
		p.Detail = "This request costs more than its limit ever admits."
	} else {
		after := strconv.FormatInt(effective(d), 10)
		w.Header().Set("Retry-After", after)
		p.Detail = "Try again in " + after + " s."
	}
	l.cfg.OnDeny(w, r, p)
}

// seconds rounds up, so that nobody is told to come back too early.
func seconds(d time.Duration) int64 {
	n := int64(d / time.Second)
	if d%time.Second > 0 {
		n++
	}
	return max(n, 1)
}

// effective is t of the RateLimit header in seconds: within it the client may
// use what remains. It is at least so long that the remaining units do not
// promise more than the limit's own pace (section 6 of the draft), and
// Retry-After is never earlier.
func effective(d *Decision) int64 {
	t := d.ResetAfter
	if d.RetryAfter > 0 {
		t = d.RetryAfter
	}
	pace := float64(d.Limit.Per) * float64(d.Remaining) / float64(d.Limit.N)
	return seconds(max(t, time.Duration(min(pace, 1<<62)))) // a large Burst of a slow limit may take longer
}

// writeHeaders sets RateLimit-Policy and RateLimit for the limit that binds, in
// one string and one backing array.
func (l *Limiter) writeHeaders(h http.Header, d *Decision) {
	var buf [256]byte
	var at [6]int // where each field ends in buf
	b := append(buf[:0], '"')
	b = append(b, d.Policy...)
	b = append(b, `";q=`...)
	b = strconv.AppendInt(b, d.Limit.N, 10)
	if d.Limit.Per > 0 {
		b = append(b, `;w=`...)
		b = strconv.AppendInt(b, seconds(d.Limit.Per), 10)
	} else {
		b = append(b, `;qu="concurrent-requests"`...)
	}
	at[1] = len(b)
	b = append(b, '"')
	b = append(b, d.Policy...)
	b = append(b, `";r=`...)
	b = strconv.AppendInt(b, d.Remaining, 10)
	b = append(b, `;t=`...)
	b = strconv.AppendInt(b, effective(d), 10)
	at[2] = len(b)
	names := []string{"Ratelimit-Policy", "Ratelimit", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"}
	if l.cfg.XRateLimit {
		b = strconv.AppendInt(b, d.Limit.N, 10)
		at[3] = len(b)
		b = strconv.AppendInt(b, d.Remaining, 10)
		at[4] = len(b)
		b = strconv.AppendInt(b, time.Now().Add(max(d.ResetAfter, d.RetryAfter)+time.Second-1).Unix(), 10)
		at[5] = len(b)
	} else {
		names = names[:2]
	}
	all, values := string(b), make([]string, len(names)) // one of each for all fields
	for i, name := range names {
		values[i] = all[at[i]:at[i+1]]
		h[name] = values[i : i+1 : i+1]
	}
}
