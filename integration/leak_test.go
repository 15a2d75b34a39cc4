package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"expvar"
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

	"github.com/alecthomas/repr"
	"github.com/davecgh/go-spew/spew"
	"github.com/fxamacker/cbor/v2"
	"github.com/go-playground/validator/v10"
	goccyjson "github.com/goccy/go-json"
	goccyyaml "github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	jsoniter "github.com/json-iterator/go"
	"github.com/k0kubun/pp/v3"
	"github.com/kr/pretty"
	"github.com/sanity-io/litter"
	"github.com/stretchr/testify/assert"
	"github.com/vmihailenco/msgpack/v5"
	"gopkg.in/yaml.v3"

	"github.com/inovy/hardening/secrets"
)

// needles are all forms in which a dump could show 8 bytes of a text: as they
// are, quoted, in hex, in base64 at each of its three offsets, and as numbers in
// the ways of fmt and of the dumpers.
func needles(texts ...[]byte) []string {
	seen := map[string]bool{}
	add := func(s string) {
		if len(s) >= 6 {
			seen[s] = true
		}
	}
	for _, text := range texts {
		for i := 0; i+8 <= len(text); i++ {
			w := text[i : i+8]
			add(string(w))
			add(strings.Trim(fmt.Sprintf("%q", w), `"`))
			add(strings.Trim(fmt.Sprintf("%+q", w), `"`))
			add(hex.EncodeToString(w))
			add(strings.ToUpper(hex.EncodeToString(w)))
			for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				for offset := range 3 { // the groups that lie in the window, whatever stands before it
					inner := w[offset:]
					add(enc.EncodeToString(inner[:len(inner)/3*3]))
				}
			}
			for _, verb := range []string{"%d", "%x", "%X", "%02x", "%02X", "0x%x", "0x%02x", "0x%X", "%o", "%b", "%U", "%q", "uint8(%d)", "%#v"} {
				for _, sep := range []string{" ", ", ", ",", ",\n  ", "\n"} {
					parts := make([]string, len(w))
					for j, c := range w {
						parts[j] = fmt.Sprintf(verb, c)
					}
					add(strings.Join(parts, sep))
				}
			}
		}
	}
	out := make([]string, 0, len(seen))
	for s := range seen {
		out = append(out, s)
	}
	return out
}

// shows returns the part of a secret that a dump shows, or "". Dumps are also
// read without white space, colours and line breaks, in which they differ.
func shows(dump string, needles []string) string {
	tight := strings.Join(strings.Fields(dump), "")
	for _, n := range needles {
		if strings.Contains(dump, n) {
			return n
		}
		if t := strings.Join(strings.Fields(n), ""); t != n && len(t) >= 14 && strings.Contains(tight, t) {
			return n
		}
	}
	return ""
}

// fmtState is what Format gets when it is called by reflection.
type fmtState struct{ bytes.Buffer }

func (*fmtState) Width() (int, bool)     { return 0, false }
func (*fmtState) Precision() (int, bool) { return 0, false }
func (*fmtState) Flag(int) bool          { return true }

// reporter is the testing.T of an assertion that fails.
type reporter struct{ bytes.Buffer }

func (r *reporter) Errorf(format string, args ...any) { fmt.Fprintf(r, format, args...) }

// probe prints a value in one way.
type probe struct {
	name string
	run  func(w io.Writer, v any)
}

