package hardening_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/faults"
)

func TestZeroEnvironmentIsProduction(t *testing.T) {
	var e hardening.Environment
	if e != hardening.Production || e.String() != "production" {
		t.Errorf("zero value is %v", e)
	}
	for _, want := range []hardening.Environment{hardening.Production, hardening.Staging, hardening.Development} {
		b, err := want.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got hardening.Environment
		if err := got.UnmarshalText(b); err != nil || got != want {
			t.Errorf("%s reads back as %v, %v", b, got, err)
		}
	}
	for _, bad := range []string{"", "prod", "Production", "dev", " production", strings.Repeat("x", 1<<20)} {
		_, err := hardening.ParseEnvironment(bad)
		if err == nil || len(err.Error()) > 300 {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	if _, err := hardening.Environment(9).MarshalText(); err == nil {
		t.Error("an unknown environment was written")
	}
}

func TestFaultsYieldsEveryFaultOfATree(t *testing.T) {
	f := faults.For("room")
	f.Add("A", "x\ny", "is bad", "write a better one")
	f.Secret("B", "is too short", "generate one")
	inner := faults.For("inner")
	inner.Missing("C", "is missing", "set it")
	f.Join(fmt.Errorf("wrapped: %w", inner.Err()))
	f.Join(nil)
	err := fmt.Errorf("load: %w", errors.Join(f.Err(), errors.New("not a fault")))
	var got []string
	for e := range hardening.Faults(err) {
		got = append(got, e.Field)
	}
	if strings.Join(got, "") != "ABC" {
		t.Errorf("got %v of %v", got, err)
	}
	for range hardening.Faults(err) {
		break // stopping early must not panic
	}
	for range hardening.Faults(nil) {
		t.Error("nil has no faults")
	}
	if f := faults.For("room"); f.Err() != nil {
		t.Error("no faults, no error")
	}
	var ce *hardening.ConfigError
	if !errors.As(err, &ce) || strings.Contains(ce.Error(), "\n") {
		t.Errorf("a value broke the line: %v", ce)
	}
	if want := `room: A "x\ny" is bad; fix: write a better one`; ce.Error() != want {
		t.Errorf("got %s, want %s", ce.Error(), want)
	}
}

func TestFaultValuesShowNoCredentials(t *testing.T) {
	for _, value := range []string{
		"https://bob:hunter2@app.example", "bob:hunter2@app.example", "wss://x.example/?key=hunter2", "//bob:hunter2@x", "postgres://u:hunter2@db/x?y",
	} {
		f := faults.For("room")
		f.Add("A", value, "is bad", "write a better one")
		if s := f.Err().Error(); strings.Contains(s, "hunter2") {
			t.Error(s)
		}
	}
	f := faults.For("room")
	f.Add("A", "https://app.example:443", "is bad", "write a better one")
	f.Add("B", "security@example.org", "is bad", "write a better one")
	if s := f.Err().Error(); !strings.Contains(s, "app.example:443") || !strings.Contains(s, "security@example.org") {
		t.Error("what is harmless must be shown: " + s)
	}
	var nothing *strings.Builder
	if !f.NilInside("C", nothing, "fill it") || f.NilInside("C", nil, "") || f.NilInside("C", t, "") || f.Len() != 3 {
		t.Error("a nil pointer in an interface, and only that, is a fault")
	}
}

func TestFaultValuesAreShort(t *testing.T) {
	f := faults.For("room")
	f.Add("A", strings.Repeat("é", 1<<20), "is long", "shorten it")
	if n := len(f.Err().Error()); n > 400 {
		t.Errorf("error of %d bytes", n)
	}
}

func TestFindingRoundTrip(t *testing.T) {
	in := hardening.Finding{
		ID: "HDN-EDGE-001", Component: "edge", Title: "t", Passed: true, Severity: hardening.High, Observed: "o", Expected: "e",
		Controls: []hardening.Control{{hardening.ASVS, "v5.0.0-4.1.3", hardening.Supports}},
	}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out hardening.Finding
	if err := json.Unmarshal(b, &out); err != nil || out.String() != in.String() || out.Controls[0] != in.Controls[0] {
		t.Errorf("%s came back as %v, %v", b, out, err)
	}
	var s hardening.Severity
	if err := s.UnmarshalText([]byte("catastrophic")); err == nil {
		t.Error("an unknown severity was read")
	}
	if _, err := hardening.Severity(77).MarshalText(); err == nil {
		t.Error("an unknown severity was written")
	}
}

func TestNamesOfInstancesPrint(t *testing.T) {
	for name, ok := range map[string]bool{
		"": true, "admin": true, "login of nurses": true, "zorgverlener é": true, strings.Repeat("x", 64): true,
		strings.Repeat("x", 65): false, "a\nb": false, "a\u202eb": false, "a\xff": false, "\x1b[31m": false,
	} {
		f := faults.For("room")
		f.Name("Name", name)
		if got := f.Err() == nil; got != ok {
			t.Errorf("%q accepted: %t", name, got)
		}
	}
}
