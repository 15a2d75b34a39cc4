package auditlog

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/text"
)

// Handler returns the log as a slog.Handler. A record whose message is a name
// of the vocabulary becomes an event: it is on the disk before Handle returns,
// whatever its level, and the error says if it is not (slog.Logger drops that
// error; [Config.ErrorLog] tells). Every other record is redacted and goes to
// [Config.Next], if that is enabled for its level.
//
// These attributes fill the fields of the event where they stand outside any
// group; the first of a name counts:
//
//	actor          Actor.ID            action        Action (C, R, U, D, E)
//	actor_role     Actor.Role          outcome       Outcome (success, failure, denied)
//	actor_org      Actor.Org           reason        Reason
//	on_behalf_of   Actor.OnBehalfOf    client_addr   Origin.IP
//	session        Actor.Session       request_id    RequestID
//	subject        Subject.ID          traceparent   TraceParent
//	object_type    Object.Type         count         Count
//	object         Object.ID           room          Origin.Service
//	                                   instance      Origin.Service, behind a slash
//
// All others are kept, redacted, as Attrs. Without action and outcome the name
// says them: sensitive_read is R, what ends in _fail is a failure, what names a
// refusal or an attack is denied, all else is E and success. An outcome in another
// word than the three is never taken for a success: it counts as missing. A
// mandatory field that is missing does not lose the record: the entry names it in
// Missing, and ErrorLog is told, at most once a minute. Use the constants: a
// misspelt name is an ordinary record.
//
// Cancelling the context given to a log call does not stop the event.
func (l *Log) Handler() slog.Handler { return &handler{log: l, next: l.next} }

type handler struct {
	log  *Log
	next slog.Handler
	with []step
}

// step is one With or WithGroup.
type step struct {
	group string
	attrs []slog.Attr
}

// nest puts attributes into the groups in which they were logged.
func nest(with []step, own []slog.Attr) []slog.Attr {
	for i := len(with) - 1; i >= 0; i-- {
		if with[i].group == "" {
			own = append(append([]slog.Attr(nil), with[i].attrs...), own...)
		} else if len(own) > 0 {
			own = []slog.Attr{{Key: with[i].group, Value: slog.GroupValue(own...)}}
		}
	}
	return own
}

// Enabled is always true: whether a record is an event shows in its message,
// which is not known here, and no level may lose an event.
func (h *handler) Enabled(context.Context, slog.Level) bool { return true }

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	return &handler{log: h.log, next: h.next.WithAttrs(attrs), with: append(slices.Clip(h.with), step{attrs: slices.Clone(attrs)})}
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &handler{log: h.log, next: h.next.WithGroup(name), with: append(slices.Clip(h.with), step{group: name})}
}

func (h *handler) Handle(ctx context.Context, rec slog.Record) error {
	if !event.Known(rec.Message) {
		if !h.next.Enabled(ctx, rec.Level) {
			return nil
		}
		return h.next.Handle(ctx, rec)
	}
	e, missing := h.event(rec)
	if len(missing) > 0 {
		if n := h.log.incomplete.Next(); n > 0 {
			h.log.report.minded(ctx, fmt.Sprintf("%d events came without mandatory fields and were recorded so", n),
				fmt.Errorf("the last, %s, lacks %s", rec.Message, strings.Join(missing, ", ")))
		}
	}
	_, err := h.log.record(context.WithoutCancel(ctx), e, 0, missing)
	if err != nil {
		h.log.report.lost(ctx, rec.Message, err)
	}
	return err
}

// event turns a record into an event that can be written, and names what a
// valid one would have had besides.
func (h *handler) event(rec slog.Record) (e *Event, missing []string) {
	b := builder{e: &Event{Type: rec.Message, Time: rec.Time}, r: h.log.redactor, seen: map[string]bool{}}
	own := make([]slog.Attr, 0, rec.NumAttrs())
	rec.Attrs(func(a slog.Attr) bool {
		own = append(own, a)
		return true
	})
	depth := slices.IndexFunc(h.with, func(s step) bool { return s.group != "" })
	if depth < 0 {
		depth = len(h.with)
	}
	for _, s := range h.with[:depth] {
		b.take(s.attrs)
	}
	if depth == len(h.with) {
		b.take(own)
	} else {
		b.e.Attrs = append(b.e.Attrs, nest(h.with[depth:], own)...)
	}
	return b.finish()
}

// builder fills an event from attributes.
type builder struct {
	e              *Event
	r              *Redactor
	seen           map[string]bool
	room, instance string
	strange        bool // there is a word for the outcome that is not known
}

// actions are the words for actions, which may be written in either case.
var actions = map[string]Action{
	"c": Create, "r": Read, "u": Update, "d": Delete, "e": Execute,
	"create": Create, "read": Read, "update": Update, "delete": Delete, "execute": Execute,
}

