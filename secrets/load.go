package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/bits"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

// Options says where and how strictly [Load] looks.
type Options struct {
	_ [0]func()
	// Name tells several loads of one program apart and is the Component of
	// their findings. Default: "secrets".
	Name string
	// Environment is where the service runs. Default: Production. Development
	// lets short and placeholder passwords, tokens and URLs, and files that
	// everyone may read, through with a failing finding.
	Environment hardening.Environment
	// Sources are asked in this order. Default: Dir("/run/secrets"), Env().
	Sources []Source
	// DangerouslyAllowReadableFiles lets secret files on disk through that every
	// user of the machine may read. Files that others may write are always
	// refused.
	DangerouslyAllowReadableFiles bool
	// Audit, if set, gets the records secret_loaded, secret_due and
	// secret_overdue before dst is filled; its error refuses the load.
	Audit slog.Handler
	// Logger gets them if Audit is nil. Default: slog.Default() at that moment.
	Logger *slog.Logger
}

// Load fills the struct that dst points to, as its secret tags ask (see the
// package documentation), and returns a Loader that reports on what was loaded
// and wipes it in the end.
//
// Load finds every fault before it returns: all of them are in the error, each
// a [*hardening.ConfigError] that names the field, the name that was looked up,
// the source and the rule. Nothing that errors.As finds in it holds a value. On
// an error dst is left as it was.
func Load(ctx context.Context, dst any, opts Options) (*Loader, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("secrets: nothing was loaded: %w", err)
	}
	c := faults.For("secrets")
	opts = opts.check(c)
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		c.Missing("dst", "is not a pointer to a struct", "pass the address of the struct to fill: &cfg")
		return nil, c.Err()
	}
	v = v.Elem()
	p := planOf(v.Type(), c)
	l := &load{opts: opts, plan: p, faults: c, failed: map[*field]bool{}}
	defer l.wipe()
	l.gather(ctx)
	filled := reflect.New(v.Type())
	filled.Elem().Set(v)
	l.fill(filled.Elem())
	p.validate(ctx, filled, l.failed, c)
	l.findDoubles()
	if err := c.Err(); err != nil {
		l.destroy()
		return nil, err
	}
	loader := &Loader{opts: opts, items: l.items}
	if err := loader.announce(ctx); err != nil {
		l.destroy()
		return nil, err
	}
	v.Set(filled.Elem())
	return loader, nil
}

// check reports the faults of o and returns a copy with the defaults in.
func (o Options) check(c *faults.Collector) Options {
	if !o.Environment.Valid() {
		c.Add("Options.Environment", o.Environment, "is not an environment", "use hardening.Production, Staging or Development")
	}
	if o.Sources != nil && len(o.Sources) == 0 {
		c.Missing("Options.Sources", "is empty", "leave it nil for the default, or name a source")
	}
	for i, s := range o.Sources {
		if s.impl == nil {
			c.Missing(fmt.Sprintf("Options.Sources[%d]", i), "is a zero Source", "make it with Env or Dir")
		}
	}
	if o.Sources == nil {
		o.Sources = []Source{Dir("/run/secrets"), Env()}
	} else {
		o.Sources = append([]Source(nil), o.Sources...)
	}
	if o.Name == "" {
		o.Name = "secrets"
	}
	return o
}

// load is one run of Load.
type load struct {
	opts   Options
	plan   *plan
	faults *faults.Collector
	refs   []ref // all that was found, by field and then by source
	next   int   // the first of refs that choose has not seen
	vault  *vault
	failed map[*field]bool
	items  []item
}

// item is one secret that was loaded, without its value.
type item struct {
	field   *field
	secret  Secret
	ring    *Ring
	label   string
	env     bool
	open    string
	written time.Time
	relaxed string // rule that Development let pass
}

// gather finds every place at which a value stands, and reads the files.
func (l *load) gather(ctx context.Context) {
	fields := l.plan.fields
	refs := make([]ref, 0, len(fields))
	for i, s := range l.opts.Sources {
		if s.impl == nil {
			continue
		}
		var bad []flaw
		refs, bad = s.impl.refs(ctx, fields, refs)
		for _, b := range bad {
			l.faults.Add(fmt.Sprintf("Options.Sources[%d]", i), s.impl.label(), b.reason, b.fix)
		}
	}
	readFiles(refs, l.opts.DangerouslyAllowReadableFiles || l.opts.Environment == hardening.Development)
	if len(l.opts.Sources) > 1 {
		slices.SortStableFunc(refs, func(a, b ref) int { return a.field.order - b.field.order })
	}
	l.refs = refs
}

// wipe clears what gather read; the values that are kept are copies.
func (l *load) wipe() {
	for _, r := range l.refs {
		clear(r.value)
	}
}

// destroy wipes what was loaded after all.
func (l *load) destroy() {
	for _, it := range l.items {
		it.secret.Destroy()
		it.ring.Destroy()
	}
}

// fail reports a fault of a field. Even that of a public setting shows no
// value: someone may have pasted a password into it.
func (l *load) fail(f *field, label string, bad flaw) {
	l.failed[f] = true
	where := f.name
	if label != "" {
		where += " in " + label
	}
	l.faults.Secret(f.path, where+": "+bad.reason, bad.fix)
}

