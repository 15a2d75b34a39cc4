package auditlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/inovy/hardening"
)

// full is an event with every field set.
func full() Event {
	return Event{
		Time: time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC), Type: SensitiveUpdate, Code: "110110", Action: Update, Outcome: Success, Reason: "night shift",
		Actor:   Actor{ID: "vermeer", AltID: "BIG-19999", Kind: Person, Role: "doctor", Org: "ward 3", OnBehalfOf: "bos", Session: "s1:abc"},
		Subject: Subject{ID: "jansen"},
		Object:  Object{Type: "record", ID: "r1", Part: "medication", Sensitivity: "high", LifeCycle: "access"},
		Origin:  Origin{IP: netip.MustParseAddr("2001:db8::1"), AccessPoint: "ws-12", UserAgent: "Mozilla/5.0", Host: "app-1", Service: "records"},
		Purpose: "BTG", AuthProtocol: "roles-4", Relation: "treats", Consent: "opt-in",
		Controls:   Controls{Authorisation: Passed, Relation: Failed, Consent: Passed},
		BreakGlass: true, RequestID: "req-1", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Count: 3,
		Attrs: []slog.Attr{slog.String("b", "x"), slog.Int("a", -4), slog.Group("g", slog.Bool("t", true), slog.Float64("f", 1.5))},
	}
}

func TestAnEventComesBackAsItWasRecorded(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.2.1")
	t.Attr("control", "NEN7513 5")
	cfg := testConfig(privateDir(t))
	cfg.Redact.Declared = []string{"a", "b", "f"}
	l := open(t, cfg)
	want := full()
	record(t, l, want)
	record(t, l, read("p"))
	got := entries(t, l, Filter{Subject: "jansen"})
	if len(got) != 1 {
		t.Fatalf("%d entries", len(got))
	}
	e := got[0]
	if len(e.Attrs) != len(want.Attrs) {
		t.Fatalf("attrs %v", e.Attrs)
	}
	for i := range e.Attrs {
		if !e.Attrs[i].Equal(want.Attrs[i]) {
			t.Errorf("attr %v, want %v", e.Attrs[i], want.Attrs[i])
		}
	}
	e.Attrs, want.Attrs = nil, nil
	a, _ := json.Marshal(e.Event)
	b, _ := json.Marshal(want)
	if !bytes.Equal(a, b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
	if time.Since(e.Recorded) > time.Minute || e.Recorded.Location() != time.UTC || e.Seq != 2 {
		t.Errorf("recorded %v, seq %d", e.Recorded, e.Seq)
	}
}

func TestAnInvalidEventIsRefusedWithEveryFaultNamed(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	for name, c := range map[string]struct {
		change func(*Event)
		fields string
	}{
		"empty":                        {func(e *Event) { *e = Event{} }, "Action Actor.ID Outcome Type"},
		"no actor":                     {func(e *Event) { e.Actor = Actor{} }, "Actor.ID"},
		"neither subject nor object":   {func(e *Event) { e.Subject, e.Object = Subject{}, Object{} }, "Object.Type"},
		"an unknown type":              {func(e *Event) { e.Type = "sensitive_raed" }, "Type"},
		"impossible words":             {func(e *Event) { e.Action, e.Outcome, e.Actor.Kind, e.Controls.Consent = "X", "ok", "robot", "maybe" }, "Action Actor.Kind Controls.Consent Outcome"},
		"break-glass without a reason": {func(e *Event) { e.BreakGlass = true }, "Reason"},
		"too long":                     {func(e *Event) { e.Subject.ID, e.Reason = strings.Repeat("x", 257), strings.Repeat("y", 2049) }, "Reason Subject.ID"},
		"a negative count":             {func(e *Event) { e.Count = -1 }, "Count"},
		"a time out of time":           {func(e *Event) { e.Time = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC) }, "Time"},
		"too many attributes":          {func(e *Event) { e.Attrs = make([]slog.Attr, 65) }, "Attrs"},
	} {
		t.Run(name, func(t *testing.T) {
			e := read("p")
			c.change(&e)
			err := l.Record(t.Context(), e)
			if !errors.Is(err, ErrInvalidEvent) {
				t.Fatalf("got %v", err)
			}
			fields := map[string]bool{}
			for f := range hardening.Faults(err) {
				fields[strings.TrimPrefix(f.Field, "Event.")] = true
				if f.Reason == "" || f.Fix == "" || strings.Contains(f.Error(), "xxx") {
					t.Errorf("%v", f)
				}
			}
			for f := range strings.FieldsSeq(c.fields) {
				if !fields[f] {
					t.Errorf("%s is not named in %v", f, err)
				}
				delete(fields, f)
			}
			if len(fields) > 0 {
				t.Errorf("named besides: %v", fields)
			}
		})
	}
	if n := len(entries(t, l, Filter{})); n != 0 {
		t.Errorf("%d were recorded", n)
	}
	// Someone who fails to log in has no name.
	record(t, l, Event{Type: AuthnLoginFail, Action: Execute, Outcome: Failure, Origin: Origin{IP: netip.MustParseAddr("192.0.2.1")}})
}

var hostileTexts = []string{
	"a\r\nR 9 forged", "\x1b[2Jcleared", "\u202egnp.exe", "bad\xff\xfeutf8", "\u2028\u2029\u0085", "\x00", `","actor":"mallory`, `"}` + "\n", "\U000e0001tag", strings.Repeat("é", 120), "\ufffd",
}

