package password_test

import (
	"testing"

	"github.com/inovy/hardening/session/password"
)

func BenchmarkVerify(b *testing.B) {
	h, err := password.New(password.Config{})
	if err != nil {
		b.Fatal(err)
	}
	stored := hash(b, h, "secret")
	b.ReportAllocs()
	for b.Loop() {
		if res, err := h.Verify(b.Context(), stored, "secret"); err != nil || !res.OK {
			b.Fatal(err)
		}
	}
}
