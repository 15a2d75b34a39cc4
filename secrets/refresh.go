package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

// update is a new value that keeps the rules.
type update struct {
	look
	f       *field
	secret  Secret
	keys    []ringKey
	relaxed string
	sum     uint64
	age     *age
}

// failure is why the last look at a secret changed nothing.
type failure struct {
	group string
	fault *hardening.ConfigError
	at    time.Time
}

// refresh takes over the looks of those groups in which every value keeps every
// rule. l.mu is held.
func (l *Loader) refresh(ctx context.Context, looks []look) error {
	if l.closed {
		return ErrClosed
	}
	r := &refresh{loader: l, now: l.current(), bad: map[string][]*hardening.ConfigError{}}
	for _, one := range looks {
		r.groups = appendNew(r.groups, one.group)
		r.consider(one)
	}
	r.settle(ctx)
	// The records come first: they may refuse the change.
	if err := r.announce(ctx); err != nil {
		r.drop(func(update) bool { return true })
		return err
	}
	return r.commit(ctx)
}

// refresh is one run of Loader.refresh.
type refresh struct {
	loader  *Loader
	now     *state
	groups  []string // that were looked at
	updates []update
	stale   []string                            // Secret fields whose source has a new value
	same    []string                            // Secret fields whose source has theirs
	ages    []redated                           // of values that did not change
	bad     map[string][]*hardening.ConfigError // by group
}

func (r *refresh) fail(group string, f *field, label string, bad flaw) {
	r.bad[group] = append(r.bad[group], &hardening.ConfigError{
		Room: "secrets", Field: f.path, Value: hardening.Redacted, Reason: f.where(label) + ": " + bad.reason, Fix: bad.fix,
	})
}

// sameKey reports whether PEM text has the private key that is in use, beside
// which other certificates may stand.
func (it *item) sameKey(text []byte) (same bool) {
	now := publicKeyOf(text)
	if now == nil {
		return false
	}
	it.secret.peek(func(old []byte) { same = bytes.Equal(publicKeyOf(old), now) })
	return same
}

// consider checks a value that differs from the one in use.
func (r *refresh) consider(one look) {
	l, it := r.loader, r.now.items[one.item]
	if one.bad != nil {
		r.fail(one.group, it.field, it.label, *one.bad)
		return
	}
	value := cutNewline(one.value)
	if len(value) == 0 {
		r.fail(one.group, it.field, it.label, flaw{reason: "is empty now", fix: "put a value there; the last good one stays in use"})
		return
	}
	u := update{look: one, f: it.field, sum: maphash.Bytes(l.seed, value)}
	said, wrong := datesOf(u.f.kind, value, one.beside, one.meta)
	if wrong != nil {
		r.fail(one.group, it.field, it.label, *wrong)
		return
	}
	if u.sum == it.sum {
		if again := it.age.redated(said); again != it.age {
			r.ages = append(r.ages, redated{one, again})
		}
		if u.f.target == toSecret {
			r.same = append(r.same, u.f.name)
		}
		return
	}
	if u.f.kind == kindPEM && it.sameKey(value) {
		u.age = it.age.redated(said)
	} else {
		u.age = it.age.renewed(said)
	}
	if bad := checkText(u.f.kind, value); bad != nil {
		r.fail(one.group, u.f, it.label, *bad)
		return
	}
	var flaws []flaw
	if u.f.target == toRing {
		u.keys, flaws = parseRing(value, u.f.bits, time.Now())
		if it.ring.restamped(u.keys) {
			if u.age == nil {
				u.age = &age{}
			}
			u.age.restamped = true
		}
	} else {
		flaws = u.f.checkSecret(value, l.opts.Environment)
	}
	refused := false
	for _, bad := range flaws {
		if bad.soft && l.opts.Environment == hardening.Development {
			u.relaxed = bad.reason
			continue
		}
		refused = true
		r.fail(one.group, u.f, it.label, bad)
	}
	switch {
	case refused:
	case u.f.target == toSecret:
		r.stale = append(r.stale, u.f.name)
	default:
		if u.f.target == toLive {
			u.secret = newVault(1).seal(bytes.Clone(value))
		}
		r.updates = append(r.updates, u)
	}
}

