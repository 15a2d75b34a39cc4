package redacttest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/inovy/hardening/auditlog/redacttest"
)

// A password has signs that every encoder spells in its own way.
func TestLeakKnowsASecretHoweverItIsSpelt(t *testing.T) {
	const secret = `pa"ss&w\o<r>d/ü` + "\u00a0\x01#\U0001f511"
	spelt := map[string]string{
		"Go":               fmt.Sprintf("%q", secret),
		"Go in ASCII":      fmt.Sprintf("%+q", secret),
		"URL":              url.QueryEscape(secret),
		"URL, lower case":  strings.ToLower(url.QueryEscape(secret)),
		"path, lower case": strings.ToLower(url.PathEscape(secret)),
		"surrogates":       `"pa\"ss\u0026w\\o\u003cr\u003ed\/\u00fc\u00a0\u0001#\ud83d\udd11"`,
		"twice in a URL":   url.QueryEscape(url.QueryEscape(secret)),
		"URL in JSON":      fmt.Sprintf("%q", url.PathEscape(secret)),
		"cut escape":       secret + `\u00`,
		"most of it":       secret[:len(secret)-2],
	}
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		"Text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
	} {
		document, err := json.Marshal(map[string]string{"k": secret})
		if err != nil {
			t.Fatal(err)
		}
		for how, v := range map[string]any{
			"a text": secret, "in a map": map[string]string{"k": secret}, "in JSON": string(document), "raw JSON": json.RawMessage(document), "bytes": []byte("x" + secret),
		} {
			var b bytes.Buffer
			slog.New(handler(&b)).Info("m", "v", v)
			spelt[name+", "+how] = b.String()
		}
	}
	for name, out := range spelt {
		if redacttest.Leak([]byte("x "+out+" y"), secret) == "" {
			t.Errorf("%s: not seen in %s", name, out)
		}
		if form := redacttest.Leak([]byte(out), "another-secret"); form != "" {
			t.Errorf("%s: seen in %s, %s", name, out, form)
		}
	}
}
