package benchmarks

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"filippo.io/age"
	"github.com/caarlos0/env/v11"
	"github.com/go-playground/validator/v10"
	"github.com/knadh/koanf/providers/confmap"
	koanfenv "github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/viper"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/inovy/hardening/secrets"
)

// variables is how many a service loads: 20 tokens, 20 settings, 10 numbers.
const variables = 50

func variable(i int) string { return fmt.Sprintf("BENCH_SETTING_%02d", i) }

// variableValue is what variable i holds: tokens look like tokens, because ours
// refuses what looks like a placeholder.
func variableValue(i int) string {
	switch {
	case i < 20:
		sum := sha256.Sum256([]byte{byte(i)})
		return base64.RawURLEncoding.EncodeToString(sum[:])
	case i < 40:
		return "eu-central-" + strconv.Itoa(i)
	}
	return strconv.Itoa(1024 + i)
}

// settings makes a struct type of the variables: tokens as token, each field
// with the tags that tag returns, and the same rules for all.
func settings(token reflect.Type, tag func(name string, secret bool) string) reflect.Type {
	fields := make([]reflect.StructField, variables)
	for i := range fields {
		f := reflect.StructField{Name: "F" + strconv.Itoa(i)}
		rule := ""
		switch {
		case i < 20:
			f.Type = token
			if token.Kind() == reflect.String {
				rule = ` validate:"required,min=20"` // ours says minlen=20
			}
		case i < 40:
			f.Type, rule = reflect.TypeFor[string](), ` validate:"required,max=64"`
		default:
			f.Type, rule = reflect.TypeFor[int](), ` validate:"min=1,max=65535"`
		}
		f.Tag = reflect.StructTag(tag(variable(i), i < 20) + rule)
		fields[i] = f
	}
	return reflect.StructOf(fields)
}

// loaders fill and validate a new struct from the environment. Each may keep
// what it keeps between two loads; a service loads once, but a test suite, a
// reload and a command line do it often.
var loaders = []struct {
	name  string
	typ   reflect.Type
	build func(typ reflect.Type) func(context.Context) (any, error)
}{
	{
		// Environment only; what it keeps for Check and Report is included.
		"hardening",
		settings(reflect.TypeFor[secrets.Secret](), func(name string, secret bool) string {
			if secret {
				return fmt.Sprintf(`secret:"%s,kind=token,minlen=20"`, name)
			}
			return fmt.Sprintf(`secret:"%s,public"`, name)
		}),
		func(typ reflect.Type) func(context.Context) (any, error) {
			// The others leave secrets in the environment, and each loop needs them again.
			opts := secrets.Options{Sources: []secrets.Source{secrets.Env()}, Logger: slog.New(slog.DiscardHandler), DangerouslyKeepEnvironment: true}
			var before *secrets.Loader
			return func(ctx context.Context) (any, error) {
				if before != nil {
					_ = before.Close() // never fails; one that nobody closes watches ages on
				}
				dst := reflect.New(typ).Interface()
				loader, err := secrets.Load(ctx, dst, opts)
				before = loader
				return dst, err
			}
		},
	},
	{
		"envconfig",
		settings(reflect.TypeFor[string](), func(name string, _ bool) string { return fmt.Sprintf(`env:"%s,required"`, name) }),
		func(typ reflect.Type) func(context.Context) (any, error) {
			v := validator.New(validator.WithRequiredStructEnabled())
			return func(ctx context.Context) (any, error) {
				dst := reflect.New(typ).Interface()
				if err := envconfig.Process(ctx, dst); err != nil {
					return nil, err
				}
				return dst, v.Struct(dst)
			}
		},
	},
	{
		"caarlos0",
		settings(reflect.TypeFor[string](), func(name string, _ bool) string { return fmt.Sprintf(`env:"%s,required"`, name) }),
		func(typ reflect.Type) func(context.Context) (any, error) {
			v := validator.New(validator.WithRequiredStructEnabled())
			return func(context.Context) (any, error) {
				dst := reflect.New(typ).Interface()
				if err := env.Parse(dst); err != nil {
					return nil, err
				}
				return dst, v.Struct(dst)
			}
		},
	},
	{
		// The whole environment is read, as its provider does, and a new Koanf
		// is made for each load, as its documentation has it.
		"koanf",
		settings(reflect.TypeFor[string](), func(name string, _ bool) string { return fmt.Sprintf(`koanf:"%s"`, name) }),
		func(typ reflect.Type) func(context.Context) (any, error) {
			v := validator.New(validator.WithRequiredStructEnabled())
			return func(context.Context) (any, error) {
				k := koanf.New(".")
				if err := k.Load(koanfenv.Provider(".", koanfenv.Opt{Prefix: "BENCH_SETTING_"}), nil); err != nil {
					return nil, err
				}
				dst := reflect.New(typ).Interface()
				if err := k.Unmarshal("", dst); err != nil {
					return nil, err
				}
				return dst, v.Struct(dst)
			}
		},
	},
	{
		// The names are bound once.
		"viper",
		settings(reflect.TypeFor[string](), func(name string, _ bool) string { return fmt.Sprintf(`mapstructure:"%s"`, strings.ToLower(name)) }),
		func(typ reflect.Type) func(context.Context) (any, error) {
			v := validator.New(validator.WithRequiredStructEnabled())
			vip := viper.New()
			for i := range variables {
				if err := vip.BindEnv(strings.ToLower(variable(i)), variable(i)); err != nil {
					return func(context.Context) (any, error) { return nil, err }
				}
			}
			return func(context.Context) (any, error) {
				dst := reflect.New(typ).Interface()
				if err := vip.Unmarshal(dst); err != nil {
					return nil, err
				}
				return dst, v.Struct(dst)
			}
		},
	},
}

