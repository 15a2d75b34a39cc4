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
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Require fails the test for every place in which a secret gets through.
//
// handler makes the service's handler write to w; Require logs each secret
// under the names and in the places where services put them by mistake:
// behind password=, in a URL, as attribute, in With, in a group, in maps,
// structs, errors, headers and JSON. What was written is searched for it as it
// is, in base64 at each offset, in hexadecimal, and as escaped in URLs and JSON.
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
	quoted, _ := json.Marshal(secret)
	forms := map[string]string{
		"as it is": secret, "in hexadecimal": hex.EncodeToString([]byte(secret)), "escaped for a URL": url.QueryEscape(secret),
		"escaped for a path": url.PathEscape(secret), "escaped for JSON": strings.Trim(string(quoted), `"`),
	}
	for offset := range 3 { // the characters that do not depend on what stands around it
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := enc.EncodeToString([]byte(strings.Repeat("x", offset) + secret))
			from := (offset*8 + 5) / 6
			to := (offset + len(secret)) * 8 / 6
			forms[fmt.Sprintf("in %s at offset %d", name, offset)] = text[from:to]
		}
	}
	lower := bytes.ToLower(out)
	for name, form := range forms {
		if bytes.Contains(out, []byte(form)) || name == "in hexadecimal" && bytes.Contains(lower, []byte(form)) {
			return name
		}
	}
	return ""
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
