package auditlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/inovy/hardening/internal/event"
)

func TestHandlerKeepsTheRulesOfSlog(t *testing.T) {
	var buf bytes.Buffer
	cfg := testConfig(privateDir(t))
	cfg.Next = slog.NewJSONHandler(&buf, nil)
	l := open(t, cfg)
	for name, h := range map[string]slog.Handler{"log": l.Handler(), "redactor": newRedactor(RedactorConfig{}).Handler(slog.NewJSONHandler(&buf, nil))} {
		t.Run(name, func(t *testing.T) {
			buf.Reset()
			if err := slogtest.TestHandler(h, func() (ms []map[string]any) {
				for line := range bytes.Lines(buf.Bytes()) {
					var m map[string]any
					must(t, json.Unmarshal(line, &m))
					ms = append(ms, m)
				}
				return ms
			}); err != nil {
				t.Error(err)
			}
		})
	}
	if n := len(entries(t, l, Filter{})); n != 0 {
		t.Errorf("%d events from records that are none", n)
	}
}

func TestVocabularyRecordsBecomeEventsWhateverTheLevel(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.3.1")
	cfg := testConfig(privateDir(t))
	var next bytes.Buffer
	cfg.Next = slog.NewTextHandler(&next, &slog.HandlerOptions{Level: slog.LevelError})
	cfg.Redact.Declared = []string{"k", "actor"}
	l := open(t, cfg)
	log := slog.New(l.Handler()).With("room", "session", "instance", "patients").With(event.KeyActor, "vermeer")
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a client that left does not stop the event
	log.DebugContext(ctx, AuthnLoginSuccess, event.KeyClient, "::ffff:192.0.2.7", event.KeyRequestID, "r1", event.KeyOutcome, "success", "method", "pwd", event.KeyCount, 2)
	log.Info("not an event")
	log.WithGroup("app").Warn(SensitiveRead, "actor", "in a group", slog.Group("in", "k", "v"))
	all := entries(t, l, Filter{})
	if len(all) != 2 || next.Len() != 0 {
		t.Fatalf("%d events, next got %q", len(all), &next)
	}
	e := all[0]
	if e.Actor.ID != "vermeer" || e.Origin.Service != "session/patients" || e.Origin.IP != netip.MustParseAddr("192.0.2.7") || e.RequestID != "r1" || e.Count != 2 || e.Outcome != Success || e.Action != Execute || len(e.Missing) != 0 {
		t.Errorf("%+v", e)
	}
	if len(e.Attrs) != 1 || e.Attrs[0].Key != "method" {
		t.Errorf("attrs %v", e.Attrs)
	}
	e = all[1]
	if e.Actor.ID != "vermeer" || !slices.Equal(e.Missing, []string{"Object.Type"}) || len(e.Attrs) != 1 || e.Attrs[0].Key != "app" || e.Attrs[0].Value.String() != "[actor=in a group in=[k=v]]" {
		t.Errorf("%+v", e)
	}
}

