package secrets_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"text/template"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/secrets"
)

// prober looks for a text in anything that was printed.
type prober struct{ needles []string }

// forms of every 8-byte window of a text: as it is, hex, base64 at its three
// alignments, quoted, and as the numbers that %d, %v, %#v, %x and %U print.
func proberFor(texts ...[]byte) *prober {
	p := &prober{}
	for _, text := range texts {
		for i := 0; i+8 <= len(text); i++ {
			w := text[i : i+8]
			numbers := func(format, sep string) string {
				parts := make([]string, len(w))
				for j, c := range w {
					parts[j] = fmt.Sprintf(format, c)
				}
				return strings.Join(parts, sep)
			}
			quoted := strings.Trim(fmt.Sprintf("%q", w), `"`)
			p.needles = append(p.needles,
				string(w), quoted, strings.Trim(fmt.Sprintf("%+q", w), `"`),
				hex.EncodeToString(w), strings.ToUpper(hex.EncodeToString(w)),
				numbers("%d", " "), numbers("%d", ", "), numbers("%d", ","),
				numbers("%x", " "), numbers("%X", " "), numbers("0x%x", ", "), numbers("0x%x", " "), numbers("%U", " "), numbers("%o", " "), numbers("%b", " "), numbers("%q", " "))
			for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				for shift := range 3 { // whole groups inside the window, whatever stands before it
					inner := w[shift:]
					p.needles = append(p.needles, enc.EncodeToString(inner[:len(inner)/3*3]))
				}
			}
		}
	}
	return p
}

func (p *prober) finds(out string) string {
	for _, n := range p.needles {
		if len(n) >= 4 && strings.Contains(out, n) {
			return n
		}
	}
	return ""
}

// state is a fmt.State for calling Format by reflection.
type state struct{ bytes.Buffer }

func (*state) Width() (int, bool)     { return 0, false }
func (*state) Precision() (int, bool) { return 0, false }
func (*state) Flag(int) bool          { return true }

var verbs = []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%+q", "%d", "%t", "%c", "%U", "%e", "%g", "%o", "%b", "%p", "%T"}

// probes print v in every way the standard library knows.
func probes(v any) map[string]string {
	out := map[string]string{}
	put := func(name string, fn func(io.Writer)) {
		var b bytes.Buffer
		func() {
			defer func() {
				if r := recover(); r != nil {
					fmt.Fprintf(&b, "panic: %v %+v %s", r, r, r)
				}
			}()
			fn(&b)
		}()
		out[name] = b.String()
	}
	for _, verb := range verbs {
		put("fmt "+verb, func(w io.Writer) { fmt.Fprintf(w, verb, v) })
	}
	wrap := "%w" // not an error, outside Errorf: fmt prints what it holds
	put("fmt %w", func(w io.Writer) { fmt.Fprintf(w, wrap, v) })
	put("Errorf", func(w io.Writer) { fmt.Fprint(w, fmt.Errorf("x: %v", v)) })
	put("errors.Join", func(w io.Writer) {
		fmt.Fprintf(w, "%+v", errors.Join(fmt.Errorf("%v", v), fmt.Errorf("%+v", v)))
	})
	put("Println", func(w io.Writer) { fmt.Fprintln(w, v) })
	put("panic", func(io.Writer) { panic(v) })
	put("log", func(w io.Writer) { log.New(w, "", 0).Print(v) })
	put("log Panicf", func(w io.Writer) { log.New(w, "", 0).Panicf("%v", v) })
	put("json", func(w io.Writer) { err := json.NewEncoder(w).Encode(v); fmt.Fprint(w, err) })
	put("json indent", func(w io.Writer) { b, err := json.MarshalIndent(v, "", " "); fmt.Fprint(w, string(b), err) })
	put("json map", func(w io.Writer) {
		b, err := json.Marshal(map[string]any{"k": v})
		fmt.Fprint(w, string(b), err)
	})
	put("xml", func(w io.Writer) { err := xml.NewEncoder(w).Encode(v); fmt.Fprint(w, err) })
	put("gob", func(w io.Writer) { err := gob.NewEncoder(w).Encode(v); fmt.Fprint(w, err) })
	put("slog text", func(w io.Writer) { slog.New(slog.NewTextHandler(w, nil)).Info("m", "k", v) })
	put("slog json", func(w io.Writer) { slog.New(slog.NewJSONHandler(w, nil)).Info("m", "k", v) })
	put("slog group", func(w io.Writer) {
		slog.New(slog.NewTextHandler(w, nil)).With("w", v).Info("m", slog.Group("g", "k", v))
	})
	put("text/template", func(w io.Writer) {
		t := template.Must(template.New("").Parse(`{{.}} {{printf "%v %+v %#v %s %q %x" . . . . . .}} {{print .}} {{html .}} {{js .}} {{urlquery .}}`))
		fmt.Fprint(w, t.Execute(w, v))
	})
	put("html/template", func(w io.Writer) {
		t := htmltemplate.Must(htmltemplate.New("").Parse(`<a href="/?q={{.}}" title="{{.}}" onclick="f({{.}})">{{.}}</a><script>let x = {{.}};</script><style>p{color:{{.}}}</style>`))
		fmt.Fprint(w, t.Execute(w, v))
	})
	put("reflect methods", func(w io.Writer) { callAll(w, reflect.ValueOf(v), 0) })
	return out
}

