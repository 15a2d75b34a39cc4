package secrets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
	"weak"

	"github.com/inovy/hardening/internal/event"
)

// age is what is known about the age of an item. It is never changed.
type age struct {
	said dates
	seen []seen // by what the ledger remembers
	// found by a reload
	restamped, undated bool
	refused            time.Time // the date that is not that of this value
}

// seen is what a ledger knows about a value, or about one key of a ring.
type seen struct {
	version int
	verdict
}

func (a *age) verdict(version int) verdict {
	if a != nil {
		for _, s := range a.seen {
			if s.version == version {
				return s.verdict
			}
		}
	}
	return verdict{}
}

func (a *age) same(b age) bool {
	return a.said == b.said && a.restamped == b.restamped && a.undated == b.undated
}

// redated returns what is known about a value that did not change, now that this
// is said about it; a itself if that is nothing new.
func (a *age) redated(said dates) *age {
	var old age
	if a != nil {
		old = *a
	}
	switch {
	case old.undated && said.created.Equal(old.refused):
		said.created = time.Time{}
	case !said.created.IsZero():
		old.undated, old.restamped = false, false
	}
	if said.created.IsZero() { // what was known once stays true
		said.created, said.basis = old.said.created, old.said.basis
	}
	if !old.said.created.IsZero() && said.created.After(old.said.created) { // the oldest stays, or a date could creep
		old.restamped = said.created.After(old.said.created.Add(restampSlack))
		said.created, said.basis = old.said.created, old.said.basis
	}
	if old.said = said; a != nil && a.same(old) || a == nil && said.silent() {
		return a
	}
	return &old
}

// renewed returns what is known about a new value in the place of a's.
func (a *age) renewed(said dates) *age {
	next := age{said: said}
	if a != nil && !said.created.IsZero() && said.created.Equal(a.said.created) && time.Since(said.created) > redateSlack {
		next.said.created, next.undated, next.refused = time.Time{}, true, said.created
	}
	if next.said.silent() && !next.undated {
		return nil
	}
	return &next
}

// redated is a value whose dates changed alone.
type redated struct {
	look
	age *age
}

// remember asks the ledger about all items of a state, and puts what it knows
// into them. The state is not stored yet.
func (l *Loader) remember(ctx context.Context, st *state) {
	if l.opts.Ledger.path == "" {
		return
	}
	type at struct{ item, version int }
	var all []sighting
	var where []at
	for i := range st.items {
		it := &st.items[i]
		var said dates
		if it.age != nil {
			said = it.age.said
		}
		see := func(version int, material []byte, stated time.Time) {
			all = append(all, sighting{name: it.field.name, material: append([]byte(nil), material...), stated: stated})
			where = append(where, at{i, version})
		}
		if it.ring != nil {
			first, _ := it.ring.primary()
			it.ring.inner().each(func(k ringKey) {
				stated := k.created
				if stated.IsZero() && k.version == first {
					stated = said.created
				}
				see(k.version, k.key, stated)
			})
			continue
		}
		it.secret.peek(func(text []byte) {
			if key, ok := decodeKey(text); ok && it.field.kind == kindKey { // two spellings of one key are one key
				see(0, key, said.created)
				clear(key)
				return
			}
			if it.field.kind == kindPEM { // and a new certificate for the old key is no new key
				if public := publicKeyOf(text); public != nil {
					see(0, public, said.created)
					return
				}
			}
			see(0, text, said.created)
		})
	}
	verdicts, err := l.opts.Ledger.see(ctx, l.opts.Name, all)
	for _, s := range all {
		clear(s.material)
	}
	if st.ledger = err; err != nil {
		return
	}
	for i := range st.items {
		next := age{}
		if old := st.items[i].age; old != nil {
			next = *old
			next.seen = nil
		}
		for n, w := range where {
			if w.item == i {
				next.seen = append(next.seen, seen{w.version, verdicts[n]})
			}
		}
		st.items[i].age = &next
		if ring := st.items[i].ring; ring != nil {
			first := map[int]time.Time{}
			for _, s := range next.seen {
				first[s.version] = s.first
			}
			ring.learn(first)
		}
	}
}

// heal asks a ledger again that could not be used. l.mu is held.
func (l *Loader) heal(ctx context.Context) {
	if l.current().ledger == nil {
		return
	}
	next := *l.current()
	next.items = slices.Clone(next.items)
	l.remember(ctx, &next)
	l.state.Store(&next)
}

