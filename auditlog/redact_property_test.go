package auditlog

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// grower builds random trees of everything that can be logged, with secrets at
// random places in them.
type grower struct{ *rand.Rand }

// seeds are secrets of published shapes: found wherever they stand.
var seeds = []string{
	"ghp_0123456789abcdefghijABCDEFGHIJ012345", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlc2lnbmF0dXJl",
	"AKIAQWERTZUIOPASDFGH", "v1@2026-11-01:q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA", "glpat-abcdefghij0123456789",
}

func (g grower) text() string {
	secret := seeds[g.IntN(len(seeds))]
	switch g.IntN(8) {
	case 0:
		return secret
	case 5:
		beside := []string{"“", "”", "é", "漢", "\u00a0", "\u200b", "\ufeff", "→", "：", "\xff", "%20", "%3D", `\n`, `\u003d`, "\x00", "\r\n", "|", "<b>"}
		return "x" + beside[g.IntN(len(beside))] + secret + beside[g.IntN(11)]
	case 6:
		return strings.Repeat("- ", maxString/2-g.IntN(24)) + secret + " -"
	case 1:
		return "Authorization: Bearer " + secret
	case 2:
		return `{"k":"` + secret + `"}`
	case 3:
		return "https://h.example/p?x=" + secret + "&y=1"
	case 4:
		return "line\n" + secret + "\nline"
	}
	return "nothing to hide " + g.key()
}

func (g grower) key() string {
	return []string{"a", "b", "level", "msg", "time", "user_id", "status", "x y", "é", "", seeds[0], "a\xff", "a\xfe", "a#2", "attrs_dropped"}[g.IntN(15)]
}

type (
	lateValue   struct{ v slog.Value }
	marshals    struct{ s string }
	texts       struct{ s string }
	panics      struct{ s string }
	fails       struct{ s string }
	grownStruct struct {
		Name  string `json:"name"`
		Inner any    `json:"inner"`
		Again any
		note  string
	}
	Embedded struct {
		X, Y any
	}
	taggedStruct struct {
		*Embedded `audit:"secret"`
		Plain     any    `audit:"secret"`
		Gone      any    `audit:"drop"`
		Who       any    `audit:"pseudonym"`
		ID        string `audit:"safe" json:"level"`
		Other     any    `audit:"no such word" json:"msg"`
	}
	untaggedStruct struct {
		*Embedded
		*untaggedStruct
		Level any `json:"level,omitempty"`
	}
	panickingText  struct{ s string }
	panickingValue struct{ s string }
	panickingName  string
	failingText    struct{ s string }
	atPointer      struct{ S string }
)

func (p panickingText) MarshalText() ([]byte, error) { panic(p.s) }
func (p panickingValue) LogValue() slog.Value        { panic(p.s) }
func (p panickingName) String() string               { panic(string(p)) }
func (f failingText) MarshalText() ([]byte, error)   { return []byte(f.s), errors.New(f.s) }
func (a *atPointer) LogValue() slog.Value            { return slog.StringValue(a.S) }

func (l lateValue) LogValue() slog.Value        { return l.v }
func (m marshals) MarshalJSON() ([]byte, error) { return json.Marshal(map[string]string{"m": m.s}) }
func (t texts) MarshalText() ([]byte, error)    { return []byte(t.s), nil }
func (p panics) MarshalJSON() ([]byte, error)   { panic(p.s) }
func (f fails) MarshalJSON() ([]byte, error)    { return nil, errors.New(f.s) }

