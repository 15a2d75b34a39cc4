package secrets

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is how a secret stands to its maximum age.
type State string

// The states.
const (
	OK       State = "ok"       // young, and proven to be, or without a maximum age
	Due      State = "due"      // 5/6 of the maximum age have passed: rotate now
	Overdue  State = "overdue"  // older than the maximum age
	Unproven State = "unproven" // nothing proves that it is young
	Expired  State = "expired"  // its issuer says that it does not work any more
	Invalid  State = "invalid"  // its source has a value that was refused; the last good one is in use
)

// Confidence is what an age is worth.
type Confidence string

// The confidences.
const (
	Exact   Confidence = "exact"    // whoever made the secret says when
	AtLeast Confidence = "at-least" // it is this old or older: it was seen then
	Unknown Confidence = "unknown"  // nothing tells
)

// Status is what is known about one loaded secret. It holds no value.
type Status struct {
	Field      string        // Go path in dst
	Name       string        // that was looked up
	Source     string        // where it was found
	Version    int           // of a Ring's primary key; 0 for others
	Created    time.Time     // when it was made or, if AtLeast, seen; zero if Unknown
	Expires    time.Time     // when it stops to work; zero if nobody says
	Age        time.Duration // since Created; 0 if Unknown
	Confidence Confidence
	Proof      string        // who says when: "the date in the ring", "API_KEY_CREATED_AT"
	MaxAge     time.Duration // 0: none, for the reason in its tag
	State      State
	Note       string // what does not add up, for a person to look at; mostly empty

	// NeedsRestart is set where only a restart takes a new value over: the field
	// is a Secret, or what it came from does not change while the service runs:
	// the environment, a credential of systemd, or a file that is a mount of its
	// own.
	NeedsRestart bool
	LastReload   time.Time // when a new value was taken over; zero: that of Load is in use
	LastError    string    // why the last look at its source changed nothing; "" if it did not fail

	restamped, undated bool
}

// ErrExpired is in the error of [Loader.Health] for a secret that does not work
// any more.
var ErrExpired = errors.New("secrets: a secret has expired")

// Health returns nil while every secret may still work, [ErrClosed] after
// [Loader.Close], and an error that wraps [ErrExpired] and names each secret
// whose issuer set an end that has passed: it is for a readiness probe.
//
// An overdue secret still works, and so does the last good value of a source
// that has an invalid one. To take a service down for them would be an outage by
// calendar; they are in [Loader.Report], in findings and in the records that
// Audit gets. Health does no I/O and is safe for concurrent use.
func (l *Loader) Health() error {
	if l.ended.Load() {
		return ErrClosed
	}
	var all []error
	for _, s := range l.Report() {
		if s.State == Expired {
			all = append(all, fmt.Errorf("%w: %s at %s", ErrExpired, s.Name, s.Expires.UTC().Format(time.RFC3339)))
		}
	}
	return errors.Join(all...)
}

// Report tells age and state of every loaded secret at this moment, in the order
// of the fields. What it says about the age of one comes from, in this order:
//
//   - the date of a Ring's primary key;
//   - the value itself: iat of a JSON Web Token, the validity of a certificate,
//     st of an Azure shared access signature (and exp, NotAfter, se for its end);
//   - what stands beside it: NAME_CREATED_AT and NAME_EXPIRES_AT in the
//     environment or in a file of several values; files of these names or
//     NAME.meta in a directory;
//   - what its [Provider] says;
//   - the [Ledger], and the time at which a file was written. Both prove only
//     that a secret is at least that old, because a restart or a checkout writes
//     files anew: they can make a secret overdue, never ok.
//
// Report does no I/O and is safe for concurrent use.
func (l *Loader) Report() []Status {
	now, st := time.Now(), l.current()
	out := make([]Status, len(st.items))
	for i := range st.items {
		out[i] = st.status(i, now)
		out[i].NeedsRestart = l.needsRestart(&st.items[i])
		if behind := l.leftBehind(st, &st.items[i]); behind != nil && out[i].Note == "" {
			out[i].Note = "rotated beside " + strings.Join(behind, ", ") + " of the same source, which waits for a restart: the two may not go together"
		}
		switch {
		case out[i].Note != "" || !out[i].NeedsRestart:
		case slices.Contains(st.stale, out[i].Name):
			out[i].Note = "restart needed: its source has a new value, and the field keeps what was loaded"
		case l.fromSystemd(&st.items[i]):
			out[i].Note = "restart needed after a rotation: systemd does not change credentials while a service runs"
		}
	}
	return out
}

