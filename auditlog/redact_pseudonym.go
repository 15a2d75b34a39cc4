package auditlog

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"sync/atomic"
)

// KeySource derives the keys of pseudonyms. *secrets.Ring fulfils it.
//
// Derive returns one key of n bytes for each root key that is in force, the
// primary first. Generation moves when a root key activates or retires. Both
// are safe for concurrent use.
type KeySource interface {
	Derive(purpose string, n int) [][]byte
	Generation() uint64
}

// purposePseudonym is part of what is stored and never changes.
const purposePseudonym = "auditlog/pseudonym"

// pseudonymPrefix is the version of the form of a pseudonym.
const pseudonymPrefix = "h1:"

// pseudonyms makes keyed names of values.
type pseudonyms struct {
	source KeySource
	random [sha256.Size]byte // if there is no source
	known  atomic.Pointer[derived]
}

type derived struct {
	generation uint64
	keys       [][]byte
}

func newPseudonyms(source KeySource) *pseudonyms {
	p := &pseudonyms{source: source}
	if source == nil {
		_, _ = rand.Read(p.random[:]) // never fails
	}
	return p
}

// keys returns the keys in force, the primary first.
func (p *pseudonyms) keys() [][]byte {
	if p.source == nil {
		return [][]byte{p.random[:]}
	}
	generation := p.source.Generation()
	if d := p.known.Load(); d != nil && d.generation == generation {
		return d.keys
	}
	d := &derived{generation, p.source.Derive(purposePseudonym, sha256.Size)}
	p.known.Store(d)
	return d.keys
}

func pseudonym(key []byte, value string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(value))
	return pseudonymPrefix + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// of returns the pseudonym of a value, or a mark if there is no key.
func (p *pseudonyms) of(value string) string {
	keys := p.keys()
	if len(keys) == 0 || len(keys[0]) < sha256.Size {
		return redactedKey
	}
	return pseudonym(keys[0], value)
}

// Pseudonyms returns under which names a value of an undeclared attribute may
// stand in the log: one for each key in force, that of the primary first. It is
// how an investigator who knows a value finds the events that carry it. Who can
// call it can also guess values of which there are few; keep it from users.
func (r *Redactor) Pseudonyms(value string) []string {
	var names []string
	for _, key := range r.pseudonyms.keys() {
		names = append(names, pseudonym(key, value))
	}
	return names
}

// ownAttrs are the attributes that the rooms of this library declare: settings,
// counts and names of their own, never a user's input.
var ownAttrs = [...]string{
	"room", "instance", "actor_role", "field", "error", "fix", "count", "status", "tier", "limit", "window", "remaining", "policy", "route", "method",
	"kind", "generation", "expires", "days", "age", "source", "name", "names", "digest", "version", "cause", "state", "store", "scope", "aal", "attempts",
	"retry_after", "line", "disposition", "report_type", "report_only", "blocked", "stack", "attrs_dropped", "dropped", "attempt", "rule", "signature", "fields", "key_id", "serial", "not_after", "server_name",
	"until", "reason", "check", "component", "direction", "peer", "protocol", "fingerprint", "subject_name", "issuer", "bytes", "records",
}

func (r *Redactor) isDeclared(key string) bool {
	var buf [64]byte
	n := appendNormal(buf[:0], key)
	return r.declared[string(n)] || r.safe[string(n)]
}

// auditAttrs returns copies of attrs fit for the audit log, at most
// maxElements: declared ones redacted by pattern, booleans as they are, and of
// all others a keyed pseudonym.
func (r *Redactor) auditAttrs(attrs []slog.Attr) []slog.Attr {
	if len(attrs) == 0 {
		return nil
	}
	w := walker{r: r}
	return w.auditAttrs(attrs, 0)
}

func (w *walker) auditAttrs(attrs []slog.Attr, depth int) []slog.Attr {
	out := make([]slog.Attr, 0, min(len(attrs), maxElements+1))
	for i, a := range attrs {
		if w.nodes++; i == maxElements || w.nodes > maxNodes {
			out = append(out, slog.Int("attrs_dropped", len(attrs)-i))
			break
		}
		out = append(out, w.auditAttr(a, depth))
	}
	return out
}

func (w *walker) auditAttr(a slog.Attr, depth int) slog.Attr {
	if a.Value.Kind() == slog.KindLogValuer {
		a.Value = w.resolve(a.Value)
	}
	switch {
	case w.r.isDeclared(a.Key), w.r.rank(a.Key) == secret, a.Value.Kind() == slog.KindBool, depth >= maxDepth:
		return w.attr(a, depth)
	case a.Value.Kind() == slog.KindGroup:
		return slog.Attr{Key: w.r.name(a.Key), Value: slog.GroupValue(w.auditAttrs(a.Value.Group(), depth+1)...)}
	}
	text := a.Value.String()
	if a.Value.Kind() == slog.KindAny { // its own methods may do anything: use what the walker makes of it
		v := w.any(a.Value.Any(), depth, false)
		if s, ok := v.(string); ok {
			text = s
		} else {
			text = string(appendPlain(nil, v))
		}
	}
	return slog.String(w.r.name(a.Key), w.r.pseudonyms.of(text))
}

// resolve asks a LogValuer, whose panic is no value to show.
func (w *walker) resolve(v slog.Value) (out slog.Value) {
	defer func() {
		if recover() != nil {
			out = slog.StringValue("[LogValue panicked]")
		}
	}()
	return v.Resolve()
}