func (g grower) any(depth int) any {
	n := 32
	if depth <= 0 {
		n = 22
	}
	switch g.IntN(n) {
	case 0:
		return g.text()
	case 1:
		return []byte(g.text())
	case 2:
		return errors.New(g.text())
	case 3:
		return fmt.Errorf("outer %s: %w", g.text(), errors.Join(errors.New(g.text()), errors.New("x")))
	case 4:
		return json.RawMessage(`{"r":[1,"` + seeds[g.IntN(len(seeds))] + `"]}`)
	case 5:
		return http.Header{"X-A": {g.text(), "b"}, "Cookie": {"s=" + g.text()}}
	case 6:
		return url.Values{"q": {g.text()}, g.key(): {g.text()}}
	case 7:
		return marshals{g.text()}
	case 8:
		return texts{g.text()}
	case 9:
		return panics{g.text()}
	case 10:
		return fails{g.text()}
	case 11:
		return g.IntN(1000)
	case 12:
		return g.request()
	case 13:
		return *g.request()
	case 14:
		return panickingText{g.text()}
	case 15:
		return panickingValue{g.text()}
	case 16:
		return panickingName(g.text())
	case 17:
		return failingText{g.text()}
	case 18:
		return atPointer{g.text()}
	case 19:
		return &http.Cookie{Name: "c", Value: g.text()} // #nosec G124 -- it is logged, never sent
	case 20:
		return context.WithValue(context.Background(), panickingName("k"), g.text())
	case 21:
		return map[any]any{g.text(): 1, texts{g.text()}: 2, panickingName(g.text()): 3}
	case 22:
		return map[string]any{g.key(): g.any(depth - 1), g.key(): g.any(depth - 1)}
	case 23:
		return []any{g.any(depth - 1), g.any(depth - 1)}
	case 24:
		return grownStruct{g.text(), g.any(depth - 1), g.any(depth - 1), g.text()}
	case 25:
		return &grownStruct{Name: g.text(), Inner: g.any(depth - 1)}
	case 26:
		return lateValue{g.value(depth - 1)}
	case 27:
		return map[int]string{1: g.text()}
	case 28:
		return [2]any{g.any(depth - 1), nil}
	case 29:
		return taggedStruct{&Embedded{g.text(), g.any(depth - 1)}, g.any(depth - 1), g.any(depth - 1), g.any(depth - 1), g.text(), g.text()}
	case 30:
		v := &untaggedStruct{Embedded: &Embedded{g.text(), g.any(depth - 1)}, Level: g.any(depth - 1)}
		v.untaggedStruct = v
		return v
	}
	return g.value(depth - 1)
}

func (g grower) request() *http.Request {
	req := httptest.NewRequest(http.MethodPost, "/p", strings.NewReader(g.text()))
	req.URL.RawQuery, req.RequestURI = "q="+g.text(), "/p?q="+g.text()
	req.URL.User = url.UserPassword(g.text(), g.text())
	req.Header = http.Header{"Cookie": {"a=" + g.text()}, "X-A": {g.text()}, "Authorization": {"Basic " + g.text()}}
	req.Form, req.TLS = url.Values{g.text(): {g.text()}}, &tls.ConnectionState{ServerName: g.text()}
	return req.WithContext(context.WithValue(req.Context(), panickingName("k"), g.text()))
}

func (g grower) value(depth int) slog.Value {
	if depth > 0 && g.IntN(3) == 0 {
		return slog.GroupValue(g.attrs(depth - 1)...)
	}
	return slog.AnyValue(g.any(depth))
}

func (g grower) attrs(depth int) []slog.Attr {
	out := make([]slog.Attr, g.IntN(4))
	for i := range out {
		out[i] = slog.Attr{Key: g.key(), Value: g.value(depth)}
		if depth > 0 && g.IntN(6) == 0 {
			out[i] = slog.Attr{Value: slog.GroupValue(g.attrs(depth - 1)...)} // its members stand beside it
		}
	}
	return out
}

