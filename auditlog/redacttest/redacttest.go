// Package redacttest lets a service prove that its own logging leaks none of
// its own secrets.
package redacttest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Require fails the test for every place in which a secret gets through.
//
// handler makes the service's handler write to w; Require logs each secret
// under the names and in the places where services put them by mistake:
// behind password=, in a URL, as attribute, in With, in a group, in maps,
// structs, errors, headers and JSON. What was written is searched for it as it
// is, but for its last eighth, in base64 at each offset, in hexadecimal, and as
// escaped in URLs, JSON, JSON within JSON and quotes of Go.
// A secret of fewer than 6 bytes can not be told from chance and is a failure.
func Require(t testing.TB, handler func(w *bytes.Buffer) slog.Handler, secrets ...string) {
	t.Helper()
	if len(secrets) == 0 {
		t.Error("redacttest: no secret was given, so nothing is shown")
	}
	for i, secret := range secrets {
		if len(secret) < 6 {
			t.Errorf("redacttest: secret %d has %d bytes; at least 6 are needed", i, len(secret))
			continue
		}
		for name, log := range places(secret) {
			var out bytes.Buffer
			h := handler(&out)
			log(slog.New(h))
			_ = h.Handle(context.Background(), slog.NewRecord(time.Now(), slog.LevelError, "redacttest", 0))
			if out.Len() == 0 {
				t.Errorf("redacttest: %s: the handler wrote nothing to w, so nothing is shown", name)
			}
			if form := Leak(out.Bytes(), secret); form != "" {
				t.Errorf("redacttest: %s: secret %d is in the log, %s", name, i, form)
			}
		}
	}
}

// Leak says in which form secret stands in out, or returns "".
func Leak(out []byte, secret string) string {
	start := secret[:len(secret)-len(secret)/8]
	for name, text := range spelt(out) {
		switch {
		case bytes.Contains(text, []byte(secret)):
			return name
		case bytes.Contains(text, []byte(start)):
			return name + ", without its end"
		}
	}
	forms := map[string]string{"escaped for a URL": url.QueryEscape(secret)}
	for offset := range 3 { // the characters that do not depend on what stands around it
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := enc.EncodeToString([]byte(strings.Repeat("x", offset) + secret))
			from := (offset*8 + 5) / 6
			to := (offset + len(secret)) * 8 / 6
			forms[fmt.Sprintf("in %s at offset %d", name, offset)] = text[from:to]
		}
	}
	for name, form := range forms {
		if bytes.Contains(out, []byte(form)) {
			return name
		}
	}
	if bytes.Contains(bytes.ToLower(out), []byte(hex.EncodeToString([]byte(secret)))) {
		return "in hexadecimal"
	}
	return ""
}

// spelt yields out as it is, and with what escapes it taken off: quotes of JSON
// and Go up to three deep, percent signs of URLs up to two, and those in quotes.
func spelt(out []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if !yield("as it is", out) {
			return
		}
		quoted := out
		for range 3 {
			if quoted = unquoted(quoted); !yield("escaped in quotes", quoted) {
				return
			}
			if !yield("escaped for a URL in quotes", decoded(quoted)) {
				return
			}
		}
		_ = yield("escaped for a URL", decoded(out)) && yield("escaped twice for a URL", decoded(decoded(out)))
	}
}

var escapes = map[byte]string{'n': "\n", 'r': "\r", 't': "\t", 'b': "\b", 'f': "\f", 'a': "\a", 'v': "\v", '"': `"`, '\'': "'", '\\': `\`, '/': "/"}

// unquoted takes the escapes of JSON and of Go's quotes off.
func unquoted(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		i++
		if plain, ok := escapes[b[i]]; ok {
			out = append(out, plain...)
			continue
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[b[i]]
		if digits == 0 || i+digits >= len(b) {
			out = append(out, '\\', b[i])
			continue
		}
		n, err := strconv.ParseUint(string(b[i+1:i+1+digits]), 16, 32)
		switch {
		case err != nil:
			out = append(out, '\\', b[i])
			continue
		case digits == 2:
			out = append(out, byte(n)) // #nosec G115 -- of two digits
		default:
			r := rune(n) // #nosec G115 -- one too large becomes U+FFFD
			if digits == 4 && utf16.IsSurrogate(r) && i+10 < len(b) && b[i+5] == '\\' {
				low, _ := strconv.ParseUint(string(b[i+7:i+11]), 16, 16)
				r = utf16.DecodeRune(r, rune(low))
				i += 6
			}
			out = utf8.AppendRune(out, r)
		}
		i += digits
	}
	return out
}

// decoded takes the escapes of URLs off.
func decoded(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '%' && i+2 < len(b) {
			if n, err := hex.DecodeString(string(b[i+1 : i+3])); err == nil {
				out = append(out, n...)
				i += 2
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

type account struct {
	User     string
	Password string `json:"pwd"`
}

func places(s string) map[string]func(*slog.Logger) {
	u := &url.URL{Scheme: "https", User: url.UserPassword("u", s), Host: "example.nl", Path: "/x", RawQuery: "token=" + url.QueryEscape(s)}
	request := &http.Request{Method: http.MethodGet, URL: u, Host: "example.nl", Header: http.Header{"Authorization": {"Bearer " + s}, "Cookie": {"id=" + s}}}
	document, _ := json.Marshal(map[string]any{"user": "a", "password": s})
	return map[string]func(*slog.Logger){
		"password= in the message":  func(l *slog.Logger) { l.Error("dial: password='" + strings.ReplaceAll(s, "'", "''") + "' failed") },
		"attribute":                 func(l *slog.Logger) { l.Error("m", "password", s) },
		"bytes":                     func(l *slog.Logger) { l.Error("m", "api_key", []byte(s)) },
		"With":                      func(l *slog.Logger) { l.With("token", s).Error("m") },
		"group":                     func(l *slog.Logger) { l.Error("m", slog.Group("db", "password", s)) },
		"group of that name":        func(l *slog.Logger) { l.WithGroup("credentials").Error("m", "x", s) },
		"inside WithGroup and With": func(l *slog.Logger) { l.WithGroup("g").With("secret", s).Error("m", "a", 1) },
		"struct":                    func(l *slog.Logger) { l.Error("m", "account", account{"u", s}) },
		"pointer in a slice":        func(l *slog.Logger) { l.Error("m", "accounts", []*account{{"u", s}}) },
		"map":                       func(l *slog.Logger) { l.Error("m", "form", map[string]any{"password": s}) },
		"url.Values":                func(l *slog.Logger) { l.Error("m", "form", url.Values{"password": {s}}) },
		"header":                    func(l *slog.Logger) { l.Error("m", "header", request.Header) },
		"request":                   func(l *slog.Logger) { l.Error("m", "request", request) },
		"cookie":                    func(l *slog.Logger) { l.Error("m", "c", &http.Cookie{Name: "id", Value: s}) }, // #nosec G124 -- it is logged, never sent
		"url":                       func(l *slog.Logger) { l.Error("m", "url", u) },
		"url as text":               func(l *slog.Logger) { l.Error("get " + u.String()) },
		"error": func(l *slog.Logger) {
			l.Error("m", "err", fmt.Errorf("open: %w", errors.New("token: "+fmt.Sprintf("%q", s))))
		},
		"JSON":         func(l *slog.Logger) { l.Error("m", "body", json.RawMessage(document)) },
		"JSON as text": func(l *slog.Logger) { l.Error("m", "body", string(document)) },
	}
}
