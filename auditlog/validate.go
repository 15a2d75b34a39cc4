package auditlog

import (
	"fmt"
	"strings"
	"time"

	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

const (
	maxID     = 256  // bytes of an identifier, name or code
	maxText   = 2048 // bytes of a reason or user agent
	maxAttrs  = 64   // further facts of one event
	maxObject = 512  // bytes of an object id: a path can be one
)

// needsActor reports whether events of this type touch data or rights, so that
// they are worth nothing without who and whose.
func needsActor(name string) bool {
	switch name {
	case event.Export, event.AuthzChange, event.AuthzAdmin:
		return true
	}
	for _, prefix := range []string{"sensitive_", "file_", "user_", "privilege_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// missing names the mandatory fields that e lacks.
func (e *Event) missing() (fields []string) {
	need := func(ok bool, field string) {
		if !ok {
			fields = append(fields, field)
		}
	}
	need(e.Type != "", "Type")
	need(e.Action != "", "Action")
	need(e.Outcome != "", "Outcome")
	if needsActor(e.Type) {
		need(e.Actor.ID != "", "Actor.ID")
		need(e.Subject.ID != "" || e.Object.Type != "", "Object.Type")
	} else {
		need(e.Actor.ID != "" || e.Origin.IP.IsValid() || e.Origin.Service != "", "Actor.ID")
	}
	need(!e.BreakGlass || e.Reason != "", "Reason")
	return fields
}

var fixes = map[string]string{
	"Type":        "use a name of the vocabulary, such as auditlog.SensitiveRead",
	"Action":      "set Create, Read, Update, Delete or Execute",
	"Outcome":     "set Success, Failure or Denied",
	"Actor.ID":    "set the id of the user who acts; where nobody is known yet, Origin.IP will do for events that touch neither data nor rights",
	"Object.Type": "set Subject.ID, or say what kind of object it was",
	"Reason":      "ask the user why the emergency procedure is needed",
}

// texts yields the text fields with the most bytes they may have. The same
// list shortens what came through the handler.
func (e *Event) texts() [24]field {
	return [...]field{
		{"Code", &e.Code, maxID}, {"Reason", &e.Reason, maxText},
		{"Actor.ID", &e.Actor.ID, maxID}, {"Actor.AltID", &e.Actor.AltID, maxID}, {"Actor.Role", &e.Actor.Role, maxID},
		{"Actor.Org", &e.Actor.Org, maxID}, {"Actor.OnBehalfOf", &e.Actor.OnBehalfOf, maxID}, {"Actor.Session", &e.Actor.Session, maxID},
		{"Subject.ID", &e.Subject.ID, maxID},
		{"Object.Type", &e.Object.Type, maxID}, {"Object.ID", &e.Object.ID, maxObject}, {"Object.Part", &e.Object.Part, maxID},
		{"Object.Sensitivity", &e.Object.Sensitivity, maxID}, {"Object.LifeCycle", &e.Object.LifeCycle, maxID},
		{"Origin.AccessPoint", &e.Origin.AccessPoint, maxID}, {"Origin.UserAgent", &e.Origin.UserAgent, maxText},
		{"Origin.Host", &e.Origin.Host, maxID}, {"Origin.Service", &e.Origin.Service, maxID},
		{"Purpose", &e.Purpose, maxID}, {"AuthProtocol", &e.AuthProtocol, maxID}, {"Relation", &e.Relation, maxID}, {"Consent", &e.Consent, maxID},
		{"RequestID", &e.RequestID, maxID}, {"TraceParent", &e.TraceParent, maxID},
	}
}

type field struct {
	name string
	text *string
	most int
}

// Validate reports every fault of e at once, as [hardening.ConfigError]s
// wrapped in [ErrInvalidEvent]; [Log.Record] refuses such an event. No value
// of a field that may identify a person is in the text.
func (e *Event) Validate() error {
	f := faults.For(room)
	for _, name := range e.missing() {
		f.Missing("Event."+name, "is mandatory for this event and not set", fixes[name])
	}
	if e.Type != "" && !event.Known(e.Type) {
		f.Add("Event.Type", e.Type, "is not a name of the vocabulary", fixes["Type"])
	}
	switch e.Action {
	case "", Create, Read, Update, Delete, Execute:
	default:
		f.Add("Event.Action", e.Action, "is not an action", fixes["Action"])
	}
	switch e.Outcome {
	case "", Success, Failure, Denied, Attempted:
	default:
		f.Add("Event.Outcome", e.Outcome, "is not an outcome", fixes["Outcome"])
	}
	switch e.Actor.Kind {
	case "", Person, Service:
	default:
		f.Add("Event.Actor.Kind", e.Actor.Kind, "is not a kind of actor", "set Person or Service")
	}
	for _, c := range []struct {
		field string
		check Check
	}{{"Authorisation", e.Controls.Authorisation}, {"Relation", e.Controls.Relation}, {"Consent", e.Controls.Consent}} {
		if c.check != "" && c.check != Passed && c.check != Failed {
			f.Add("Event.Controls."+c.field, c.check, "is not the result of a check", "set Passed or Failed, or leave it empty if the control was not consulted")
		}
	}
	if y := e.Time.UTC().Year(); !e.Time.IsZero() && (y < 1970 || y > 9999) {
		f.Add("Event.Time", e.Time.UTC().Format(time.RFC3339), "is not a time at which anything was recorded", "leave it zero for now")
	}
	if e.Count < 0 {
		f.Add("Event.Count", e.Count, "is negative", "set how many events this one stands for, or 0")
	}
	for _, t := range e.texts() {
		if len(*t.text) > t.most {
			f.Secret("Event."+t.name, fmt.Sprintf("has %d bytes, more than %d", len(*t.text), t.most), "log an identifier, not the content")
		}
	}
	if len(e.Attrs) > maxAttrs {
		f.Add("Event.Attrs", len(e.Attrs), fmt.Sprintf("are more than %d", maxAttrs), "log what identifies the event, not its content")
	}
	if err := f.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidEvent, err)
	}
	return nil
}