// Whatever is logged and however it is nested: no planted secret survives, and
// one line of JSON comes out in which no name stands twice.
func TestNoSecretSurvivesInAnyRecordTree(t *testing.T) {
	r := newRedactor(RedactorConfig{})
	marks := 0
	defer func() {
		if marks < 3000 {
			t.Errorf("%d marks: the trees hold too few secrets", marks)
		}
	}()
	for seed := range uint64(3000) {
		g := grower{rand.New(rand.NewPCG(seed, 6))}
		var b bytes.Buffer
		var h slog.Handler = r.Handler(slog.NewJSONHandler(&b, nil))
		for range g.IntN(4) {
			if g.IntN(2) == 0 {
				h = h.WithAttrs(g.attrs(2))
			} else {
				h = h.WithGroup(g.key())
			}
		}
		log := slog.New(h)
		log.LogAttrs(t.Context(), slog.LevelInfo, g.text(), g.attrs(4)...)
		out := b.String()
		if strings.Count(out, "\n") != 1 {
			t.Fatalf("seed %d: %q", seed, out)
		}
		marks += strings.Count(out, "[REDACTED")
		for _, secret := range seeds {
			for _, form := range formsOf(secret) {
				if strings.Contains(out, form) {
					t.Fatalf("seed %d: %q in %s", seed, form, out)
				}
			}
		}
		if !distinctObjects(t, b.Bytes()) {
			t.Fatalf("seed %d: a name stands twice: %s", seed, out)
		}
	}
}

// distinctObjects reports whether each object of a JSON text has each name once.
func distinctObjects(t *testing.T, line []byte) bool {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(line))
	ok := true
	var value func()
	value = func() {
		tok, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch tok {
		case json.Delim('{'):
			var seen []string
			for d.More() {
				key, _ := d.Token()
				ok = ok && !slices.Contains(seen, key.(string))
				seen = append(seen, key.(string))
				value()
			}
			_, _ = d.Token()
		case json.Delim('['):
			for d.More() {
				value()
			}
			_, _ = d.Token()
		}
	}
	value()
	return ok
}

// What services log all day comes out as it went in.
func TestFiveHundredInnocentRecordsStayAsTheyAre(t *testing.T) {
	g := grower{rand.New(rand.NewPCG(1, 2))}
	hexadecimal := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "0123456789abcdef"[g.IntN(16)]
		}
		return string(b)
	}
	ulid := func() string {
		b := []byte("01")
		for len(b) < 26 {
			b = append(b, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[g.IntN(32)])
		}
		return string(b)
	}
	at := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	r := newRedactor(RedactorConfig{Safe: []string{"order", "trace_id", "commit", "id"}})
	for i := range 500 {
		rec := slog.NewRecord(at, slog.LevelInfo, []string{"request", "reloaded 3 certificates", "GET /records/42 answered 200", "queue empty"}[i%4], 0)
		uuid := hexadecimal(8) + "-" + hexadecimal(4) + "-4" + hexadecimal(3) + "-a" + hexadecimal(3) + "-" + hexadecimal(12)
		rec.AddAttrs(
			slog.String("id", uuid), slog.String("id2", ulid()), slog.Int64("ms", at.UnixMilli()+int64(g.IntN(1e9))), slog.String("version", fmt.Sprintf("v%d.%d.%d", g.IntN(9), g.IntN(20), g.IntN(99))),
			slog.String("order", fmt.Sprintf("%09d", g.IntN(1e9))), slog.String("trace_id", hexadecimal(32)), slog.String("commit", hexadecimal(40)), slog.Duration("took", time.Duration(g.IntN(1e9))),
			slog.String("client_addr", fmt.Sprintf("192.0.2.%d", g.IntN(255))), slog.String("path", "/records/"+fmt.Sprint(g.IntN(1e6))+"/medication"), slog.Int("bytes", g.IntN(1e9)), slog.Bool("cached", i%2 == 0),
			slog.Group("http", slog.Int("status", 200+g.IntN(300)), slog.String("method", "GET"), slog.Float64("load", g.Float64())),
		)
		var plain, redacted bytes.Buffer
		if err := errors.Join(slog.NewJSONHandler(&plain, nil).Handle(t.Context(), rec), r.Handler(slog.NewJSONHandler(&redacted, nil)).Handle(t.Context(), rec)); err != nil {
			t.Fatal(err)
		}
		if plain.String() != redacted.String() {
			t.Errorf("%s became %s", &plain, &redacted)
		}
	}
}
