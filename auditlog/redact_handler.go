package auditlog

import (
	"context"
	"log/slog"
)

// Handler returns a handler that redacts every record, and whatever is added
// by With and WithGroup, before next sees it. Put it outermost: what joins the
// record behind it is not looked at.
func (r *Redactor) Handler(next slog.Handler) slog.Handler {
	return &redactHandler{r: r, next: next}
}

type redactHandler struct {
	r      *Redactor
	next   slog.Handler
	hidden bool // a group that is open has a denied name
}

func (h *redactHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h *redactHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	out := *h
	if h.hidden {
		out.next = h.next.WithAttrs([]slog.Attr{slog.String("hidden", redactedKey)})
	} else {
		out.next = h.next.WithAttrs(h.r.attrs(attrs))
	}
	return &out
}

func (h *redactHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &redactHandler{r: h.r, next: h.next.WithGroup(h.r.String(name)), hidden: h.hidden || h.r.hides(name)}
}

func (h *redactHandler) Handle(ctx context.Context, rec slog.Record) error {
	if !h.hidden && h.clean(rec) {
		return h.next.Handle(ctx, rec)
	}
	out := slog.NewRecord(rec.Time, rec.Level, h.r.String(rec.Message), rec.PC)
	if h.hidden {
		if rec.NumAttrs() > 0 {
			out.AddAttrs(slog.String("hidden", redactedKey))
		}
		return h.next.Handle(ctx, out)
	}
	w := walker{r: h.r}
	n := 0
	rec.Attrs(func(a slog.Attr) bool {
		if n == maxElements {
			out.AddAttrs(slog.Int("attrs_dropped", rec.NumAttrs()-n))
			return false
		}
		n++
		out.AddAttrs(w.attr(a, 0))
		return true
	})
	return h.next.Handle(ctx, out)
}

// clean reports whether a record may go on as it is, which saves copying it.
func (h *redactHandler) clean(rec slog.Record) bool {
	if rec.NumAttrs() > maxElements || !h.cleanText(rec.Message) {
		return false
	}
	clean := true
	rec.Attrs(func(a slog.Attr) bool {
		clean = h.cleanAttr(a, 0)
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
	if how := h.r.rank(a.Key); how == secret || how == weak && !countsOnly(a.Value) || !h.cleanText(a.Key) {
		return false
	}
	switch a.Value.Kind() {
	case slog.KindString:
		return h.cleanText(a.Value.String()) || h.r.isSafe(a.Key) && len(a.Value.String()) <= maxString
	case slog.KindGroup:
		group := a.Value.Group()
		if depth >= maxDepth || len(group) > maxElements {
			return false
		}
		for _, m := range group {
			if !h.cleanAttr(m, depth+1) {
				return false
			}
		}
		return true
	case slog.KindAny, slog.KindLogValuer:
		return false
	}
	return true
}
