package event_test

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/inovy/hardening/internal/event"
)

type handler struct {
	slog.Handler
	err  error
	seen []string
}

func (h *handler) Enabled(context.Context, slog.Level) bool { return false }
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	h.seen = append(h.seen, r.Message)
	return h.err
}

func TestAuditGetsTheRecordInsteadOfTheLoggerAndWhateverTheLevel(t *testing.T) {
	var out bytes.Buffer
	audit := &handler{err: errors.New("disk full")}
	s := event.Sink{Audit: audit, Logger: slog.New(slog.NewTextHandler(&out, nil)), Room: "session", Name: "web"}
	if err := s.Emit(t.Context(), event.SessionCreated); !errors.Is(err, audit.err) {
		t.Errorf("the audit handler's error must reach the caller, got %v", err)
	}
	if len(audit.seen) != 1 || audit.seen[0] != "session_created" || out.Len() != 0 {
		t.Errorf("audit saw %v, logger saw %q", audit.seen, &out)
	}
}

func TestWithoutAuditTheLoggerGetsIt(t *testing.T) {
	var out bytes.Buffer
	s := event.Sink{Logger: slog.New(slog.NewTextHandler(&out, nil)), Room: "session", Name: "web"}
	if err := s.Emit(t.Context(), event.AuthzFail, slog.String(event.KeyActor, "u1")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"msg=authz_fail", "level=ERROR+4", "room=session", "instance=web", "actor=u1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", &out, want)
		}
	}
	out.Reset()
	s.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelError}))
	if err := s.Emit(t.Context(), event.SessionCreated); err != nil || out.Len() != 0 {
		t.Errorf("an operational logger keeps its level: %q, %v", &out, err)
	}
	s.Logger = slog.New(&failing{})
	if err := s.Emit(t.Context(), event.SessionCreated); err != nil {
		t.Errorf("an operational logger that fails must refuse nothing: %v", err)
	}
}

type failing struct{ slog.Handler }

func (failing) Enabled(context.Context, slog.Level) bool  { return true }
func (failing) Handle(context.Context, slog.Record) error { return errors.New("x") }

// Every constant of vocabulary.go must be known with a level, or the audit log
// would treat its records as chatter.
func TestEveryVocabularyNameIsKnown(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "vocabulary.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for _, v := range spec.Values {
			lit, ok := v.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				continue
			}
			name, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			n++
			if !event.Known(name) {
				t.Errorf("%s has no level", name)
			}
		}
		return true
	})
	if n < 60 {
		t.Errorf("only %d names were found", n)
	}
	if event.Known("hello world") {
		t.Error("an ordinary message is not vocabulary")
	}
}
