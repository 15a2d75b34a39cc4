package secrets

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"

	"github.com/go-playground/validator/v10"

	"github.com/inovy/hardening/internal/faults"
)

// validators holds the one validator; it caches struct types, never values.
var validators = sync.OnceValue(func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterCustomTypeFunc(func(field reflect.Value) any {
		switch s := field.Interface().(type) {
		case Secret:
			return Expose(s)
		case Live:
			return Expose(s.Get())
		}
		return nil
	}, Secret{}, Live{})
	return v
})

// validate runs the validate tags over a filled copy of dst and adds what they
// find to c. The validator's own errors hold the values they refuse, and go no
// further than this function. failed fields (nil: none) are left out;
// own leaves out all that Load does not fill.
func (p *plan) validate(ctx context.Context, filled reflect.Value, failed []bool, own bool, c *faults.Collector) {
	if !p.rules {
		return
	}
	// passed fields need no validator.
	passed := make([]bool, len(p.fields))
	done := true
	for i, f := range p.fields {
		yes := f.allows(filled.Elem().FieldByIndex(f.index))
		done = done && yes // with any other fault the validator also looks for rules that do not exist
		passed[i] = yes || failed != nil && failed[i]
	}
	if done && (own || !p.others) {
		return
	}
	next := 0
	skip := func(ns []byte) bool {
		// The validator asks in the order of the fields, so the next one is
		// most often the one; a comparison is cheaper than the map.
		var f *field
		if next < len(p.fields) && p.fields[next].ns == string(ns) {
			f = p.fields[next]
			next++
		} else {
			f = p.byNS[string(ns)]
		}
		if f == nil {
			return own && !p.within[string(ns)]
		}
		return passed[f.order]
	}
	err, panicked := run(func() error { return validators().StructFilteredCtx(ctx, filled.Interface(), skip) })
	if panicked {
		p.blame(ctx, filled, skip, c)
		return
	}
	var all validator.ValidationErrors
	if !errors.As(err, &all) {
		if err != nil {
			c.Missing("dst", "could not be validated", "check its validate tags")
		}
		return
	}
	for _, e := range all {
		path := e.StructNamespace()
		if name := p.typ.Name(); name != "" {
			path = strings.TrimPrefix(path, name+".")
		}
		path = withoutKeys(path)
		f := p.byNS[e.StructNamespace()]
		rule := e.Tag()
		if f == nil || f.target == toPublic {
			if e.Param() != "" {
				rule += "=" + e.Param() // source code, not a value
			}
		}
		name := ""
		if f != nil {
			name = f.name + ": "
		}
		c.Secret(path, name+"the value breaks the rule "+rule+" of its validate tag", "give a value that keeps it")
	}
}

// withoutKeys writes [...] for what stands in brackets: the keys of maps are
// values. One may hold brackets itself, so all between the first and the last
// goes.
func withoutKeys(path string) string {
	from, to := strings.IndexByte(path, '['), strings.LastIndexByte(path, ']')
	if from < 0 || to < from {
		return path
	}
	return path[:from] + "[...]" + path[to+1:]
}

// blame finds the fields whose rules the validator can not apply. It panics
// for those, and its panic may hold a value.
func (p *plan) blame(ctx context.Context, filled reflect.Value, skip func([]byte) bool, c *faults.Collector) {
	found := false
	for _, f := range p.fields {
		if f.rule == "" {
			continue
		}
		only := func(ns []byte) bool { return skip(ns) || p.byNS[string(ns)] != nil && p.byNS[string(ns)] != f }
		if _, panicked := run(func() error { return validators().StructFilteredCtx(ctx, filled.Interface(), only) }); panicked {
			found = true
			c.Missing(f.path, "has a validate tag with a rule that does not exist or does not fit its type", "see the rules of validator/v10 for "+f.typ.String())
		}
	}
	if !found {
		c.Missing("dst", "has a validate tag with a rule that does not exist or does not fit its type", "see the rules of validator/v10")
	}
}

func run(fn func() error) (err error, panicked bool) {
	defer func() {
		if recover() != nil {
			err, panicked = nil, true
		}
	}()
	return fn(), false
}
