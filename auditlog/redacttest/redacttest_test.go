package redacttest_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/inovy/hardening/auditlog"
	"github.com/inovy/hardening/auditlog/redacttest"
)

func TestTheRedactorPasses(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.2.5")
	r, err := auditlog.NewRedactor(auditlog.RedactorConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, next := range []func(w *bytes.Buffer) slog.Handler{
		func(w *bytes.Buffer) slog.Handler { return r.Handler(slog.NewJSONHandler(w, nil)) },
		func(w *bytes.Buffer) slog.Handler { return r.Handler(slog.NewTextHandler(w, nil)) },
	} {
		redacttest.Require(t, next, "hunter2-planted-secret", "correct horse battery staple", `quo"ted\secret`, "aB3/+=&;x?y#z@w")
	}
}

type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}
func (r *recorder) Error(args ...any) { r.failures = append(r.failures, fmt.Sprint(args...)) }

func TestWhatLeaksFails(t *testing.T) {
	for name, h := range map[string]func(w *bytes.Buffer) slog.Handler{
		"slog alone": func(w *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(w, nil) },
		"by key only": func(w *bytes.Buffer) slog.Handler {
			return slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if strings.Contains("password token secret api_key", a.Key) {
					a.Value = slog.StringValue("x")
				}
				return a
			}})
		},
		"writes nothing": func(*bytes.Buffer) slog.Handler { return slog.DiscardHandler },
	} {
		var r recorder
		redacttest.Require(&r, h, "hunter2-planted-secret")
		if len(r.failures) < 5 {
			t.Errorf("%s: only %q", name, r.failures)
		}
	}
	var r recorder
	redacttest.Require(&r, func(w *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(w, nil) })
	redacttest.Require(&r, func(w *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(w, nil) }, "abc")
	if len(r.failures) != 2 {
		t.Errorf("%q", r.failures)
	}
}

func TestEncodedSecretsAreSeen(t *testing.T) {
	const secret = "hunter2-planted-secret"
	for offset := range 4 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("~", offset) + secret + "tail"))
		if redacttest.Leak([]byte(text), secret) == "" {
			t.Errorf("base64 at offset %d is not seen", offset)
		}
	}
	if redacttest.Leak([]byte("68756E746572322D706C616E7465642D736563726574"), secret) == "" || redacttest.Leak([]byte("nothing"), secret) != "" {
		t.Error("hexadecimal")
	}
}
