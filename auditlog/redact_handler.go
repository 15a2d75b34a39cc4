package auditlog

import (
	"context"
	"log/slog"
	"slices"
	"unicode/utf8"
)

// Handler returns a handler that redacts every record, and whatever is added
// by With and WithGroup, before next sees it. Put it outermost: what joins the
// record behind it is not looked at.
func (r *Redactor) Handler(next slog.Handler) slog.Handler {
	return &redactHandler{r: r, next: next, taken: ownKeys[:]}
}

type redactHandler struct {
	r      *Redactor
	next   slog.Handler
	hidden bool     // a group that is open has a denied name
	taken  []string // names in the innermost group
}

// hint stands once for all that is in a denied group.
var hint = slog.String("hidden", redactedKey)

func (h *redactHandler) hinted() bool { return slices.Contains(h.taken, hint.Key) }

func (h *redactHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h *redactHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	out := *h
	if h.hidden {
		if h.hinted() {
			return h
		}
		out.next, out.taken = h.next.WithAttrs([]slog.Attr{hint}), []string{hint.Key}
		return &out
	}
	shown := h.r.attrs(attrs, h.taken)
	out.next, out.taken = h.next.WithAttrs(shown), slices.Clip(h.taken)
	for _, a := range shown {
		out.taken = append(out.taken, a.Key)
	}
	return &out
}

func (h *redactHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	free := namesOf(h.taken).free(h.r.name(name))
	return &redactHandler{r: h.r, next: h.next.WithGroup(free), hidden: h.hidden || h.r.rank(name) != shown}
}

func (h *redactHandler) Handle(ctx context.Context, rec slog.Record) error {
	if !h.hidden && h.clean(rec) {
		return h.next.Handle(ctx, rec)
	}
	out := slog.NewRecord(rec.Time, rec.Level, h.r.String(rec.Message), rec.PC)
	if h.hidden {
		if rec.NumAttrs() > 0 && !h.hinted() {
			out.AddAttrs(hint)
		}
		return h.next.Handle(ctx, out)
	}
	w := walker{r: h.r}
	names, n := namesOf(h.taken), 0
	shown := make([]slog.Attr, 0, min(rec.NumAttrs(), maxElements+1))
	rec.Attrs(func(a slog.Attr) bool {
		if n == maxElements {
			shown = names.add(shown, slog.Int("attrs_dropped", rec.NumAttrs()-n))
			return false
		}
		n++
		shown = names.add(shown, w.attr(a, 0))
		return true
	})
	out.AddAttrs(shown...)
	return h.next.Handle(ctx, out)
}

// clean reports whether a record may go on as it is, which saves copying it.
func (h *redactHandler) clean(rec slog.Record) bool {
	if rec.NumAttrs() > maxElements || !h.cleanText(rec.Message) {
		return false
	}
	clean, names := true, distinct{taken: h.taken}
	rec.Attrs(func(a slog.Attr) bool {
		clean = names.add(a.Key) && h.cleanAttr(a, 0)
		return clean
	})
	return clean
}

func (h *redactHandler) cleanText(s string) bool {
	if len(s) > maxString {
		return false
	}
	_, found := h.r.find(s, 0)
	return !found
}

func (h *redactHandler) cleanAttr(a slog.Attr, depth int) bool {
	if how := h.r.rank(a.Key); how == secret || how == weak && !countsOnly(a.Value) || !utf8.ValidString(a.Key) || !h.cleanText(a.Key) {
		return false
	}
	switch a.Value.Kind() {
	case slog.KindString:
		return h.cleanText(a.Value.String()) // where it is not, attr knows what Safe exempts
	case slog.KindGroup:
		group := a.Value.Group()
		if depth >= maxDepth || len(group) > maxElements {
			return false
		}
		var names distinct
		for _, m := range group {
			if !names.add(m.Key) || !h.cleanAttr(m, depth+1) {
				return false
			}
		}
		return true
	case slog.KindInt64:
		return !h.r.isCardInt(a.Value.Int64()) || h.r.isSafe(a.Key)
	case slog.KindUint64:
		return !h.r.isCard(a.Value.Uint64()) || h.r.isSafe(a.Key)
	case slog.KindFloat64:
		return !h.r.isCardFloat(a.Value.Float64()) || h.r.isSafe(a.Key)
	case slog.KindAny, slog.KindLogValuer:
		return false
	}
	return true
}
