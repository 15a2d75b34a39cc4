package auditlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Texts of people and of programs set values in marks that are not ASCII.
func TestPatternsAreFoundBesideWhatIsNotASCII(t *testing.T) {
	t.Attr("control", "BIO2 8.15.02")
	r := newRedactor(RedactorConfig{})
	all := map[string]string{"bearer": "Bearer c4nary-C4NARY-c4nary-c4nary", "basic": "Basic dXNlcjpodW50ZXIy"}
	for name, c := range secrets {
		all[name] = c.text
	}
	for i, s := range seeds {
		all[fmt.Sprint("seed ", i)] = s
	}
	for name, secret := range all {
		_, hidden, scheme := strings.Cut(secret, "asic ")
		if !scheme {
			if _, hidden, scheme = strings.Cut(secret, "earer "); !scheme {
				hidden = secret
			}
		}
		for _, a := range [][2]string{{"“", "”"}, {"‘", "’"}, {"«", "»"}, {"\u00a0", "\u00a0"}, {"–", "–"}, {"•", ""}, {"→", ""}, {"：", "。"}, {"\xff", "\xff"}, {"€", "€"}, {"é", "é"}, {"漢", "漢"}} {
			if p := secrets[name].pattern; (p == PAN || p == BSN) && (a[0] == "é" || a[0] == "漢") {
				continue // digits behind a letter are part of a name
			}
			if got := r.String("x " + a[0] + secret + a[1] + " y"); strings.Contains(got, hidden) || !strings.Contains(got, "[REDACTED:") {
				t.Errorf("%s in %q: %q", name, a, got)
			}
		}
	}
}

func TestTheWordBehindASchemeIsTheSecret(t *testing.T) {
	r := newRedactor(RedactorConfig{})
	for in, want := range map[string]string{
		"X-Auth-Token: Bearer hunter2-hunter2-hunter2 next": "X-Auth-Token: [REDACTED:assignment] next",
		"token=Basic aHVudGVyMg== next":                     "token=[REDACTED:assignment] next",
		"secret: Token  hunter2, b=c":                       "secret: [REDACTED:assignment], b=c",
		`{"token":"Bearer hunter2","n":1}`:                  `{"token":"[REDACTED:assignment]","n":1}`,
		"{A:x Password:Bearer hunter2}":                     "{A:x Password:[REDACTED:assignment]}",
		"password=bearer":                                   "password=[REDACTED:assignment]",
		"password=bearer\nnext":                             "password=[REDACTED:assignment]\nnext",
	} {
		if got := r.String(in); got != want {
			t.Errorf("%q became\n%q, want\n%q", in, got, want)
		}
	}
}

func TestCardNumbersAreSeenHoweverJSONSpellsThem(t *testing.T) {
	r := newRedactor(RedactorConfig{Safe: []string{"order"}})
	for _, spelt := range []string{"4111111111111111", "4111111111111111.0", "4.111111111111111e15", "41111111111111110e-1"} {
		var b bytes.Buffer
		slog.New(r.Handler(slog.NewJSONHandler(&b, nil))).Info("m", "x", json.RawMessage(`{"n":[`+spelt+`],"order":`+spelt+`,"other":1.5e3}`))
		if want := `"x":{"n":["[REDACTED:pan]"],"order":` + spelt + `,"other":1.5e3}`; !strings.Contains(b.String(), want) {
			t.Errorf("%s: %s", spelt, &b)
		}
	}
}

// A server tells of a panic through its ErrorLog, which may be a handler's.
func TestPanicsThatAServerLogsAreRedacted(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.2.5")
	r := newRedactor(RedactorConfig{})
	for kind, encode := range map[string]func(*bytes.Buffer) slog.Handler{
		"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		"Text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
	} {
		for name, secret := range secrets {
			for how, value := range map[string]any{
				"text":   "failed: “" + secret.text + "”",
				"error":  fmt.Errorf("outer: %w", fmt.Errorf("password=%q", secret.text)),
				"struct": fmt.Sprintf("%+v", struct{ Note, Other string }{secret.text, "x"}),
			} {
				var b bytes.Buffer
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(value) }))
				server.Config.ErrorLog = slog.NewLogLogger(r.Handler(encode(&b)), slog.LevelError)
				server.Start()
				if res, err := server.Client().Get(server.URL); err == nil {
					must(t, res.Body.Close())
					t.Error("the panic was answered")
				}
				server.Close() // waits for the connection, whose last act but closing is to log
				if !strings.Contains(b.String(), "panic serving") || strings.Count(b.String(), "\n") != 1 {
					t.Errorf("%s %s %s: %q", kind, name, how, &b)
				}
				for _, form := range formsOf(secret.text) {
					if strings.Contains(b.String(), form) {
						t.Errorf("%s %s %s: %q in %.300s", kind, name, how, form, &b)
					}
				}
			}
		}
	}
}
