package auditlog

import (
	"bytes"
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
)

const planted = "hunter2-planted-secret"

// card stands for every pattern in the cases where only the shape tells.
const card = "4111111111111111"

type login struct {
	User     string
	Password string `json:"p"`
	Inner    *login
	note     string
}

type stringer struct{ s string }

func (s stringer) String() string { return s.s }

type jsoner struct{ s string }

func (j jsoner) MarshalJSON() ([]byte, error) { return json.Marshal(map[string]string{"token": j.s}) }

type texter struct{ s string }

func (x texter) MarshalText() ([]byte, error) { return []byte("card " + x.s), nil }

type panicky struct{ s string }

func (p panicky) MarshalJSON() ([]byte, error) { panic("leak " + p.s) }

type failing struct{ s string }

func (f failing) MarshalJSON() ([]byte, error) { return nil, errors.New("leak " + f.s) }

type valuer struct{ v slog.Value }

func (v valuer) LogValue() slog.Value { return v.v }

type selfish struct{}

func (s selfish) LogValue() slog.Value { return slog.AnyValue(s) }

type loud struct{ s string }

func (l loud) Error() string { panic(l.s) }

type secretError struct{ Password string }

func (e *secretError) Error() string { return "password=" + e.Password }

// corpus plants secrets in every kind of value that a program logs.
func corpus(t *testing.T) map[string]slog.Attr {
	t.Helper()
	u, err := url.Parse("https://u:" + planted + "@example.nl/x?token=" + planted + "#" + planted)
	must(t, err)
	req, err := http.NewRequest(http.MethodGet, u.String(), nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+planted)
	cyclic := map[string]any{"password": planted}
	cyclic["self"] = cyclic
	loop := &login{Password: planted}
	loop.Inner = loop
	p := planted
	return map[string]slog.Attr{
		"key":                      slog.String("password", planted),
		"key in capitals":          slog.String("API-KEY", planted),
		"group name":               slog.Group("password", "x", planted),
		"inside a group":           slog.Group("db", slog.Group("conn", "password", planted)),
		"inline group":             slog.Group("", "password", planted),
		"any under a key":          slog.Any("secret", login{User: planted}),
		"int under a key":          slog.Int("pin", 220187654399),
		"card in a string":         slog.String("note", "card "+card),
		"attribute key":            slog.String(card, "x"),
		"struct field":             slog.Any("req", login{User: "a", Password: planted, note: planted}),
		"struct value":             slog.Any("req", login{User: card}),
		"pointer":                  slog.Any("req", &login{Password: planted}),
		"pointer to string":        slog.Any("token", &p),
		"map":                      slog.Any("req", map[string]string{"password": planted}),
		"map key":                  slog.Any("req", map[string]int{card: 1}),
		"typed map key":            slog.Any("req", map[texter]int{{card}: 1}),
		"nested":                   slog.Any("req", []any{map[string]any{"a": []login{{Password: planted}}}}),
		"header":                   slog.Any("h", http.Header{"Authorization": {"Bearer " + planted}, "Cookie": {planted}}),
		"url":                      slog.Any("u", u),
		"url value":                slog.Any("u", *u),
		"cookie":                   slog.Any("c", &http.Cookie{Name: "id", Value: planted}),
		"cookie value":             slog.Any("c", http.Cookie{Name: "id", Value: planted, Raw: planted}),
		"cookies":                  slog.Any("c", []*http.Cookie{{Name: "id", Value: planted}, nil}),
		"cookie in a map":          slog.Any("c", map[string]any{"x": []http.Cookie{{Name: "id", Value: planted, Unparsed: []string{planted}}}}),
		"response":                 slog.Any("r", &http.Response{Status: "200 OK", Request: req, Header: http.Header{"X": {planted}}}),
		"url values":               slog.Any("q", url.Values{"password": {planted}}),
		"request":                  slog.Any("r", req),
		"bytes":                    slog.Any("b", []byte("card "+card)),
		"byte array":               slog.Any("b", [16]byte([]byte(card))),
		"raw JSON":                 slog.Any("b", json.RawMessage(`{"a":{"password":"`+planted+`"}}`)),
		"broken raw JSON":          slog.Any("b", json.RawMessage(`{"password":"`+planted)),
		"two raw JSON":             slog.Any("b", json.RawMessage(`{} {"password":"`+planted+`"}`)),
		"json.Marshaler":           slog.Any("m", jsoner{planted}),
		"json.Marshaler in slice":  slog.Any("m", []jsoner{{planted}}),
		"panicking marshaler":      slog.Any("m", panicky{planted}),
		"failing marshaler":        slog.Any("m", failing{planted}),
		"TextMarshaler":            slog.Any("m", texter{card}),
		"Stringer":                 slog.Any("m", stringer{"card " + card}),
		"error":                    slog.Any("err", fmt.Errorf("wrapped: %w", &secretError{planted})),
		"error with exported":      slog.Any("err", &secretError{planted}),
		"joined errors":            slog.Any("err", errors.Join(errors.New("a"), errors.New("token: "+planted))),
		"panicking error":          slog.Any("err", loud{planted}),
		"LogValuer":                slog.Any("v", valuer{slog.GroupValue(slog.String("password", planted))}),
		"LogValuer in LogValuer":   slog.Any("v", valuer{slog.AnyValue(valuer{slog.StringValue(card)})}),
		"LogValuer in slice":       slog.Any("v", []valuer{{slog.GroupValue(slog.String("password", planted))}}),
		"LogValuer in map":         slog.Any("v", map[string]any{"x": valuer{slog.StringValue(card)}}),
		"LogValuer in struct":      slog.Any("v", struct{ V any }{valuer{slog.GroupValue(slog.String("token", planted))}}),
		"self-returning LogValuer": slog.Any("v", []any{selfish{}, map[string]string{"password": planted}}),
		"slog.Value in slice":      slog.Any("v", []slog.Value{slog.GroupValue(slog.String("password", planted))}),
		"attrs as any":             slog.Any("v", []any{slog.String("password", planted)}),
		"cyclic map":               slog.Any("v", cyclic),
		"cyclic pointer":           slog.Any("v", loop),
		"text that is JSON":        slog.String("body", `{"user":"a","password":"`+planted+`"}`),
		"behind 9000 bytes":        slog.String("s", strings.Repeat("a ", 4500)+card),
		"across the cut":           slog.String("s", strings.Repeat(" ", maxString-8)+card),
	}
}

