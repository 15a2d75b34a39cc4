package hardening_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/auditlog"
	"github.com/inovy/hardening/headers"
	"github.com/inovy/hardening/headers/cors"
	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/redislimit"
	"github.com/inovy/hardening/secrets"
	"github.com/inovy/hardening/secrets/agefile"
	"github.com/inovy/hardening/session"
	"github.com/inovy/hardening/session/password"
	"github.com/inovy/hardening/session/redissession"
	"github.com/inovy/hardening/tlsconfig"
)

const planted = "c4n4ry"

// spoil fills a random part of a struct with what no room can use: negative
// numbers, unknown constants, empty lists, and URLs that hold a password.
func spoil(v reflect.Value, r *rand.Rand, share float64) {
	for _, f := range v.Fields() {
		if !f.CanSet() || r.Float64() > share {
			continue
		}
		switch f.Kind() {
		case reflect.String:
			f.SetString("https://user:" + planted + "@host.example/?k=" + planted)
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			f.SetInt(-1)
		case reflect.Uint8, reflect.Uint16, reflect.Uint32:
			f.SetUint(250)
		case reflect.Struct:
			spoil(f, r, share)
		case reflect.Slice:
			n := r.IntN(2)
			f.Set(reflect.MakeSlice(f.Type(), n, n))
			if n == 1 && f.Index(0).Kind() == reflect.Struct {
				spoil(f.Index(0), r, 1)
			} else if n == 1 && f.Index(0).Kind() == reflect.String {
				f.Index(0).SetString("https://user:" + planted + "@host.example/?k=" + planted)
			}
		}
	}
}

// configs makes each Config, lets it be spoilt, and hands it to its New. A Config
// that New reads is listed here, which [TestEveryConfigIsListed] sees to.
func configs(ctx context.Context, dir string) map[string]func(spoil func(any)) error {
	return map[string]func(func(any)) error{
		"hardening.EdgeConfig": func(spoil func(any)) error {
			c := hardening.EdgeConfig{}
			spoil(&c)
			_, err := hardening.NewEdge(c)
			return err
		},
		"headers.Config": func(spoil func(any)) error {
			c := headers.Config{}
			spoil(&c)
			_, err := headers.New(c)
			return err
		},
		"headers.IsolationConfig": func(spoil func(any)) error {
			c := headers.IsolationConfig{}
			spoil(&c)
			_, err := headers.NewIsolation(c)
			return err
		},
		"headers.HostCheckConfig": func(spoil func(any)) error {
			c := headers.HostCheckConfig{}
			spoil(&c)
			_, err := headers.NewHostCheck(c)
			return err
		},
		"headers.ReportCollectorConfig": func(spoil func(any)) error {
			c := headers.ReportCollectorConfig{}
			spoil(&c)
			_, err := headers.NewReportCollector(c)
			return err
		},
		"headers.SecurityTxtConfig": func(spoil func(any)) error {
			c := headers.SecurityTxtConfig{}
			spoil(&c)
			_, err := headers.SecurityTxt(c)
			return err
		},
		"headers.RedirectConfig": func(spoil func(any)) error {
			c := headers.RedirectConfig{}
			spoil(&c)
			_, err := headers.RedirectHTTPS(c)
			return err
		},
		"cors.Config": func(spoil func(any)) error {
			c := cors.Config{}
			spoil(&c)
			_, err := cors.New(c)
			return err
		},
		"ratelimit.Config": func(spoil func(any)) error {
			c := ratelimit.Config{}
			spoil(&c)
			_, err := ratelimit.New(c)
			return err
		},
		"ratelimit.MemoryConfig": func(spoil func(any)) error {
			c := ratelimit.MemoryConfig{}
			spoil(&c)
			_, err := ratelimit.NewMemoryStore(c)
			return err
		},
		"session.Config": func(spoil func(any)) error {
			c := session.Config{}
			spoil(&c)
			_, err := session.New[struct{ A int }](c)
			return err
		},
		"session.MemoryConfig": func(spoil func(any)) error {
			c := session.MemoryConfig{}
			spoil(&c)
			_, err := session.NewMemoryStore(c)
			return err
		},
		"redislimit.Config": func(spoil func(any)) error {
			c := redislimit.Config{}
			spoil(&c)
			_, err := redislimit.New(c)
			return err
		},
		"redissession.Config": func(spoil func(any)) error {
			c := redissession.Config{}
			spoil(&c)
			_, err := redissession.New(c)
			return err
		},
		"password.Config": func(spoil func(any)) error { c := password.Config{}; spoil(&c); _, err := password.New(c); return err },
		"password.PolicyConfig": func(spoil func(any)) error {
			c := password.PolicyConfig{}
			spoil(&c)
			_, err := password.NewPolicy(c)
			return err
		},
		"password.HIBPConfig": func(spoil func(any)) error {
			c := password.HIBPConfig{}
			spoil(&c)
			_, err := password.NewHIBP(c)
			return err
		},
		"secrets.Options": func(spoil func(any)) error {
			c := secrets.Options{}
			spoil(&c)
			c.DangerouslyKeepEnvironment = true // this test's own environment
			var dst struct {
				Key secrets.Secret `secret:"HARDENING_NO_SUCH_KEY,kind=token"`
			}
			_, err := secrets.Load(ctx, &dst, c)
			return err
		},
		"secrets.RingConfig": func(spoil func(any)) error {
			c := secrets.RingConfig{}
			spoil(&c)
			_, err := secrets.NewRing(c)
			return err
		},
		"agefile.Config": func(spoil func(any)) error {
			c := agefile.Config{}
			spoil(&c)
			_, err := agefile.New(c)
			return err
		},
		"auditlog.RedactorConfig": func(spoil func(any)) error {
			c := auditlog.RedactorConfig{}
			spoil(&c)
			_, err := auditlog.NewRedactor(c)
			return err
		},
		"auditlog.RouteConfig": func(spoil func(any)) error {
			c := auditlog.RouteConfig{}
			spoil(&c)
			_, err := auditlog.NewRoute(c)
			return err
		},
		"auditlog.Config": func(spoil func(any)) error {
			c := auditlog.Config{Next: slog.DiscardHandler, ErrorLog: slog.New(slog.DiscardHandler)}
			spoil(&c)
			if c.Dir = ""; c.KeyFile != "" {
				c.KeyFile = filepath.Join(dir, "none", "key")
			}
			_, err := auditlog.Open(ctx, c)
			return err
		},
		"tlsconfig.ServerConfig": func(spoil func(any)) error {
			c := tlsconfig.ServerConfig{}
			spoil(&c)
			_, err := tlsconfig.NewServer(c)
			return err
		},
		"tlsconfig.ClientConfig": func(spoil func(any)) error {
			c := tlsconfig.ClientConfig{}
			spoil(&c)
			client, err := tlsconfig.NewClient(c)
			if err == nil {
				_ = client.Close()
			}
			return err
		},
		"tlsconfig.PublicDialerConfig": func(spoil func(any)) error {
			c := tlsconfig.PublicDialerConfig{}
			spoil(&c)
			_, err := tlsconfig.PublicDialer(c)
			return err
		},
		"tlsconfig.DevCAConfig": func(spoil func(any)) error {
			c := tlsconfig.DevCAConfig{}
			spoil(&c)
			_, err := tlsconfig.NewDevCA(dir, c)
			return err
		},
	}
}