// callAll calls every exported method of v and of what it holds, with made-up
// arguments, and prints the results.
func callAll(w io.Writer, v reflect.Value, depth int) {
	if !v.IsValid() || depth > 4 {
		return
	}
	for i := range v.NumMethod() {
		m := v.Method(i)
		switch v.Type().Method(i).Name {
		case "Destroy", "Close", "UnmarshalText", "Scan": // would empty what the next probe looks at
			continue
		}
		args := []reflect.Value{}
		for in := range m.Type().Ins() {
			switch in {
			case reflect.TypeFor[fmt.State]():
				args = append(args, reflect.ValueOf(&state{}))
			case reflect.TypeFor[context.Context]():
				args = append(args, reflect.ValueOf(context.Background()))
			case reflect.TypeFor[func([]byte) error]():
				args = append(args, reflect.ValueOf(func([]byte) error { return errors.New("used") }))
			case reflect.TypeFor[string]():
				args = append(args, reflect.ValueOf("session/cookie"))
			case reflect.TypeFor[int]():
				args = append(args, reflect.ValueOf(32))
			default:
				args = append(args, reflect.Zero(in))
			}
		}
		func() {
			defer func() {
				if r := recover(); r != nil {
					fmt.Fprintf(w, "panic: %v", r)
				}
			}()
			for _, r := range m.Call(args) {
				fmt.Fprintf(w, "%v %s %x %q\n", r, r, r, r)
			}
		}()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		callAll(w, v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			fmt.Fprintf(w, "%v %+v %#v %s\n", v.Field(i), v.Field(i), v.Field(i), v.Field(i))
			if v.Type().Field(i).IsExported() {
				callAll(w, v.Field(i), depth+1)
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			callAll(w, v.Index(i), depth+1)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			callAll(w, it.Value(), depth+1)
		}
	}
}

// holders puts v into everything that might hold it.
func holders[T any](v T) map[string]any {
	type exported struct{ K T }
	type unexported struct{ k T }
	type pointers struct{ k *T }
	type inside struct {
		s []T
		m map[string]T
		a any
		n struct{ k T }
		i [1]T
	}
	return map[string]any{
		"bare":               v,
		"pointer":            &v,
		"exported field":     exported{v},
		"unexported field":   unexported{v},
		"to unexported":      &unexported{v},
		"unexported pointer": pointers{&v},
		"slice":              []T{v},
		"map":                map[string]T{"k": v},
		"any":                []any{v, &v},
		"unexported any":     inside{s: []T{v}, m: map[string]T{"k": v}, a: v, n: struct{ k T }{v}, i: [1]T{v}},
		"exported any":       struct{ A any }{v},
	}
}

const canary = "canary-PLAINTEXT-q7Wz_9fKx3Lm8Tn2"

type loaded struct {
	Ring     *secrets.Ring  `secret:"RING,kind=key"`
	Token    secrets.Secret `secret:"TOKEN,kind=token" validate:"min=20"`
	Database struct {
		URL secrets.Secret `secret:"DATABASE_URL,kind=url"`
	}
	Region string `secret:"REGION,public"`
}

func TestNothingPrintsWhatASecretHolds(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.2")
	key, err := secrets.Generate(32)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	const url = "postgres://svc:" + canary + "@db.internal/care"
	dir := t.TempDir()
	for name, text := range map[string]string{"RING": key, "TOKEN": canary, "DATABASE_URL": url, "REGION": "eu-west-1"} {
		write(t, dir, name, text)
	}
	var cfg loaded
	loader, err := secrets.Load(t.Context(), &cfg, secrets.Options{Sources: []secrets.Source{secrets.Dir(dir)}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	p := proberFor([]byte(canary), raw, []byte(key))
	column := cfg.Ring.Column("orders.token")
	cell := column.Row("1")
	cell.Secret = secrets.NewSecret(canary)
	all := map[string]map[string]any{
		"Secret":  holders(secrets.NewSecret(canary)),
		"Column":  holders(column),
		"Cell":    holders(cell),
		"CellVal": holders(*cell),
		"Ring":    holders(cfg.Ring),
		"RingVal": holders(*cfg.Ring),
		"Config":  holders(cfg),
		"Loader":  holders(loader),
	}
	count := 0
	for what, held := range all {
		for holder, v := range held {
			for probe, out := range probes(v) {
				count++
				if n := p.finds(out); n != "" {
					t.Errorf("%s, %s, %s shows %q:\n%s", what, holder, probe, n, out)
				}
			}
		}
	}
	if got := secrets.Expose(cfg.Token); got != canary {
		t.Errorf("a probe changed the secret")
	}
	if cfg.Ring.Derive("x", 32) == nil {
		t.Error("a probe emptied the ring")
	}
	if count < 8*11*35 {
		t.Errorf("only %d probes ran", count)
	}
}

// The probes must find what leaks, or the test above proves nothing.
func TestTheProbesFindRepresentationsThatLeak(t *testing.T) {
	type plain string
	type boxed struct{ b *struct{ b []byte } }
	p := proberFor([]byte(canary))
	for name, held := range map[string]map[string]any{
		"string":         holders(plain(canary)),
		"bytes":          holders([]byte(canary)),
		"struct pointer": holders(boxed{&struct{ b []byte }{[]byte(canary)}}),
	} {
		for _, holder := range []string{"bare", "unexported field"} {
			hits := 0
			for _, out := range probes(held[holder]) {
				if p.finds(out) != "" {
					hits++
				}
			}
			if hits == 0 {
				t.Errorf("%s in %s leaks, and no probe saw it", name, holder)
			}
			t.Logf("%s, %s: %d probes leak", name, holder, hits)
		}
	}
	raw := []byte(canary)
	for _, shown := range []string{
		fmt.Sprint(raw), fmt.Sprintf("%x", raw), fmt.Sprintf("%X", raw), fmt.Sprintf("% x", raw), fmt.Sprintf("%#v", raw), fmt.Sprintf("%U", []rune(canary)),
		base64.StdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw[1:]), base64.StdEncoding.EncodeToString(raw[2:]), canary[5:14], string(mustJSON(raw)),
	} {
		if p.finds(shown) == "" {
			t.Errorf("the prober does not see %q", shown)
		}
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func TestEveryTextEncoderWritesTheMarker(t *testing.T) {
	s := secrets.NewSecret(canary)
	for name, got := range map[string]string{
		"%s":   fmt.Sprintf("%s", s),
		"%#v":  fmt.Sprintf("%#v", s),
		"%x":   fmt.Sprintf("%x", s),
		"json": strings.Trim(string(mustJSON(s)), `"`),
		"log":  s.LogValue().String(),
		"zero": fmt.Sprint(secrets.Secret{}),
	} {
		if got != hardening.Redacted {
			t.Errorf("%s writes %q", name, got)
		}
	}
	if err := gob.NewEncoder(io.Discard).Encode(s); !errors.Is(err, secrets.ErrNotEncodable) {
		t.Errorf("gob: %v", err)
	}
}

// write makes a file that nobody else may read.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