func TestHostileTextIsOnePrintableLine(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.4.1")
	for _, s := range hostileTexts {
		e := read("p")
		e.Object.ID, e.Reason, e.Attrs = s, s, []slog.Attr{slog.String(s, s), slog.Any("m", map[string]any{s: []string{s}})}
		r := newRedactor(RedactorConfig{})
		e.Attrs = r.attrs(e.Attrs, nil)
		line := appendEvent(nil, &e, time.Now(), 0, nil, nil)
		for i, c := range string(line) {
			if !unicode.IsPrint(c) && c != utf8.RuneError {
				t.Errorf("%q: %q at %d is not printable", s, c, i)
			}
		}
		got, err := decodeEvent(1, line, nil)
		if err != nil || got.Object.ID != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) || got.Actor.ID != "vermeer" {
			t.Errorf("%q came back as %q, %v", s, got.Object.ID, err)
		}
	}
}

func TestAttributesShadowNothing(t *testing.T) {
	e := read("p")
	e.Attrs = []slog.Attr{slog.String("actor", "mallory"), slog.String("actor", "eve"), slog.String("actor#2", "x"), slog.String("k", "genesis"), slog.String(droppedKey, "1"), slog.Float64("nan", math.NaN())}
	line := appendEvent(nil, &e, time.Now(), 0, nil, nil)
	got, err := decodeEvent(1, line, nil)
	if err != nil || got.Actor.ID != "vermeer" || len(got.Attrs) != len(e.Attrs) {
		t.Fatalf("%s: %v, %v", line, got, err)
	}
	seen := map[string]bool{}
	for _, a := range got.Attrs {
		if seen[a.Key] || a.Key == droppedKey {
			t.Errorf("%s: %q", line, a.Key)
		}
		seen[a.Key] = true
	}
	if kind, _, err := head(line); err != nil || kind != kindEvent {
		t.Errorf("%s, %v", kind, err)
	}
}

func TestAttributesAreBounded(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	e := read("p")
	for range maxAttrs {
		e.Attrs = append(e.Attrs, slog.String("k", strings.Repeat("\x01", 1<<20)))
	}
	record(t, l, e)
	h := slog.New(l.Handler())
	attrs := make([]any, 10_000)
	for i := range attrs {
		attrs[i] = slog.String("key", strings.Repeat("v", 100))
	}
	h.Info(SensitiveRead, append(attrs, "actor", "a", "object_type", "t", "object", strings.Repeat("o", 1<<20))...)
	all := entries(t, l, Filter{})
	if len(all) != 2 {
		t.Fatalf("%d entries", len(all))
	}
	for _, e := range all {
		if len(e.Attrs) > maxAttrs || len(e.Object.ID) > maxObject {
			t.Errorf("%d attrs, object of %d bytes", len(e.Attrs), len(e.Object.ID))
		}
	}
	if r := verify(t, l.cfg.Dir, l.VerifierKey()); r.Status != StatusOK {
		t.Errorf("%v", r)
	}
}

func FuzzEventRoundTrip(f *testing.F) {
	for _, s := range hostileTexts {
		f.Add(s, s, int64(3))
	}
	f.Add(strings.Repeat("\x05", 3000), "0", int64(-106)) // too long to be an attribute
	keys, err := openSubjects(filepath.Join(f.TempDir(), subjectName), false)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, key string, n int64) {
		e := read(id)
		e.Count = max(n, 0)
		e.Attrs = []slog.Attr{slog.String(key, id), slog.Int64(id, n)}
		s, err := keys.of(e.Subject.ID)
		if err != nil {
			t.Fatal(err)
		}
		// What an escape makes of a byte is six long at most: up to here both attributes fit into the record,
		// beyond it one may be counted as dropped.
		attrsCameBack := func(got Entry) bool {
			return len(got.Attrs) == 2 || len(id)+len(key) > maxAttrBytes/8 && len(got.Attrs) > 0
		}
		now := time.Now()
		sealed := appendEvent(nil, &e, now, 0, nil, s)
		if got, err := decodeEvent(0, sealed, keys); err != nil || got.Subject.ID != strings.ToValidUTF8(id, "\ufffd") && utf8.ValidString(id) || !attrsCameBack(got) {
			t.Fatalf("%s came back as %+v, %v", sealed, got, err)
		}
		other := read("someone else") // whatever id is a part of even here is no trace of the subject
		other.Count = e.Count
		if len(id) > 8 && bytes.Contains(sealed, []byte(id)) && !bytes.Contains(appendEvent(nil, &other, now, 0, nil, s), []byte(id)) {
			t.Fatalf("what identifies the subject is readable in %s", sealed)
		}
		e.Subject.ID = ""
		e.Actor.AltID = id
		line := appendEvent(nil, &e, time.Now(), 0, nil, nil)
		if bytes.ContainsAny(line, "\r\n\x00\x1b") || bytes.ContainsAny(sealed, "\r\n\x00\x1b") || !json.Valid(line) || !json.Valid(sealed) {
			t.Fatalf("%q", line)
		}
		got, err := decodeEvent(0, line, nil)
		if err != nil || got.Actor.AltID != strings.ToValidUTF8(id, "\ufffd") && utf8.ValidString(id) || got.Count != e.Count || !attrsCameBack(got) {
			t.Fatalf("%s came back as %+v, %v", line, got, err)
		}
		again := appendEvent(nil, &got.Event, got.Recorded, 0, nil, nil)
		if slices.ContainsFunc(got.Attrs, func(a slog.Attr) bool { return a.Key == droppedKey }) {
			return // no event can carry what counts those that were dropped
		}
		if utf8.ValidString(id) && utf8.ValidString(key) && !bytes.Equal(again, line) {
			t.Errorf("not canonical:\n%s\n%s", line, again)
		}
	})
}
