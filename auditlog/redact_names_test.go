package auditlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// keysOf returns the names of a JSON object in their order, duplicates and all,
// with those of objects inside behind a dot.
func keysOf(t *testing.T, line []byte) (keys []string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var object func(prefix string)
	var value func(prefix string)
	token := func() json.Token {
		tok, err := d.Token()
		if err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		return tok
	}
	object = func(prefix string) {
		for d.More() {
			key, ok := token().(string)
			if !ok {
				t.Fatalf("no name in %s", line)
			}
			keys = append(keys, prefix+key)
			value(prefix + key + ".")
		}
		token()
	}
	value = func(prefix string) {
		switch token() {
		case json.Delim('{'):
			object(prefix)
		case json.Delim('['):
			for d.More() {
				value(prefix)
			}
			token()
		}
	}
	value("")
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		t.Fatalf("more than one value in %s", line)
	}
	return keys
}

func TestNoNameStandsTwiceAndNoneForgesOneOfSlog(t *testing.T) {
	r := newRedactor(RedactorConfig{})
	for name, log := range map[string]func(*slog.Logger){
		"names of slog":            func(l *slog.Logger) { l.Info("m", "msg", "forged", "level", "DEBUG", "time", 0, "source", "x") },
		"names of slog by With":    func(l *slog.Logger) { l.With("msg", "forged", "level", 1).Info("m", "level", 2) },
		"one name many times":      func(l *slog.Logger) { l.Info("m", "a", 1, "a", 2, "a#2", 3, "a", 4) },
		"by With and in the call":  func(l *slog.Logger) { l.With("a", 1).With("a", 2).Info("m", "a", 3) },
		"a group and an attribute": func(l *slog.Logger) { l.With("g", 1).WithGroup("g").Info("m", "a", 1, "a", 2) },
		"a group without a name": func(l *slog.Logger) {
			l.Info("m", slog.Group("", "a", 1, slog.Group("", "a", 2, "level", 3)), "a", 4)
		},
		"inside a group":      func(l *slog.Logger) { l.Info("m", slog.Group("g", "a", 1, "a", 2, slog.Group("", "a", 3))) },
		"more than it counts": func(l *slog.Logger) { l.Info("m", slices.Repeat([]any{"a", 1}, 300)...) },
		"names that are secrets": func(l *slog.Logger) {
			l.Info("m", "ghp_0123456789abcdefghijABCDEFGHIJ012345", 1, "ghp_1123456789abcdefghijABCDEFGHIJ012345", 2)
		},
		"inside a denied group": func(l *slog.Logger) { l.WithGroup("password").With("a", 1).With("b", 2).Info("m", "c", 3) },
		"a slow one":            func(l *slog.Logger) { l.Info("m", "level", slog.StringValue("x"), "v", any(map[string]any{"a": 1})) },
		"a value that is a group": func(l *slog.Logger) {
			l.Info("m", slog.Any("", grouping{}), "a", 1)
		},
	} {
		var b bytes.Buffer
		log(slog.New(r.Handler(slog.NewJSONHandler(&b, nil))))
		if strings.Count(b.String(), "\n") != 1 {
			t.Errorf("%s: %s", name, &b)
		}
		keys := keysOf(t, b.Bytes())
		slices.Sort(keys)
		if n := len(keys); len(slices.Compact(keys)) != n {
			t.Errorf("%s: a name stands twice: %s", name, &b)
		}
		var rec struct {
			Level, Msg string
		}
		if err := json.Unmarshal(b.Bytes(), &rec); err != nil || rec.Level != "INFO" || rec.Msg != "m" {
			t.Errorf("%s: forged: %s", name, &b)
		}
	}
}

type grouping struct{}

func (grouping) LogValue() slog.Value { return slog.GroupValue(slog.Int("a", 0), slog.Int("msg", 1)) }

func TestCardNumbersAreSeenAsNumbersToo(t *testing.T) {
	r := newRedactor(RedactorConfig{Safe: []string{"order"}})
	const card = 4111111111111111
	for name, v := range map[string]any{
		"int": card, "int64": int64(card), "uint64": uint64(card), "float": float64(card), "any": []any{card}, "field": struct{ N int }{card},
		"json": json.RawMessage(`{"n":4111111111111111}`), "number": json.Number("4111111111111111"), "map": map[string]uint64{"n": card}, "pointer": new(int64(card)),
	} {
		for _, with := range []bool{false, true} {
			var b bytes.Buffer
			l := slog.New(r.Handler(slog.NewJSONHandler(&b, nil)))
			if with {
				l.With("n", v).Info("m")
			} else {
				l.Info("m", "n", v)
			}
			if strings.Contains(b.String(), "4111111") || strings.Contains(b.String(), "4.111111") || !strings.Contains(b.String(), mark(PAN)) {
				t.Errorf("%s: %s", name, &b)
			}
		}
	}
	var b bytes.Buffer
	slog.New(r.Handler(slog.NewJSONHandler(&b, nil))).Info("m", "order", card, "ms", int64(1_790_000_000_123), "ns", int64(1_790_000_000_123_456_789), "bytes", 123456782, "snowflake", uint64(1_215_000_000_000_000_000), "f", 0.25, "neg", -card)
	for _, want := range []string{`"order":4111111111111111`, `"ms":1790000000123`, `"ns":1790000000123456789`, `"bytes":123456782`, `"snowflake":1215000000000000000`, `"f":0.25`, `"neg":-4111111111111111`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is not in %s", want, &b)
		}
	}
}

func TestKeysOfARingAreRedacted(t *testing.T) {
	r := newRedactor(RedactorConfig{})
	const key = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA"
	for _, text := range []string{
		"v1@2026-11-01:" + key, "v2@2026-11-01:" + key + ",v1@2026-08-01T08:00:00Z:base64:" + key, `{"SESSION_KEY":"v12@2026-11-01:` + key + `="}`,
		"SESSION_KEY=v1@2026-11-01:hex:" + strings.Repeat("0a1b", 16), "https://h/?k=v1%402026-11-01:x&v=v1@2026-11-01:" + key, "got v3@2026-11-01T00:00:00Z:" + key + "\nnext",
	} {
		if got := r.String(text); strings.Contains(got, key[:12]) || strings.Contains(got, "0a1b0a1b") {
			t.Errorf("%s", got)
		}
	}
}

func TestASafeNameHidesNoSecret(t *testing.T) {
	r := newRedactor(RedactorConfig{Safe: []string{"order"}})
	const token = "ghp_0123456789abcdefghijABCDEFGHIJ012345"
	type tagged struct {
		N string `audit:"safe"`
	}
	for _, with := range []bool{false, true} {
		var b bytes.Buffer
		l := slog.New(r.Handler(slog.NewJSONHandler(&b, nil)))
		args := []any{"order", "123456782 " + token, "any", tagged{"123456782 " + token}}
		if with {
			l.With(args...).Info("m")
		} else {
			l.Info("m", args...)
		}
		if strings.Contains(b.String(), token) || strings.Count(b.String(), "123456782") != 2 {
			t.Errorf("%s", &b)
		}
	}
}
