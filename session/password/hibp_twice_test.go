package password_test

import (
	"crypto/sha1"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/inovy/hardening/session/password"
)

// A line of padding takes nothing back that another line says.
func TestHIBPPaddingHidesNoHash(t *testing.T) {
	sum := sha1.Sum([]byte("pw"))
	suffix := strings.ToUpper(hex.EncodeToString(sum[:]))[5:]
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, suffix+":7\r\n"+suffix+":0\r\n")
	}))
	defer srv.Close()
	h, err := password.NewHIBP(password.HIBPConfig{URL: srv.URL + "/"})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := h.Count(t.Context(), "pw"); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
