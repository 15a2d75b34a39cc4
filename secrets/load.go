package secrets

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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
	filled := p.empty()
	defer p.clear(filled)
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
	shared    *atomic.Pointer[liveSet] // holds lives
	failed    []bool                   // by field.order
	broken    []string                 // sources that could not be asked
	items     []item
	seed      maphash.Seed
}

// item is one secret that was loaded.
type item struct {
	field  *field
	secret Secret // of Secret and Live fields
	ring   *Ring
	age    *age // what is known about its age, or nil
	*origin
}

// origin is where an item came from. It is never changed: a reload makes a new
// one.
type origin struct {
	label   string
	relaxed string    // rule that Development let pass
	env     bool      // it came from the environment of the process
	open    string    // "" or who else may read the file
	loose   bool      // another user can replace the file or that of its dates
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
	l.snapshot = s.read(ctx, &l.opts)
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
