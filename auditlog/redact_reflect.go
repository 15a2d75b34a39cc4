package auditlog

import (
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

func (w *walker) reflect(v any, rv reflect.Value, depth int, safe bool) any {
	switch rv.Kind() {
	case reflect.String:
		if s, ok := spoken(v); ok {
			return w.text(s, safe)
		}
		return w.text(rv.String(), safe)
	case reflect.Bool:
		return rv.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if !safe && w.r.isCardInt(rv.Int()) {
			return mark(PAN)
		}
		return rv.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if !safe && w.r.isCard(rv.Uint()) {
			return mark(PAN)
		}
		return rv.Uint()
	case reflect.Float32, reflect.Float64:
		if !safe && w.r.isCardFloat(rv.Float()) {
			return mark(PAN)
		}
		return finite(rv.Float(), v)
	case reflect.Complex64, reflect.Complex128:
		return fmt.Sprint(rv.Complex())
	case reflect.Pointer, reflect.Interface:
		if rv.IsNil() {
			return nil
		}
		return w.element(rv.Elem(), depth, safe)
	case reflect.Slice, reflect.Array:
		if s, ok := spoken(v); ok && rv.Type().Elem().Kind() == reflect.Uint8 {
			return w.text(s, safe)
		}
		return w.slice(rv, depth, safe)
	case reflect.Map:
		return w.mapping(rv, depth)
	case reflect.Struct:
		if asks(reflect.PointerTo(rv.Type())) { // how it wants to be seen, its pointer says
			p := reflect.New(rv.Type())
			p.Elem().Set(rv)
			return w.any(p.Interface(), depth+1, safe)
		}
		out := map[string]any{}
		w.fields(rv, depth, out, nil)
		w.pair(out)
		if s, ok := v.(fmt.Stringer); ok && len(out) == 0 {
			return w.text(s.String(), safe)
		}
		return out
	}
	return typeName(v, "not shown") // functions, channels
}

// spoken is what a text or bytes say of themselves: a type whose String masks it
// is no more shown than fmt would.
func spoken(v any) (string, bool) {
	switch x := v.(type) {
	case fmt.Formatter:
		s := fmt.Sprintf("%+v", x)
		if strings.Contains(s, "(PANIC=") { // fmt caught one and shows its value, which may be anything
			return typeName(v, "panicked"), true
		}
		return s, true
	case fmt.Stringer:
		return x.String(), true
	}
	return "", false
}

// asks reports whether values of type t say how they are logged.
func asks(t reflect.Type) bool {
	return t.Implements(typeLogValuer) || t.Implements(typeMarshaler) || t.Implements(typeTextMarshaler)
}

var (
	typeLogValuer     = reflect.TypeFor[slog.LogValuer]()
	typeMarshaler     = reflect.TypeFor[json.Marshaler]()
	typeTextMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// finite returns number, unless its value f has no form in JSON.
func finite(f float64, number any) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return number
}

// element goes one level down, through methods where the value may be asked.
func (w *walker) element(rv reflect.Value, depth int, safe bool) any {
	if !rv.IsValid() {
		return nil
	}
	if rv.CanInterface() {
		return w.any(rv.Interface(), depth+1, safe)
	}
	return "[unexported]"
}

func (w *walker) slice(rv reflect.Value, depth int, safe bool) any {
	if rv.Kind() == reflect.Slice && rv.IsNil() {
		return nil
	}
	if rv.Type().Elem().Kind() == reflect.Uint8 {
		b := make([]byte, rv.Len())
		for i := range b { // no Copy: the type of the bytes may have a name
			b[i] = byte(rv.Index(i).Uint()) // #nosec G115 -- its kind is uint8
		}
		return w.bytes(b, safe)
	}
	out := make([]any, 0, min(rv.Len(), maxElements+1))
	for i := range rv.Len() {
		if i == maxElements || w.nodes > maxNodes {
			return append(out, fmt.Sprintf("[%d more]", rv.Len()-i))
		}
		out = append(out, w.element(rv.Index(i), depth, safe))
	}
	return out
}

func (w *walker) mapping(rv reflect.Value, depth int) any {
	if rv.IsNil() {
		return nil
	}
	type pair struct {
		key   string
		value reflect.Value
	}
	pairs := make([]pair, 0, rv.Len())
	for it := rv.MapRange(); it.Next(); {
		pairs = append(pairs, pair{w.keyText(it.Key()), it.Value()})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	out := make(map[string]any, min(len(pairs), maxElements+1))
	for i, p := range pairs {
		if i == maxElements || w.nodes > maxNodes {
			out[free(out, "[more]")] = len(pairs) - i
			break
		}
		w.put(out, p.key, p.value, depth)
	}
	w.pair(out)
	return out
}

// pair hides the value of a pair that is spelt out, as environments and headers
// are: {"name": "DB_PASSWORD", "value": "..."}.
func (w *walker) pair(out map[string]any) {
	if len(out) < 2 || len(out) > 16 {
		return
	}
	denied := false
	for key, v := range out {
		if name, ok := v.(string); ok && (strings.EqualFold(key, "name") || strings.EqualFold(key, "key")) {
			denied = denied || w.r.hides(name)
		}
	}
	for key, v := range out {
		if _, plain := v.(bool); denied && !plain && v != nil && (strings.EqualFold(key, "value") || strings.EqualFold(key, "values")) {
			out[key] = redactedKey
		}
	}
}

// put redacts one member of a map or struct.
func (w *walker) put(out map[string]any, key string, v reflect.Value, depth int) {
	name := free(out, w.r.name(key)) // two keys may have become one
	how := w.r.rank(key)
	if v.Kind() == reflect.Interface && !v.IsNil() {
		v = v.Elem()
	}
	switch {
	case how == weak && (v.CanInt() || v.CanUint() || v.CanFloat() || v.Kind() == reflect.String && !telling(v.String(), true)), how < weak:
		out[name] = w.element(v, depth, w.r.isSafe(key))
	case v.Kind() == reflect.Bool:
		out[name] = v.Bool()
	default:
		out[name] = redactedKey
	}
}

// free returns name, or name#2 and so on if that is taken, be it by nil.
func free(out map[string]any, name string) string {
	key := name
	for n := 2; ; n++ {
		if _, taken := out[key]; !taken {
			return key
		}
		key = name + "#" + strconv.Itoa(n)
	}
}

func (w *walker) keyText(k reflect.Value) string {
	if k.Kind() == reflect.Interface && !k.IsNil() {
		k = k.Elem()
	}
	if k.Kind() == reflect.String {
		return k.String()
	}
	if k.CanInterface() {
		switch x := w.any(k.Interface(), maxDepth-2, false).(type) {
		case string:
			return x
		case bool, int64, uint64, float32, float64, json.Number:
			return fmt.Sprint(x)
		}
	}
	return "[" + k.Type().String() + "]"
}

// fields adds the exported fields of a struct under the names that JSON gives
// them. A field is hidden by either of its names, and as its audit tag says:
// "secret", "pseudonym", "drop", or "safe" for a typed identifier. open are the
// types around it whose fields are being added: one that embeds itself has none
// that it did not have before.
func (w *walker) fields(rv reflect.Value, depth int, out map[string]any, open []reflect.Type) {
	t := rv.Type()
	open = append(slices.Clip(open), t)
	for i := range t.NumField() {
		f, v := t.Field(i), rv.Field(i)
		jsonTag, tag := f.Tag.Get("json"), f.Tag.Get("audit")
		name, _, _ := strings.Cut(jsonTag, ",")
		if f.Anonymous && name == "" && (tag == "" || tag == "safe") {
			inner := v
			if inner.Kind() == reflect.Pointer && !inner.IsNil() {
				inner = inner.Elem()
			}
			if it := inner.Type(); it.Kind() == reflect.Struct && !w.r.hides(f.Name) && !asks(it) && !asks(reflect.PointerTo(it)) {
				if w.nodes++; w.nodes > maxNodes {
					return
				}
				if !slices.Contains(open, it) {
					w.fields(inner, depth, out, open)
				}
				continue
			}
		}
		if !f.IsExported() && !(f.Anonymous && tag != "") || jsonTag == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		switch tag {
		case "":
		case "drop":
			continue
		case "safe":
			out[free(out, w.r.name(name))] = w.element(v, depth, true)
			continue
		case "pseudonym":
			out[free(out, w.r.name(name))] = w.pseudonym(v, depth)
			continue
		default: // "secret", and a word that nobody knows is no reason to show it
			out[free(out, w.r.name(name))] = redactedKey
			continue
		}
		if w.r.hides(f.Name) && v.Kind() != reflect.Bool {
			out[free(out, w.r.name(name))] = redactedKey
			continue
		}
		w.put(out, name, v, depth)
	}
}

// pseudonym stands for a field tagged `audit:"pseudonym"`.
func (w *walker) pseudonym(v reflect.Value, depth int) any {
	if v.Kind() == reflect.String {
		return w.r.pseudonyms.of(v.String())
	}
	if !v.CanInterface() { // nothing to tell it from others by
		return redactedKey
	}
	return w.r.pseudonyms.of(string(appendPlain(nil, w.element(v, depth, true))))
}

func isNil(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface, reflect.Func, reflect.Chan:
		return v.IsNil()
	}
	return false
}
