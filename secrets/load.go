package secrets

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/bits"
	"reflect"
	"slices"
	"sync"
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
	l := loads.Get().(*load)
	l.opts, l.plan, l.faults, l.seed = opts, p, c, maphash.MakeSeed()
	l.failed = append(l.failed, make([]bool, len(p.fields))...)
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
	loader.remember(ctx, loader.current())
	if err := loader.announce(ctx); err != nil {
		l.destroy()
		return nil, err
	}
	v.Set(filled.Elem())
	if !opts.DangerouslyKeepEnvironment {
		loader.scrub = scrub(l.exposed())
	}
	loader.watch(ctx, l.snapshot)
	return loader, nil
}

// loads holds what is used during a load only, emptied: a quarter of all that
// a load would allocate.
var loads = sync.Pool{New: func() any { return new(load) }}

// load is one run of Load. Nothing keeps it afterwards.
type load struct {
	opts      Options
	plan      *plan
	faults    *faults.Collector
	search    search
	refs      []ref // all that was found, by field and then by source
	next      int   // the first of refs that choose has not seen
	snapshot  filepoll.Snapshot
	variables []string // of the environment, which sources read keys from
	vault     *vault
	arena     arena
	scratch   []byte // the public value that is looked at
	lives     *liveSet
	failed    []bool   // by field.order
	broken    []string // sources that could not be asked
	items     []item
	seed      maphash.Seed
}

// item is one secret that was loaded.
type item struct {
	field   *field
	secret  Secret // of Secret and Live fields
	ring    *Ring
	relaxed string // rule that Development let pass
	age     *age   // what is known about its age, or nil
	*origin
}

// origin is where an item came from. It is never changed: a reload makes a new
// one.
type origin struct {
	label   string
	env     bool      // it came from the environment of the process
	open    string    // "" or who else may read the file
	written time.Time // modification of the file
	file    *fileRef  // nil: none
	meta    *Meta     // what a provider said; nil: none was asked
	source  int
	renewed time.Time // when a reload took it over; zero: it was loaded
	sum     uint64    // of the text, unless it came from the environment
}

// fromEnvironment is the origin that most items of ordinary services share.
var fromEnvironment = &origin{label: "the environment", env: true}

