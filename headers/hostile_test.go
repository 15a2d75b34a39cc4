package headers_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening/headers"
)

// texts calls visit for every text that a Config can hold, with what sets it.
// Lists that are empty get one element.
func texts(path string, v reflect.Value, visit func(path string, set func(string))) {
	switch v.Kind() {
	case reflect.String:
		visit(path, v.SetString)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				texts(path+"."+f.Name, v.Field(i), visit)
			}
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		texts(path+"[0]", v.Index(0), visit)
	case reflect.Map:
		key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		v.Set(reflect.MakeMap(v.Type()))
		texts(path+"{key}", key, visit)
		texts(path+"{value}", elem, visit)
		v.SetMapIndex(key, elem)
	}
}

// No field of any Config can carry a line into a header, or end a header's or
// directive's value early.
func TestNoTextOfAConfigReachesAHeaderWithALineBreak(t *testing.T) {
	builds := map[string]struct {
		cfg func() any
		new func(any) error
	}{
		"Config":        {func() any { c := headers.Strict(); return &c }, func(c any) error { _, err := headers.New(*c.(*headers.Config)); return err }},
		"Isolation":     {func() any { return &headers.IsolationConfig{} }, func(c any) error { _, err := headers.NewIsolation(*c.(*headers.IsolationConfig)); return err }},
		"HostCheck":     {func() any { return &headers.HostCheckConfig{} }, func(c any) error { _, err := headers.NewHostCheck(*c.(*headers.HostCheckConfig)); return err }},
		"RedirectHTTPS": {func() any { return &headers.RedirectConfig{} }, func(c any) error { _, err := headers.RedirectHTTPS(*c.(*headers.RedirectConfig)); return err }},
		"SecurityTxt":   {func() any { return &headers.SecurityTxtConfig{Expires: time.Now().Add(90 * 24 * time.Hour)} }, func(c any) error { _, err := headers.SecurityTxt(*c.(*headers.SecurityTxtConfig)); return err }},
		"Collector": {func() any { return &headers.ReportCollectorConfig{} }, func(c any) error {
			_, err := headers.NewReportCollector(*c.(*headers.ReportCollectorConfig))
			return err
		}},
	}
	for name, b := range builds {
		var paths []string
		texts(name, reflect.ValueOf(b.cfg()).Elem(), func(path string, _ func(string)) { paths = append(paths, path) })
		if len(paths) == 0 {
			t.Errorf("%s has no text", name)
		}
		for i, path := range paths {
			for _, bad := range []string{"a\r\nX-Evil: 1", "a\nb", "a\rb", "a\x00b", "/a\r\nb", "https://a.example/\r\nb", "https://a.example\n", "a\u2028b\x7f"} {
				cfg, n := b.cfg(), 0 // nothing of it is shared with the one before
				texts(name, reflect.ValueOf(cfg).Elem(), func(_ string, set func(string)) {
					if n == i {
						set(bad)
					}
					n++
				})
				err := b.new(cfg)
				if err == nil {
					t.Errorf("%s takes %q", path, bad)
					continue
				}
				field := strings.TrimPrefix(path, name+".")
				field, _, _ = strings.Cut(field, "{")
				if strings.HasSuffix(field, "]") {
					field, _, _ = strings.Cut(field, "[")
				}
				if !strings.Contains(err.Error(), field) {
					t.Errorf("%s: %q is refused for another reason only: %v", path, bad, err)
				}
				if strings.ContainsAny(strings.ReplaceAll(err.Error(), "\n", ""), "\r\x00") {
					t.Errorf("%s: the error carries %q on", path, bad)
				}
			}
		}
	}
}