func (l *load) fill(dst reflect.Value) {
	count := 0
	for _, f := range l.plan.fields {
		if f.target == toSecret {
			count++
		}
	}
	l.vault = newVault(count)
	l.items = make([]item, 0, len(l.plan.fields))
	for _, f := range l.plan.fields {
		r, found := l.choose(f)
		if l.failed[f] {
			continue
		}
		switch {
		case !found && f.preset != nil:
			r = ref{field: f, label: "the default of its tag", value: []byte(*f.preset)}
		case !found && f.optional:
			continue
		case !found:
			l.faults.Missing(f.path, f.name+": is missing in "+l.sources(), "set it there; an empty value counts as missing")
			l.failed[f] = true
			continue
		}
		field := dst.FieldByIndex(f.index)
		if f.target == toPublic {
			if reason := setPublic(field, string(r.value)); reason != "" {
				l.fail(f, r.label, flaw{reason: reason, fix: "write a value that the field's type " + f.typ.String() + " can hold"})
			}
			continue
		}
		it := item{field: f, label: r.label, env: r.env, open: r.open, written: r.written}
		if f.target == toRing {
			it.ring = l.ring(f, r)
			field.Set(reflect.ValueOf(it.ring))
		} else {
			it.secret, it.relaxed = l.secret(f, r)
			*field.Addr().Interface().(*Secret) = it.secret
		}
		if !l.failed[f] {
			l.items = append(l.items, it)
		}
	}
}

// choose returns the value of a field: the first that was found, if all that
// were found agree.
func (l *load) choose(f *field) (chosen ref, found bool) {
	for ; l.next < len(l.refs) && l.refs[l.next].field == f; l.next++ {
		r := l.refs[l.next]
		bad := r.flaw
		if bad == nil {
			r.value = cutNewline(r.value)
			if len(r.value) == 0 {
				continue
			}
			bad = checkText(f.kind, r.value)
		}
		switch {
		case bad != nil:
			l.fail(f, r.label, *bad)
		case !found:
			chosen, found = r, true
		case !bytes.Equal(chosen.value, r.value):
			l.fail(f, "", flaw{reason: "has one value in " + chosen.label + " and another in " + r.label, fix: "remove one of them"})
		}
	}
	return chosen, found
}

func (l *load) secret(f *field, r ref) (s Secret, relaxed string) {
	for _, bad := range f.checkSecret(r.value) {
		if bad.soft && l.opts.Environment == hardening.Development {
			relaxed = bad.reason
			continue
		}
		l.fail(f, r.label, bad)
	}
	if l.failed[f] {
		return Secret{}, ""
	}
	return l.vault.seal(bytes.Clone(r.value)), relaxed
}

func (l *load) ring(f *field, r ref) *Ring {
	keys, flaws := parseRing(r.value, f.bits, time.Now())
	for _, bad := range flaws {
		l.fail(f, r.label, bad)
	}
	if l.failed[f] {
		return nil
	}
	return newRing(keys, f.grace, f.activate)
}

func (l *load) sources() string {
	var b bytes.Buffer
	for i, s := range l.opts.Sources {
		if s.impl == nil {
			continue
		}
		if i > 0 {
			b.WriteString(" and ")
		}
		b.WriteString(s.impl.label())
	}
	return b.String()
}

// findDoubles finds two fields that hold one value: whoever learns one of them
// has the other, and rotating one breaks the other.
func (l *load) findDoubles() {
	seed := maphash.MakeSeed()
	owner := make(map[uint64]*field, len(l.items))
	see := func(f *field, material []byte) {
		sum := maphash.Bytes(seed, material)
		if first, taken := owner[sum]; taken && first != f {
			l.fail(f, "", flaw{reason: "is the same as " + first.name, fix: "give each its own secret"})
			return
		}
		owner[sum] = f
	}
	for _, it := range l.items {
		if it.ring != nil {
			for _, k := range it.ring.inner().keys {
				see(it.field, k.key)
			}
			continue
		}
		text := it.secret.clone()
		if it.field.kind == kindKey { // two spellings of one key are one key
			if key, ok := decodeKey(text); ok {
				clear(text)
				text = key
			}
		}
		see(it.field, text)
		clear(text)
	}
}

// setPublic parses text into a field, or says what is wrong without a word of
// the text. The errors of strconv and time quote it.
func setPublic(v reflect.Value, text string) (reason string) {
	switch {
	case v.Type() == durationType:
		d, ok := parseDuration(text)
		if !ok {
			return "is not a duration"
		}
		v.SetInt(int64(d))
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return "is not true or false"
		}
		v.SetBool(b)
	case v.CanInt():
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return numberReason(err, v.Type())
		}
		v.SetInt(n)
	case v.CanUint():
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return numberReason(err, v.Type())
		}
		v.SetUint(n)
	}
	return ""
}

func numberReason(err error, t reflect.Type) string {
	if errors.Is(err, strconv.ErrRange) {
		size := t.Bits()
		if size == 0 {
			size = bits.UintSize
		}
		return fmt.Sprintf("does not fit %d bits", size)
	}
	return "is not a whole number"
}

// announce sends the records of a load, before its effect.
func (l *Loader) announce(ctx context.Context) error {
	sink := event.Sink{Audit: l.opts.Audit, Logger: l.opts.Logger, Room: "secrets", Name: l.opts.Name}
	refused := func(err error) error {
		return fmt.Errorf("secrets: nothing was loaded, because the audit handler refused the record: %w", err)
	}
	if err := sink.Emit(ctx, event.SecretLoaded, slog.Int(event.KeyCount, len(l.items)), slog.String(event.KeyOutcome, event.OutcomeSuccess)); err != nil {
		return refused(err)
	}
	for _, s := range l.Report() {
		name := ""
		switch s.State {
		case Due:
			name = event.SecretDue
		case Overdue:
			name = event.SecretOverdue
		default:
			continue
		}
		if err := sink.Emit(ctx, name, slog.String(event.KeyObjectType, "secret"), slog.String(event.KeyObject, s.Name),
			slog.String(event.KeyReason, fmt.Sprintf("%d days old, %s; at most %d", int(s.Age/day), s.Confidence, int(s.MaxAge/day)))); err != nil {
			return refused(err)
		}
	}
	return nil
}