// gather finds every place at which a value stands, and reads the files.
func (l *load) gather(ctx context.Context) {
	s := &l.search
	*s = search{environment: l.opts.Environment, fields: l.plan.fields, refs: slices.Grow(l.refs[:0], len(l.plan.fields)), complain: l.complain}
	for i, source := range l.opts.Sources {
		if source.impl != nil {
			s.source = i
			source.impl.find(ctx, s)
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
}

// exposed returns the variables of the environment in which secrets stand, also
// those that another source has as well.
func (l *load) exposed() []string {
	names := l.variables
	for _, r := range l.refs {
		if r.place == nil && r.field.target != toPublic {
			names = append(names, r.field.name)
		}
	}
	return names
}

// wipe clears what was read and not kept.
func (l *load) wipe() {
	for _, r := range l.refs {
		if r.place != nil && !r.place.kept {
			clear(r.place.value)
		}
	}
	clear(l.scratch[:cap(l.scratch)])
	l.snapshot.Wipe()
	clear(l.refs[:cap(l.refs)])
	clear(l.failed)
	*l = load{refs: l.refs[:0], failed: l.failed[:0]}
	loads.Put(l)
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
	l.broken = appendNew(l.broken, l.opts.Sources[source].impl.label())
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
	var count [toLive + 1]int
	for _, f := range l.plan.fields {
		count[f.target]++
	}
	l.vault = newVault(count[toSecret])
	l.items = make([]item, 0, len(l.plan.fields)-count[toPublic])
	if count[toLive] > 0 {
		l.lives = &liveSet{values: make([]Secret, 0, count[toLive])}
	}
	for _, f := range l.plan.fields {
		r, value := l.choose(f)
		if l.failed[f.order] {
			continue
		}
		switch {
		case r == nil && f.preset != nil:
			r, value = &ref{field: f, text: *f.preset, place: &place{label: "the default of its tag"}}, []byte(*f.preset)
		case r == nil && f.optional:
			continue
		case r == nil:
			l.faults.Missing(f.path, f.name+": is missing in "+l.sources(), l.fixMissing(f))
			l.failed[f.order] = true
			continue
		}
		field := dst.FieldByIndex(f.index)
		if f.target == toPublic {
			text := r.text
			if len(text) != len(value) { // of a file, or a line end was cut off
				text = string(value)
			}
			if reason := setPublic(field, text); reason != "" {
				l.fail(f, r.label(), flaw{reason: reason, fix: "write a value that the field's type " + f.typ.String() + " can hold"})
			}
			continue
		}
		l.keep(f, r, value, field)
	}
}

// keep puts a value that stood in r into a field, if it keeps all rules.
func (l *load) keep(f *field, r *ref, value []byte, field reflect.Value) {
	it := item{field: f, origin: fromEnvironment}
	if p := r.place; p != nil {
		it.origin = &origin{label: p.label, file: p.file, meta: p.meta, source: r.source, sum: maphash.Bytes(l.seed, value)}
		if p.file != nil {
			it.open, it.written = p.file.open, p.file.written
		}
	}
	it.age = l.age(f, r, value)
	if f.target == toRing {
		keys, flaws := parseRing(value, f.bits, time.Now())
		if r.place == nil {
			clear(value)
		}
		for _, bad := range flaws {
			l.fail(f, it.label, bad)
		}
		if l.failed[f.order] {
			return
		}
		it.ring = newRing(keys, f.grace, f.activate)
		*field.Addr().Interface().(**Ring) = it.ring
		l.items = append(l.items, it)
		return
	}
	for _, bad := range f.checkSecret(value, l.opts.Environment) {
		if bad.soft && l.opts.Environment == hardening.Development {
			it.relaxed = bad.reason
			continue
		}
		l.fail(f, it.label, bad)
	}
	switch {
	case l.failed[f.order]:
		clear(value)
		return
	case r.place != nil:
		r.place.kept = true
	}
	if f.target == toLive {
		// A vault of its own: its value is replaced alone and wiped alone.
		it.secret = newVault(1).seal(value)
		live := &Live{i: len(l.lives.values)}
		l.lives.values = append(l.lives.values, it.secret)
		*field.Addr().Interface().(**Live) = live
	} else {
		it.secret = l.vault.seal(value)
		*field.Addr().Interface().(*Secret) = it.secret
	}
	l.items = append(l.items, it)
}

// age returns what is said about the age of a value, or nil.
func (l *load) age(f *field, r *ref, value []byte) *age {
	if r.place == nil && f.unset() && !mayHoldDates(f.kind, value) { // as for most
		return nil
	}
	var beside dates
	var meta *Meta
	var bad *flaw
	if p := r.place; p != nil {
		beside, meta = p.beside, p.meta
	}
	if r.place == nil || r.place.file != nil && r.place.file.named {
		beside, bad = f.besideVariable()
	}
	if bad == nil {
		beside, bad = datesOf(f.kind, value, beside, meta)
	}
	if bad != nil {
		l.fail(f, r.label(), *bad)
	}
	if beside.silent() {
		return nil
	}
	return &age{said: beside}
}

// choose returns where a field was found and its value: the first that was
// found, if all that were found agree.
func (l *load) choose(f *field) (chosen *ref, value []byte) {
	for ; l.next < len(l.refs) && l.refs[l.next].field == f; l.next++ {
		r := &l.refs[l.next]
		if r.place != nil && r.place.flaw != nil {
			l.fail(f, r.label(), *r.place.flaw)
			continue
		}
		got := cutNewline(l.bytes(r))
		if len(got) == 0 {
			continue
		}
		switch bad := checkText(f.kind, got); {
		case bad != nil:
			l.fail(f, r.label(), *bad)
		case chosen == nil:
			chosen, value = r, got
		case !bytes.Equal(value, got):
			l.fail(f, "", flaw{reason: "has one value in " + chosen.label() + " and another in " + r.label(), fix: "remove one of them"})
		}
	}
	return chosen, value
}

// bytes returns the value of r as bytes: of a secret to keep or to wipe, of a
// public setting in scratch, until the next one.
func (l *load) bytes(r *ref) []byte {
	switch {
	case r.place != nil:
		return r.place.value
	case r.field.target != toPublic:
		return l.arena.copy(r.text)
	}
	l.scratch = append(l.scratch[:0], r.text...)
	return l.scratch
}

// arena holds copies of short texts side by side, which costs one allocation
// for many of them.
type arena struct{ free []byte }

const arenaSize = 1024

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
	var short [128]print // a table twice as large as what ordinary services load
	table := short[:]
	n := 0
	for _, it := range items {
		n++
		if it.ring != nil {
			n += maxRingKeys
		}
	}
	if 2*n > len(table) {
		table = make([]print, 1<<bits.Len(uint(2*n)))
	}
	see := func(f *field, material []byte) {
		sum := maphash.Bytes(seed, material)
		i := sum & uint64(len(table)-1)
		for ; table[i].f != nil; i = (i + 1) & uint64(len(table)-1) {
			if table[i].sum == sum {
				if table[i].f != f {
					report(f, table[i].f)
				}
				return
			}
		}
		table[i] = print{sum, f}
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.review(ctx); err != nil {
		return refused(err)
	}
	return nil
}
