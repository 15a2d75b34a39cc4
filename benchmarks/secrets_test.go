package benchmarks

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"testing"

	"github.com/caarlos0/env/v11"
	"github.com/go-playground/validator/v10"
	"github.com/sethvargo/go-envconfig"

	"github.com/inovy/hardening/secrets"
)

// variables is how many a service loads: 20 tokens, 20 settings, 10 numbers.
const variables = 50

func variable(i int) string { return fmt.Sprintf("BENCH_SETTING_%02d", i) }

// variableValue is what variable i holds: tokens look like tokens, because ours
// refuses what looks like a placeholder.
func variableValue(i int) string {
	switch {
	case i < 20:
		sum := sha256.Sum256([]byte{byte(i)})
		return base64.RawURLEncoding.EncodeToString(sum[:])
	case i < 40:
		return "eu-central-" + strconv.Itoa(i)
	}
	return strconv.Itoa(1024 + i)
}

// settings makes a struct type of the variables: tokens as token, each field
// with the tags that tag returns, and the same rules for all.
func settings(token reflect.Type, tag func(name string, secret bool) string) reflect.Type {
	fields := make([]reflect.StructField, variables)
	for i := range fields {
		f := reflect.StructField{Name: "F" + strconv.Itoa(i)}
		rule := ""
		switch {
		case i < 20:
			f.Type = token
			if token.Kind() == reflect.String {
				rule = ` validate:"required,min=20"` // ours says minlen=20
			}
		case i < 40:
			f.Type, rule = reflect.TypeFor[string](), ` validate:"required,max=64"`
		default:
			f.Type, rule = reflect.TypeFor[int](), ` validate:"min=1,max=65535"`
		}
		f.Tag = reflect.StructTag(tag(variable(i), i < 20) + rule)
		fields[i] = f
	}
	return reflect.StructOf(fields)
}

// loaders fill and validate a new struct from the environment. Each may keep
// what it keeps between two loads; a service loads once, but a test suite, a
// reload and a command line do it often.
var loaders = []struct {
	name  string
	typ   reflect.Type
	build func(typ reflect.Type) func(context.Context) (any, error)
}{
	{
		// Environment only; what it keeps for Check and Report is included.
		"hardening",
		settings(reflect.TypeFor[secrets.Secret](), func(name string, secret bool) string {
			if secret {
				return fmt.Sprintf(`secret:"%s,kind=token,minlen=20"`, name)
			}
			return fmt.Sprintf(`secret:"%s,public"`, name)
		}),
		func(typ reflect.Type) func(context.Context) (any, error) {
			// The others leave secrets in the environment, and each loop needs them again.
			opts := secrets.Options{Sources: []secrets.Source{secrets.Env()}, Logger: slog.New(slog.DiscardHandler), DangerouslyKeepEnvironment: true}
			return func(ctx context.Context) (any, error) {
				dst := reflect.New(typ).Interface()
				_, err := secrets.Load(ctx, dst, opts)
				return dst, err
			}
		},
	},
	{
		"envconfig",
		settings(reflect.TypeFor[string](), func(name string, _ bool) string { return fmt.Sprintf(`env:"%s,required"`, name) }),
		func(typ reflect.Type) func(context.Context) (any, error) {
			v := validator.New(validator.WithRequiredStructEnabled())
			return func(ctx context.Context) (any, error) {
				dst := reflect.New(typ).Interface()
				if err := envconfig.Process(ctx, dst); err != nil {
					return nil, err
				}
				return dst, v.Struct(dst)
			}
		},
	},
	{
		"caarlos0",
		settings(reflect.TypeFor[string](), func(name string, _ bool) string { return fmt.Sprintf(`env:"%s,required"`, name) }),
		func(typ reflect.Type) func(context.Context) (any, error) {
			v := validator.New(validator.WithRequiredStructEnabled())
			return func(context.Context) (any, error) {
				dst := reflect.New(typ).Interface()
				if err := env.Parse(dst); err != nil {
					return nil, err
				}
				return dst, v.Struct(dst)
			}
		},
	},
}

func setVariables(tb testing.TB) {
	tb.Helper()
	for i := range variables {
		tb.Setenv(variable(i), variableValue(i))
	}
}

func BenchmarkSecrets(b *testing.B) {
	b.Run("load50", func(b *testing.B) {
		for _, l := range loaders {
			b.Run(l.name, func(b *testing.B) {
				setVariables(b)
				load := l.build(l.typ)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := load(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	})
}

// All loaders must fill every field, and all must refuse a value that breaks
// its rule: else one of them does not validate.
func TestLoaderRigsLoadAndValidate(t *testing.T) {
	for _, l := range loaders {
		t.Run(l.name, func(t *testing.T) {
			setVariables(t)
			load := l.build(l.typ)
			dst, err := load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			v := reflect.ValueOf(dst).Elem()
			for i := range variables {
				got := fmt.Sprint(v.Field(i).Interface())
				if s, ok := v.Field(i).Interface().(secrets.Secret); ok {
					got = secrets.Expose(s)
				}
				if got != variableValue(i) {
					t.Errorf("%s is %q, want %q", variable(i), got, variableValue(i))
				}
			}
			for i, bad := range map[int]string{3: "short", 25: "", 44: "70000"} {
				t.Setenv(variable(i), bad)
				if _, err := load(t.Context()); err == nil {
					t.Errorf("%s=%q was accepted", variable(i), bad)
				}
				t.Setenv(variable(i), variableValue(i))
			}
		})
	}
}
