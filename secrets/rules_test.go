package secrets

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/inovy/hardening/internal/faults"
)

// The validator has the word: what ours decides without it must be what it
// would say.
func FuzzRulesAgreeWithTheValidator(f *testing.F) {
	for _, tag := range []string{
		"required", "min=3", "max=3", "gte=0", "lte=0", "required,min=2,max=4", "oneof=a b é", "oneof=1 2 -7", "oneof=a", "min=-5", "max=-1",
		"min=3,max=2", "required,oneof=a b", "min=007", "min=+3", "max=9223372036854775807", "oneof='a b' c", "min=0x2", "omitempty,min=3", "required|min=3", "min=", "oneof=", "oneof= ",
	} {
		for _, text := range []string{"", "a", "é", "abc", "abcd", "日本語", "b", "\xff\xfe", "a b", " "} {
			f.Add(tag, text, int64(len(text))-3)
		}
	}
	f.Fuzz(func(t *testing.T, tag, text string, number int64) {
		v := validators()
		ask := func(value any) (ok, knows bool) {
			err, panicked := run(func() error { return v.Var(value, tag) })
			return err == nil, !panicked
		}
		if r := ruleOf(tag, reflect.TypeFor[string]()); r != nil {
			if ok, knows := ask(text); !knows || ok != r.allowsText(text) {
				t.Errorf("%q on %q: validator %v %v, ours %v", tag, text, ok, knows, r.allowsText(text))
			}
		}
		if r := ruleOf(tag, secretType); r != nil {
			s := NewSecret(text)
			if ok, knows := ask(text); !knows || ok != r.allowsSecret(s) {
				t.Errorf("%q on a secret %q: validator %v %v, ours %v", tag, text, ok, knows, r.allowsSecret(s))
			}
		}
		if r := ruleOf(tag, reflect.TypeFor[int64]()); r != nil {
			if ok, knows := ask(number); !knows || ok != r.allowsNumber(number) {
				t.Errorf("%q on %d: validator %v %v, ours %v", tag, number, ok, knows, r.allowsNumber(number))
			}
		}
	})
}

func TestOnlyRulesThatAreKnownAreDecided(t *testing.T) {
	type level string
	for _, tag := range []string{"", "omitempty,min=3", "email", "required|min=3", "min=0x2", "oneof='a b'", "eqfield=Other", "min=x", "required=1", "min=-1"} {
		if ruleOf(tag, reflect.TypeFor[string]()) != nil {
			t.Errorf("%q is not ours to decide", tag)
		}
	}
	if ruleOf("required", reflect.TypeFor[level]()) != nil || ruleOf("min=1", durationType) != nil || ruleOf("required", ringType) != nil {
		t.Error("a type with a name may have rules of its own")
	}
}

// Fields that are not Load's are validated as well, and those inside them.
func TestRulesOfOtherFieldsAreStillAsked(t *testing.T) {
	type inner struct {
		Port int `validate:"min=1"`
	}
	for name, dst := range map[string]any{
		"beside": &struct {
			S    string `secret:"S,public,default=x" validate:"required"`
			Mine string `validate:"required"`
		}{},
		"inside a pointer": &struct {
			S    string `secret:"S,public,default=x" validate:"required"`
			Mine *inner
		}{Mine: &inner{}},
		"inside a struct": &struct {
			S    string `secret:"S,public,default=x" validate:"required"`
			Mine inner
		}{},
	} {
		v := reflect.ValueOf(dst)
		c := faults.For("secrets")
		p := planOf(v.Type().Elem(), c)
		v.Elem().Field(0).SetString("x")
		p.validate(context.Background(), v, make([]bool, len(p.fields)), false, c)
		if c.Len() != 1 || !strings.Contains(c.Err().Error(), "Mine") {
			t.Errorf("%s: %v", name, c.Err())
		}
	}
}
