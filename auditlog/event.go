package auditlog

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/inovy/hardening/internal/event"
)

// Action is what is done to the object: one letter, as in RFC 3881 and DICOM
// audit messages and so in NEN 7513.
type Action string

// The actions. Execute is everything that is neither of the others: search,
// print, log in, an emergency procedure.
const (
	Create  Action = "C"
	Read    Action = "R"
	Update  Action = "U"
	Delete  Action = "D"
	Execute Action = "E"
)

// Outcome is how the action ended.
type Outcome string

// The outcomes. Attempted is written by [Access] before the action runs; a
// second entry, whose Attempt names the first, says how it ended.
const (
	Success   Outcome = event.OutcomeSuccess
	Failure   Outcome = event.OutcomeFailure
	Denied    Outcome = event.OutcomeDenied
	Attempted Outcome = "attempted"
)

// Event is one thing that happened: who did what to whose data, when, from
// where, why, and how it ended. The fields are those of NEN 7513:2018 chapters
// 5 to 7; the data itself stays in the file and never enters the log.
//
// Type, Action and Outcome are mandatory. Types that touch data or rights
// (sensitive_*, export, file_*, user_*, privilege_*, authz_change,
// authz_admin) also need Actor.ID, and Subject.ID or Object.Type; the others
// need at least one of Actor.ID, Origin.IP and Origin.Service, because someone
// who fails to log in has no name. A break-glass event needs a Reason.
//
// Reason and Origin.UserAgent have at most 2048 bytes, Object.ID 512, the other
// texts 256: more is a fault for [Log.Record], and is cut by [Log.Handler].
type Event struct {
	// Time is when it happened. Default: the moment it is recorded. It is
	// stored in UTC.
	Time time.Time
	// Type is a name of the vocabulary, such as [SensitiveRead].
	Type string
	// Code is a coded event id where a receiver wants one, such as DICOM
	// "110110" (patient record). Optional.
	Code string
	// Action is what is done: C, R, U, D or E.
	Action Action
	// Outcome is how it ended.
	Outcome Outcome
	// Reason says in words why it was done or refused. Secrets and numbers
	// that identify a person are redacted from it by pattern.
	Reason string

	Actor   Actor
	Subject Subject
	Object  Object
	Origin  Origin

	// Purpose is the purpose of use, for example HL7 "TREAT", "PATRQT", "BTG".
	Purpose string
	// AuthProtocol, Relation and Consent name the authorisation protocol, the
	// treatment relation and the consent profile under which access was given.
	AuthProtocol string
	Relation     string
	Consent      string
	// Controls says which checks were made and how they ended.
	Controls Controls
	// BreakGlass marks access by an emergency procedure.
	BreakGlass bool

	RequestID   string
	TraceParent string // W3C trace context
	// Count is how many events this one stands for, or how many records an
	// export holds. 0 means one.
	Count int64
	// Attrs are further facts, at most 64 and 16 KiB as JSON; those that go
	// beyond it are counted in the record and dropped. A name that Config.Redact
	// does not declare is kept as a keyed pseudonym. Put nothing here that
	// identifies a person.
	Attrs []slog.Attr
}

// Actor is who acts.
type Actor struct {
	ID         string // user id, unique for good; never reused for another person
	AltID      string // a second identifier, such as a professional register number
	Kind       Kind   // default: Person
	Role       string // role in which the actor acts
	Org        string // organisation
	OnBehalfOf string // id of the responsible user on whose behalf
	Session    string // keyed prefix of a session id, never the id
}

// Kind is what an actor is.
type Kind string

// The kinds. The empty Kind is a person.
const (
	Person  Kind = "person"
	Service Kind = "service"
)

// Subject is whose data it is: the patient, the client.
type Subject struct {
	ID string
}

// Object is what is acted upon.
type Object struct {
	Type        string // "record", "patient_file", "user"
	ID          string
	Part        string // the part of it: a section, a field name
	Sensitivity string // a label of your own classification
	LifeCycle   string // stage in the data's life: "access", "disclosure", "archiving"
}

// Origin is where the action comes from.
type Origin struct {
	IP          netip.Addr
	AccessPoint string // workstation or device
	UserAgent   string
	Host        string // the server's name
	Service     string // the program, or the room of this library, that speaks
}

// Check is the result of one access control.
type Check string

// The results. The empty Check means that the control was not consulted.
const (
	Passed Check = "pass"
	Failed Check = "fail"
)

// Controls are the access controls that NEN 7513 wants shown; the fourth, the
// emergency button, is [Event.BreakGlass].
type Controls struct {
	Authorisation Check
	Relation      Check
	Consent       Check
}

// Entry is an event as it stands in the log.
type Entry struct {
	Event
	// Seq is the place in the log, counted from 0 with control records
	// included, and the leaf index for an inclusion proof.
	Seq int64
	// Recorded is when the log took it in.
	Recorded time.Time
	// Attempt is the Seq of the attempt whose outcome this is, or 0.
	Attempt int64
	// Missing names mandatory fields that a record through [Log.Handler] did
	// not carry. Such a record is kept, because losing it would be worse.
	Missing []string
	// Erased says that the key of the data subject was destroyed: Subject,
	// Object.ID, Object.Part, Reason and Attrs are gone for good.
	Erased bool
}
