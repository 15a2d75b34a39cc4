package redacttest_test

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/inovy/hardening/auditlog"
	"github.com/inovy/hardening/auditlog/redacttest"
)

// A service shows that its own handler, set up as in production, leaks none of
// its own secrets.
func ExampleRequire() {
	test := func(t *testing.T) {
		redactor, err := auditlog.NewRedactor(auditlog.RedactorConfig{})
		if err != nil {
			t.Fatal(err)
		}
		redacttest.Require(t, func(w *bytes.Buffer) slog.Handler {
			return redactor.Handler(slog.NewJSONHandler(w, nil))
		}, "the database password", "the API key")
	}
	_ = test // name it TestNothingLeaks
}
