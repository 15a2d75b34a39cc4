package secrets

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSwappedRowsAndColumnsDoNotOpen(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-14.2.4")
	r := ringOf(t, "V1")
	column := r.Column("orders.refresh_token")
	store := func(c *Column, id, text string) any {
		cell := c.Row(id)
		cell.Secret = NewSecret(text)
		v, err := cell.Value()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	a, b := store(column, "a", "token of a"), store(column, "b", "token of b")
	for _, tt := range []struct {
		name   string
		column *Column
		id     string
		src    any
		want   string
		err    error
	}{
		{"its own row", column, "a", a, "token of a", nil},
		{"as bytes", column, "b", []byte(b.(string)), "token of b", nil},
		{"another Column value of the same purpose", r.Column("orders.refresh_token"), "a", a, "token of a", nil},
		{"the other row", column, "b", a, "", ErrOpen},
		{"another column", r.Column("orders.access_token"), "a", a, "", ErrOpen},
		{"a text of Seal", column, "a", seal(t, r, "x", "a"), "", ErrOpen},
		{"not sealed at all", column, "a", "token of a", "", ErrOpen},
		{"empty", column, "a", "", "", ErrOpen},
		{"a number", column, "a", int64(7), "", ErrOpen},
		{"no row", column, "", a, "", ErrNoRow},
		{"no purpose", r.Column(""), "a", a, "", ErrNoKey},
		{"a zero cell", &Column{}, "a", a, "", ErrNoKey},
		{"null", column, "a", nil, "", nil},
	} {
		cell := &Cell{}
		if tt.column.s != nil {
			cell = tt.column.Row(tt.id)
		} else {
			cell.id = tt.id
		}
		cell.Secret = NewSecret("from before")
		if err := cell.Scan(tt.src); !errors.Is(err, tt.err) || Expose(cell.Secret) != tt.want {
			t.Errorf("%s: %q, %v", tt.name, Expose(cell.Secret), err)
		}
	}
	if v, err := column.Row("a").Value(); v != nil || err != nil {
		t.Errorf("the zero Secret is NULL, not %v, %v", v, err)
	}
	if v, err := (*Cell)(nil).Value(); v != nil || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	gone := column.Row("a")
	gone.Secret = NewSecret("x")
	gone.Secret.Destroy()
	if v, err := gone.Value(); v != nil || !errors.Is(err, ErrNoValue) {
		t.Errorf("a destroyed Secret would erase its row: %v, %v", v, err)
	}
	lost := column.Row("")
	lost.Secret = NewSecret("x")
	if v, err := lost.Value(); v != nil || !errors.Is(err, ErrNoRow) {
		t.Errorf("%v, %v", v, err)
	}
	if _, _, err := r.Open(a.(string), []byte("a")); !errors.Is(err, ErrOpen) {
		t.Errorf("Open opened a cell: %v", err)
	}
}

// Every exported method, with every made-up argument: none gives a raw key.
func TestNoExportedMethodGivesARawKey(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.3")
	r := ringOf(t, "v2@2020-01-02:V2,v1:V1")
	cell := r.Column("p").Row("1")
	cell.Secret = NewSecret("anything")
	var forms []string
	for _, text := range testKeys[:2] {
		raw, _ := decodeKey([]byte(text))
		for i := range len(raw) - 8 {
			w := raw[i : i+8]
			forms = append(forms, string(w), hex.EncodeToString(w), base64.RawStdEncoding.EncodeToString(w[:6]), base64.RawURLEncoding.EncodeToString(w[:6]))
		}
		forms = append(forms, text)
	}
	called := 0
	var show func(v reflect.Value) string
	show = func(v reflect.Value) string {
		switch {
		case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
			return string(v.Bytes())
		case v.Kind() == reflect.Slice:
			var all strings.Builder
			for i := range v.Len() {
				all.WriteString(show(v.Index(i)) + "\n")
			}
			return all.String()
		case v.Kind() == reflect.String:
			return v.String()
		case v.CanInterface() && v.Kind() == reflect.Interface && !v.IsNil():
			return show(v.Elem())
		}
		return ""
	}
	for _, v := range []any{r, r.Column("p"), cell} {
		rv := reflect.ValueOf(v)
		for i := range rv.NumMethod() {
			name := rv.Type().Method(i).Name
			if name == "Destroy" || name == "Format" {
				continue
			}
			m := rv.Method(i)
			for _, s := range []string{"", "x", kidInfo, sealInfo, "secrets/seal"} {
				for _, n := range []int{0, 1, 32} {
					var args []reflect.Value
					for in := range m.Type().Ins() {
						switch in {
						case reflect.TypeFor[string]():
							args = append(args, reflect.ValueOf(s))
						case reflect.TypeFor[[]byte]():
							args = append(args, reflect.ValueOf([]byte(s)))
						case reflect.TypeFor[int]():
							args = append(args, reflect.ValueOf(n))
						default:
							args = append(args, reflect.Zero(in))
						}
					}
					called++
					for _, out := range m.Call(args) {
						for _, form := range forms {
							if strings.Contains(show(out), form) {
								t.Errorf("%T.%s gives a part of a key", v, name)
							}
						}
					}
				}
			}
		}
	}
	if called < 10*15 {
		t.Errorf("only %d calls", called)
	}
}

func TestHotPathsOfARingDoNotAllocateMoreThanTheyReturn(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := ringOf(t, "v2@2020-01-02:V2,v1:V1")
	plain, aad := make([]byte, 1024), []byte("aad")
	sealed := seal(t, r, string(plain), "aad")
	for _, tt := range []struct {
		name string
		most float64
		fn   func()
	}{
		{"Generation", 0, func() { r.Generation() }},
		{"Seal", 2, func() { _, _ = r.Seal(plain, aad) }},
		// The plaintext, and what the standard library needs for one derived key.
		{"Open", 5, func() { _, _, _ = r.Open(sealed, aad) }},
	} {
		if got := testing.AllocsPerRun(200, tt.fn); got > tt.most {
			t.Errorf("%s: %v allocations, at most %v", tt.name, got, tt.most)
		}
	}
}

func TestSealingWhileKeysChangeAndTheRingIsDestroyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := ringOf(t, "v2@2000-01-01T00:00:00Z:V2,v1:V1")
		column := r.Column("p")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 200 {
					time.Sleep(time.Hour)
					sealed, err := r.Seal([]byte("x"), nil)
					if errors.Is(err, ErrNoKey) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					if got, _, err := r.Open(sealed, nil); !errors.Is(err, ErrNoKey) && (err != nil || string(got) != "x") {
						t.Errorf("%q, %v", got, err)
					}
					cell := column.Row("1")
					cell.Secret = NewSecret("y")
					if _, err := cell.Value(); err != nil && !errors.Is(err, ErrNoKey) {
						t.Error(err)
					}
				}
			})
		}
		time.Sleep(190 * time.Hour)
		r.Destroy()
		wg.Wait()
		if inner := r.inner(); inner.seal.set.Load() != nil && len(inner.seal.set.Load().keys) > 0 {
			t.Error("expanded keys outlive the ring")
		}
	})
}

func TestACellOfAZeroColumnHasNoKey(t *testing.T) {
	if err := new(Column).Row("1").Scan("s1.00000000.AAAA"); !errors.Is(err, ErrNoKey) {
		t.Errorf("Scan gives %v", err)
	}
	cell := new(Column).Row("1")
	cell.Secret = NewSecret("x")
	if _, err := cell.Value(); !errors.Is(err, ErrNoKey) {
		t.Errorf("Value gives %v", err)
	}
}
