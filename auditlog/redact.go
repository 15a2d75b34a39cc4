package auditlog

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/internal/shapes"
	"github.com/inovy/hardening/internal/text"
)

// Pattern is a kind of value that is recognised by its shape, wherever it
// stands. It is also what stands in its place: "[REDACTED:pan]".
type Pattern string

// The patterns. Those with a check digit are checked before anything is
// redacted. Of what is logged as a number and not as text only payment
// cards are found: one number of nine digits in eleven passes the check of a
// BSN. Log such a number under a key that says what it is.
const (
	JWT        Pattern = "jwt"         // JSON web tokens, signed, unsigned or encrypted
	PrivateKey Pattern = "private-key" // PEM blocks, to their end
	APIKey     Pattern = "apikey"      // tokens in the published forms of some eighty issuers
	Credential Pattern = "credential"  // what follows "Bearer" or "Basic"
	URLUser    Pattern = "url"         // user and password in a URL
	Assignment Pattern = "assignment"  // password=..., "secret": "...", Cookie: ...
	PAN        Pattern = "pan"         // payment card numbers (ISO/IEC 7812, Luhn)
	IBAN       Pattern = "iban"        // bank accounts (ISO 13616, mod 97)
	BSN        Pattern = "bsn"         // Dutch citizen numbers (11-proef)
	Email      Pattern = "email"       // e-mail addresses
)

var allPatterns = [...]Pattern{JWT, PrivateKey, APIKey, Credential, URLUser, Assignment, PAN, IBAN, BSN, Email}

// patternSet is a set of patterns, a bit each.
type patternSet uint16

func bit(p Pattern) patternSet {
	for i, q := range allPatterns {
		if p == q {
			return 1 << i
		}
	}
	return 0
}

// RedactorConfig says what is redacted. The zero value redacts all that the
// room knows: every pattern, and values under keys that name a secret or an
// identifier of a person (password, token, cookie, authorization, bsn, iban,
// email and their kin).
//
// Types declare their own fields by a tag: `audit:"secret"` shows nothing,
// `audit:"pseudonym"` a keyed name of the value, `audit:"drop"` leaves the field
// out, and `audit:"safe"` says that it is a typed identifier, as Safe does.
type RedactorConfig struct {
	_ [0]func()

	// Keys are further names under which nothing is shown. Case, '_', '-',
	// '.' and spaces do not matter: "apiKey" is "API-KEY". Default: none.
	Keys []string

	// Safe are names of typed identifiers: what stands directly under them is
	// not searched for what identifies a person (PAN, IBAN, BSN, Email), so that
	// an order number that happens to pass the check of a BSN stays readable.
	// A token or a private key there is hidden all the same. Default: none.
	Safe []string

	// Declared are names of attributes of audit events that are shown, searched
	// for patterns. An audit attribute that is neither declared here or in Safe,
	// nor one of those that the rooms of this library write, stands in the log
	// as a keyed pseudonym, "h1:..."; see [Redactor.Pseudonyms]. Booleans are
	// shown. It has no effect on [Redactor.Handler]. Default: none.
	Declared []string

	// Pseudonyms is where the keys of pseudonyms come from. Default: a random
	// key for this process, so that equal values have equal pseudonyms until it
	// ends.
	Pseudonyms KeySource

	// DangerouslyAllowKeys shows what stands under these names though the room
	// would redact it.
	DangerouslyAllowKeys []string

	// DangerouslyAllow shows values of these patterns.
	DangerouslyAllow []Pattern
}

func (c RedactorConfig) clone() RedactorConfig {
	c.Declared = slices.Clone(c.Declared)
	c.Keys, c.Safe = slices.Clone(c.Keys), slices.Clone(c.Safe)
	c.DangerouslyAllowKeys, c.DangerouslyAllow = slices.Clone(c.DangerouslyAllowKeys), slices.Clone(c.DangerouslyAllow)
	return c
}

func (c *RedactorConfig) validate(f *faults.Collector, prefix string) {
	names := func(field string, list []string) {
		if list != nil && len(list) == 0 {
			f.Add(prefix+field, "[]", "is empty but not nil", "leave it nil, or list names")
		}
		for i, name := range list {
			if normalise(name) == "" {
				f.Add(fmt.Sprintf("%s%s[%d]", prefix, field, i), name, "names no key: only case, '_', '-', '.' and spaces are in it", "write the name as it stands in the log calls")
			}
		}
	}
	names("Keys", c.Keys)
	names("Safe", c.Safe)
	names("Declared", c.Declared)
	if isNilPointer(c.Pseudonyms) {
		f.Missing(prefix+"Pseudonyms", "holds a nil pointer", "leave it nil, or pass a key ring")
	}
	names("DangerouslyAllowKeys", c.DangerouslyAllowKeys)
	for i, name := range c.Declared {
		if n := normalise(name); n != "" && (deniedName(n) || slices.ContainsFunc(c.Keys, func(k string) bool { return normalise(k) == n })) {
			f.Add(fmt.Sprintf("%sDeclared[%d]", prefix, i), name, "is also a name under which nothing is shown", "choose one; DangerouslyAllowKeys shows what the room redacts")
		}
	}
	for i, name := range c.Safe {
		if n := normalise(name); n != "" && (deniedName(n) || slices.ContainsFunc(c.Keys, func(k string) bool { return normalise(k) == n })) {
			f.Add(fmt.Sprintf("%sSafe[%d]", prefix, i), name, "is also a name under which nothing is shown", "choose one; DangerouslyAllowKeys shows what the room redacts")
		}
	}
	if c.DangerouslyAllow != nil && len(c.DangerouslyAllow) == 0 {
		f.Add(prefix+"DangerouslyAllow", "[]", "is empty but not nil", "leave it nil, or list patterns")
	}
	for i, p := range c.DangerouslyAllow {
		if !slices.Contains(allPatterns[:], p) {
			f.Add(fmt.Sprintf("%sDangerouslyAllow[%d]", prefix, i), p, "is not a pattern", fmt.Sprintf("use one of %q", allPatterns))
		}
	}
}