// readers give the value of this moment of a setting that may change while
// others read it. What ours returns is opaque; "expose" is the case that ends
// with a string, as the peers' do.
var readers = []struct {
	name string
	make func(tb testing.TB, text string) func() string
}{
	{"hardening", func(tb testing.TB, text string) func() string {
		live := loadedLive(tb, text)
		return func() string { return secrets.Expose(live.Get()) }
	}},
	{"limit", func(_ testing.TB, text string) func() string {
		var p atomic.Pointer[string]
		p.Store(&text)
		return func() string { return strings.Clone(*p.Load()) } // a copy, as ours must be: the original is wiped
	}},
	{"koanf", func(tb testing.TB, text string) func() string {
		k := koanf.New(".")
		if err := k.Load(confmap.Provider(map[string]any{"token": text}, "."), nil); err != nil {
			tb.Fatal(err)
		}
		return func() string { return k.String("token") }
	}},
	{"viper", func(_ testing.TB, text string) func() string {
		v := viper.New()
		v.Set("token", text)
		return func() string { return v.GetString("token") }
	}},
}

// loadedLive is a Live among ten others, as Load fills it.
func loadedLive(tb testing.TB, text string) *secrets.Live {
	tb.Helper()
	dir := tb.TempDir()
	fields := make([]reflect.StructField, 10)
	for i := range fields {
		value := text
		if i != 7 {
			value = variableValue(i)
		}
		if err := os.WriteFile(filepath.Join(dir, variable(i)), []byte(value), 0o600); err != nil {
			tb.Fatal(err)
		}
		fields[i] = reflect.StructField{Name: "F" + strconv.Itoa(i), Type: reflect.TypeFor[*secrets.Live](), Tag: reflect.StructTag(fmt.Sprintf(`secret:"%s,kind=token"`, variable(i)))}
	}
	dst := reflect.New(reflect.StructOf(fields))
	loader, err := secrets.Load(tb.Context(), dst.Interface(), secrets.Options{Sources: []secrets.Source{secrets.Dir(dir)}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = loader.Close() })
	return dst.Elem().Field(7).Interface().(*secrets.Live)
}