func TestNoPlantedSecretSurvives(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.2.5")
	for name, attr := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			places := map[string]func(l *slog.Logger){
				"attr":           func(l *slog.Logger) { l.LogAttrs(t.Context(), slog.LevelInfo, "m", attr) },
				"with":           func(l *slog.Logger) { l.With(attr).Info("m") },
				"with, group":    func(l *slog.Logger) { l.WithGroup("g").With(attr).Info("m") },
				"group":          func(l *slog.Logger) { l.WithGroup("g").Info("m", attr) },
				"sixth and more": func(l *slog.Logger) { l.Info("m", "a", 1, "b", 2, "c", 3, "d", 4, "e", 5, attr) },
			}
			for place, log := range places {
				for _, format := range []string{"json", "text", "event"} {
					var out bytes.Buffer
					r := newRedactor(RedactorConfig{})
					switch format {
					case "json":
						log(slog.New(r.Handler(slog.NewJSONHandler(&out, nil))))
					case "text":
						log(slog.New(r.Handler(slog.NewTextHandler(&out, nil))))
					case "event":
						out.Write(appendAttrs(nil, r.attrs([]slog.Attr{attr}, nil), 1<<20))
					}
					if format == "json" && !json.Valid(out.Bytes()) || format != "event" && bytes.Count(out.Bytes(), []byte("\n")) != 1 {
						t.Errorf("%s %s: not one line: %s", place, format, &out)
					}
					if out.Len() > 200<<10 {
						t.Errorf("%s %s: %d bytes", place, format, out.Len())
					}
					leaks(t, place+" "+format, out.String())
				}
			}
		})
	}
}

func leaks(t *testing.T, where, out string) {
	t.Helper()
	for _, s := range []string{planted, card, "220187654399"} {
		for _, form := range formsOf(s) {
			if strings.Contains(out, form) {
				t.Errorf("%s: %q in %.300s", where, form, out)
			}
		}
	}
}

// formsOf lists how a text may be spelt in a line: plain, in hexadecimal, in a
// URL, in JSON, and in base64 wherever it begins.
func formsOf(s string) []string {
	forms := []string{s, hex.EncodeToString([]byte(s)), url.QueryEscape(s)}
	if quoted, err := json.Marshal(s); err == nil {
		forms = append(forms, string(quoted[1:len(quoted)-1]))
	}
	if len(s) > 8 {
		forms = append(forms, s[:len(s)-4])
		for off := range 3 { // what is common to every base64 in which s may stand
			enc := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", off) + s))
			forms = append(forms, enc[(off*8+5)/6+1:len(enc)-2])
		}
	}
	return forms
}