// Redactor takes secrets and personal numbers out of log records. It is
// immutable and safe for concurrent use.
type Redactor struct {
	ranks   ranks
	cfg     RedactorConfig
	denied  map[string]bool // normalised Keys
	safe    map[string]bool
	allowed map[string]bool
	off     patternSet

	declared   map[string]bool // attributes of audit events that are shown
	pseudonyms *pseudonyms
}

// NewRedactor returns a Redactor, or every fault of cfg at once. It tries the
// patterns on known values first, and returns an error if one gets through.
func NewRedactor(cfg RedactorConfig) (*Redactor, error) {
	f := faults.For(room)
	cfg.validate(f, "")
	if err := f.Err(); err != nil {
		return nil, err
	}
	r := newRedactor(cfg.clone())
	if err := r.selfTest(); err != nil {
		return nil, err
	}
	return r, nil
}

func newRedactor(cfg RedactorConfig) *Redactor {
	set := func(names []string) map[string]bool {
		m := make(map[string]bool, len(names))
		for _, n := range names {
			m[normalise(n)] = true
		}
		return m
	}
	r := &Redactor{cfg: cfg, denied: set(cfg.Keys), safe: set(cfg.Safe), allowed: set(cfg.DangerouslyAllowKeys)}
	r.declared = set(append(ownAttrs[:], cfg.Declared...))
	r.pseudonyms = newPseudonyms(cfg.Pseudonyms)
	for _, p := range cfg.DangerouslyAllow {
		r.off |= bit(p)
	}
	return r
}

const (
	maxString   = 8 << 10 // bytes of one text in a record
	maxScan     = 2 * maxString
	maxDepth    = 32  // of nested values
	maxElements = 256 // of one map, slice, struct or record
	maxNodes    = 4096

	redactedKey = "[REDACTED:key]" // in place of what stood under a denied key
)

// maxMark is how long a mark can be.
const maxMark = len("[REDACTED:private-key]")

func mark(p Pattern) string { return "[REDACTED:" + string(p) + "]" }

// String returns s with every pattern replaced by its mark, and shortened to
// 8 KiB. It allocates nothing if there is nothing to redact.
func (r *Redactor) String(s string) string { return r.clean(s, 0) }

// name redacts the name of an attribute, a group or a member. Bytes that are no
// UTF-8 are replaced here, because encoders would make one name of two.
func (r *Redactor) name(key string) string { return strings.ToValidUTF8(r.String(key), "\ufffd") }

// clean is String without the patterns in but.
func (r *Redactor) clean(s string, but patternSet) string {
	if s == "" {
		return s
	}
	full := s
	if len(s) > maxScan {
		s = s[:maxScan] // what is cut here lies behind what is shown
	}
	sc := r.scan(s, but)
	if len(s) > shortText {
		sc.issuers = shapes.NewScanner(s, &shapes.Runs{})
	}
	m, found := sc.next(0)
	if !found {
		return text.Clip(full, maxString)
	}
	var b []byte
	at := 0
	for ; found && m.start < maxString; m, found = sc.next(at) {
		if len(b)+m.start-at+maxMark > maxString { // marks are longer than some of what they stand for
			b = append(b, text.Clip(s[at:m.start], max(0, maxString-maxMark-len(b)))...)
			return strings.TrimSuffix(string(b), "...") + "..."
		}
		b = append(b, s[at:m.start]...)
		b = append(b, mark(m.pattern)...)
		at = m.end
	}
	if at < maxString {
		b = append(b, text.Clip(full[at:], maxString-max(at, len(b)))...)
	} else if at < len(full) {
		b = append(b, "..."...)
	}
	return string(b)
}

// attrs returns redacted copies of attrs, at most maxElements, beside those of
// the names that are taken.
func (r *Redactor) attrs(attrs []slog.Attr, taken []string) []slog.Attr {
	if len(attrs) == 0 {
		return nil
	}
	w, names := walker{r: r}, namesOf(taken)
	out := make([]slog.Attr, 0, len(attrs))
	for i, a := range attrs {
		if i == maxElements {
			out = names.add(out, slog.Int("attrs_dropped", len(attrs)-i))
			break
		}
		out = names.add(out, w.attr(a, 0))
	}
	return out
}