// liveSecret and liveText keep reads from being optimised away.
var (
	liveSecret secrets.Secret
	liveText   *string
	exposed    string
)

func benchmarkRead(b *testing.B) {
	text := variableValue(0) + "x"
	b.Run("hardening", func(b *testing.B) {
		live := loadedLive(b, text)
		b.ReportAllocs()
		for b.Loop() {
			liveSecret = live.Get()
		}
	})
	b.Run("limit", func(b *testing.B) {
		var p atomic.Pointer[string]
		p.Store(&text)
		b.ReportAllocs()
		for b.Loop() {
			liveText = p.Load()
		}
	})
	for _, r := range readers[2:] {
		b.Run(r.name, func(b *testing.B) { benchmarkReader(b, r.make(b, text)) })
	}
}

func benchmarkReader(b *testing.B, read func() string) {
	b.ReportAllocs()
	for b.Loop() {
		exposed = read()
	}
}

// sealed is what a sealer made: text or bytes, so that neither pays for the
// other's form.
type sealed struct {
	text  string
	bytes []byte
}

// flip changes one bit near the end.
func (s sealed) flip() sealed {
	b := append(bytes.Clone(s.bytes), s.text...)
	b[len(b)-3] ^= 1
	if s.text != "" {
		return sealed{text: string(b)}
	}
	return sealed{bytes: b}
}

type (
	sealFunc func(plain, aad []byte) (sealed, error)
	openFunc func(s sealed, aad []byte) ([]byte, error)
)

func tinkFuncs(a tink.AEAD) (sealFunc, openFunc) {
	return func(plain, aad []byte) (sealed, error) {
		b, err := a.Encrypt(plain, aad)
		return sealed{bytes: b}, err
	}, func(s sealed, aad []byte) ([]byte, error) { return a.Decrypt(s.bytes, aad) }
}

// sealers encrypt 1 KiB so that only the same key and additional data open it.
// Keys are expanded once. Ours writes text and names its key, tink's writes bytes
// and names its key, the limit and age write bytes; age has no additional data
// and makes a key for each file, which is what it is for.
var sealers = []struct {
	name string
	make func(testing.TB) (sealFunc, openFunc)
}{
	{"hardening", func(tb testing.TB) (sealFunc, openFunc) {
		key := must(secrets.Generate(32))(tb)
		ring := must(secrets.NewRing(secrets.RingConfig{Keys: secrets.NewSecret(key)}))(tb)
		return func(plain, aad []byte) (sealed, error) {
				text, err := ring.Seal(plain, aad)
				return sealed{text: text}, err
			}, func(s sealed, aad []byte) ([]byte, error) {
				plain, _, err := ring.Open(s.text, aad)
				return plain, err
			}
	}},
	{"limit", func(tb testing.TB) (sealFunc, openFunc) {
		key := sha256.Sum256([]byte("limit"))
		gcm := must(cipher.NewGCMWithRandomNonce(must(aes.NewCipher(key[:]))(tb)))(tb)
		return func(plain, aad []byte) (sealed, error) { return sealed{bytes: gcm.Seal(nil, nil, plain, aad)}, nil },
			func(s sealed, aad []byte) ([]byte, error) { return gcm.Open(nil, nil, s.bytes, aad) }
	}},
	{"tink-gcm", func(tb testing.TB) (sealFunc, openFunc) {
		a := must(aead.New(must(keyset.NewHandle(aead.AES256GCMKeyTemplate()))(tb)))(tb)
		return tinkFuncs(a)
	}},
	{"tink-xaes", func(tb testing.TB) (sealFunc, openFunc) {
		a := must(aead.New(must(keyset.NewHandle(aead.XAES256GCM192BitNonceKeyTemplate()))(tb)))(tb)
		return tinkFuncs(a)
	}},
	{"age", func(tb testing.TB) (sealFunc, openFunc) {
		id := must(age.GenerateX25519Identity())(tb)
		return func(plain, _ []byte) (sealed, error) {
				var b bytes.Buffer
				w, err := age.Encrypt(&b, id.Recipient())
				if err != nil {
					return sealed{}, err
				}
				if _, err := w.Write(plain); err != nil {
					return sealed{}, err
				}
				err = w.Close()
				return sealed{bytes: b.Bytes()}, err
			}, func(s sealed, _ []byte) ([]byte, error) {
				r, err := age.Decrypt(bytes.NewReader(s.bytes), id)
				if err != nil {
					return nil, err
				}
				return io.ReadAll(r)
			}
	}},
}