func allProbes() []probe {
	var out []probe
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%+q", "%d", "%t", "%c", "%U", "%e", "%g", "%o", "%b", "%p", "%T", "%w"} {
		out = append(out, probe{"fmt " + verb, func(w io.Writer, v any) { fmt.Fprintf(w, verb, v) }})
	}
	encoder := func(name string, marshal func(any) ([]byte, error)) {
		out = append(out, probe{name, func(w io.Writer, v any) { b, err := marshal(v); fmt.Fprintf(w, "%s %x %v", b, b, err) }})
	}
	encoder("json", json.Marshal)
	encoder("json of a map", func(v any) ([]byte, error) { return json.Marshal(map[string]any{"k": v}) })
	encoder("xml", xml.Marshal)
	encoder("gob", func(v any) ([]byte, error) {
		var b bytes.Buffer
		err := gob.NewEncoder(&b).Encode(v)
		return b.Bytes(), err
	})
	encoder("yaml.v3", yaml.Marshal)
	encoder("goccy/go-yaml", func(v any) ([]byte, error) { return goccyyaml.Marshal(v) })
	encoder("goccy/go-json", goccyjson.Marshal)
	encoder("json-iterator", jsoniter.ConfigDefault.Marshal)
	encoder("msgpack", msgpack.Marshal)
	encoder("cbor", cbor.Marshal)
	bare := spew.ConfigState{Indent: " ", DisableMethods: true, DisablePointerMethods: true, MaxDepth: 12}
	diff := cmp.Exporter(func(reflect.Type) bool { return true })
	return append(out,
		probe{"errors", func(w io.Writer, v any) {
			fmt.Fprintf(w, "%+v", errors.Join(fmt.Errorf("%v", v), fmt.Errorf("%+v", v)))
		}},
		probe{"log", func(w io.Writer, v any) { log.New(w, "", 0).Print(v) }},
		probe{"panic", func(_ io.Writer, v any) { panic(v) }},
		probe{"slog text", func(w io.Writer, v any) { slog.New(slog.NewTextHandler(w, nil)).With("w", v).Info("m", "k", v) }},
		probe{"slog json", func(w io.Writer, v any) {
			slog.New(slog.NewJSONHandler(w, nil)).Info("m", slog.Group("g", "k", v))
		}},
		probe{"text/template", func(w io.Writer, v any) {
			t := template.Must(template.New("").Parse(`{{.}} {{printf "%v %+v %#v %s %q" . . . . .}} {{print .}} {{html .}} {{js .}}`))
			fmt.Fprint(w, t.Execute(w, v))
		}},
		probe{"html/template", func(w io.Writer, v any) {
			t := htmltemplate.Must(htmltemplate.New("").Parse(`<a href="/?q={{.}}" onclick="f({{.}})">{{.}}</a><script>let x = {{.}};</script>`))
			fmt.Fprint(w, t.Execute(w, v))
		}},
		probe{"expvar", func(w io.Writer, v any) { fmt.Fprint(w, expvar.Func(func() any { return v }).String()) }},
		probe{"validator's error", func(w io.Writer, v any) {
			err := validator.New(validator.WithRequiredStructEnabled()).Struct(struct {
				V any `validate:"eq=nothing|len=1000"`
			}{v})
			fmt.Fprintf(w, "%v %+v ", err, err)
			var all validator.ValidationErrors
			if errors.As(err, &all) {
				fmt.Fprint(w, all[0].Value())
			}
		}},
		probe{"spew", func(w io.Writer, v any) { spew.Fdump(w, v) }},
		probe{"spew without methods", func(w io.Writer, v any) { bare.Fdump(w, v); bare.Fprintf(w, "%+v %#v", v, v) }},
		probe{"kr/pretty", func(w io.Writer, v any) { pretty.Fprintf(w, "%# v", v) }},
		probe{"litter", func(w io.Writer, v any) { fmt.Fprint(w, litter.Options{}.Sdump(v)) }},
		probe{"repr", func(w io.Writer, v any) {
			fmt.Fprint(w, repr.String(v, repr.Indent(" "), repr.IgnorePrivate(), repr.NoIndent()), repr.String(v))
		}},
		probe{"pp", func(w io.Writer, v any) {
			p := pp.New()
			p.SetColoringEnabled(false)
			p.SetOutput(w)
			p.Print(v)
		}},
		probe{"go-cmp", func(w io.Writer, v any) {
			fmt.Fprint(w, cmp.Diff(v, reflect.Zero(reflect.TypeOf(v)).Interface(), diff))
		}},
		probe{"testify", func(w io.Writer, v any) {
			var r reporter
			assert.Equal(&r, reflect.Zero(reflect.TypeOf(v)).Interface(), v)
			assert.Contains(&r, []string{"x"}, v)
			assert.Nil(&r, v)
			w.Write(r.Bytes())
		}},
		probe{"every method", func(w io.Writer, v any) { callAll(w, reflect.ValueOf(v), 0) }},
	)
}

