package auditlog

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening"
)

// keys is a KeySource whose keys move with its generation.
type keys struct{ generation uint64 }

func (k *keys) Generation() uint64 { return k.generation }
func (k *keys) Derive(purpose string, n int) [][]byte {
	var all [][]byte
	for g := int(k.generation); g >= 0; g-- {
		all = append(all, bytes.Repeat([]byte{byte(g + 1), purpose[0]}, n)[:n])
	}
	return all
}

func TestNoFreeTextOfAnEventHoldsASecret(t *testing.T) {
	t.Attr("control", "BIO2 8.15.02")
	r := newRedactor(RedactorConfig{})
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlc2lnbmF0dXJl"
	e := Event{Time: time.Now(), Type: SensitiveRead}
	for _, f := range e.texts() {
		*f.text = "x " + jwt + " bsn 123456782"
	}
	r.event(&e)
	identifiers := 0
	for _, f := range e.texts() {
		if strings.Contains(*f.text, jwt) {
			t.Errorf("%s: %s", f.name, *f.text)
		}
		if strings.Contains(*f.text, "123456782") {
			identifiers++
			switch f.name {
			case "Actor.ID", "Actor.AltID", "Actor.OnBehalfOf", "Actor.Session", "Actor.Role", "Actor.Org", "Subject.ID", "Object.Type", "Origin.Host", "Origin.Service", "RequestID", "TraceParent":
			default:
				t.Errorf("%s is free text and holds a citizen number", f.name)
			}
		}
	}
	if identifiers != 12 {
		t.Errorf("%d typed identifiers kept what they hold", identifiers)
	}
	e = Event{Object: Object{ID: "123456782", Part: "4111111111111111"}}
	newRedactor(RedactorConfig{Safe: []string{"object"}}).event(&e)
	if e.Object.ID != "123456782" || e.Object.Part != "[REDACTED:pan]" {
		t.Errorf("%+v", e.Object)
	}
}

// A text of an event that came through the handler is cut to what its field
// holds. A secret across the cut must not lose the end that it is known by.
func TestASecretAcrossTheCutOfAFieldIsHidden(t *testing.T) {
	t.Attr("control", "BIO2 8.15.02")
	const token = "ghp_0123456789abcdefghijABCDEFGHIJ012345"
	r := newRedactor(RedactorConfig{})
	h := &handler{log: &Log{redactor: r}, next: slog.DiscardHandler}
	for shown := range len(token) {
		rec := slog.NewRecord(time.Now(), slog.LevelInfo, AuthnLoginFail, 0)
		rec.AddAttrs(slog.String("reason", strings.Repeat("-", maxText-3-shown)+token), slog.String("actor", strings.Repeat("-", maxID-3-shown)+token))
		e, _ := h.event(rec)
		r.event(e)
		if len(e.Reason) > maxText || len(e.Actor.ID) > maxID || strings.Contains(e.Reason+e.Actor.ID, "gh") {
			t.Errorf("%d bytes before the cut: %q, %q", shown, e.Reason[maxText-64:], e.Actor.ID[maxID-64:])
		}
	}
}