// review announces what came into a worse state since the last review, and
// returns all that came into another; the first review has nothing to compare
// with. A state whose record the audit handler refused is announced at the next
// review. l.mu is held.
func (l *Loader) review(ctx context.Context) (changed []Status, err error) {
	st, now := l.current(), time.Now()
	first := !l.reviewed
	l.reviewed = true
	for i := range st.items {
		if st.ageless(i) && (l.states == nil || l.states[i] == Unproven) { // as most of an environment: nothing to announce
			continue
		}
		if l.states == nil { // all before were so
			l.states = make([]State, len(st.items))
			for n := range l.states {
				if l.states[n] = Unproven; first && n >= i {
					l.states[n] = ""
				}
			}
		}
		if first && st.ageless(i) {
			l.states[i] = Unproven
			continue
		}
		s := st.status(i, now)
		if s.State == l.states[i] {
			continue
		}
		if name := eventOf(s.State); name != "" {
			if bad := l.opts.sink().Emit(ctx, name, slog.String(event.KeyObjectType, "secret"), slog.String(event.KeyObject, s.Name),
				slog.String(event.KeyReason, s.reason())); bad != nil {
				err = errors.Join(err, bad)
				continue
			}
		}
		l.states[i] = s.State
		if !first {
			changed = append(changed, s)
		}
	}
	return changed, err
}

func eventOf(s State) string {
	switch s {
	case Due:
		return event.SecretDue
	case Overdue, Expired:
		return event.SecretOverdue
	}
	return "" // a refused value has a record of its own
}

// reason says why a secret is in its state.
func (s *Status) reason() string {
	text := fmt.Sprintf("%d days old, %s; at most %d", int(s.Age/day), s.Confidence, int(s.MaxAge/day))
	if s.State == Expired {
		text = "expired at " + s.Expires.UTC().Format(time.RFC3339)
	}
	if s.Note != "" {
		text += "; " + s.Note
	}
	return text
}

const (
	// A clock that is set, or a machine that slept, must not hide a state for
	// longer than this.
	reviewAtLeast = time.Hour
	reviewAgain   = time.Minute // after the audit handler refused a record
)

// schedule sees to it that the next change of a state is announced. late is the
// error of the last review. l.mu is held.
func (l *Loader) schedule(late error) {
	next := l.nextChange(time.Now())
	if late != nil {
		next = reviewAgain
	}
	if next == 0 || l.closed {
		return
	}
	if l.ages == nil {
		// The timer must not keep a Loader that everybody has let go of; it fires
		// within reviewAtLeast and is gone. (A cleanup that stops it would be
		// fatal to tests: timers of a synctest bubble can not be stopped from outside.)
		loader := weak.Make(l)
		l.ages = time.AfterFunc(next, func() {
			if l := loader.Value(); l != nil {
				l.passed(context.Background()) // nobody waits for it
			}
		})
		return
	}
	l.ages.Reset(next)
}

// passed looks at what may have become different though no source did: ages, and a
// ledger that could not be used.
func (l *Loader) passed(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.heal(ctx)
	changed, late := l.review(ctx)
	l.schedule(late)
	if len(changed) > 0 {
		l.subscribers.tell(Change{At: time.Now(), States: changed})
	}
}

// nextChange is the time until a state may change without anybody's doing; 0 is
// never.
func (l *Loader) nextChange(now time.Time) time.Duration {
	var next time.Time
	consider := func(t time.Time) {
		if t.After(now) {
			next = earlier(next, t)
		}
	}
	st := l.current()
	for i := range st.items {
		if st.ageless(i) {
			continue
		}
		s := st.status(i, now)
		if !s.Expires.IsZero() {
			consider(s.Expires)
		}
		if s.Confidence != Unknown && s.MaxAge > 0 {
			consider(s.Created.Add(s.dueAge()))
			consider(s.Created.Add(s.MaxAge))
		}
		if inner := st.items[i].ring.inner(); inner != nil {
			if moves := inner.look().next; !moves.IsZero() {
				consider(moves)
			}
		}
	}
	if st.ledger != nil {
		consider(now.Add(reviewAtLeast))
	}
	if next.IsZero() {
		return 0
	}
	return min(next.Sub(now), reviewAtLeast)
}