// callAll calls every exported method of v, and of what it holds and returns,
// with made-up arguments, and prints the results.
func callAll(w io.Writer, v reflect.Value, depth int) {
	if !v.IsValid() || depth > 4 {
		return
	}
	for i := range v.NumMethod() {
		switch v.Type().Method(i).Name {
		case "Destroy", "Close", "UnmarshalText", "UnmarshalBinary", "Scan": // would empty what the next probe looks at
			continue
		}
		m := v.Method(i)
		var args []reflect.Value
		for in := range m.Type().Ins() {
			switch in {
			case reflect.TypeFor[fmt.State]():
				args = append(args, reflect.ValueOf(&fmtState{}))
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
			for _, r := range m.Call(args[:min(len(args), m.Type().NumIn())]) {
				fmt.Fprintf(w, "%v %s %x %q %+v\n", r, r, r, r, r)
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

type holder struct {
	name string
	v    any
}

// holders puts v into everything that might hold it.
func holders[T any](v T) []holder {
	type exported struct{ K T }
	type unexported struct{ k T }
	type unexportedPointer struct{ k *T }
	type deep struct {
		s []T
		m map[string]T
		a any
		n struct{ k T }
		i [1]T
	}
	return []holder{
		{"bare", v},
		{"pointer", &v},
		{"exported field", exported{v}},
		{"unexported field", unexported{v}},
		{"pointer to an unexported field", &unexported{v}},
		{"unexported pointer", unexportedPointer{&v}},
		{"exported pointer", struct{ K *T }{&v}},
		{"slice", []T{v}},
		{"map", map[string]T{"k": v}},
		{"any", []any{v, &v}},
		{"exported any", struct{ A any }{v}},
		{"unexported slice, map, any, struct, array", deep{s: []T{v}, m: map[string]T{"k": v}, a: v, n: struct{ k T }{v}, i: [1]T{v}}},
	}
}

// dump runs a probe; what it panics with is what a crash would print.
func dump(p probe, v any) string {
	var b bytes.Buffer
	func() {
		defer func() {
			if r := recover(); r != nil {
				fmt.Fprintf(&b, "panic: %v %+v %s", r, r, r)
			}
		}()
		p.run(&b, v)
	}()
	return b.String()
}

const canary = "canary-PLAINTEXT-q7Wz_9fKx3Lm8Tn2"

type loadedConfig struct {
	Ring     *secrets.Ring  `secret:"RING,kind=key"`
	Token    secrets.Secret `secret:"TOKEN,kind=token" validate:"min=20"`
	Live     *secrets.Live  `secret:"LIVE,kind=token"`
	Database struct {
		URL secrets.Secret `secret:"DATABASE_URL,kind=url"`
	}
	Region string `secret:"REGION,public"`
}

func TestNoDumperShowsASecret(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.2")
	key, err := secrets.Generate(32)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	const live = "live-PLAINTEXT-x4Rt_8gHj2Pk6Vb9"
	dir := t.TempDir()
	for name, text := range map[string]string{"RING": key, "TOKEN": canary, "LIVE": live, "DATABASE_URL": "postgres://svc:" + canary + "pw@db.internal/care", "REGION": "eu-west-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var cfg loadedConfig
	loader, err := secrets.Load(t.Context(), &cfg, secrets.Options{Sources: []secrets.Source{secrets.Dir(dir)}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = loader.Close() }()

	find := needles([]byte(canary), []byte(live), raw, []byte(key))
	probes := allProbes()
	if len(probes) < 46 {
		t.Fatalf("only %d probes", len(probes))
	}
	cell := cfg.Ring.Column("orders.token").Row("1")
	cell.Secret = secrets.NewSecret(canary)
	held := map[string][]holder{
		"Secret":        holders(secrets.NewSecret(canary)),
		"Live":          holders(cfg.Live),
		"Live by value": holders(*cfg.Live),
		"Ring":          holders(cfg.Ring),
		"Ring by value": holders(*cfg.Ring),
		"Config":        holders(cfg),
		"Column":        holders(cfg.Ring.Column("orders.token")),
		"Cell":          holders(cell),
		"Loader":        holders(loader),
	}
	count := 0
	for what, all := range held {
		for _, h := range all {
			for _, p := range probes {
				count++
				out := dump(p, h.v)
				if n := shows(out, find); n != "" {
					t.Errorf("%s, %s, %s shows %q:\n%.2000s", what, h.name, p.name, n, out)
				}
			}
		}
	}
	t.Logf("%d probes, %d dumps", len(probes), count)
	if secrets.Expose(cfg.Token) != canary || secrets.Expose(cfg.Live.Get()) != live || cfg.Ring.Derive("x", 32) == nil {
		t.Error("a probe changed what it looked at")
	}
}

// A probe that finds nothing in what does leak would prove nothing. Each must
// find a plain string, in some holder; %T alone never prints a value.
func TestEveryProbeFindsWhatLeaks(t *testing.T) {
	find := needles([]byte(canary))
	type plain string
	type boxed struct{ b *struct{ s string } }
	leaking := append(holders(canary), holders([]byte(canary))...)
	for _, p := range allProbes() {
		seen := 0
		for _, h := range leaking {
			if shows(dump(p, h.v), find) != "" {
				seen++
			}
		}
		if (seen == 0) != (p.name == "fmt %T") {
			t.Errorf("%s sees %d of %d", p.name, seen, len(leaking))
		}
	}
	// What tempts people: a type with a String method, and a pointer.
	for name, all := range map[string][]holder{"a string type": holders(plain(canary)), "a pointer to a struct": holders(boxed{&struct{ s string }{canary}})} {
		seen := 0
		for _, h := range all {
			for _, p := range allProbes() {
				if shows(dump(p, h.v), find) != "" {
					seen++
				}
			}
		}
		t.Logf("%s: %d dumps leak", name, seen)
		if seen < 50 {
			t.Errorf("%s: only %d dumps leak", name, seen)
		}
	}
	raw := []byte(canary)
	for _, shown := range []string{
		fmt.Sprint(raw), fmt.Sprintf("%x", raw), fmt.Sprintf("%X", raw), fmt.Sprintf("% x", raw), fmt.Sprintf("%#v", raw), fmt.Sprintf("%U", []rune(canary)), canary[5:14],
		base64.StdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw[1:]), base64.StdEncoding.EncodeToString(raw[2:]),
	} {
		if shows(shown, find) == "" {
			t.Errorf("not seen: %q", shown)
		}
	}
}
