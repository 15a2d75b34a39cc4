package auditlog

import (
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// Every record is one JSON object with its members in one fixed order and
// without those that are empty, so that equal events have equal bytes. The
// envelope comes first:
//
//	{"v":1,"k":"event","t":"2026-01-02T03:04:05.000000006Z", ...}
//
// v is the version of the record, k its kind, t when the log took it in.
// Whatever a caller chooses stands in fixed members or below "attrs", so that
// nothing can shadow the envelope.

const envelope = `{"v":1,"k":"`

// droppedKey counts attributes that did not fit; no attribute has this name.
const droppedKey = "!dropped"

// maxAttrBytes bounds the encoded attributes of one event.
const maxAttrBytes = 16 << 10

func appendEnvelope(b []byte, kind string, at time.Time) []byte {
	b = append(b, envelope...)
	b = append(b, kind...)
	b = append(b, `","t":"`...)
	b = appendTime(b, at)
	return append(b, '"')
}

func appendTime(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, time.RFC3339Nano) }

// appendEvent writes e as a record. e is valid and its attributes are redacted.
// With s, everything that may say whose data it was is sealed for s:
//
//	"subject":{"ref":"...","sealed":"..."}
//
// where sealed is an object with the members that stand nowhere else then:
// subject, object.id and object.part as id and part, reason and attrs.
func appendEvent(b []byte, e *Event, at time.Time, attempt int64, missing []string, s *subject) []byte {
	b = appendEnvelope(b, kindEvent, at)
	if !e.Time.IsZero() && !e.Time.Equal(at) {
		b = append(b, `,"at":"`...)
		b = appendTime(b, e.Time)
		b = append(b, '"')
	}
	b = appendMember(b, "type", e.Type)
	b = appendMember(b, "code", e.Code)
	b = appendMember(b, "action", string(e.Action))
	b = appendMember(b, "outcome", string(e.Outcome))
	if attempt > 0 {
		b = append(b, `,"attempt":`...)
		b = strconv.AppendInt(b, attempt, 10)
	}
	a, o := &e.Actor, &e.Object
	if s == nil {
		b = appendMember(b, "reason", e.Reason)
		b = appendObject(b, "actor", "id", a.ID, "alt", a.AltID, "kind", string(a.Kind), "role", a.Role, "org", a.Org, "for", a.OnBehalfOf, "session", a.Session)
		b = appendObject(b, "object", "type", o.Type, "id", o.ID, "part", o.Part, "sensitivity", o.Sensitivity, "life_cycle", o.LifeCycle)
	} else {
		id, self := a.ID, ""
		if a.ID == e.Subject.ID { // people who open their own file
			id, self = "", "yes"
		}
		b = appendObject(b, "actor", "id", id, "self", self, "alt", a.AltID, "kind", string(a.Kind), "role", a.Role, "org", a.Org, "for", a.OnBehalfOf, "session", a.Session)
		b = appendSealed(b, e, s)
		b = appendObject(b, "object", "type", o.Type, "sensitivity", o.Sensitivity, "life_cycle", o.LifeCycle)
	}
	ip := ""
	if e.Origin.IP.IsValid() {
		ip = e.Origin.IP.String()
	}
	b = appendObject(b, "origin", "ip", ip, "access_point", e.Origin.AccessPoint, "user_agent", e.Origin.UserAgent, "host", e.Origin.Host, "service", e.Origin.Service)
	b = appendMember(b, "purpose", e.Purpose)
	b = appendMember(b, "auth_protocol", e.AuthProtocol)
	b = appendMember(b, "relation", e.Relation)
	b = appendMember(b, "consent", e.Consent)
	c := &e.Controls
	b = appendObject(b, "controls", "authorisation", string(c.Authorisation), "relation", string(c.Relation), "consent", string(c.Consent))
	if e.BreakGlass {
		b = append(b, `,"break_glass":true`...)
	}
	b = appendMember(b, "request_id", e.RequestID)
	b = appendMember(b, "traceparent", e.TraceParent)
	if e.Count > 0 {
		b = append(b, `,"count":`...)
		b = strconv.AppendInt(b, e.Count, 10)
	}
	if len(missing) > 0 {
		b = append(b, `,"missing":[`...)
		for i, m := range missing {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, m)
		}
		b = append(b, ']')
	}
	if s == nil {
		b = appendAttrMember(b, e.Attrs)
	}
	return append(b, '}')
}

func appendAttrMember(b []byte, attrs []slog.Attr) []byte {
	if len(attrs) == 0 {
		return b
	}
	b = append(b, `,"attrs":`...)
	return appendAttrs(b, attrs, len(b)+maxAttrBytes)
}