func (l *Loader) needsRestart(it *item) bool {
	return it.field.target == toSecret || it.env || l.fromSystemd(it) || slices.Contains(l.fixed, it.field.name) ||
		it.file == nil && it.meta == nil // the default of a tag
}

// leftBehind names the Secret fields of the same directory, file or Provider
// whose source has a new value, if a reload has taken over one for this item.
func (l *Loader) leftBehind(st *state, it *item) (names []string) {
	if it.renewed.IsZero() || len(st.stale) == 0 {
		return nil
	}
	for i := range st.items {
		if other := &st.items[i]; slices.Contains(st.stale, other.field.name) && l.group(other) == l.group(it) {
			names = append(names, other.field.name)
		}
	}
	return names
}

// group names what an item is taken over with, "" if nothing is looked at.
func (l *Loader) group(it *item) string {
	switch {
	case it.file != nil:
		return it.file.group
	case it.meta != nil:
		return l.opts.Sources[it.source].impl.(providerSource).name
	}
	return ""
}

func (l *Loader) fromSystemd(it *item) bool {
	_, is := l.opts.Sources[it.source].impl.(systemdSource)
	return is && it.file != nil
}

// ageless reports whether nothing at all is known about the age of an item that
// has a maximum age: it is Unproven now, and time does not change that. It says
// in one look what status says in many.
func (st *state) ageless(i int) bool {
	it := &st.items[i]
	return it.age == nil && it.ring == nil && it.written.IsZero() && it.field.maxAge > 0 && len(st.failures) == 0
}

// status tells how an item stands at a moment.
func (st *state) status(i int, now time.Time) Status {
	it := &st.items[i]
	s := Status{Field: it.field.path, Name: it.field.name, Source: it.label, MaxAge: it.field.maxAge, Confidence: Unknown}
	var said dates
	if it.age != nil {
		said, s.restamped, s.undated = it.age.said, it.age.restamped, it.age.undated
	}
	if it.ring != nil {
		var created time.Time
		if s.Version, created = it.ring.primary(); !created.IsZero() {
			said.created, said.basis = created, "the date in the ring"
		}
	}
	s.Expires = said.expires
	seen := it.age.verdict(s.Version)
	switch {
	case seen.restamped:
		s.restamped = true
		said.created, said.basis = seen.created, "the date that the ledger remembers"
	case seen.undated:
		s.undated = true
		said.created = time.Time{}
	case said.created.IsZero() && !seen.created.IsZero():
		said.created, said.basis = seen.created, "the date that the ledger remembers"
	}
	switch {
	case !said.created.IsZero():
		s.Confidence, s.Created, s.Proof = Exact, said.created, said.basis
	case !seen.first.IsZero() && (it.written.IsZero() || seen.first.Before(it.written)):
		s.Confidence, s.Created, s.Proof = AtLeast, seen.first, "the ledger saw it then"
	case !it.written.IsZero():
		s.Confidence, s.Created, s.Proof = AtLeast, it.written, "its file was written then"
	}
	if s.Confidence != Unknown {
		s.Age = max(0, now.Sub(s.Created))
	}
	s.State = s.judge(now)
	switch {
	case s.restamped:
		s.Note = "re-stamped, not rotated: its date is new and its value is not"
	case s.undated:
		s.Note = "changed without a new date: its value is new and its date is not"
	}
	s.LastReload = it.renewed
	for _, f := range st.failures {
		if f.fault.Field != s.Field {
			continue
		}
		s.LastError = f.fault.Reason
		if s.State != Expired {
			s.State, s.Note = Invalid, f.fault.Reason
		}
	}
	if st.ledger != nil {
		if s.State == OK && s.MaxAge > 0 {
			s.State = Unproven
		}
		if s.Note == "" {
			s.Note = st.ledger.Error()
		}
	}
	return s
}

func (s *Status) judge(now time.Time) State {
	switch {
	case !s.Expires.IsZero() && !now.Before(s.Expires):
		return Expired
	case s.tooOld():
		return Overdue
	case s.MaxAge == 0:
		return OK
	case s.Confidence != Exact:
		return Unproven
	case s.Age >= s.dueAge():
		return Due
	}
	return OK
}

func (s *Status) tooOld() bool {
	return s.MaxAge > 0 && s.Confidence != Unknown && s.Age >= s.MaxAge
}

// dueAge is day 75 of 90.
func (s *Status) dueAge() time.Duration { return s.MaxAge / 6 * 5 }