// settle drops the updates of groups with a fault, and then of those that do
// not go together with what else is in use, until the rest does.
func (r *refresh) settle(ctx context.Context) {
	for {
		r.drop(func(u update) bool { return r.bad[u.group] != nil })
		if len(r.updates) == 0 {
			return
		}
		c := faults.For("secrets")
		items, lives := r.merge()
		var blamed []string
		eachDouble(items, r.loader.seed, func(f, first *field) {
			c.Secret(f.path, f.name+": "+sameAs(first).reason, sameAs(first).fix)
			blamed = append(blamed, first.path)
		})
		r.loader.validate(ctx, lives, c)
		found := false
		for fault := range hardening.Faults(c.Err()) {
			found = true
			blamed = append(blamed, fault.Field)
		}
		if !found {
			return
		}
		// Whose update it is that breaks a rule between two fields may not be
		// plain from the fault; then none is taken.
		guilty := map[string]bool{}
		for _, u := range r.updates {
			if slices.Contains(blamed, u.f.path) {
				guilty[u.group] = true
			}
		}
		for _, u := range r.updates {
			if len(guilty) == 0 || guilty[u.group] {
				r.bad[u.group] = slices.Collect(hardening.Faults(c.Err()))
			}
		}
	}
}

// drop forgets updates and wipes their values.
func (r *refresh) drop(which func(update) bool) {
	r.updates = slices.DeleteFunc(r.updates, func(u update) bool {
		if !which(u) {
			return false
		}
		u.secret.Destroy()
		wipeKeys(u.keys)
		return true
	})
}

// merge returns items and values of Lives with the updates in. Rings whose keys
// are new stand in as rings of their own.
func (r *refresh) merge() ([]item, *liveSet) {
	items := slices.Clone(r.now.items)
	set := &liveSet{}
	if r.loader.lives != nil {
		set.values = slices.Clone(r.loader.lives.Load().values)
	}
	at := r.loader.liveIndex()
	for _, u := range r.updates {
		it := &items[u.item]
		from := *it.origin
		from.written, from.open, from.loose, from.sum, from.renewed = u.written, u.open, u.loose, u.sum, time.Now()
		if u.meta != nil {
			from.meta = u.meta
		}
		from.relaxed = u.relaxed
		it.origin, it.age = &from, u.age
		if u.f.target == toLive {
			it.secret = u.secret
			set.values[at[u.item]] = u.secret
		} else {
			it.ring = &Ring{p: new(atomic.Pointer[ringBox])}
			it.ring.p.Store(&ringBox{keys: u.keys})
		}
	}
	return items, set
}

// liveIndex returns, by item, the place of its value in the liveSet: Lives were
// numbered in the order of the items.
func (l *Loader) liveIndex() map[int]int {
	at := map[int]int{}
	for i, it := range l.current().items {
		if it.field.target == toLive {
			at[i] = len(at)
		}
	}
	return at
}

// validate runs the validate tags over Load's own fields, with Lives that hold
// set.
func (l *Loader) validate(ctx context.Context, set *liveSet, c *faults.Collector) {
	own := l.current().own
	if !l.plan.rules || !own.IsValid() {
		return
	}
	p := new(atomic.Pointer[liveSet])
	p.Store(set)
	filled := reflect.New(own.Elem().Type())
	filled.Elem().Set(own.Elem())
	for _, f := range l.plan.fields {
		if f.target != toLive {
			continue
		}
		if live := own.Elem().FieldByIndex(f.index).Interface().(*Live); live != nil {
			filled.Elem().FieldByIndex(f.index).Set(reflect.ValueOf(&Live{p: p, i: live.i}))
		}
	}
	l.plan.validate(ctx, filled, nil, true, c)
}

