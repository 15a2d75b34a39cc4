package secrets_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/inovy/hardening/secrets"
)

func TestASecretGivesItsTextOnlyWhenAsked(t *testing.T) {
	s := secrets.NewSecret("correct horse")
	if got := secrets.Expose(s); got != "correct horse" {
		t.Errorf("Expose gave %q", got)
	}
	var kept []byte
	boom := errors.New("boom")
	err := s.Use(func(b []byte) error {
		if string(b) != "correct horse" {
			t.Errorf("Use gave %q", b)
		}
		kept = b
		b[0] = 'X' // a copy: the secret does not change
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("Use must return the error of its function, got %v", err)
	}
	if strings.Trim(string(kept), "\x00") != "" {
		t.Errorf("the copy that Use lent was not wiped: %q", kept)
	}
	if got := secrets.Expose(s); got != "correct horse" {
		t.Errorf("the secret changed to %q", got)
	}
}

func TestUseWipesItsCopyWhenTheFunctionPanics(t *testing.T) {
	var kept []byte
	func() {
		defer func() { _ = recover() }()
		_ = secrets.NewSecret("correct horse").Use(func(b []byte) error { kept = b; panic("boom") })
	}()
	if len(kept) == 0 || strings.Trim(string(kept), "\x00") != "" {
		t.Errorf("the copy was left as %q", kept)
	}
}

func TestAllCopiesOfASecretAreDestroyedTogether(t *testing.T) {
	s := secrets.NewSecret("correct horse")
	copied := s
	s.Destroy()
	s.Destroy()
	if !copied.IsZero() || secrets.Expose(copied) != "" {
		t.Error("a copy survived Destroy")
	}
	if err := copied.Use(func([]byte) error { t.Error("Use called its function without a value"); return nil }); !errors.Is(err, secrets.ErrNoValue) {
		t.Errorf("got %v", err)
	}
	secrets.Secret{}.Destroy()
}

func TestEqualIsTrueForEqualTextsOnlyAndNeverForNone(t *testing.T) {
	a, same, other := secrets.NewSecret("one"), secrets.NewSecret("one"), secrets.NewSecret("two and longer")
	var zero secrets.Secret
	switch {
	case !a.Equal(same), !a.Equal(a):
		t.Error("equal texts are not equal")
	case a.Equal(other), a.Equal(zero), zero.Equal(a):
		t.Error("different texts are equal")
	case zero.Equal(secrets.Secret{}), zero.Equal(zero):
		t.Error("a secret that was never set must match nothing")
	}
}

func TestTheMarkerIsNeverReadBack(t *testing.T) {
	type saved struct{ Key secrets.Secret }
	text, err := json.Marshal(saved{secrets.NewSecret("correct horse")})
	if err != nil {
		t.Fatal(err)
	}
	var back saved
	if err := json.Unmarshal(text, &back); !errors.Is(err, secrets.ErrRedacted) {
		t.Errorf("a round trip through JSON gave %v and %q", err, secrets.Expose(back.Key))
	}
	if err := json.Unmarshal([]byte(`{"Key":"postgres://u:[redacted]@h/d"}`), &back); !errors.Is(err, secrets.ErrRedacted) {
		t.Errorf("a marker inside a longer text gave %v", err)
	}
	if err := json.Unmarshal([]byte(`{"Key":"fresh"}`), &back); err != nil || secrets.Expose(back.Key) != "fresh" {
		t.Errorf("an ordinary text gave %v and %q", err, secrets.Expose(back.Key))
	}
	if err := json.Unmarshal([]byte(`{"Key":""}`), &back); err != nil || !back.Key.IsZero() {
		t.Errorf("an empty text gave %v", err)
	}
}

func TestASecretMayBeUsedAndDestroyedAtOnce(t *testing.T) {
	const text = "the quick brown fox"
	for range 50 {
		s := secrets.NewSecret(text)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if got := secrets.Expose(s); got != "" && got != text {
					t.Errorf("half a secret: %q", got)
				}
				_ = s.Use(func(b []byte) error {
					if string(b) != text {
						t.Errorf("half a secret: %q", b)
					}
					s.Destroy() // no deadlock
					return nil
				})
			})
		}
		wg.Go(s.Destroy)
		wg.Wait()
	}
}

// The compiler refuses == for exactly the types of which this is false.
func TestSecretsAreNotComparedWithTheOperator(t *testing.T) {
	for _, typ := range []reflect.Type{
		reflect.TypeFor[secrets.Secret](), reflect.TypeFor[secrets.Live](), reflect.TypeFor[secrets.Ring](), reflect.TypeFor[secrets.Column](), reflect.TypeFor[secrets.Cell](),
	} {
		if typ.Comparable() {
			t.Errorf("== compiles for %s", typ)
		}
	}
}
