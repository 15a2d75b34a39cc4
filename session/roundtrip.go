package session

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/inovy/hardening/internal/faults"
)

const roundTripFix = "give Data exported fields of plain types, or types that implement json.Marshaler and json.Unmarshaler"

// checkRoundTrip records a fault for each part of t that JSON would lose or
// change between two requests, as far as the type tells.
func checkRoundTrip(c *faults.Collector, t reflect.Type) {
	w := roundTrip{c: c, seen: map[place]bool{}}
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface:
		c.Add("Data", t, "is a "+t.Kind().String()+", which an anonymous session would hold nil", "use the struct itself")
		return
	}
	before := c.Len()
	w.walk("Data", t, true)
	if c.Len() == before {
		w.try(t)
	}
}

type roundTrip struct {
	c       *faults.Collector
	seen    map[place]bool
	customs bool // a type with methods of its own was met
}

// place is a type, and whether JSON can take the address of its values there.
// In a map it cannot, so that it does not call methods of the pointer.
type place struct {
	t           reflect.Type
	addressable bool
}

func (w *roundTrip) fault(path string, t reflect.Type, reason string) {
	w.c.Add(path, t, reason, roundTripFix)
}

var (
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// custom reports whether the type, or a pointer to it, encodes and decodes
// itself, and a fault if it does only one of the two.
func custom(t reflect.Type) (bool, string) {
	p := reflect.PointerTo(t)
	enc := p.Implements(jsonMarshaler) || p.Implements(textMarshaler)
	dec := p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler)
	switch {
	case enc && dec:
		return true, ""
	case enc:
		return true, "encodes itself but does not decode itself"
	case dec:
		return true, "decodes itself but does not encode itself"
	}
	return false, ""
}

func (w *roundTrip) walk(path string, t reflect.Type, addressable bool) {
	if w.seen[place{t, addressable}] {
		return
	}
	w.seen[place{t, addressable}] = true
	if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		if is, reason := custom(t); is {
			w.customs = true
			if reason == "" && !addressable && !t.Implements(jsonMarshaler) && !t.Implements(textMarshaler) {
				reason = "encodes itself by a method of its pointer, which JSON does not call in a map"
			}
			if reason != "" {
				w.fault(path, t, reason)
			}
			return
		}
	}
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		w.fault(path, t, "has no form in JSON")
	case reflect.Interface:
		w.fault(path, t, "comes back from JSON as another type")
	case reflect.Pointer, reflect.Slice:
		w.walk(path+"[]", t.Elem(), true)
	case reflect.Array:
		w.walk(path+"[]", t.Elem(), addressable)
	case reflect.Map:
		w.walkKey(path, t.Key())
		w.walk(path+"[]", t.Elem(), false)
	case reflect.Struct:
		for f := range t.Fields() {
			w.walkField(path+"."+f.Name, f, addressable)
		}
	}
}

func (w *roundTrip) walkKey(path string, key reflect.Type) {
	switch key.Kind() {
	case reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return
	}
	if !reflect.PointerTo(key).Implements(textMarshaler) || !reflect.PointerTo(key).Implements(textUnmarshaler) {
		w.fault(path, key, "cannot be the key of a map in JSON")
	}
}

func (w *roundTrip) walkField(path string, f reflect.StructField, addressable bool) {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	switch {
	case f.Tag.Get("json") == "-":
		w.fault(path, f.Type, `is left out by json:"-", so it is lost between requests`)
	case f.Anonymous && name == "":
		t := f.Type
		if t.Kind() == reflect.Pointer {
			addressable = true
			if !f.IsExported() {
				w.fault(path, f.Type, "is an embedded pointer to an unexported type, which JSON cannot set")
				return
			}
			t = t.Elem()
		}
		if !f.IsExported() && t.Kind() != reflect.Struct {
			w.fault(path, f.Type, "is not exported, so it is lost between requests")
			return
		}
		w.walk(path, t, addressable)
	case !f.IsExported():
		if f.Name != "_" {
			w.fault(path, f.Type, "is not exported, so it is lost between requests")
		}
	default:
		w.walk(path, f.Type, addressable)
	}
}

// try sends a value of t in which every part is set through JSON and compares
// what comes back: names that collide and tags that lose something show here.
func (w *roundTrip) try(t reflect.Type) {
	v := reflect.New(t)
	fill(v.Elem(), 0)
	first, err := json.Marshal(v.Interface())
	if err != nil {
		w.fault("Data", t, fmt.Sprintf("does not encode: %v", err))
		return
	}
	back := reflect.New(t)
	if err := json.Unmarshal(first, back.Interface()); err != nil {
		w.fault("Data", t, fmt.Sprintf("does not decode what it encoded: %v", err))
		return
	}
	second, err := json.Marshal(back.Interface())
	// Types with methods of their own may have several forms of one value, so
	// only their encodings are compared.
	if err != nil || !bytes.Equal(first, second) || !w.customs && !reflect.DeepEqual(v.Interface(), back.Interface()) {
		w.fault("Data", t, "comes back from JSON changed; look for two fields of one JSON name")
	}
}

// fill sets every part of v that it can to something that is not zero.
func fill(v reflect.Value, depth int) {
	if !v.CanSet() || depth > 8 {
		return
	}
	t := v.Type()
	if t.Kind() != reflect.Pointer {
		if is, _ := custom(t); is {
			return
		}
	}
	switch t.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(1)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(t, 1, 1))
		fill(v.Index(0), depth+1)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		key, elem := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		fill(key, depth+1)
		fill(elem, depth+1)
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(key, elem)
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field, depth+1)
		}
	}
}