// announce sends the records of what is about to be taken over and of what is
// not. A failure that was announced before is not announced again.
func (r *refresh) announce(ctx context.Context) error {
	l, sink := r.loader, r.loader.opts.sink()
	for _, group := range r.groups {
		var reasons []string
		for _, fault := range r.bad[group] {
			reasons = append(reasons, fault.Reason)
		}
		text := strings.Join(reasons, "; ")
		if text == l.told[group] {
			continue
		}
		if l.told == nil {
			l.told = map[string]string{}
		}
		l.told[group] = text
		if text != "" {
			_ = sink.Emit(ctx, event.SecretReloadFail, slog.String(event.KeyObjectType, "secret"), slog.String(event.KeyObject, group),
				slog.String(event.KeyOutcome, event.OutcomeFailure), slog.String(event.KeyReason, text)) // there is no change to refuse
		}
	}
	for _, u := range r.updates {
		reason := "its source has a new value: " + r.now.items[u.item].label
		if behind := r.behind(u.group); behind != nil {
			reason += "; so has " + strings.Join(behind, ", ") + " beside it, which waits for a restart"
		}
		err := sink.Emit(ctx, event.SecretRotated, slog.String(event.KeyObjectType, "secret"), slog.String(event.KeyObject, u.f.name),
			slog.String(event.KeyOutcome, event.OutcomeSuccess), slog.String(event.KeyReason, reason))
		if err != nil {
			return fmt.Errorf("secrets: the last good values stay, because the audit handler refused the record: %w", err)
		}
	}
	return nil
}

// behind names the Secret fields of a group whose source has a new value. Every
// look at a group looks at all of it that is read from files; of a Provider, a
// look on the clock leaves them out.
func (r *refresh) behind(group string) (names []string) {
	for _, name := range r.stale {
		i := slices.IndexFunc(r.now.items, func(it item) bool { return it.field.name == name })
		if r.loader.group(&r.now.items[i]) == group {
			names = append(names, name)
		}
	}
	return names
}

// commit makes the updates visible: all Lives at one moment.
func (r *refresh) commit(ctx context.Context) error {
	l, now := r.loader, time.Now()
	items, lives := r.merge()
	next := &state{items: items, own: r.now.own, ledger: r.now.ledger}
	for i := range items {
		items[i].ring = r.now.items[i].ring
	}
	for _, again := range r.ages {
		if r.bad[again.group] == nil {
			items[again.item].age = again.age
		}
	}
	for _, old := range r.now.failures {
		if !slices.Contains(r.groups, old.group) {
			next.failures = append(next.failures, old)
		}
	}
	var all []error
	for _, group := range r.groups {
		for _, fault := range r.bad[group] {
			next.failures = append(next.failures, failure{group, fault, now})
			all = append(all, fault)
		}
	}
	for _, name := range r.now.stale {
		if !slices.Contains(r.same, name) { // put back, it waits for nothing
			next.stale = append(next.stale, name)
		}
	}
	for _, name := range r.stale {
		next.stale = appendNew(next.stale, name)
	}
	c := Change{At: now}
	slices.SortFunc(r.updates, func(a, b update) int { return a.item - b.item })
	for _, u := range r.updates {
		c.Names = append(c.Names, u.f.name)
		if u.f.target == toRing {
			items[u.item].ring.replace(u.keys)
		}
	}
	if l.lives != nil {
		l.lives.Store(lives)
	}
	if len(r.updates) > 0 || len(r.ages) > 0 {
		l.remember(ctx, next)
	}
	l.state.Store(next)
	var late error
	c.States, late = l.review(ctx)
	l.schedule(late)
	if len(c.Names) > 0 || len(c.States) > 0 {
		l.subscribers.tell(c)
	}
	return errors.Join(all...)
}

// appendNew appends s to a copy of list unless it is there.
func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list[:len(list):len(list)], s)
}
