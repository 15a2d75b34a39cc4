package auditlog

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// walker redacts one value tree. What it returns holds no value with methods
// that an encoder behind us would call: texts, numbers, times, groups, and
// map[string]any and []any of such.
type walker struct {
	r     *Redactor
	nodes int
}

// attr redacts one attribute: its key, and what stands under it.
func (w *walker) attr(a slog.Attr, depth int) slog.Attr {
	if how := w.r.rank(a.Key); how == secret || how == weak && !countsOnly(a.Value) {
		return slog.Attr{Key: w.r.name(a.Key), Value: w.hidden(a.Value)}
	}
	return slog.Attr{Key: w.r.name(a.Key), Value: w.value(a.Value, depth, w.r.isSafe(a.Key))}
}

// hidden replaces everything but a bool, which says only that there is something.
func (w *walker) hidden(v slog.Value) slog.Value {
	if v.Kind() == slog.KindBool || v.Kind() == slog.KindGroup && len(v.Group()) == 0 {
		return v
	}
	return slog.StringValue(redactedKey)
}

// countsOnly reports whether the value under a weak name ("tokens") is a number
// or a time, which is no token.
func countsOnly(v slog.Value) bool {
	switch v.Kind() {
	case slog.KindString:
		return !telling(v.String(), true)
	case slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindBool, slog.KindDuration, slog.KindTime:
		return true
	}
	return false
}

func (w *walker) value(v slog.Value, depth int, safe bool) slog.Value {
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(w.text(v.String(), safe))
	case slog.KindGroup:
		return w.group(v.Group(), depth)
	case slog.KindLogValuer:
		if depth >= maxDepth {
			return slog.StringValue(tooDeep)
		}
		return w.value(v.Resolve(), depth+1, safe)
	case slog.KindAny:
		return slog.AnyValue(w.any(v.Any(), depth, safe))
	case slog.KindInt64:
		return w.number(v, !safe && w.r.isCardInt(v.Int64()))
	case slog.KindUint64:
		return w.number(v, !safe && w.r.isCard(v.Uint64()))
	case slog.KindFloat64:
		return w.number(v, !safe && w.r.isCardFloat(v.Float64()))
	default:
		return v
	}
}

func (w *walker) number(v slog.Value, card bool) slog.Value {
	if card {
		return slog.StringValue(mark(PAN))
	}
	return v
}

const tooDeep = "[too deep]"

func (w *walker) group(attrs []slog.Attr, depth int) slog.Value {
	if depth >= maxDepth {
		return slog.StringValue(tooDeep)
	}
	out, names := make([]slog.Attr, 0, min(len(attrs), maxElements+1)), names{}
	for i, a := range attrs {
		if w.nodes++; i == maxElements || w.nodes > maxNodes {
			out = names.add(out, slog.Int("attrs_dropped", len(attrs)-i))
			break
		}
		out = names.add(out, w.attr(a, depth+1))
	}
	return slog.GroupValue(out...)
}

func (w *walker) text(s string, safe bool) string {
	if safe { // to name someone, which is no reason to hold a key
		return w.r.clean(s, personal)
	}
	return w.r.String(s)
}

// any turns any value into one that encoders know by themselves.
func (w *walker) any(v any, depth int, safe bool) (out any) {
	if w.nodes++; depth >= maxDepth || w.nodes > maxNodes {
		return tooDeep
	}
	defer func() { // a method that panics may put what it holds into the panic
		if recover() != nil {
			out = typeName(v, "panicked")
		}
	}()
	switch x := v.(type) {
	case nil:
		return nil
	case string:
		return w.text(x, safe)
	case json.Number:
		if !json.Valid([]byte(x)) {
			return w.text(string(x), safe)
		}
		if !safe && w.r.isCardNumber(string(x)) {
			return mark(PAN)
		}
		return x
	case time.Time:
		return x.Format(time.RFC3339Nano)
	case time.Duration:
		return x.String()
	case slog.Attr:
		return w.plain(slog.GroupValue(w.attr(x, depth+1)))
	case []slog.Attr:
		return w.plain(w.group(x, depth+1))
	case slog.Value:
		return w.plain(w.value(x, depth+1, safe))
	case slog.LogValuer:
		return w.plain(w.value(slog.AnyValue(x).Resolve(), depth+1, safe))
	case error:
		return w.text(x.Error(), safe)
	case json.RawMessage:
		return w.json(x, depth, safe)
	case []byte:
		return w.bytes(x, safe)
	case *url.URL:
		if x == nil {
			return nil
		}
		return w.url(*x)
	case url.URL:
		return w.url(x)
	case *http.Cookie:
		if x == nil {
			return nil
		}
		return w.cookie(*x)
	case http.Cookie:
		return w.cookie(x)
	case *http.Response:
		if x == nil {
			return nil
		}
		return w.text(x.Status, false)
	case http.Response:
		return w.text(x.Status, false)
	case *http.Request:
		if x == nil {
			return nil
		}
		return w.request(x)
	case http.Request:
		return w.request(&x)
	case json.Marshaler:
		if isNil(reflect.ValueOf(v)) {
			return nil
		}
		b, err := x.MarshalJSON()
		if err != nil {
			return typeName(v, "does not marshal")
		}
		return w.json(b, depth, safe)
	case encoding.TextMarshaler:
		if isNil(reflect.ValueOf(v)) {
			return nil
		}
		b, err := x.MarshalText()
		if err != nil {
			return typeName(v, "does not marshal")
		}
		return w.bytes(b, safe)
	}
	return w.reflect(v, reflect.ValueOf(v), depth, safe)
}

// cookie shows that there is a cookie of this name, never its value.
func (w *walker) cookie(c http.Cookie) string { return w.text(c.Name, false) + "=" + redactedKey }

// request shows what was asked for: the query and the headers hold too much to
// list.
func (w *walker) request(x *http.Request) string {
	path := ""
	if x.URL != nil {
		path = x.URL.Path
	}
	return w.text(x.Method+" "+x.Host+path, false)
}

func typeName(v any, why string) string { return fmt.Sprintf("[%T %s]", v, why) }

// bytes shows text as text, and of anything else only how much it is.
func (w *walker) bytes(b []byte, safe bool) any {
	if b == nil {
		return nil
	}
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return fmt.Sprintf("[%d bytes]", len(b))
	}
	return w.text(string(b), safe)
}

// json redacts a JSON text by its keys and values. What is no JSON is text.
func (w *walker) json(b []byte, depth int, safe bool) any {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return w.bytes(b, safe)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return w.bytes(b, safe)
	}
	return w.any(v, depth+1, safe)
}

// url shows where a URL leads: no user, and of the query the names only.
func (w *walker) url(u url.URL) string {
	u.User = nil
	if u.RawQuery != "" {
		names := make([]string, 0, 8)
		for name := range u.Query() {
			names = append(names, url.QueryEscape(name)+"=...")
		}
		slices.Sort(names)
		u.RawQuery = strings.Join(names, "&")
	}
	u.Fragment, u.RawFragment = "", ""
	return w.text(u.String(), false)
}

// plain turns a redacted slog value into a tree without slog types.
func (w *walker) plain(v slog.Value) any {
	switch v.Kind() {
	case slog.KindGroup:
		out := make(map[string]any, len(v.Group()))
		for _, a := range v.Group() {
			out[free(out, a.Key)] = w.plain(a.Value)
		}
		return out
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case slog.KindDuration:
		return v.Duration().String()
	case slog.KindFloat64:
		return finite(v.Float64(), v.Any())
	default:
		return v.Any()
	}
}