func (b *builder) take(attrs []slog.Attr) {
	for _, a := range attrs {
		a.Value = a.Value.Resolve()
		switch {
		case a.Equal(slog.Attr{}):
		case a.Key == "" && a.Value.Kind() == slog.KindGroup:
			b.take(a.Value.Group())
		case b.seen[a.Key] || !b.field(a):
			b.e.Attrs = append(b.e.Attrs, a)
		default:
			b.seen[a.Key] = true
		}
	}
}

// field puts a into the field that it names, and reports whether there is one
// that can take it.
func (b *builder) field(a slog.Attr) bool {
	e := b.e
	var to *string
	switch a.Key {
	case event.KeyRoom:
		to = &b.room
	case event.KeyInstance:
		to = &b.instance
	case event.KeyActor:
		to = &e.Actor.ID
	case event.KeyActorRole:
		to = &e.Actor.Role
	case event.KeyActorOrg:
		to = &e.Actor.Org
	case event.KeyOnBehalfOf:
		to = &e.Actor.OnBehalfOf
	case event.KeySession:
		to = &e.Actor.Session
	case event.KeySubject:
		to = &e.Subject.ID
	case event.KeyObjectType:
		to = &e.Object.Type
	case event.KeyObject:
		to = &e.Object.ID
	case event.KeyReason:
		to = &e.Reason
	case event.KeyRequestID:
		to = &e.RequestID
	case event.KeyTraceParent:
		to = &e.TraceParent
	case event.KeyAction:
		x, known := actions[strings.ToLower(b.text(a.Value))]
		e.Action = x
		return known
	case event.KeyOutcome:
		switch x := Outcome(strings.ToLower(b.text(a.Value))); x {
		case Success, Failure, Denied:
			e.Outcome = x
			return true
		}
		b.strange = true
		return false
	case event.KeyClient:
		return b.client(b.text(a.Value))
	case event.KeyCount:
		if a.Value.Kind() == slog.KindInt64 && a.Value.Int64() >= 0 {
			e.Count = a.Value.Int64()
			return true
		}
		return false
	default:
		return false
	}
	*to = b.text(a.Value)
	return true
}

func (b *builder) client(s string) bool {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return s == "invalid IP" // how the zero address prints
		}
		addr = ap.Addr()
	}
	b.e.Origin.IP = addr.Unmap().WithZone("")
	return true
}

func (b *builder) text(v slog.Value) string {
	if v.Kind() == slog.KindString {
		return v.String()
	}
	w := walker{r: b.r}
	return fmt.Sprint(w.plain(w.value(v, 0, true)))
}

func (b *builder) finish() (*Event, []string) {
	e := b.e
	e.Origin.Service = b.room
	if b.instance != "" && b.instance != b.room {
		e.Origin.Service = b.room + "/" + b.instance
	}
	if e.Action == "" {
		e.Action = actionOf(e.Type)
	}
	if x := outcomeOf(e.Type); e.Outcome == "" && (x != Success || !b.strange) {
		e.Outcome = x
	}
	if y := e.Time.UTC().Year(); y < 1970 || y > 9999 {
		e.Time = time.Time{} // no time at which anything was recorded: the log's own will do
	}
	texts := e.texts()
	if slices.ContainsFunc(texts[:], func(t field) bool { return len(*t.text) > t.most-len("...") }) {
		b.r.texts(e) // before the cut: half a token has no form to know it by
	}
	for _, t := range texts {
		*t.text = text.Clip(*t.text, t.most-len("..."))
	}
	if n := len(e.Attrs) - maxAttrs; n > 0 {
		e.Attrs = append(slices.Clip(e.Attrs[:maxAttrs-1]), slog.Int("attrs_dropped", n+1))
	}
	return e, e.missing()
}

// actionOf is the action that a name implies.
func actionOf(name string) Action {
	for _, a := range []struct {
		action Action
		words  []string
	}{
		{Create, []string{"_create", "_created", "_stored", "upload_complete"}},
		{Read, []string{"_read"}},
		{Update, []string{"_update", "_updated", "_change", "_changed", "_renewed", "_archived", "_rotated", "_reloaded"}},
		{Delete, []string{"_delete", "_deleted", "_expired", "_revoked"}},
	} {
		for _, w := range a.words {
			if strings.HasSuffix(name, w) {
				return a.action
			}
		}
	}
	return Execute
}

// outcomeOf is the outcome that a name implies.
func outcomeOf(name string) Outcome {
	switch name {
	case event.AuthzFail, event.ExcessRateLimitExceeded, event.InputValidationFail, event.SessionUseAfterExpire, event.SessionForged,
		event.WebhookRejected, event.CertificateRejected, event.AuthnLoginFailMax, event.AuthnLoginLock, event.AuthnTokenReuse, event.SequenceFail:
		return Denied
	case event.SysCrash, event.StoreDegraded, event.StoreReset, event.SecretOverdue:
		return Failure
	}
	switch {
	case strings.HasPrefix(name, "malicious_"):
		return Denied
	case strings.HasSuffix(name, "_fail"):
		return Failure
	}
	return Success
}
