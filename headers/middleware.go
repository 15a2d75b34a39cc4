package headers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/faults"
)

// maxHeaders is how many headers one policy can have.
const maxHeaders = 14

// Middleware sends one policy. It is safe for concurrent use; its policy never
// changes.
type Middleware struct {
	cfg    Config // resolved, and never shared
	plain  variant
	secure variant
	drop   []string // headers of the outer policy that this one leaves out

	tree *tree
	// children are guarded by tree.mu.
	children []*Middleware
}

// tree is what a Middleware shares with those derived from it.
type tree struct {
	mu    sync.Mutex
	names map[string]bool // names of all members, guarded by mu
}

// New returns a Middleware, or every fault of cfg at once as
// hardening.ConfigErrors.
func New(cfg Config) (*Middleware, error) {
	m, err := build(cfg)
	if err != nil {
		return nil, err
	}
	m.tree = &tree{names: map[string]bool{m.cfg.Name: true}}
	return m, nil
}

func build(cfg Config) (*Middleware, error) {
	cfg = cfg.resolve()
	f := faults.For("headers")
	cfg.validate(f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return &Middleware{cfg: cfg, plain: cfg.compile(false), secure: cfg.compile(true)}, nil
}

// With derives the policy of one route: change gets a copy of m's resolved
// Config, and the result is validated as by [New]. The derived policy appears
// in m's Check under name, which must be new within m's family. Where both
// wrap a handler, the inner one decides every header, and none is sent twice.
// Inside an http.TimeoutHandler it cannot reach what the outer one has set: a
// header that it leaves out stays there.
func (m *Middleware) With(name string, change func(*Config)) (*Middleware, error) {
	f := faults.For("headers")
	cfg := m.cfg.clone()
	if change == nil {
		f.Missing("With.change", "is nil", "pass a func(*headers.Config)")
	} else {
		change(&cfg)
	}
	if name == "" {
		f.Missing("With.name", "is empty", "name the route or its purpose")
	}
	cfg.Name, cfg.derived = name, true
	child, err := build(cfg)
	if err != nil {
		f.Join(fmt.Errorf("policy %q: %w", name, err))
	}

	m.tree.mu.Lock()
	defer m.tree.mu.Unlock()
	if m.tree.names[name] {
		f.Add("With.name", name, "is already a policy's name", "choose another, so that findings can be told apart")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	child.tree = m.tree
	child.drop = slices.DeleteFunc(slices.Clone(managed), func(k string) bool { return slices.Contains(child.secure.keys, k) })
	m.tree.names[name] = true
	m.children = append(m.children, child)
	return child, nil
}

// Wrap sets the policy's headers before next runs, so that next may still
// replace its own. The ResponseWriter is passed on as it is.
// Strict-Transport-Security and upgrade-insecure-requests are sent where
// hardening.ClientOf says https.
func (m *Middleware) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, h := m.variant(r), w.Header()
		for _, k := range m.drop {
			delete(h, k)
		}
		if v.nonced == nil {
			if m.cfg.derived {
				v.enforce(w, "")
			}
			v.set(h, append(make([]string, 0, len(v.values)), v.values...))
			next.ServeHTTP(w, r)
			return
		}
		s, values := newState(r.Context(), len(v.values))
		copy(values, v.values)
		s.nonce = v.fill(values, Nonce(s.Context))
		if m.cfg.derived {
			v.enforce(w, s.nonce)
		}
		v.set(h, values)
		next.ServeHTTP(w, r.WithContext(s))
	})
}

func (m *Middleware) variant(r *http.Request) *variant {
	if hardening.SchemeOf(r) == "https" {
		return &m.secure
	}
	return &m.plain
}

// apply sets the headers of an answer that replaces the handler's.
func (m *Middleware) apply(h http.Header, r *http.Request) {
	v := m.variant(r)
	values := slices.Clone(v.values)
	v.fill(values, Nonce(r.Context()))
	v.set(h, values)
}

// variant is the policy for one scheme, ready to send.
type variant struct {
	keys   []string // canonical header names
	values []string
	nonced []nonced // the policies among them that have a nonce
}

// nonced is a policy with a nonce.
type nonced struct {
	index  int      // within values
	pieces []string // what stands around its nonces
	size   int      // bytes with its nonces
}

// fill writes the policies with their nonce, which it draws where nonce is
// empty, and returns it.
func (v *variant) fill(values []string, nonce string) string {
	for i := range v.nonced {
		n := &v.nonced[i]
		values[n.index], nonce = withNonce(n.pieces, n.size, nonce)
	}
	return nonce
}

// set gives every header a slice of its own part of values, cut so that an
// append by a handler cannot reach the next header's value. values belongs to
// the request: what a handler writes into it dies with the request.
func (v *variant) set(h http.Header, values []string) {
	for i, k := range v.keys {
		h[k] = values[i : i+1 : i+1]
	}
}

// managed are the headers that policies decide. Keys are canonical, because
// they index the map directly.
var managed = []string{
	"Strict-Transport-Security", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Permissions-Policy",
	"Content-Security-Policy", "Content-Security-Policy-Report-Only", "Reporting-Endpoints", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy",
	"Cross-Origin-Embedder-Policy", "X-Permitted-Cross-Domain-Policies", "Cache-Control", "X-Dns-Prefetch-Control",
}

func (c *Config) compile(secure bool) variant {
	var v variant
	add := func(key, value string) {
		if value != "" {
			v.keys, v.values = append(v.keys, key), append(v.values, value)
		}
	}
	if secure {
		add("Strict-Transport-Security", c.HSTS.String())
	}
	add("X-Frame-Options", string(c.FrameOptions))
	if !c.DangerouslyAllowSniffing {
		add("X-Content-Type-Options", "nosniff")
	}
	add("Referrer-Policy", string(c.ReferrerPolicy))
	add("Permissions-Policy", permissionsPolicy(c.Permissions))
	policy := func(key string, csp CSP) {
		csp.UpgradeInsecureRequests = csp.UpgradeInsecureRequests && secure
		text := csp.String()
		if pieces := strings.Split(text, "{}"); len(pieces) > 1 {
			v.nonced = append(v.nonced, nonced{len(v.keys), pieces, len(text) + (len(pieces)-1)*(nonceChars-len("{}"))})
		}
		add(key, text)
	}
	policy("Content-Security-Policy", c.CSP)
	policy("Content-Security-Policy-Report-Only", c.ReportOnly)
	add("Reporting-Endpoints", reportingEndpoints(c.ReportEndpoints))
	add("Cross-Origin-Opener-Policy", string(c.COOP))
	add("Cross-Origin-Resource-Policy", string(c.CORP))
	add("Cross-Origin-Embedder-Policy", string(c.COEP))
	add("X-Permitted-Cross-Domain-Policies", "none") // Flash and Acrobat still ask
	add("Cache-Control", c.CacheControl)
	if c.NoDNSPrefetch {
		add("X-Dns-Prefetch-Control", "off")
	}
	return v
}
