package secrets

import "time"

// State is how a secret stands to its maximum age.
type State string

// The states.
const (
	OK       State = "ok"       // young, and proven to be
	Due      State = "due"      // 5/6 of the maximum age have passed: rotate now
	Overdue  State = "overdue"  // older than the maximum age
	Unproven State = "unproven" // nothing proves that it is young
)

// Confidence is what an age is worth.
type Confidence string

// The confidences.
const (
	Exact   Confidence = "exact"    // whoever made the secret says when
	AtLeast Confidence = "at-least" // it is this old or older: a file was written then
	Unknown Confidence = "unknown"  // nothing tells
)

// Status is what is known about one loaded secret. It holds no value.
type Status struct {
	Field      string        // Go path in dst
	Name       string        // that was looked up
	Source     string        // where it was found
	Version    int           // of a Ring's primary key; 0 for a Secret
	Created    time.Time     // when it was made or, if AtLeast, last written; zero if Unknown
	Age        time.Duration // since Created; 0 if Unknown
	Confidence Confidence
	MaxAge     time.Duration
	State      State
}

// Report tells age and state of every loaded secret at this moment, in the
// order of the fields. The age of a Ring is that of its primary key's date. A
// file's modification time only proves that a secret is at least that old: a
// restart or a checkout makes it new. So it can make a secret overdue, never
// ok. Report does no I/O and is safe for concurrent use.
func (l *Loader) Report() []Status {
	now := time.Now()
	items := l.current().items
	out := make([]Status, len(items))
	for i := range items {
		out[i] = items[i].status(now)
	}
	return out
}

// status tells how a secret stands at a moment.
func (it *item) status(now time.Time) Status {
	s := Status{Field: it.field.path, Name: it.field.name, Source: it.label, MaxAge: it.field.maxAge, Confidence: Unknown}
	if it.ring != nil {
		s.Version, s.Created = it.ring.primary()
	} else if it.meta != nil {
		s.Created = it.meta.Created
	}
	switch {
	case !s.Created.IsZero():
		s.Confidence = Exact
	case !it.written.IsZero():
		s.Confidence, s.Created = AtLeast, it.written
	}
	if s.Confidence != Unknown {
		s.Age = max(0, now.Sub(s.Created))
	}
	s.State = s.judge()
	return s
}

func (s Status) judge() State {
	switch {
	case s.Confidence != Unknown && s.Age >= s.MaxAge:
		return Overdue
	case s.Confidence != Exact:
		return Unproven
	case s.Age >= s.MaxAge*5/6: // day 75 of 90
		return Due
	}
	return OK
}
