package secrets_test

import (
	"strings"
	"testing"

	"github.com/inovy/hardening/secrets"
)

func TestTheRulesOfALiveAreForItsText(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "L", goodToken)
	for _, tt := range []struct {
		name string
		dst  any
		want string
	}{
		{"a beginning it has", new(struct {
			L *secrets.Live `secret:"L,kind=token" validate:"startswith=sk-"`
		}), ""},
		{"a beginning it has not", new(struct {
			L *secrets.Live `secret:"L,kind=token" validate:"startswith=zz"`
		}), "breaks the rule startswith"},
		{"a beginning that an empty text need not have", new(struct {
			L *secrets.Live `secret:"L,kind=token" validate:"omitempty,startswith=zz"`
		}), "breaks the rule startswith"},
		{"required", new(struct {
			L *secrets.Live `secret:"L,kind=token" validate:"required"`
		}), ""},
		{"too long", new(struct {
			L *secrets.Live `secret:"L,kind=token" validate:"max=3"`
		}), "breaks the rule max"},
		{"too short", new(struct {
			L *secrets.Live `secret:"L,kind=token" validate:"min=300"`
		}), "breaks the rule min"},
	} {
		l, err := secrets.Load(t.Context(), tt.dst, from(secrets.Dir(dir)))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		faultsOf(t, err, goodToken)
		if l != nil {
			_ = l.Close()
		}
	}
}

func TestAFaultDoesNotNameTheKeyOfAMap(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "L", goodToken)
	type config struct {
		L secrets.Secret `secret:"L,kind=token"`
		M map[string]int `validate:"dive,min=1"`
	}
	_, err := secrets.Load(t.Context(), &config{M: map[string]int{"the-plain]-key": 0}}, from(secrets.Dir(dir)))
	if got := faultsOf(t, err, "plain", "-key"); len(got) != 1 || !strings.Contains(err.Error(), "M[...]") {
		t.Errorf("%v", err)
	}
}
