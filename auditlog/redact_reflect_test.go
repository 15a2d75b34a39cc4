package auditlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// redacted logs one value under an innocent name, and returns what stands for it.
func redacted(t *testing.T, format string, v any) string {
	t.Helper()
	var b bytes.Buffer
	var next slog.Handler = slog.NewTextHandler(&b, nil)
	if format == "json" {
		next = slog.NewJSONHandler(&b, nil)
	}
	slog.New(newRedactor(RedactorConfig{}).Handler(next)).Info("m", "v", v)
	if format == "text" {
		_, out, _ := strings.Cut(b.String(), " v=")
		return strings.TrimSuffix(out, "\n")
	}
	if !distinctObjects(t, b.Bytes()) {
		t.Errorf("a name stands twice: %s", &b)
	}
	var rec struct{ V json.RawMessage }
	must(t, json.Unmarshal(b.Bytes(), &rec))
	return string(rec.V)
}

type (
	Inner  struct{ A, B string }
	inner  struct{ A, B string }
	tagged struct {
		Inner `audit:"secret"`
		inner `audit:"secret"`
		N     int
	}
	dropped struct {
		*Inner `audit:"drop"`
		N      int
	}
	named struct {
		*Inner `audit:"pseudonym"`
		N      int
	}
)

// A tag on a type that is embedded counts as on any other field.
func TestATagOnAnEmbeddedStructCounts(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.2.5")
	in := Inner{planted, planted}
	for want, v := range map[string]any{
		`{"Inner":"[REDACTED:key]","N":1,"inner":"[REDACTED:key]"}`: tagged{in, inner(in), 1},
		`{"N":1}`: dropped{&in, 1},
	} {
		if got := redacted(t, "json", v); got != want {
			t.Errorf("%T became %s", v, got)
		}
	}
	if got := redacted(t, "json", named{&in, 1}); strings.Contains(got, planted) || !strings.Contains(got, `"Inner":"h1:`) {
		t.Error(got)
	}
}

type (
	ringA struct {
		*ringB
		*ringC
		*ringD
	}
	ringB struct {
		*ringA
		X int
	}
	ringC struct {
		*ringA
		Y int
	}
	ringD struct {
		*ringA
		Z int
	}
)

// Types that embed each other by pointers make a tree without end of one value.
func TestEmbeddedPointersInACircleEnd(t *testing.T) {
	a := &ringA{}
	a.ringB, a.ringC, a.ringD = &ringB{a, 1}, &ringC{a, 2}, &ringD{a, 3}
	if got := redacted(t, "json", a); got != `{"X":1,"Y":2,"Z":3}` {
		t.Error(got)
	}
}

type (
	asked     struct{ Number string }
	Asked     struct{ Number string }
	marshaled struct{ Number string }
	holder    struct {
		Card  asked
		Other *marshaled
		Last  marshaled
	}
	both struct { // has neither method: Go does not choose
		asked
		Asked
		N int
	}
)

func (a *asked) LogValue() slog.Value             { return slog.StringValue("shown") }
func (a *Asked) LogValue() slog.Value             { return slog.StringValue("Shown") }
func (m *marshaled) MarshalJSON() ([]byte, error) { return []byte(`"m"`), nil }

// A type says by its pointer's methods how it is logged, wherever it stands.
func TestMethodsOfAPointerAreAskedForAValueToo(t *testing.T) {
	v := holder{asked{planted}, &marshaled{planted}, marshaled{planted}}
	for in, want := range map[any]string{
		v: `{"Card":"shown","Last":"m","Other":"m"}`, &v: `{"Card":"shown","Last":"m","Other":"m"}`,
		both{asked{planted}, Asked{planted}, 1}: `{"Asked":"Shown","N":1}`,
	} {
		if got := redacted(t, "json", in); got != want {
			t.Errorf("%T became %s", in, got)
		}
	}
}

type (
	masked      string
	maskedBytes []byte
	formatted   string
	octet       byte
)

func (masked) String() string                { return "***" }
func (maskedBytes) String() string           { return "***" }
func (formatted) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("***")) }

// What fmt would have masked stays masked: the redactor stands before handlers
// that print by fmt.
func TestATypeThatMasksItselfStaysMasked(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		for _, v := range []any{masked(planted), maskedBytes(planted), formatted(planted)} {
			if got := redacted(t, format, v); strings.Trim(got, `"`) != "***" {
				t.Errorf("%s: %T became %s", format, v, got)
			}
			if got := redacted(t, format, map[string]any{"a": []any{v}}); strings.Contains(got, planted) {
				t.Errorf("%s: %T became %s", format, v, got)
			}
		}
	}
}

// Requests and responses show no more by value than by pointer.
func TestARequestByValueShowsNoMore(t *testing.T) {
	req, err := http.NewRequest(http.MethodPost, "https://h.example/p?q="+planted, strings.NewReader(planted))
	must(t, err)
	req.RequestURI, req.Form, req.Header = "/p?q="+planted, url.Values{"q": {planted}}, http.Header{"X-A": {planted}}
	res := http.Response{Status: "200 OK", Header: req.Header, Request: req}
	for want, v := range map[string]any{`["POST h.example/p"]`: []http.Request{*req}, `["200 OK"]`: []http.Response{res}} {
		if got := redacted(t, "json", v); got != want {
			t.Error(got)
		}
	}
}

