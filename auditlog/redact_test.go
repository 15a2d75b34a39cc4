package auditlog

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
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
	for _, k := range []string{"password", "Password", "PASS_WORD", "db.password", "userPasswd", "client_secret", "X-Api-Key", "access_token", "id-token", "Authorization", "Cookie", "Set-Cookie", "bsn", "patient_bsn", "iban", "PIN", "cvc", "card_number", "email", "session_id", "wachtwoord", "private_key", "dsn", "DB_PASS", "dbpass", "smtp-pass", "userPass", "user_pin", "userPIN", "sms_otp", "card.cvc", "patient_ssn", "user[token]", "user[pin]", "token[]", "otp[0]", "“pin”", "account_key", "X-Auth-Key", "Ocp-Apim-Subscription-Key", "shoe-size", "SHOESIZE", "jwt", "credentials"} {
		if !r.hides(k) {
			t.Errorf("%s is shown", k)
		}
	}
	for _, k := range []string{"tokens", "tests_pass", "redis_auth", "wallet_seed", "laravel_session", "connect.sid"} {
		if r.rank(k) != weak {
			t.Errorf("%s has rank %d", k, r.rank(k))
		}
	}
	for _, k := range ownAttrs {
		if r.rank(k) != shown {
			t.Errorf("%s, a name of the library's own, has rank %d", k, r.rank(k))
		}
	}
	for _, k := range []string{"", "user", "actor", "session", "span", "spin", "pinned", "token_count", "secretary", "secretariat_id", "mail_count", "email_sent", "author", "panel", "path", "object_type", "request_id", "page_token", "passed", "bypass", "compass", "spinner", "primary_key", "foreign_key", "cache_key", "key", "keys", "monkey", "auth_method", "seeds", "plan", "japan", "token_[REDACTED:pan]", "user[name]", "signature_ok", strings.Repeat("x", 10_000)} {
		if r.hides(k) {
			t.Errorf("%s is hidden", k)
		}
	}
}

func TestMessagesAndGroupsAreRedacted(t *testing.T) {
	var out bytes.Buffer
	r := newRedactor(RedactorConfig{})
	log := slog.New(r.Handler(slog.NewJSONHandler(&out, nil)))
	log.Info("card " + card)
	log.WithGroup("password").Info("m", "x", planted)
	log.WithGroup("tokens").Info("m", "x", planted)
	log.WithGroup("credentials").With("x", planted).WithGroup("y").Info("m", "z", planted)
	log.WithGroup(card).Info("m", "x", 1)
	log.Info("m", []any{card, "odd", card}...) // values that have become keys
	if n := strings.Count(out.String(), "\n"); n != 6 {
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

// Marks are longer than some of what they stand for: a text of many does not
// grow beyond what any text may have.
func TestATextOfManySecretsIsCappedToo(t *testing.T) {
	r := newRedactor(RedactorConfig{})
	for _, unit := range []string{"a@b.nl ", "pin=x ", "token=a;", "123456782 ", "<pin>a</pin>", "é pin=x ", strings.Repeat("x ", 900) + "pin=x "} {
		for shift := range 40 {
			for _, n := range []int{maxString / 3, 10 * maxString} {
				in := strings.Repeat("y", shift) + strings.Repeat(unit, n/len(unit)+1)
				if out := r.String(in); len(out) > maxString+len("...") || !utf8.ValidString(out) || len(in) > 2*maxString && !strings.HasSuffix(out, "...") {
					t.Errorf("%q after %d: %d bytes of %d, ends in %q", unit[:5], shift, len(out), len(in), out[len(out)-40:])
				}
			}
		}
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
