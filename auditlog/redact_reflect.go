package auditlog

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

func (w *walker) reflect(v any, rv reflect.Value, depth int, safe bool) any {
	switch rv.Kind() {
	case reflect.String:
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
		return strconv.FormatFloat(rv.Float(), 'g', -1, 64) // NaN has no JSON form
	case reflect.Complex64, reflect.Complex128:
		return fmt.Sprint(rv.Complex())
	case reflect.Pointer, reflect.Interface:
		if rv.IsNil() {
			return nil
		}
		return w.element(rv.Elem(), depth, safe)
	case reflect.Slice, reflect.Array:
		return w.slice(rv, depth, safe)
	case reflect.Map:
		return w.mapping(rv, depth)
	case reflect.Struct:
		out := map[string]any{}
		w.fields(rv, depth, out)
		if s, ok := v.(fmt.Stringer); ok && len(out) == 0 {
			return w.text(s.String(), safe)
		}
		return out
	}
	return typeName(v, "not shown") // functions, channels
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
		reflect.Copy(reflect.ValueOf(b), rv)
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
			out["[more]"] = len(pairs) - i
			break
		}
		w.put(out, p.key, p.value, depth)
	}
	return out
}

// put redacts one member of a map or struct.
func (w *walker) put(out map[string]any, key string, v reflect.Value, depth int) {
	name := free(out, w.r.String(key)) // two keys may have become one
	how := w.r.rank(key)
	switch {
	case how == weak && (v.CanInt() || v.CanUint() || v.CanFloat()), how < weak:
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
	if k.Kind() == reflect.String {
		return k.String()
	}
	if k.CanInterface() {
		if s, ok := w.any(k.Interface(), maxDepth-2, false).(string); ok {
			return s
		}
		if k.CanInt() || k.CanUint() {
			return fmt.Sprint(k.Interface())
		}
	}
	return "[" + k.Type().String() + "]"
}

// fields adds the exported fields of a struct under the names that JSON gives
// them. A field is hidden by either of its names, and as its audit tag says:
// "secret", "pseudonym", "drop", or "safe" for a typed identifier.
func (w *walker) fields(rv reflect.Value, depth int, out map[string]any) {
	t := rv.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" && depth < maxDepth {
			inner := rv.Field(i)
			if inner.Kind() == reflect.Pointer && !inner.IsNil() {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && !w.r.hides(f.Name) {
				w.fields(inner, depth+1, out)
				continue
			}
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		switch tag := f.Tag.Get("audit"); tag {
		case "":
		case "drop":
			continue
		case "safe":
			out[w.r.String(name)] = w.element(rv.Field(i), depth, true)
			continue
		case "pseudonym":
			out[w.r.String(name)] = w.pseudonym(rv.Field(i), depth)
			continue
		default: // "secret", and a word that nobody knows is no reason to show it
			out[w.r.String(name)] = redactedKey
			continue
		}
		if w.r.hides(f.Name) && rv.Field(i).Kind() != reflect.Bool {
			out[w.r.String(name)] = redactedKey
			continue
		}
		w.put(out, name, rv.Field(i), depth)
	}
}

// pseudonym stands for a field tagged `audit:"pseudonym"`.
func (w *walker) pseudonym(v reflect.Value, depth int) any {
	if v.Kind() == reflect.String {
		return w.r.pseudonyms.of(v.String())
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
