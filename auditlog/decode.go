package auditlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// wire is the stored form of an event.
type wire struct {
	T       time.Time
	At      time.Time
	Type    string
	Code    string
	Action  Action
	Outcome Outcome
	Attempt int64
	Reason  string
	Actor   struct {
		ID, Self, Alt, Role, Org, For, Session string
		Kind                                   Kind
	}
	Subject struct{ Ref, Sealed []byte }
	Object  struct {
		Type, ID, Part, Sensitivity string
		LifeCycle                   string `json:"life_cycle"`
	}
	Origin struct {
		IP          netip.Addr
		AccessPoint string `json:"access_point"`
		UserAgent   string `json:"user_agent"`
		Host        string
		Service     string
	}
	Purpose      string
	AuthProtocol string `json:"auth_protocol"`
	Relation     string
	Consent      string
	Controls     struct{ Authorisation, Relation, Consent Check }
	BreakGlass   bool   `json:"break_glass"`
	RequestID    string `json:"request_id"`
	TraceParent  string
	Count        int64
	Missing      []string
	Attrs        json.RawMessage
}

// private is what is sealed for the person whose data it was.
type private struct {
	V                         int
	Subject, ID, Part, Reason string
	Attrs                     json.RawMessage
}

// unseal puts what the person's key opens into its place. It reports false if
// the key was destroyed.
func (w *wire) unseal(keys *subjects) (p private, ok bool, err error) {
	if len(w.Subject.Ref) != refBytes {
		return p, false, errors.New("the reference to its subject is malformed")
	}
	s, err := keys.by(ref(w.Subject.Ref))
	if err != nil || s == nil {
		return p, false, err
	}
	plain, err := s.unseal(w.Subject.Sealed)
	if err != nil {
		return p, false, errors.New("what is sealed in it does not open with the key of its subject")
	}
	if err := json.Unmarshal(plain, &p); err != nil || p.V != 1 {
		return p, false, errors.New("what is sealed in it is of another version")
	}
	return p, true, nil
}

// decodeEvent reads a record of kindEvent.
func decodeEvent(seq int64, record []byte, keys *subjects) (Entry, error) {
	var w wire
	if err := json.Unmarshal(record, &w); err != nil {
		return Entry{}, fmt.Errorf("auditlog: record %d: %w", seq, err)
	}
	var subjectID string
	erased := false
	if len(w.Subject.Sealed) > 0 {
		p, ok, err := w.unseal(keys)
		if err != nil {
			return Entry{}, fmt.Errorf("auditlog: record %d: %w", seq, err)
		}
		subjectID, w.Object.ID, w.Object.Part, w.Reason, w.Attrs = p.Subject, p.ID, p.Part, p.Reason, p.Attrs
		if w.Actor.Self != "" {
			w.Actor.ID = subjectID
		}
		erased = !ok
	}
	attrs, err := decodeAttrs(w.Attrs)
	if err != nil {
		return Entry{}, fmt.Errorf("auditlog: record %d: %w", seq, err)
	}
	e := Entry{Seq: seq, Recorded: w.T, Attempt: w.Attempt, Missing: w.Missing, Erased: erased, Event: Event{
		Time: w.At, Type: w.Type, Code: w.Code, Action: w.Action, Outcome: w.Outcome, Reason: w.Reason,
		Actor:   Actor{ID: w.Actor.ID, AltID: w.Actor.Alt, Kind: w.Actor.Kind, Role: w.Actor.Role, Org: w.Actor.Org, OnBehalfOf: w.Actor.For, Session: w.Actor.Session},
		Subject: Subject{ID: subjectID},
		Object:  Object{Type: w.Object.Type, ID: w.Object.ID, Part: w.Object.Part, Sensitivity: w.Object.Sensitivity, LifeCycle: w.Object.LifeCycle},
		Origin:  Origin{IP: w.Origin.IP, AccessPoint: w.Origin.AccessPoint, UserAgent: w.Origin.UserAgent, Host: w.Origin.Host, Service: w.Origin.Service},
		Purpose: w.Purpose, AuthProtocol: w.AuthProtocol, Relation: w.Relation, Consent: w.Consent,
		Controls:   Controls{Authorisation: w.Controls.Authorisation, Relation: w.Controls.Relation, Consent: w.Controls.Consent},
		BreakGlass: w.BreakGlass, RequestID: w.RequestID, TraceParent: w.TraceParent, Count: w.Count, Attrs: attrs,
	}}
	if e.Time.IsZero() {
		e.Time = e.Recorded
	}
	return e, nil
}

// decodeAttrs keeps the order in which attributes were written.
func decodeAttrs(text json.RawMessage) ([]slog.Attr, error) {
	if len(text) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("attrs is not an object")
	}
	var attrs []slog.Attr
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, err
		}
		v, err := decodeValue(raw)
		if err != nil {
			return nil, err
		}
		attrs = append(attrs, slog.Attr{Key: name, Value: v})
	}
	return attrs, nil
}

func decodeValue(raw json.RawMessage) (slog.Value, error) {
	if raw[0] == '{' {
		attrs, err := decodeAttrs(raw)
		return slog.GroupValue(attrs...), err
	}
	var v any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return slog.Value{}, err
	}
	if n, ok := v.(json.Number); ok {
		if i, err := n.Int64(); err == nil {
			return slog.Int64Value(i), nil
		}
		if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
			return slog.Uint64Value(u), nil
		}
		f, err := n.Float64()
		if err != nil { // a number that JSON can write and no float64 hold, such as 1e999
			return slog.StringValue(n.String()), nil
		}
		return slog.Float64Value(f), nil
	}
	return slog.AnyValue(v), nil
}
