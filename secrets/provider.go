package secrets

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Provider is a vault: something that is asked for values by name. Fetch may be
// called from several goroutines at once, with the names of all fields, and
// again every [Options.FetchInterval] for those that Live and Ring fields came
// from.
//
// With several names it is asked for all of them until two rounds give the same
// values and versions, at most four, so that a user and a password are never
// mixed from before and after a rotation: a Fetch that mints something new each
// time must keep it until it is to be replaced.
//
// It returns [ErrNotFound], or an error that wraps it, for a name that it does
// not have. Any other error refuses the load or keeps the last good value. Of
// such an error nothing is shown but the [*hardening.ConfigError] in it, if
// there is one: the errors of HTTP clients hold URLs, and some hold tokens.
//
// ctx ends after ten seconds. A program's own limit on how much is read belongs
// into Fetch. The Secret is the room's to keep: return a new one each time.
type Provider interface {
	Fetch(ctx context.Context, name string) (Secret, Meta, error)
}

// Meta is what an issuer says about a value. Zero fields are not known.
type Meta struct {
	Version string    // in the issuer's words: "7"
	Created time.Time // when the value was made
	Expires time.Time // when it stops to work
}

// ErrNotFound is what a [Provider] returns for a name that it does not have.
var ErrNotFound = errors.New("secrets: the provider has no such name")

const (
	fetchTimeout = 10 * time.Second
	fetchers     = 8 // questions to one provider at a time
)

// From is a Provider under the name by which faults and reports call it.
func From(label string, p Provider) Source { return Source{impl: providerSource{label, p}} }

type providerSource struct {
	name     string
	provider Provider
}

func (p providerSource) label() string { return p.name }

func (p providerSource) find(ctx context.Context, s *search) {
	if v := reflect.ValueOf(p.provider); p.name == "" || p.provider == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		s.complain(s.source, flaw{reason: "is a From without a name or a Provider, or with a nil pointer for one", fix: "give both, made"})
		return
	}
	for i, got := range p.settled(ctx, s.fields) {
		if got.value != nil || got.bad != nil {
			s.add(ref{field: s.fields[i], place: &place{label: p.name, value: got.value, meta: &got.meta, flaw: got.bad}})
		}
	}
}

// fetched is an answer; one without value and flaw is "not found".
type fetched struct {
	value []byte
	meta  Meta
	bad   *flaw
}

// passes is how often a Provider is asked for all fields until two answers in a
// row are the same.
const passes = 4

// settled asks for all fields until two passes agree, so that a user of before a
// rotation never comes with the password of after it. One field can not be
// mixed, and one flaw refuses them all.
func (p providerSource) settled(ctx context.Context, fields []*field) []fetched {
	out := p.fetch(ctx, fields)
	if len(fields) < 2 {
		return out
	}
	for range passes - 1 {
		if ctx.Err() != nil || slices.ContainsFunc(out, func(f fetched) bool { return f.bad != nil }) {
			return out
		}
		before := out
		out = p.fetch(ctx, fields)
		agree := slices.EqualFunc(before, out, fetched.agrees)
		for _, f := range before {
			clear(f.value)
		}
		if agree {
			return out
		}
	}
	for i := range out {
		if out[i].bad == nil && out[i].value != nil {
			clear(out[i].value)
			out[i] = fetched{bad: &flaw{reason: "or another value of its provider kept changing while they were fetched", fix: "let the provider give the same answer until there is a new value, and keep what belongs together in one place"}}
		}
	}
	return out
}

// agrees reports whether two answers are one, apart from dates.
func (f fetched) agrees(other fetched) bool {
	return f.bad == nil && other.bad == nil && f.meta.Version == other.meta.Version &&
		(f.value == nil) == (other.value == nil) && bytes.Equal(f.value, other.value)
}

// fetch asks for all fields, some at a time.
func (p providerSource) fetch(ctx context.Context, fields []*field) []fetched {
	out := make([]fetched, len(fields))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(fetchers, len(fields)) {
		wg.Go(func() {
			for i := range next {
				out[i] = p.one(ctx, fields[i].name)
			}
		})
	}
	for i := range fields {
		next <- i
	}
	close(next)
	wg.Wait()
	return out
}

func (p providerSource) one(ctx context.Context, name string) (got fetched) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	missing := false
	err, panicked := run(func() error {
		s, meta, err := p.provider.Fetch(ctx, name)
		if err == nil {
			got.value, got.meta = s.clone(), meta
		}
		missing = errors.Is(err, ErrNotFound) // asks methods of err, which may panic as Fetch may
		return err
	})
	switch {
	case missing:
		return fetched{}
	case err != nil && ctx.Err() != nil:
		got.bad = &flaw{reason: "did not come in time", fix: "check that the provider can be reached"}
	default:
		got.bad = safeFlaw(err, panicked, "could not be fetched", "check the provider, its address and what this service may read there")
	}
	return got
}
