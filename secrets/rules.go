package secrets

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// rule decides the commonest validate tags (required, min, max, gte, lte and
// oneof on strings and integers) as the validator does, at a tenth of its cost
// and without a copy of a secret as a string. Where it says yes the validator
// is not asked; where it says no, or does not know a rule, the validator has the
// word, and the fault is in its terms.
type rule struct {
	required bool
	min, max int64 // of the number, or of the runes of a text
	oneOf    []string
}

// ruleOf compiles a validate tag for a type, or returns nil if the tag needs the
// validator.
func ruleOf(tag string, t reflect.Type) *rule {
	text := t == reflect.TypeFor[string]() || t == secretType || t == liveType
	// A type with a name may have rules of its own.
	number := t.PkgPath() == "" && t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64
	if tag == "" || !text && !number || strings.ContainsAny(tag, "|'") {
		return nil
	}
	r := &rule{min: -1 << 63, max: 1<<63 - 1}
	for part := range strings.SplitSeq(tag, ",") {
		name, param, has := strings.Cut(part, "=")
		n, err := strconv.ParseInt(param, 10, 64)
		bound := has && err == nil && strconv.FormatInt(n, 10) == param && (number || n >= 0)
		switch {
		case name == "required" && !has:
			r.required = true
		case (name == "min" || name == "gte") && bound:
			r.min = max(r.min, n)
		case (name == "max" || name == "lte") && bound:
			r.max = min(r.max, n)
		case name == "oneof" && has && r.oneOf == nil && len(strings.Fields(param)) > 0:
			r.oneOf = strings.Fields(param)
		default:
			return nil
		}
	}
	return r
}

func (r *rule) allowsText(text string) bool {
	return (!r.required || text != "") && r.allowsRunes(utf8.RuneCountInString(text)) &&
		(r.oneOf == nil || slices.Contains(r.oneOf, text))
}

func (r *rule) allowsSecret(s Secret) (ok bool) {
	ok = !r.required && r.min <= 0 && r.oneOf == nil // what a missing one is measured by
	s.peek(func(text []byte) {
		ok = r.allowsRunes(utf8.RuneCount(text)) &&
			(r.oneOf == nil || slices.ContainsFunc(r.oneOf, func(s string) bool { return s == string(text) }))
	})
	return ok
}

func (r *rule) allowsRunes(n int) bool { return int64(n) >= r.min && int64(n) <= r.max }

func (r *rule) allowsNumber(n int64) bool {
	return (!r.required || n != 0) && n >= r.min && n <= r.max &&
		(r.oneOf == nil || slices.Contains(r.oneOf, strconv.FormatInt(n, 10)))
}

// allows reports whether the rule says yes to what a field holds.
func (f *field) allows(v reflect.Value) bool {
	if f.quick == nil {
		return f.rule == ""
	}
	switch f.target {
	case toSecret:
		return f.quick.allowsSecret(*v.Addr().Interface().(*Secret))
	case toLive:
		// Of a nil Live only the validator knows what to think.
		live := *v.Addr().Interface().(**Live)
		return live != nil && live.p != nil && f.quick.allowsSecret(live.Get())
	case toPublic:
		if v.Kind() == reflect.String {
			return f.quick.allowsText(v.String())
		}
		return f.quick.allowsNumber(v.Int())
	}
	return false
}
