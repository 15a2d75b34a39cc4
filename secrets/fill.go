package secrets

import (
	"bytes"
	"hash/maphash"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/inovy/hardening"
)

func (l *load) fill(dst reflect.Value) {
	var count [toLive + 1]int
	for _, f := range l.plan.fields {
		count[f.target]++
	}
	l.vault = newVault(count[toSecret])
	l.items = make([]item, 0, len(l.plan.fields)-count[toPublic])
	if count[toLive] > 0 {
		l.lives, l.shared = &liveSet{values: make([]Secret, 0, count[toLive])}, new(atomic.Pointer[liveSet])
		l.shared.Store(l.lives)
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
		case r == nil && l.allBroken():
			l.failed[f.order] = true // nobody knows whether it is missing; why, the sources' faults say
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
			it.open, it.written, it.loose = p.file.open, p.file.written, p.file.loose || p.beside.loose
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
			from := *it.origin
			from.relaxed = bad.reason
			it.origin = &from
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
		live := &Live{p: l.shared, i: len(l.lives.values)} // with its text: the validate tags come next
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
