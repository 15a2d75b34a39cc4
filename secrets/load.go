package secrets

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"reflect"
	"slices"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/internal/filepoll"
)

// Load fills the struct that dst points to, as its secret tags ask (see the
// package documentation), and returns a Loader that reports on what was loaded,
// keeps Live and Ring fields up to date, and wipes all of it in the end.
//
// Load finds every fault before it returns: all of them are in the error, each
// a [*hardening.ConfigError] that names the field, the name that was looked up,
// the source and the rule. Nothing that errors.As finds in it holds a value. On
// an error dst and the environment are left as they were.
//
// ctx bounds the load alone; what watches the sources afterwards ends with
// [Loader.Close].
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
	l := &load{opts: opts, plan: p, faults: c, failed: make([]bool, len(p.fields)), seed: maphash.MakeSeed()}
	defer l.wipe()
	l.gather(ctx)
	filled := reflect.New(v.Type())
	filled.Elem().Set(v)
	l.fill(filled.Elem())
	p.validate(ctx, filled, l.failed, false, c)
	eachDouble(l.items, l.seed, func(f, first *field) { l.fail(f, "", sameAs(first)) })
	if err := c.Err(); err != nil {
		l.destroy()
		return nil, err
	}
	loader := l.loader(filled.Elem())
	if err := loader.announce(ctx); err != nil {
		l.destroy()
		return nil, err
	}
	v.Set(filled.Elem())
	if !opts.DangerouslyKeepEnvironment {
		loader.scrub = scrub(l.variables)
	}
	loader.watch(ctx, l.snapshot)
	return loader, nil
}

// load is one run of Load.
type load struct {
	opts      Options
	plan      *plan
	faults    *faults.Collector
	refs      []ref // all that was found, by field and then by source
	next      int   // the first of refs that choose has not seen
	snapshot  filepoll.Snapshot
	variables []string // of the environment that hold secrets
	vault     *vault
	arena     arena
	lives     *liveSet
	failed    []bool // by field.order
	items     []item
	seed      maphash.Seed
}

// item is one secret that was loaded.
type item struct {
	field   *field
	secret  Secret // of Secret and Live fields
	ring    *Ring
	label   string
	env     bool
	open    string
	written time.Time
	relaxed string   // rule that Development let pass
	file    *fileRef // where it came from, or nil
	meta    *Meta    // what its provider said, or nil
	source  int
	sum     uint64 // of the text, if it may change
}

// gather finds every place at which a value stands, and reads the files.
func (l *load) gather(ctx context.Context) {
	s := search{environment: l.opts.Environment, fields: l.plan.fields, refs: make([]ref, 0, len(l.plan.fields)), complain: l.complain}
	for i, source := range l.opts.Sources {
		if source.impl != nil {
			s.source = i
			source.impl.find(ctx, &s)
		}
	}
	l.snapshot = s.read(ctx, l.opts.allowReadable())
	if len(l.opts.Sources) > 1 {
		slices.SortStableFunc(s.refs, func(a, b ref) int {
			if by := a.field.order - b.field.order; by != 0 {
				return by
			}
			return a.source - b.source
		})
	}
	l.refs, l.variables = s.refs, s.variables
	for _, r := range l.refs {
		if r.env && r.field.target != toPublic {
			l.variables = append(l.variables, r.field.name)
		}
	}
}

// wipe clears what was read and not kept.
func (l *load) wipe() {
	for _, r := range l.refs {
		if !r.kept {
			clear(r.value)
		}
	}
	l.snapshot.Wipe()
}

// destroy wipes what was loaded after all.
func (l *load) destroy() {
	for _, it := range l.items {
		it.secret.Destroy()
		it.ring.Destroy()
	}
}

// complain reports a fault of a source.
func (l *load) complain(source int, bad flaw) {
	l.faults.Add(fmt.Sprintf("Options.Sources[%d]", source), l.opts.Sources[source].impl.label(), bad.reason, bad.fix)
}

// fail reports a fault of a field. Even that of a public setting shows no
// value: someone may have pasted a password into it.
func (l *load) fail(f *field, label string, bad flaw) {
	l.failed[f.order] = true
	l.faults.Secret(f.path, f.where(label)+": "+bad.reason, bad.fix)
}

// where names what was looked up, and where.
func (f *field) where(label string) string {
	if label == "" {
		return f.name
	}
	return f.name + " in " + label
}

func (l *load) fill(dst reflect.Value) {
	secrets, hot := 0, 0
	for _, f := range l.plan.fields {
		switch f.target {
		case toSecret:
			secrets++
		case toLive:
			hot++
		}
	}
	l.vault = newVault(secrets)
	l.items = make([]item, 0, len(l.plan.fields))
	if hot > 0 {
		l.lives = &liveSet{values: make([]Secret, 0, hot)}
	}
	for _, f := range l.plan.fields {
		r, found := l.choose(f)
		if l.failed[f.order] {
			continue
		}
		switch {
		case !found && f.preset != nil:
			r = &ref{field: f, label: "the default of its tag", text: *f.preset, value: []byte(*f.preset)}
		case !found && f.optional:
			continue
		case !found:
			l.faults.Missing(f.path, f.name+": is missing in "+l.sources(), "set it there; an empty value counts as missing, and a Load takes what it found out of the environment")
			l.failed[f.order] = true
			continue
		}
		field := dst.FieldByIndex(f.index)
		if f.target == toPublic {
			text := r.text
			if len(text) != len(r.value) { // of a file, or a line end was cut off
				text = string(r.value)
			}
			if reason := setPublic(field, text); reason != "" {
				l.fail(f, r.label, flaw{reason: reason, fix: "write a value that the field's type " + f.typ.String() + " can hold"})
			}
			continue
		}
		l.keep(f, r, field)
	}
}

