package password

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

// PolicyConfig configures a [Policy]. The zero value works.
type PolicyConfig struct {
	_ [0]func()

	// Name is the Component of findings. Default: "password".
	Name string

	// MinLength is how many characters a password needs. Default: 15, for a
	// password that stands alone (NIST SP 800-63B-4). At least 8, which is for
	// passwords beside a second factor.
	MinLength int

	// Words are what a password here must not be made of: the names of the
	// service, the organisation, the city (ASVS v5.0.0-6.2.11). Words of fewer
	// than 4 characters are a fault.
	Words []string

	// Breached is asked whether a password is in a known breach (ASVS
	// v5.0.0-6.2.12), such as [NewHIBP]. nil = nobody is asked.
	Breached Breached

	// Logger hears when Breached does not answer. nil = slog.Default() at the
	// moment of the event.
	Logger *slog.Logger
}

// Breached counts how often a password was seen in breaches.
type Breached interface {
	Count(ctx context.Context, password string) (int, error)
}

// Why a [Policy] refuses a password. Compare with errors.Is.
var (
	ErrTooShort = errors.New("password: too short")
	ErrCommon   = errors.New("password: one of the most common")
	ErrContext  = errors.New("password: made of the user's or the service's own name")
	ErrBreached = errors.New("password: known from a breach")
	ErrText     = errors.New("password: not valid UTF-8")
)

const (
	defaultMinLength = 15
	leastMinLength   = 8
	minWord          = 4
)

// Policy says which new passwords are good enough. It asks for no classes of
// characters, as ASVS v5.0.0-6.2.5 forbids. It is safe for concurrent use.
type Policy struct{ cfg PolicyConfig }

// NewPolicy returns a Policy, or every fault of cfg at once.
func NewPolicy(cfg PolicyConfig) (*Policy, error) {
	c := faults.For("password")
	c.Name("PolicyConfig.Name", cfg.Name)
	if cfg.Name == "" {
		cfg.Name = "password"
	}
	switch {
	case cfg.MinLength == 0:
		cfg.MinLength = defaultMinLength
	case cfg.MinLength < leastMinLength || cfg.MinLength > 128:
		c.Add("PolicyConfig.MinLength", cfg.MinLength, "is not between 8 and 128", "leave it zero for 15; use 8 beside a second factor")
	}
	if cfg.Words != nil && len(cfg.Words) == 0 {
		c.Missing("PolicyConfig.Words", "is empty but not nil", "leave it nil for none")
	}
	for i, w := range cfg.Words {
		if utf8.RuneCountInString(w) < minWord || !utf8.ValidString(w) {
			c.Add(fmt.Sprintf("PolicyConfig.Words[%d]", i), w, "has fewer than 4 characters, so that it would refuse good passwords", "name longer words")
		}
	}
	c.NilInside("PolicyConfig.Breached", cfg.Breached, "leave it nil to ask nobody, or pass a client that was made")
	if err := c.Err(); err != nil {
		return nil, err
	}
	cfg.Words = slices.Clone(cfg.Words)
	return &Policy{cfg: cfg}, nil
}

// Accept says whether a new password is good enough. names are the user's own:
// login name, e-mail address, full name; those of fewer than 4 characters do not
// count. It returns nil, or all that is wrong, joined: [ErrTooShort],
// [ErrTooLong], [ErrCommon], [ErrContext], [ErrBreached], [ErrText]. A breach
// service that does not answer refuses nothing; Logger hears of it.
//
// Call it when a password is chosen, not when one is typed.
func (p *Policy) Accept(ctx context.Context, password string, names ...string) error {
	if len(password) > MaxPassword {
		return ErrTooLong
	}
	if !utf8.ValidString(password) {
		return ErrText
	}
	var wrong []error
	if n := utf8.RuneCountInString(password); n < p.cfg.MinLength {
		wrong = append(wrong, fmt.Errorf("%w: it needs %d characters", ErrTooShort, p.cfg.MinLength))
	}
	lower := strings.ToLower(password)
	if common(lower) {
		wrong = append(wrong, ErrCommon)
	}
	if madeOf(lower, append(slices.Clone(p.cfg.Words), names...)) {
		wrong = append(wrong, ErrContext)
	}
	if len(wrong) == 0 && p.cfg.Breached != nil { // nobody outside needs to hear of a password that is refused
		n, err := p.cfg.Breached.Count(ctx, password)
		switch {
		case err != nil:
			sink := event.Sink{Logger: p.cfg.Logger, Room: "password", Name: p.cfg.Name}
			_ = sink.Emit(ctx, event.StoreDegraded, slog.String(event.KeyField, "Breached"), slog.String(event.KeyError, err.Error()))
		case n > 0:
			wrong = append(wrong, ErrBreached)
		}
	}
	return errors.Join(wrong...)
}

// commonPasswords has one password a line, with a line break before the first
// and after the last. Source and licence stand beside it.
//
//go:embed common/passwords.txt
var commonPasswords string

// common reports whether a password, in lower case, is common, or nothing but
// one that is repeated.
func common(lower string) bool {
	if strings.ContainsAny(lower, "\n\r") {
		return false
	}
	if strings.Contains(commonPasswords, "\n"+lower+"\n") {
		return true
	}
	for n := 1; n <= len(lower)/2; n++ {
		if len(lower)%n == 0 && strings.Repeat(lower[:n], len(lower)/n) == lower && (n <= minWord || common(lower[:n])) {
			return true
		}
	}
	return false
}

// madeOf reports whether the words make up at least half of the password, in
// lower case.
func madeOf(lower string, words []string) bool {
	rest := lower
	for _, w := range words {
		w = strings.ToLower(w)
		parts := append(strings.FieldsFunc(w, func(r rune) bool { return strings.ContainsRune(" @.-_+,", r) }), w)
		slices.SortFunc(parts, func(a, b string) int { return len(b) - len(a) })
		for _, part := range parts {
			if utf8.RuneCountInString(part) >= minWord {
				rest = strings.ReplaceAll(rest, part, "")
			}
		}
	}
	return 2*utf8.RuneCountInString(rest) <= utf8.RuneCountInString(lower) && rest != lower
}

// Check reports what passwords have to be. It does no I/O.
func (p *Policy) Check() []hardening.Finding {
	asvs := func(id string) hardening.Control {
		return hardening.Control{Framework: hardening.ASVS, ID: "v5.0.0-" + id, Relation: hardening.Implements}
	}
	iso := hardening.Control{Framework: hardening.ISO27002, ID: "5.17", Relation: hardening.Supports}
	return []hardening.Finding{
		{
			ID: "HDN-PASSWORD-008", Component: p.cfg.Name, Severity: hardening.Low,
			Title:    "A password that stands alone has at least 15 characters",
			Passed:   p.cfg.MinLength >= defaultMinLength,
			Observed: fmt.Sprintf("%d characters", p.cfg.MinLength), Expected: "15 characters",
			Remedy:   "leave MinLength zero, or ask everybody for a second factor",
			Controls: []hardening.Control{asvs("6.2.1"), asvs("6.2.4"), asvs("6.2.5"), iso},
		},
		{
			ID: "HDN-PASSWORD-009", Component: p.cfg.Name, Severity: hardening.Low,
			Title:    "New passwords are held against known breaches",
			Passed:   p.cfg.Breached != nil,
			Observed: fmt.Sprintf("Breached set %t", p.cfg.Breached != nil), Expected: "Breached set true",
			Remedy:   "set Breached to a client from NewHIBP",
			Controls: []hardening.Control{asvs("6.2.12"), iso},
		},
	}
}