// Every name that a room can send must be recorded, bare as it may be.
func TestEveryNameOfTheVocabularyIsRecorded(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	names := []string{
		event.AuthnLoginFail, event.AuthzFail, event.SessionRevoked, event.SessionForged, event.ConfigChanged, event.SecretLoaded, event.SecretOverdue, event.SecretReloadFail,
		event.CertificateReloaded, event.CertificateRejected, event.StoreDegraded, event.StoreRecovered, event.SysCrash, event.MaliciousCSRF, event.ExcessRateLimitExceeded,
	}
	for _, name := range names {
		if err := (event.Sink{Audit: l.Handler(), Room: "test", Name: "test"}).Emit(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	got := map[string]Entry{}
	for _, e := range entries(t, l, Filter{}) {
		got[e.Type] = e
		if e.Action == "" || e.Outcome == "" || len(e.Missing) != 0 {
			t.Errorf("%+v", e)
		}
	}
	if len(got) != len(names) {
		t.Errorf("%v", slices.Collect(maps.Keys(got)))
	}
	if got[event.MaliciousCSRF].Outcome != Denied || got[event.AuthnLoginFail].Outcome != Failure || got[event.ConfigChanged].Action != Update {
		t.Errorf("defaults: %+v", got)
	}
}

func TestForgedAttributesDoNotReplaceTheGenuine(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	slog.New(l.Handler()).With("actor", "vermeer").Error(AuthzFail, "actor", "mallory", "action", "everything", "outcome", "attempted", "client_addr", "not an address", "type", "x", "time", "1999")
	e := entries(t, l, Filter{})[0]
	if e.Actor.ID != "vermeer" || e.Outcome != Denied || e.Action != Execute || e.Type != AuthzFail || len(e.Attrs) != 6 {
		t.Errorf("%+v", e)
	}
}

func TestEventsAreRedactedToo(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.2.5")
	l := open(t, testConfig(privateDir(t)))
	e := read("123456782")
	e.Reason, e.Attrs = "asked by a@example.nl for 123456782", []slog.Attr{slog.String("password", "hunter2"), slog.Any("error", errors.New("dial postgres://u:hunter2@db"))}
	record(t, l, e)
	got := entries(t, l, Filter{})[0]
	if got.Subject.ID != "123456782" {
		t.Error("a typed identifier was redacted")
	}
	if got.Reason != "asked by [REDACTED:email] for [REDACTED:bsn]" {
		t.Errorf("reason %q", got.Reason)
	}
	if s := got.Attrs[0].String() + got.Attrs[1].String(); strings.Contains(s, "hunter2") {
		t.Errorf("attrs %s", s)
	}
	if e.Attrs[0].Value.String() != "hunter2" {
		t.Error("the caller's attributes were changed")
	}
}

func TestAnEventThatCanNotBeRecordedIsAnErrorAndSaidSo(t *testing.T) {
	cfg := testConfig(privateDir(t))
	var said *lockedBuffer
	cfg.ErrorLog, said = quiet()
	l := open(t, cfg)
	must(t, l.Close())
	h := l.Handler()
	for range 100 {
		if err := h.Handle(t.Context(), slog.NewRecord(time.Now(), 0, AuthzFail, 0)); !errors.Is(err, ErrClosed) {
			t.Fatalf("got %v", err)
		}
	}
	if n := strings.Count(said.String(), "was not recorded"); n != 1 {
		t.Errorf("said %d times: %s", n, said)
	}
	if err := h.Handle(t.Context(), slog.NewRecord(time.Now(), 0, "an ordinary line", 0)); err != nil {
		t.Errorf("an ordinary line after Close: %v", err)
	}
}

func TestAnEventWithoutMandatoryFieldsIsKeptAndSaidSo(t *testing.T) {
	cfg := testConfig(privateDir(t))
	var said *lockedBuffer
	cfg.ErrorLog, said = quiet()
	l := open(t, cfg)
	for range 100 {
		slog.New(l.Handler()).Warn(SensitiveRead, "subject", "p")
	}
	if all := entries(t, l, Filter{}); len(all) != 100 || !slices.Contains(all[0].Missing, "Actor.ID") {
		t.Errorf("%d entries, %v", len(all), all[0].Missing)
	}
	if n := strings.Count(said.String(), "mandatory"); n != 1 || !strings.Contains(said.String(), "Actor.ID") {
		t.Errorf("%d lines: %s", n, said)
	}
}

// What was "refused" or "Denied" must not stand as a success.
func TestAnOutcomeInAnotherWordIsNoSuccess(t *testing.T) {
	cfg := testConfig(privateDir(t))
	var said *lockedBuffer
	cfg.ErrorLog, said = quiet()
	l := open(t, cfg)
	log := slog.New(l.Handler())
	wants := map[string]Outcome{"denied": Denied, "Denied": Denied, "FAILURE": Failure, "success": Success, "refused": "", "attempted": "", "": "", "banana": ""}
	for word := range wants {
		log.Info(SensitiveRead, "actor", "vermeer", "object_type", "file", "object", word, "action", "Read", "outcome", word)
	}
	for _, e := range entries(t, l, Filter{}) {
		want := wants[e.Object.ID]
		if e.Outcome != want || e.Action != Read || slices.Contains(e.Missing, "Outcome") != (want == "") {
			t.Errorf("%q: %q, missing %v", e.Object.ID, e.Outcome, e.Missing)
		}
	}
	if !strings.Contains(said.String(), "lacks Outcome") {
		t.Errorf("said %s", said)
	}
	log.Info(AuthzFail, "actor", "vermeer", "object_type", "file", "outcome", "refused")
	all := entries(t, l, Filter{})
	if e := all[len(all)-1]; e.Outcome != Denied || len(e.Missing) != 0 {
		t.Errorf("%+v", e)
	}
}