// notSpoilt are the Configs that hold nothing but what cannot be spoilt so.
var notSpoilt = map[string]string{
	"auditlog.TailConfig":       "needs an open log; auditlog tests its faults",
	"auditlog.AccessConfig":     "holds functions only",
	"session.CookieStoreConfig": "holds a store only",
}

func TestEveryConfigIsListed(t *testing.T) {
	listed := configs(t.Context(), t.TempDir())
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		switch {
		case slices.Contains([]string{"examples", "internal", "cmd", "benchmarks", "integration", "tools", "testdata"}, d.Name()), path != "." && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		}
		files, err := filepath.Glob(filepath.Join(path, "*.go"))
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, decl := range f.Decls {
				types, ok := decl.(*ast.GenDecl)
				if !ok {
					continue
				}
				for _, spec := range types.Specs {
					s, ok := spec.(*ast.TypeSpec)
					if !ok || !s.Name.IsExported() || !strings.HasSuffix(s.Name.Name, "Config") {
						continue
					}
					name := f.Name.Name + "." + s.Name.Name
					if listed[name] == nil && notSpoilt[name] == "" {
						t.Errorf("%s of %s is not in configs: add it, so that its faults are tried", name, file)
					}
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A property of every Config: whatever part of it is spoilt, New names faults
// that are complete, and shows no credential that was pasted into a field.
func TestEveryConfigNamesItsFaultsAndShowsNoSecret(t *testing.T) {
	for name, check := range configs(t.Context(), t.TempDir()) {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 7))
			refused := 0
			for round := range 200 {
				share := float64(round%10+1) / 10
				err := check(func(c any) { spoil(reflect.ValueOf(c).Elem(), r, share) })
				if err == nil {
					continue
				}
				refused++
				if strings.Contains(err.Error(), planted) {
					t.Fatalf("shows what was pasted into a field: %v", err)
				}
				faults := 0
				for f := range hardening.Faults(err) {
					faults++
					if f.Room == "" || f.Field == "" || f.Reason == "" || f.Fix == "" {
						t.Fatalf("incomplete fault %+v", f)
					}
				}
				if faults == 0 {
					t.Fatalf("refused without a fault: %v", err)
				}
			}
			if refused < 50 {
				t.Errorf("only %d of 200 spoilt configs were refused", refused)
			}
		})
	}
}
