package headers

import (
	"net/http"
	"slices"
	"strings"

	"github.com/inovy/hardening/internal/respw"
)

// Enforce is [Middleware.Wrap] for handlers that cannot be trusted with the
// policy: reverse proxies, file servers, code of others. Just before the
// response goes out, informational ones (1xx) included, it adds each policy
// header that was removed, and writes one anew that stands there twice, be it
// under a name in another case. A single value that a handler chose stays,
// and so does what a policy of [Middleware.With] decides. Of a header that the
// policy leaves out and the handler sends twice, the first value stays; and
// Strict-Transport-Security never goes out over plain HTTP (RFC 6797 section
// 7.2). No policy header goes out as a trailer, nor one that
// [Middleware.SanitizeUpstream] would remove.
//
// From a 304 it takes a Content-Security-Policy with a nonce: the browser
// would apply it to the page it has kept, whose scripts carry another nonce.
//
// It wraps the ResponseWriter, which keeps Flush, Hijack, ReadFrom and
// http.ResponseController, and costs three allocations more than Wrap.
func (m *Middleware) Enforce(next http.Handler) http.Handler {
	return m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := &enforcer{policy: m.variant(r), nonce: Nonce(r.Context())}
		e.Writer = respw.New(w, func(status int) bool {
			e.mend(w.Header(), status)
			closeTooLarge(w.Header(), r, status)
			return true
		})
		next.ServeHTTP(e, r)
		e.Finish()
		e.dropTrailers(w.Header())
	}))
}

// closeTooLarge ends a connection whose client sends more than is read.
// http.MaxBytesReader does so itself, but not through a wrapper
// (golang/go#73754).
func closeTooLarge(h http.Header, r *http.Request, status int) {
	if status == http.StatusRequestEntityTooLarge && r.ProtoMajor == 1 {
		h["Connection"] = []string{"close"}
	}
}

// enforcer is the ResponseWriter of Enforce.
type enforcer struct {
	*respw.Writer
	policy *variant
	nonce  string
}

// WriteHeader mends informational answers too: browsers heed the policy of a
// 103, and ReverseProxy adds the upstream's to it.
func (e *enforcer) WriteHeader(status int) {
	if status >= 100 && status < 200 && !e.Committed() {
		e.mend(e.Header(), status)
	}
	e.Writer.WriteHeader(status)
}

// dropTrailers removes trailers that net/http would send after the body without
// their being announced. RFC 9110 section 6.5.1 lets whoever is in
// between merge trailers into the header, where they would be a second policy.
func (e *enforcer) dropTrailers(h http.Header) {
	for k := range h {
		if name, ok := strings.CutPrefix(k, http.TrailerPrefix); ok && unwanted(name) {
			delete(h, k)
		}
	}
}

// announce takes what may be no trailer out of the announcement, so that
// net/http sends none of it.
func announce(h http.Header) {
	lists := h["Trailer"]
	if len(lists) == 0 {
		return
	}
	var kept []string
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.Trim(name, " \t"); name != "" && !unwanted(name) {
				kept = append(kept, name)
			}
		}
	}
	if delete(h, "Trailer"); kept != nil {
		h["Trailer"] = kept
	}
}

// unwanted reports whether a trailer is a policy header, or one that
// SanitizeUpstream removes.
func unwanted(name string) bool {
	equal := func(k string) bool { return strings.EqualFold(k, name) }
	return managedName(name) != "" || slices.ContainsFunc(telltale, equal) || slices.ContainsFunc(obsolete, equal)
}

func (e *enforcer) mend(h http.Header, status int) {
	if status == http.StatusSwitchingProtocols {
		return
	}
	e.tidy(h)
	announce(h)
	if status == http.StatusNotModified {
		for _, n := range e.policy.nonced {
			delete(h, e.policy.keys[n.index])
		}
	}
	var fresh []string // the policy's values, made only if something is amiss
	for i, k := range e.policy.keys {
		if got := h[k]; len(got) == 1 && strings.Trim(got[0], " \t\r\n") != "" || status == http.StatusNotModified && e.policy.hasNonce(i) {
			continue
		}
		if fresh == nil {
			fresh = append(fresh, e.policy.values...)
			e.policy.fill(fresh, e.nonce)
		}
		h[k] = fresh[i : i+1 : i+1]
	}
}

// tidy brings headers that mend does not see into the one form that it does:
// those in a spelling of their own, which net/http would send beside ours, and
// those that the policy leaves out.
func (e *enforcer) tidy(h http.Header) {
	for k, v := range h {
		name := managedName(k)
		if name == "" || name == k && len(v) < 2 {
			continue
		}
		decided := slices.Contains(e.policy.keys, name)
		switch {
		case name != k:
			delete(h, k)
			if !decided && len(h[name]) == 0 && len(v) > 0 {
				h[name] = v[:1:1]
			}
		case !decided:
			h[k] = v[:1:1]
		}
	}
	// Every policy has it over HTTPS, and none does over plain HTTP.
	if !slices.Contains(e.policy.keys, "Strict-Transport-Security") {
		delete(h, "Strict-Transport-Security")
	}
}

// managedName returns the name in managed that k is, in any case, or "".
func managedName(k string) string {
	for _, name := range managed {
		if len(name) == len(k) && (name == k || strings.EqualFold(name, k)) {
			return name
		}
	}
	return ""
}

func (v *variant) hasNonce(i int) bool {
	for _, n := range v.nonced {
		if n.index == i {
			return true
		}
	}
	return false
}

// enforce tells an outer Enforce that from here on a derived policy decides.
func (v *variant) enforce(w http.ResponseWriter, nonce string) {
	for range 16 { // wrappers are few; a cycle must not hang the server
		switch u := w.(type) {
		case *enforcer:
			u.policy, u.nonce = v, nonce
			return
		case interface{ Unwrap() http.ResponseWriter }:
			w = u.Unwrap()
		default:
			return
		}
	}
}
