package auditlog

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

// secrets are values that their shape gives away.
var secrets = map[string]struct {
	text    string
	pattern Pattern
}{
	"signed JWT":      {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlc2lnbmF0dXJl", JWT},
	"unsigned JWT":    {"eyJhbGciOiJub25lIn0.eyJzdWIiOiJqYW5zZW4ifQ.", JWT},
	"encrypted JWT":   {"eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAAAAAAAAAAAAAA.c2VjcmV0.AAAAAAAAAAAAAAAAAAAAAA", JWT},
	"PEM":             {"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----", PrivateKey},
	"API key":         {"ghp_0123456789abcdefghijABCDEFGHIJ012345", APIKey},
	"card":            {"4111111111111111", PAN},
	"card in groups":  {"5500-0000-0000-0004", PAN},
	"amex in groups":  {"3782 822463 10005", PAN},
	"IBAN":            {"NL91ABNA0417164300", IBAN},
	"IBAN in groups":  {"DE89 3704 0044 0532 0130 00", IBAN},
	"IBAN lower case": {"nl91abna0417164300", IBAN},
	"BSN":             {"123456782", BSN},
	"BSN in groups":   {"1234.56.782", BSN},
	"e-mail":          {"j.jansen+x@mail.example.nl", Email},
}

func TestPatternsAreFoundWhereverTheyStand(t *testing.T) {
	t.Attr("control", "BIO2 8.15.02")
	r := newRedactor(RedactorConfig{})
	for name, c := range secrets {
		for _, around := range [][2]string{{"", ""}, {"for ", " now"}, {"(", ")"}, {`{"k":"`, `"}`}, {"é ", "\n"}, {"a, ", ", b"}, {"x/", " "}, {"<", ">"}, {"k=", "&b=c"}} {
			s := around[0] + c.text + around[1]
			got := r.String(s)
			want := around[0] + mark(c.pattern) + around[1]
			if c.text[len(c.text)-1] == '.' && got == around[0]+mark(c.pattern)+"."+around[1] {
				continue // an empty signature or the end of a sentence
			}
			if got != want {
				t.Errorf("%s: %q became %q", name, s, got)
			}
		}
	}
	var all strings.Builder
	for _, c := range secrets {
		all.WriteString(c.text + " \n")
	}
	for name, c := range secrets {
		if strings.Contains(r.String(all.String()), c.text) {
			t.Errorf("%s survives among others", name)
		}
	}
}

func TestAssignmentsAndCredentials(t *testing.T) {
	r := newRedactor(RedactorConfig{})
	for in, want := range map[string]string{
		"password=hunter2 next":                             "password=[REDACTED:assignment] next",
		"host=db password='hun ter2' port=1":                "host=db password='[REDACTED:assignment]' port=1",
		`{"password":"hunter2","n":1}`:                      `{"password":"[REDACTED:assignment]","n":1}`,
		`{"secret": {"a":"b"}, "n":1}`:                      `{"secret": [REDACTED:assignment], "n":1}`,
		`{\"api_key\":\"hunter2\"}`:                         `{\"api_key\":\"[REDACTED:assignment]\"}`,
		"Cookie: a=hunter2; b=c\nHost: x":                   "Cookie: [REDACTED:assignment]\nHost: x",
		"Authorization: Digest hunter2":                     "Authorization: [REDACTED:assignment]",
		"GET /x?access_token=hunter2&a=b":                   "GET /x?access_token=[REDACTED:assignment]&a=b",
		"wachtwoord: hunter2":                               "wachtwoord: [REDACTED:assignment]",
		"password: null":                                    "password: null",
		`password=""`:                                       `password=""`,
		"sent bearer Abc-123_hunter2.":                      "sent bearer [REDACTED:credential]",
		"Basic dXNlcjpodW50ZXIy":                            "Basic [REDACTED:credential]",
		"basic authentication failed":                       "basic authentication failed",
		"bearer authentication failed":                      "bearer authentication failed",
		"dial postgres://u:hunter2@db:5432/x":               "dial postgres://[REDACTED:url]@db:5432/x",
		"https://hunter2@example.nl":                        "https://[REDACTED:url]@example.nl",
		"[REDACTED:assignment]":                             "[REDACTED:assignment]",
		"password=[REDACTED:assignment]":                    "password=[REDACTED:assignment]",
		"https://example.nl/a@b.nl":                         "https://example.nl/[REDACTED:email]",
		"-----BEGIN RSA PRIVATE KEY-----\nhunter":           "[REDACTED:private-key]",
		"token=ghp_0123456789abcdefghijABCDEFGHIJ012345x;y": "token=[REDACTED:assignment]",
	} {
		if got := r.String(in); got != want {
			t.Errorf("%q became\n%q, want\n%q", in, got, want)
		}
	}
}

func TestInnocentTextStaysAsItIs(t *testing.T) {
	r := newRedactor(RedactorConfig{})
	for _, s := range []string{
		"", "user 4711 requested /records/17 from 192.0.2.7 and was answered 200 in 12.5 ms",
		"550e8400-e29b-41d4-a716-446655440000", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "1700000000000", "v1.22.333", "2026-01-02T03:04:05.123456789Z",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "123456783", "4111111111111112", "NL92ABNA0417164300", "XX91ABNA0417164300",
		"0.123456782", "a123456782", "123456782x", "foo@bar", "@example.nl", "a@b", "one:two=three", "secretary: Ann", "tokens: 15", "span=12",
		"10.0.0.1:8080", "https://example.nl:443/x?y=z", "eyJ", "eyJhbGciOiJub25lIn0", "key-value pairs: 12", "the password was wrong", "::1", "a==b", "é@ü",
		"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "kernel 6.1.0-13-amd64 #1 SMP",
	} {
		if got := r.String(s); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
}

func TestKeyNames(t *testing.T) {
	r := newRedactor(RedactorConfig{Keys: []string{"Shoe Size"}, DangerouslyAllowKeys: []string{"page_token"}})
	for _, k := range []string{"password", "Password", "PASS_WORD", "db.password", "userPasswd", "client_secret", "X-Api-Key", "access_token", "id-token", "Authorization", "Cookie", "Set-Cookie", "bsn", "patient_bsn", "iban", "PIN", "cvc", "card_number", "email", "session_id", "wachtwoord", "private_key", "dsn", "shoe-size", "SHOESIZE", "jwt", "credentials"} {
		if !r.hides(k) {
			t.Errorf("%s is shown", k)
		}
	}
	for _, k := range []string{"", "user", "actor", "session", "span", "spin", "pinned", "tokens", "token_count", "secretary", "secretariat_id", "mail_count", "email_sent", "author", "panel", "path", "object_type", "request_id", "page_token", "passed", "signature_ok", strings.Repeat("x", 10_000)} {
		if r.hides(k) {
			t.Errorf("%s is hidden", k)
		}
	}
}

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

func TestMessagesAndGroupsAreRedacted(t *testing.T) {
	var out bytes.Buffer
	r := newRedactor(RedactorConfig{})
	log := slog.New(r.Handler(slog.NewJSONHandler(&out, nil)))
	log.Info("card " + card)
	log.WithGroup("password").Info("m", "x", planted)
	log.WithGroup("credentials").With("x", planted).WithGroup("y").Info("m", "z", planted)
	log.WithGroup(card).Info("m", "x", 1)
	log.Info("m", []any{card, "odd", card}...) // values that have become keys
	if n := strings.Count(out.String(), "\n"); n != 5 {
		t.Errorf("%d lines", n)
	}
	if s := out.String(); strings.Contains(s, planted) || strings.Contains(s, card) {
		t.Errorf("%s", s)
	}
}

func TestRecordsStayInBounds(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(newRedactor(RedactorConfig{}).Handler(slog.NewJSONHandler(&out, nil)))
	attrs := make([]any, 10_000)
	for i := range attrs {
		attrs[i] = slog.Int(fmt.Sprint("k", i), i)
	}
	deep := slog.Int("x", 1)
	for range 1000 {
		deep = slog.Group("g", deep)
	}
	wide := map[string]any{}
	for i := range 10_000 {
		wide[fmt.Sprint(i)] = strings.Repeat("v", 100)
	}
	log.Info("m", attrs...)
	log.Info("m", "s", strings.Repeat("a", 1<<20), "bad", "\xff\xfe")
	log.Info(strings.Repeat("é", 1<<20), deep)
	log.Info("m", "wide", wide, "list", make([]int, 10_000), "fn", func() {}, "ch", make(chan int), "nan", []float64{0, 1})
	for line := range bytes.Lines(out.Bytes()) {
		if !json.Valid(line) || len(line) > 64<<10 {
			t.Errorf("%d bytes: %.200s", len(line), line)
		}
	}
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != 4 {
		t.Errorf("%d lines", n)
	}
}

func TestSafeNamesAndAllowedPatterns(t *testing.T) {
	var out bytes.Buffer
	r, err := NewRedactor(RedactorConfig{Safe: []string{"order_id"}, DangerouslyAllow: []Pattern{Email}})
	must(t, err)
	slog.New(r.Handler(slog.NewTextHandler(&out, nil))).Info("m", "orderId", "123456782", "other", "123456782", "to", "a@example.nl", "any", map[string]string{"order-id": "123456782"})
	if s := out.String(); !strings.Contains(s, "orderId=123456782 other=[REDACTED:bsn] to=a@example.nl any=map[order-id:123456782]") {
		t.Error(s)
	}
}

func TestCleanRecordsPassUntouchedAndCheap(t *testing.T) {
	r := newRedactor(RedactorConfig{})
	h := r.Handler(slog.DiscardHandler)
	rec := cleanRecord()
	if n := testing.AllocsPerRun(100, func() { _ = h.Handle(context.Background(), rec) }); n > 4 && !raceDetector {
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { _ = r.String("user 4711 requested /records/17 and was answered 200") }); n > 0 && !raceDetector {
		t.Errorf("%v allocations for a clean text", n)
	}
}

func cleanRecord() slog.Record {
	rec := slog.NewRecord(time.Now(), slog.LevelInfo, "request served", 0)
	rec.AddAttrs(slog.String("method", "GET"), slog.String("path", "/records/42/medication"), slog.Int("status", 200), slog.Int64("bytes", 18_231),
		slog.Duration("took", 1830*time.Microsecond), slog.String("client_addr", "192.0.2.10"), slog.String("request_id", "QWERTZUIOPASDFGHJKLYXCVBNM"),
		slog.String("user_agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"), slog.Bool("cached", false), slog.String("ward", "cardiology"))
	return rec
}

func FuzzRedactedTextHasNothingLeftToRedact(f *testing.F) {
	for _, c := range secrets {
		f.Add("a "+c.text+" b", 3)
	}
	f.Add(`{"password":"x","secret":{"a":[1]}}`, 5)
	f.Add("a@b@c.nl://x:y@z password==\"", 1)
	f.Fuzz(func(t *testing.T, s string, at int) {
		r := newRedactor(RedactorConfig{})
		out := r.String(s)
		if len(out) > maxString+64 {
			t.Fatalf("%d bytes", len(out))
		}
		if r.String(s) != out {
			t.Fatal("not deterministic")
		}
		for from := 0; ; {
			m, ok := r.find(s, from)
			if !ok {
				break
			}
			if m.start < from || m.end <= m.start || m.end > len(s) {
				t.Fatalf("%+v in %d bytes from %d", m, len(s), from)
			}
			from = m.end
		}
		// A card between spaces is found wherever it is put.
		at = min(max(at, 0), len(s))
		if len(s) < maxString/2 && !strings.Contains(s, card) && strings.Contains(r.String(s[:at]+" "+card+" "+s[at:]), card) {
			t.Errorf("a card at %d of %q survives", at, s)
		}
	})
}