// keep puts a value that stood in r into a field, if it keeps all rules.
func (l *load) keep(f *field, r *ref, field reflect.Value) {
	it := item{field: f, label: r.label, env: r.env, file: r.file, meta: r.meta, source: r.source}
	if r.file != nil {
		it.open, it.written = r.file.open, r.file.written
	}
	if r.file != nil || r.meta != nil {
		it.sum = maphash.Bytes(l.seed, r.value)
	}
	if f.target == toRing {
		keys, flaws := parseRing(r.value, f.bits, time.Now())
		for _, bad := range flaws {
			l.fail(f, r.label, bad)
		}
		if l.failed[f.order] {
			return
		}
		it.ring = newRing(keys, f.grace, f.activate)
		*field.Addr().Interface().(**Ring) = it.ring
		l.items = append(l.items, it)
		return
	}
	for _, bad := range f.checkSecret(r.value) {
		if bad.soft && l.opts.Environment == hardening.Development {
			it.relaxed = bad.reason
			continue
		}
		l.fail(f, r.label, bad)
	}
	if l.failed[f.order] {
		return
	}
	r.kept = true
	if f.target == toLive {
		// A vault of its own: its value is replaced alone and wiped alone.
		it.secret = newVault(1).seal(r.value)
		live := &Live{i: len(l.lives.values)}
		l.lives.values = append(l.lives.values, it.secret)
		*field.Addr().Interface().(**Live) = live
	} else {
		it.secret = l.vault.seal(r.value)
		*field.Addr().Interface().(*Secret) = it.secret
	}
	l.items = append(l.items, it)
}

// choose returns the value of a field: the first that was found, if all that
// were found agree.
func (l *load) choose(f *field) (chosen *ref, found bool) {
	for ; l.next < len(l.refs) && l.refs[l.next].field == f; l.next++ {
		r := &l.refs[l.next]
		bad := r.flaw
		if bad == nil {
			if r.value == nil {
				r.value = l.arena.copy(r.text)
			}
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

// arena holds copies of short texts side by side, which costs one allocation
// for many of them.
type arena struct{ free []byte }

const arenaSize = 2048

func (a *arena) copy(text string) []byte {
	if len(text) > len(a.free) {
		a.free = make([]byte, max(arenaSize, len(text)))
	}
	out := a.free[:len(text):len(text)]
	a.free = a.free[len(text):]
	copy(out, text)
	return out
}

func sameAs(first *field) flaw {
	return flaw{reason: "is the same as " + first.name, fix: "give each its own secret"}
}

// eachDouble calls report for fields that hold the value of an earlier one:
// whoever learns one of them has the other, and rotating one breaks the other.
func eachDouble(items []item, seed maphash.Seed, report func(f, first *field)) {
	type print struct {
		sum uint64
		f   *field
	}
	prints := make([]print, 0, len(items))
	see := func(f *field, material []byte) {
		prints = append(prints, print{maphash.Bytes(seed, material), f})
	}
	for _, it := range items {
		if it.ring != nil {
			it.ring.inner().each(func(key []byte) { see(it.field, key) })
			continue
		}
		it.secret.peek(func(text []byte) {
			if it.field.kind == kindKey { // two spellings of one key are one key
				if key, ok := decodeKey(text); ok {
					see(it.field, key)
					clear(key)
					return
				}
			}
			see(it.field, text)
		})
	}
	slices.SortFunc(prints, func(a, b print) int {
		return cmp.Or(cmp.Compare(a.sum, b.sum), cmp.Compare(a.f.order, b.f.order))
	})
	var doubles [][2]*field
	first := 0
	for i := 1; i < len(prints); i++ {
		if prints[i].sum != prints[first].sum {
			first = i
		} else if prints[i].f != prints[first].f {
			doubles = append(doubles, [2]*field{prints[i].f, prints[first].f})
		}
	}
	slices.SortFunc(doubles, func(a, b [2]*field) int { return a[0].order - b[0].order })
	for _, d := range doubles {
		report(d[0], d[1])
	}
}

// announce sends the records of a load, before its effect.
func (l *Loader) announce(ctx context.Context) error {
	sink := l.opts.sink()
	refused := func(err error) error {
		return fmt.Errorf("secrets: nothing was loaded, because the audit handler refused the record: %w", err)
	}
	if err := sink.Emit(ctx, event.SecretLoaded, slog.Int(event.KeyCount, len(l.current().items)), slog.String(event.KeyOutcome, event.OutcomeSuccess)); err != nil {
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
