package password_test

import (
	"errors"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/inovy/hardening/session/password"
)

// bcrypt repeats a password with a NUL behind it, so that these are one to it.
func TestTrap_BcryptDoesNotTellANULFromTheEnd(t *testing.T) {
	h, err := password.New(password.Config{Algorithm: password.Bcrypt, BcryptCost: 4, DangerouslyWeak: true})
	if err != nil {
		t.Fatal(err)
	}
	hash, err := h.Hash(t.Context(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte("secret\x00secret")) != nil {
		t.Error("bcrypt tells them apart by now; the check may go")
	}
	for _, p := range []string{"secret\x00", "secret\x00secret"} {
		if res, err := h.Verify(t.Context(), hash, p); res.OK || err != nil {
			t.Errorf("%q: OK %t, error %v", p, res.OK, err)
		}
		if _, err := h.Hash(t.Context(), p); !errors.Is(err, password.ErrNUL) {
			t.Errorf("Hash of %q: %v", p, err)
		}
	}
	nul, err := bcrypt.GenerateFromPassword([]byte{0, 0}, 4)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := h.Verify(t.Context(), string(nul), "\x00"); res.OK || err != nil {
		t.Errorf("OK %t, error %v", res.OK, err)
	}
}