func TestAuditAttributesAreDeniedByDefault(t *testing.T) {
	t.Attr("control", "ISO27002 8.11")
	source := &keys{}
	r, err := NewRedactor(RedactorConfig{Declared: []string{"ward_code"}, Pseudonyms: source})
	must(t, err)
	e := Event{Attrs: []slog.Attr{
		slog.String("nickname", "piet"), slog.Int("shoe", 44), slog.Any("m", map[string]string{"k": "piet"}), slog.Group("g", slog.String("x", "piet"), slog.String("ward_code", "a 4111111111111111")),
		slog.Any("v", valuer{slog.StringValue("piet")}), slog.Any("loop", selfish{}), slog.String("password", "piet"), slog.String("ward_code", "C4"), slog.Bool("ok", true), slog.Int("status", 200),
	}}
	own := e.Attrs
	r.event(&e)
	text := string(appendAttrs(nil, e.Attrs, 1<<20))
	if strings.Contains(text, "piet") || strings.Contains(text, "44") || !strings.Contains(text, `"ward_code":"C4"`) || !strings.Contains(text, `"ok":true`) || !strings.Contains(text, `"status":200`) || strings.Contains(text, "4111") {
		t.Error(text)
	}
	if own[0].Value.String() != "piet" {
		t.Error("the caller's attributes were changed")
	}
	name := e.Attrs[0].Value.String()
	if e.Attrs[4].Value.String() != name || r.Pseudonyms("piet")[0] != name || !strings.HasPrefix(name, "h1:") || len(name) != 25 {
		t.Errorf("pseudonym %q", name)
	}
	if r.Pseudonyms("jan")[0] == name {
		t.Error("two values have one pseudonym")
	}
	source.generation = 1
	if all := r.Pseudonyms("piet"); len(all) != 2 || all[0] == name || all[1] != name {
		t.Errorf("after rotation: %q", all)
	}
	one, other := newRedactor(RedactorConfig{}), newRedactor(RedactorConfig{})
	if one.Pseudonyms("piet")[0] == other.Pseudonyms("piet")[0] {
		t.Error("two processes without keys agree")
	}
	if got := pseudonym(bytes.Repeat([]byte{1}, 32), "piet"); got != "h1:q1y-Cm2RZYSW9LPTt7X8-A" {
		t.Errorf("the stored form changed: %s", got)
	}
}

type noKeys struct{}

func (noKeys) Generation() uint64          { return 0 }
func (noKeys) Derive(string, int) [][]byte { return nil }

func TestWithoutAKeyNothingIsShown(t *testing.T) {
	r := newRedactor(RedactorConfig{Pseudonyms: noKeys{}})
	e := Event{Attrs: []slog.Attr{slog.String("nickname", "piet")}}
	if r.event(&e); e.Attrs[0].Value.String() != redactedKey {
		t.Error(e.Attrs)
	}
}

func TestStructTagsDecide(t *testing.T) {
	var out bytes.Buffer
	r := newRedactor(RedactorConfig{})
	slog.New(r.Handler(slog.NewJSONHandler(&out, nil))).Info("m", "v", struct {
		A string `audit:"secret"`
		B string `audit:"pseudonym"`
		C string `audit:"drop"`
		D string `audit:"safe"`
		E string `audit:"sceret"`
		F int    `audit:"pseudonym" json:"f"`
	}{"aaa1", "bbb1", "ccc1", "123456782", "eee1", 47114711})
	var line struct{ V map[string]any }
	must(t, json.Unmarshal(out.Bytes(), &line))
	for _, s := range []string{"aaa1", "bbb1", "ccc1", "eee1", "47114711"} {
		if strings.Contains(out.String(), s) {
			t.Errorf("%s in %s", s, &out)
		}
	}
	if _, has := line.V["C"]; has || line.V["D"] != "123456782" || line.V["B"] != r.Pseudonyms("bbb1")[0] {
		t.Errorf("%s", &out)
	}
}

func TestFindingsOfTheRedactorFlip(t *testing.T) {
	find := func(r *Redactor, id string) hardening.Finding {
		for _, f := range r.Check() {
			if f.ID == id {
				return f
			}
		}
		t.Fatal(id)
		return hardening.Finding{}
	}
	r, err := NewRedactor(RedactorConfig{Pseudonyms: &keys{}})
	must(t, err)
	plain := newRedactor(RedactorConfig{})
	if !find(r, "HDN-AUDITLOG-020").Passed || find(plain, "HDN-AUDITLOG-020").Passed {
		t.Error("020 does not flip")
	}
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)))
	if find(r, "HDN-AUDITLOG-021").Passed {
		t.Error("021 passes for a plain handler")
	}
	slog.SetDefault(slog.New(r.Handler(slog.DiscardHandler)))
	if !find(r, "HDN-AUDITLOG-021").Passed {
		t.Error("021 fails for a redacting handler")
	}
}

func TestFaultsOfDeclared(t *testing.T) {
	_, err := NewRedactor(RedactorConfig{Declared: []string{"_-.", "password"}, Pseudonyms: (*keys)(nil)})
	fields := map[string]bool{}
	for f := range hardening.Faults(err) {
		fields[f.Field] = true
	}
	for _, want := range []string{"Declared[0]", "Declared[1]", "Pseudonyms"} {
		if !fields[want] {
			t.Errorf("no fault for %s in %v", want, err)
		}
	}
}
