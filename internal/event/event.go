// Package event holds the words of the rooms' records: the names and levels of
// the OWASP Application Security Logging Vocabulary, the names of their
// attributes, and the two roads by which a record leaves a room.
package event

import (
	"context"
	"log/slog"
	"time"
)

// LevelCritical is the vocabulary's highest level, above slog's Error.
const LevelCritical = slog.Level(12)

// Attribute names. Every room uses these and no others for these things, so
// that the audit log can read them into an event.
const (
	KeyRoom        = "room"       // package name of the room that speaks
	KeyInstance    = "instance"   // Name of the instance within the room
	KeyActor       = "actor"      // user id of who acts
	KeyActorRole   = "actor_role" // role in which
	KeyActorOrg    = "actor_org"  // organisation
	KeyOnBehalfOf  = "on_behalf_of"
	KeySubject     = "subject" // id of the data subject, the patient
	KeyObjectType  = "object_type"
	KeyObject      = "object"  // id of the object
	KeyAction      = "action"  // C, R, U, D or E
	KeyOutcome     = "outcome" // OutcomeSuccess, OutcomeFailure, OutcomeDenied
	KeyReason      = "reason"
	KeyClient      = "client_addr" // address of the client
	KeyRequestID   = "request_id"
	KeyTraceParent = "traceparent"
	KeySession     = "session" // keyed prefix of a session id, never the id
	KeyCount       = "count"   // how many events this record stands for
	KeyField       = "field"   // configuration field or setting
	KeyError       = "error"
	KeyFix         = "fix" // what to do about it
)

// Outcomes.
const (
	OutcomeSuccess = "success"
	OutcomeFailure = "failure"
	OutcomeDenied  = "denied"
)

// Sink is how a room lets records go: to Audit, if set, and then only there;
// else to Logger, or to slog.Default() at the moment of the event.
type Sink struct {
	Audit  slog.Handler
	Logger *slog.Logger
	Room   string
	Name   string // instance
}

// Emit sends the record called name (a vocabulary name) at its level, with the
// room and instance as first attributes. Its error is Audit's: the caller must
// then refuse the change that the record announces. A Logger never fails.
// Records to Audit pass no level filter.
func (s Sink) Emit(ctx context.Context, name string, attrs ...slog.Attr) error {
	level := LevelOf(name)
	var h slog.Handler
	if s.Audit != nil {
		h = s.Audit
	} else {
		log := s.Logger
		if log == nil {
			log = slog.Default()
		}
		if h = log.Handler(); !h.Enabled(ctx, level) {
			return nil
		}
	}
	r := slog.NewRecord(time.Now(), level, name, 0)
	r.AddAttrs(slog.String(KeyRoom, s.Room), slog.String(KeyInstance, s.Name))
	r.AddAttrs(attrs...)
	err := h.Handle(ctx, r)
	if s.Audit == nil {
		return nil // an operational log that fails must not refuse anything
	}
	return err
}
