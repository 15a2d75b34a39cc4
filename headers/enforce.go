package headers

import (
	"net/http"

	"github.com/inovy/hardening/internal/respw"
)

// Enforce is [Middleware.Wrap] for handlers that cannot be trusted with the
// policy: reverse proxies, file servers, code of others. Just before the
// response goes out, it adds each policy header that was removed, and writes
// one anew that stands there twice. A single value that a handler chose stays,
// and so does what a policy of [Middleware.With] decides.
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
			return true
		})
		next.ServeHTTP(e, r)
		e.Finish()
	}))
}

// enforcer is the ResponseWriter of Enforce.
type enforcer struct {
	*respw.Writer
	policy *variant
	nonce  string
}

func (e *enforcer) mend(h http.Header, status int) {
	if status == http.StatusSwitchingProtocols {
		return
	}
	if status == http.StatusNotModified {
		for _, n := range e.policy.nonced {
			delete(h, e.policy.keys[n.index])
		}
	}
	var fresh []string // the policy's values, made only if something is amiss
	for i, k := range e.policy.keys {
		if got := h[k]; len(got) == 1 && got[0] != "" || status == http.StatusNotModified && e.policy.hasNonce(i) {
			continue
		}
		if fresh == nil {
			fresh = append(fresh, e.policy.values...)
			e.policy.fill(fresh, e.nonce)
		}
		h[k] = fresh[i : i+1 : i+1]
	}
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