// Numbers stay numbers, and keys of maps can be told apart.
func TestInnocentValuesKeepTheirForm(t *testing.T) {
	for want, v := range map[string]any{
		`{"f":0.1,"n":[2,1e+21],"x":1.5}`:        map[string]any{"x": 1.5, "f": float32(0.1), "n": []float64{2, 1e21}},
		`{"inf":"+Inf","list":["NaN","kept"]}`:   map[string]any{"inf": math.Inf(1), "list": []slog.Value{slog.Float64Value(math.NaN()), slog.StringValue("kept")}},
		`{"cookie":true,"total_tokens":1500}`:    map[string]any{"total_tokens": 1500, "cookie": true},
		`{"prompt_tokens":1500}`:                 json.RawMessage(`{"prompt_tokens":1500}`),
		`{"1":"a","2.5":"b","true":"c","x":"d"}`: map[any]any{1: "a", 2.5: "b", true: "c", "x": "d"},
		`{"false":0,"true":1}`:                   map[bool]int{true: 1, false: 0},
		`["abc","ab"]`:                           []any{[]octet("abc"), [2]octet{'a', 'b'}},
		`{"tokens":"[REDACTED:key]"}`:            map[string]any{"tokens": "abcdef123"},
		`{"[REDACTED:pan]":"a"}`:                 map[float64]string{4111111111111111: "a"},
	} {
		if got := redacted(t, "json", v); got != want {
			t.Errorf("%v became %s, want %s", v, got, want)
		}
	}
}

// Encoders replace bytes that are no UTF-8, and must not make one name of two.
func TestNamesThatAreNoUTF8StayApart(t *testing.T) {
	r := newRedactor(RedactorConfig{})
	for name, log := range map[string]func(*slog.Logger){
		"attributes": func(l *slog.Logger) { l.Info("m", "a\xff", 1, "a\xfe", 2, "a\ufffd", 3) },
		"With":       func(l *slog.Logger) { l.With("a\xff", 1).Info("m", "a\xfe", 2) },
		"group":      func(l *slog.Logger) { l.Info("m", slog.Group("g", "a\xff", 1, "a\xfe", 2)) },
		"WithGroup":  func(l *slog.Logger) { l.With("a\xff", 1).WithGroup("a\xfe").Info("m", "b", 2) },
		"map":        func(l *slog.Logger) { l.Info("m", "v", map[string]int{"a\xff": 1, "a\xfe": 2}) },
	} {
		var b bytes.Buffer
		log(slog.New(r.Handler(slog.NewJSONHandler(&b, nil))))
		if !distinctObjects(t, b.Bytes()) {
			t.Errorf("%s: %s", name, &b)
		}
	}
	attrs := r.auditAttrs([]slog.Attr{slog.Int("a\xff", 1), slog.Int("a\xfe", 2)})
	if out := appendAttrs(nil, attrs, 1<<10); !distinctObjects(t, out) {
		t.Errorf("%s", out)
	}
}

type variable struct {
	Name  string
	Value any
}

// The name of a pair that is spelt out says what its value is.
func TestThePartsOfAPairBelongTogether(t *testing.T) {
	for want, v := range map[string]any{
		`[{"Name":"DB_PASSWORD","Value":"[REDACTED:key]"},{"Name":"WARD","Value":"x"}]`: []variable{{"DB_PASSWORD", planted}, {"WARD", "x"}},
		`{"key":"Cookie","values":"[REDACTED:key]"}`:                                    map[string]any{"key": "Cookie", "values": []string{planted}},
		`{"name":"token","value":true}`:                                                 json.RawMessage(`{"name":"token","value":true}`),
	} {
		if got := redacted(t, "json", v); got != want {
			t.Errorf("%v became %s, want %s", v, got, want)
		}
	}
}

type (
	formatPanics string
	stringPanics string
)

func (f formatPanics) Format(fmt.State, rune) { panic(string(f)) }
func (s stringPanics) String() string         { panic(string(s)) }

// fmt shows the value of a panic that it has caught, and that may be the secret.
func TestAMethodThatPanicsWithItsValueDoesNotShowIt(t *testing.T) {
	const secret = "horse-battery" // of no shape that is known
	for _, v := range []any{formatPanics(secret), stringPanics(secret), []any{formatPanics(secret)}, map[string]any{"a": formatPanics(secret)}} {
		var out bytes.Buffer
		slog.New(newRedactor(RedactorConfig{}).Handler(slog.NewJSONHandler(&out, nil))).Info("m", "v", v)
		if strings.Contains(out.String(), secret) || !strings.Contains(out.String(), "panicked") {
			t.Errorf("%T: %s", v, &out)
		}
	}
}
