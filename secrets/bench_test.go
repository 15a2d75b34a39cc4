package secrets_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening/secrets"
)

// fifty is a struct of 50 variables: 10 tokens, 10 passwords, 5 keys, 5 URLs
// and 20 public settings, half of which have a rule.
func fifty(b testing.TB) reflect.Type {
	var fields []reflect.StructField
	add := func(kind, value string, typ reflect.Type, rule string) {
		n := len(fields)
		name := fmt.Sprintf("BENCH_%d", n)
		tag := fmt.Sprintf(`secret:"%s,%s"`, name, kind)
		if n%2 == 0 {
			tag += fmt.Sprintf(` validate:"%s"`, rule)
		}
		fields = append(fields, reflect.StructField{Name: fmt.Sprintf("F%d", n), Type: typ, Tag: reflect.StructTag(tag)})
		b.Setenv(name, strings.ReplaceAll(value, "{n}", fmt.Sprint(n)))
	}
	secret := reflect.TypeFor[secrets.Secret]()
	for range 10 {
		add("kind=token", "sk-9fKx3Lm8Tn2Qw5Rz7Yb{n}", secret, "min=20")
		add("kind=password", "q7Wz9fKx3Lm8Tn2Vb{n}", secret, "max=64")
	}
	for range 5 {
		add("kind=key", generate(b), secret, "required")
		add("kind=url", "postgres://svc:q7Wz9fKx3Lm8@db{n}/care", secret, "required")
	}
	for range 10 {
		add("public", "eu-west-1", reflect.TypeFor[string](), "oneof=eu-west-1 eu-central-1")
		add("public", "8443", reflect.TypeFor[int](), "gte=1")
	}
	return reflect.StructOf(fields)
}

// What a load keeps and what it decodes for a look are all that it allocates:
// 51 times for 50 variables, of which 5 keys and 5 URLs take more than half.
// There is none for each variable.
func TestALoadAllocatesWhatItKeeps(t *testing.T) {
	if secrets.RaceEnabled {
		t.Skip("the race detector empties pools")
	}
	dst := reflect.New(fifty(t)).Interface()
	opts := from(secrets.Env())
	got := testing.AllocsPerRun(100, func() {
		if _, err := secrets.Load(t.Context(), dst, opts); err != nil {
			t.Fatal(err)
		}
	})
	if got > 55 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkLoad50FromTheEnvironment(b *testing.B) {
	dst := reflect.New(fifty(b)).Interface()
	opts := from(secrets.Env())
	b.ReportAllocs()
	for b.Loop() {
		l, err := secrets.Load(context.Background(), dst, opts)
		if err != nil {
			b.Fatal(err)
		}
		_ = l
	}
}

func BenchmarkExpose(b *testing.B) {
	s := secrets.NewSecret(goodToken)
	b.ReportAllocs()
	for b.Loop() {
		_ = secrets.Expose(s)
	}
}

func BenchmarkRingGeneration(b *testing.B) {
	yesterday := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly) // so that version 1 is still to retire
	r, err := secrets.NewRing(secrets.RingConfig{Keys: secrets.NewSecret("v2@" + yesterday + ":" + generate(b) + ",v1:" + generate(b))})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = r.Generation()
	}
}

func BenchmarkRingDerive(b *testing.B) {
	r, err := secrets.NewRing(secrets.RingConfig{Keys: secrets.NewSecret(generate(b))})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = r.Derive("session/cookie", 32)
	}
}
