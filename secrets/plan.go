package secrets

import (
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/inovy/hardening/internal/faults"
)

// plan is how to fill one type of struct. It holds no values and is never
// changed once made, but for structs that are kept, zero, for the next load.
type plan struct {
	typ    reflect.Type
	fields []*field
	byNS   map[string]*field // by the namespace that the validator uses
	within map[string]bool   // the namespaces of structs that hold fields
	rules  bool              // there is something to validate
	others bool              // it is not only Load's own fields
	spare  sync.Pool         // of zero structs of typ, as pointers, to fill before dst is
}

// plans caches a plan per struct type. Only faultless plans go in.
var plans sync.Map // reflect.Type -> *plan

var (
	secretType   = reflect.TypeFor[Secret]()
	ringType     = reflect.TypeFor[*Ring]()
	liveType     = reflect.TypeFor[*Live]()
	durationType = reflect.TypeFor[time.Duration]()
)

// planOf returns the plan of a struct type, or adds to c what is wrong with
// its tags.
func planOf(t reflect.Type, c *faults.Collector) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := &plan{typ: t, byNS: map[string]*field{}, within: map[string]bool{}}
	before := c.Len()
	p.collect(t, nil, "", c)
	names := map[string]string{}
	for i, f := range p.fields {
		f.order = i
		if other, taken := names[f.name]; taken && f.name != "" {
			c.Missing(f.path, "asks for "+f.name+", as "+other+" does", "load a secret into one field and pass that on")
		}
		names[f.name] = f.path
		ns := f.path
		if t.Name() != "" {
			ns = t.Name() + "." + ns
		}
		p.byNS[ns], f.ns = f, ns
		for i, c := range ns {
			if c == '.' {
				p.within[ns[:i]] = true
			}
		}
	}
	if len(p.fields) == 0 && c.Len() == before {
		c.Missing("dst", "has no field with a secret tag", "give at least one field a tag as `secret:\"SESSION_KEY,kind=key\"`")
	}
	if c.Len() == before {
		plans.Store(t, p)
	}
	return p
}

// empty returns a pointer to a zero struct of the type; clear takes it back.
func (p *plan) empty() reflect.Value {
	if kept := p.spare.Get(); kept != nil {
		return reflect.ValueOf(kept)
	}
	return reflect.New(p.typ)
}

func (p *plan) clear(filled reflect.Value) {
	filled.Elem().SetZero()
	p.spare.Put(filled.Interface())
}

func (p *plan) collect(t reflect.Type, index []int, prefix string, c *faults.Collector) {
	for i := range t.NumField() {
		sf := t.Field(i)
		path := prefix + sf.Name
		at := append(append(make([]int, 0, len(index)+1), index...), i)
		tag, tagged := sf.Tag.Lookup("secret")
		if sf.Tag.Get("validate") != "" && sf.IsExported() {
			p.rules = true
			p.others = p.others || !tagged
		}
		if !tagged && !plainKind(sf.Type) {
			p.others = true // the validator looks inside for rules
		}
		switch {
		case !tagged && sf.Type.Kind() == reflect.Struct && sf.Type != secretType && sf.Type != ringType.Elem() && sf.Type != liveType.Elem() && (sf.IsExported() || sf.Anonymous):
			p.collect(sf.Type, at, path+".", c)
		case !tagged && holdsTags(sf.Type, nil):
			c.Missing(path, "has secret tags behind a pointer, slice, map or unexported field, where Load does not look", "hold the struct itself in an exported field")
		case !tagged && (sf.Type == secretType || sf.Type == ringType || sf.Type == liveType) && sf.IsExported():
			c.Missing(path, "is a secret without a secret tag, and would stay empty", "add one, or move the field out of what Load fills")
		case !tagged:
		case !sf.IsExported():
			c.Missing(path, "has a secret tag but is not exported", "export the field: what it holds is not shown anyway")
		default:
			f := &field{index: at, path: path, typ: sf.Type, rule: sf.Tag.Get("validate")}
			f.quick = ruleOf(f.rule, f.typ)
			switch {
			case sf.Type == secretType:
				f.target = toSecret
			case sf.Type == ringType:
				f.target = toRing
			case sf.Type == liveType:
				f.target = toLive
			case settable(sf.Type):
				f.target = toPublic
			default:
				c.Missing(path, "is of type "+sf.Type.String()+", which Load can not fill", "use secrets.Secret, *secrets.Live or *secrets.Ring; for public settings string, an integer, bool or time.Duration")
				continue
			}
			f.parseTag(tag, func(reason, fix string) { c.Missing(path, reason, fix) })
			p.fields = append(p.fields, f)
		}
	}
}

// plainKind reports whether nothing can be inside a value of type t.
func plainKind(t reflect.Type) bool {
	return t.Kind() >= reflect.Bool && t.Kind() <= reflect.Complex128 || t.Kind() == reflect.String
}

// settable reports whether a public setting may be of type t.
func settable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return false
}

// holdsTags reports whether a struct with secret tags can be reached from t.
func holdsTags(t reflect.Type, seen []reflect.Type) bool {
	if slices.Contains(seen, t) {
		return false
	}
	seen = append(seen, t)
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return holdsTags(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if _, ok := t.Field(i).Tag.Lookup("secret"); ok || holdsTags(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}