func appendSealed(b []byte, e *Event, s *subject) []byte {
	inner := buffers.Get().(*[]byte)
	defer buffers.Put(inner)
	x := append((*inner)[:0], `{"v":1`...)
	x = appendMember(x, "subject", e.Subject.ID)
	x = appendMember(x, "id", e.Object.ID)
	x = appendMember(x, "part", e.Object.Part)
	x = appendMember(x, "reason", e.Reason)
	x = append(appendAttrMember(x, e.Attrs), '}')
	*inner = x
	b = append(b, `,"subject":{"ref":"`...)
	b = base64.StdEncoding.AppendEncode(b, s.ref[:])
	b = append(b, `","sealed":"`...)
	b = base64.StdEncoding.AppendEncode(b, s.seal(x))
	clear(x)
	return append(b, `"}`...)
}

func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendString(b, value)
}

// appendObject writes a member that is an object of the non-empty pairs.
func appendObject(b []byte, name string, pairs ...string) []byte {
	start, empty := len(b), true
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':', '{')
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" { // #nosec G602 -- pairs come in twos
			continue
		}
		if empty {
			b = append(b, '"')
		} else {
			b = append(b, ',', '"')
		}
		empty = false
		b = append(b, pairs[i]...)
		b = append(b, '"', ':')
		b = appendString(b, pairs[i+1]) // #nosec G602 -- pairs come in twos
	}
	if empty {
		return b[:start]
	}
	return append(b, '}')
}

// appendAttrs writes redacted attributes as an object without duplicate names,
// and stops where b would grow beyond the limit.
func appendAttrs(b []byte, attrs []slog.Attr, limit int) []byte {
	b = append(b, '{')
	seen := make(map[string]int, len(attrs))
	dropped := 0
	for _, a := range attrs {
		before := len(b)
		if len(seen) > 0 {
			b = append(b, ',')
		}
		key := a.Key
		if key == droppedKey {
			key = "dropped"
		}
		for n := seen[key]; n > 0; n = seen[key] { // attacker-chosen duplicates shadow nothing
			seen[key] = n + 1
			key = a.Key + "#" + strconv.Itoa(n+1)
		}
		b = appendString(b, key)
		b = append(b, ':')
		b = appendValue(b, a.Value, limit)
		if len(b) > limit {
			b = b[:before]
			dropped++
			continue
		}
		seen[key] = 1
	}
	if dropped > 0 {
		if len(seen) > 0 {
			b = append(b, ',')
		}
		b = append(b, `"`+droppedKey+`":`...)
		b = strconv.AppendInt(b, int64(dropped), 10)
	}
	return append(b, '}')
}

func appendValue(b []byte, v slog.Value, limit int) []byte {
	switch v.Kind() {
	case slog.KindString:
		return appendString(b, v.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10)
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindTime:
		b = append(b, '"')
		b = appendTime(b, v.Time())
		return append(b, '"')
	case slog.KindDuration:
		return appendString(b, v.Duration().String())
	case slog.KindGroup:
		return appendAttrs(b, v.Group(), limit)
	case slog.KindFloat64:
		return appendPlain(b, v.Float64())
	default: // the redactor left maps, slices, strings and numbers only
		return appendPlain(b, v.Any())
	}
}

// appendPlain writes a value that the redactor made: a tree of map[string]any,
// []any and scalars, members sorted by name.
func appendPlain(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		return appendString(b, v)
	case map[string]any:
		b = append(b, '{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, k), ':')
			b = appendPlain(b, v[k])
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendPlain(b, e)
		}
		return append(b, ']')
	}
	text, err := json.Marshal(v)
	if err != nil { // NaN and infinities have no JSON form
		return append(b, `"[unencodable]"`...)
	}
	return append(b, text...)
}

const hexDigits = "0123456789abcdef"

// appendString writes s quoted. What a terminal or a reader's eye could be
// fooled with (control characters, bidirectional overrides, line separators)
// is escaped, and invalid UTF-8 becomes U+FFFD, so a record is one line of
// printable text whatever an attacker sends (ASVS 16.4.1).
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			if c == '"' || c == '\\' {
				b = append(b, '\\', c)
			} else {
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r != utf8.RuneError && unicode.IsPrint(r) {
			i += size
			continue
		}
		b = append(b, s[start:i]...)
		b = appendEscaped(b, r)
		i += size
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func appendEscaped(b []byte, r rune) []byte {
	if r > 0xffff { // a surrogate pair, RFC 8259 section 7
		r -= 0x10000
		b = appendEscaped(b, 0xd800+(r>>10))
		return appendEscaped(b, 0xdc00+(r&0x3ff))
	}
	return append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