var sealPlain, sealAAD = bytes.Repeat([]byte("care data, 16 B."), 64), []byte("orders.token|4711")

func setVariables(tb testing.TB) {
	tb.Helper()
	for i := range variables {
		tb.Setenv(variable(i), variableValue(i))
	}
}

func BenchmarkSecrets(b *testing.B) {
	b.Run("load50", func(b *testing.B) {
		for _, l := range loaders {
			b.Run(l.name, func(b *testing.B) {
				setVariables(b)
				load := l.build(l.typ)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := load(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	})
	b.Run("read", benchmarkRead)
	b.Run("expose", func(b *testing.B) {
		for _, r := range readers {
			b.Run(r.name, func(b *testing.B) { benchmarkReader(b, r.make(b, variableValue(0)+"x")) })
		}
	})
	b.Run("seal1k", func(b *testing.B) {
		for _, s := range sealers {
			b.Run(s.name, func(b *testing.B) {
				seal, _ := s.make(b)
				b.ReportAllocs()
				b.SetBytes(int64(len(sealPlain)))
				for b.Loop() {
					if _, err := seal(sealPlain, sealAAD); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	})
	b.Run("open1k", func(b *testing.B) {
		for _, s := range sealers {
			b.Run(s.name, func(b *testing.B) {
				seal, open := s.make(b)
				text, err := seal(sealPlain, sealAAD)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.SetBytes(int64(len(sealPlain)))
				for b.Loop() {
					if _, err := open(text, sealAAD); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	})
}

// Readers must read, and sealers must open what they sealed and nothing else:
// else one of them does not do the work.
func TestReaderAndSealerRigsWork(t *testing.T) {
	for _, r := range readers {
		if got := r.make(t, variableValue(0)+"x")(); got != variableValue(0)+"x" {
			t.Errorf("%s reads %q", r.name, got)
		}
	}
	for _, s := range sealers {
		seal, open := s.make(t)
		text, err := seal(sealPlain, sealAAD)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if got, err := open(text, sealAAD); err != nil || !bytes.Equal(got, sealPlain) {
			t.Errorf("%s does not open what it sealed: %v", s.name, err)
		}
		if _, err := open(text, []byte("orders.token|4712")); (err == nil) != (s.name == "age") {
			t.Errorf("%s under other additional data: %v", s.name, err)
		}
		if _, err := open(text.flip(), sealAAD); err == nil {
			t.Errorf("%s opens a changed text", s.name)
		}
	}
}

// All loaders must fill every field, and all must refuse a value that breaks
// its rule: else one of them does not validate.
func TestLoaderRigsLoadAndValidate(t *testing.T) {
	for _, l := range loaders {
		t.Run(l.name, func(t *testing.T) {
			setVariables(t)
			load := l.build(l.typ)
			dst, err := load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			v := reflect.ValueOf(dst).Elem()
			for i := range variables {
				got := fmt.Sprint(v.Field(i).Interface())
				if s, ok := v.Field(i).Interface().(secrets.Secret); ok {
					got = secrets.Expose(s)
				}
				if got != variableValue(i) {
					t.Errorf("%s is %q, want %q", variable(i), got, variableValue(i))
				}
			}
			for i, bad := range map[int]string{3: "short", 25: "", 44: "70000"} {
				t.Setenv(variable(i), bad)
				if _, err := load(t.Context()); err == nil {
					t.Errorf("%s=%q was accepted", variable(i), bad)
				}
				t.Setenv(variable(i), variableValue(i))
			}
		})
	}
}
