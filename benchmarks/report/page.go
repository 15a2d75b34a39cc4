package main

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// writePage writes the results as a Markdown page, and beside it a chart (.svg) of
// what every peer takes of our time.
func writePage(path, setup string, when time.Time, r *results, verdicts []verdict) error {
	chart := strings.TrimSuffix(path, filepath.Ext(path)) + ".svg"
	var page bytes.Buffer
	printPage(&page, setup, when, filepath.Base(chart), r, verdicts)
	if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
		return err
	}
	var svg bytes.Buffer
	printChart(&svg, r)
	return os.WriteFile(chart, svg.Bytes(), 0o644)
}

func printPage(w io.Writer, setup string, when time.Time, chart string, r *results, verdicts []verdict) {
	fmt.Fprintf(w, `# Performance

Written by `+"`cd benchmarks && go run ./report -page ../docs/performance.md`"+` on %s: %s.
Times differ between machines, ratios hardly do. What each case does and leaves out stands beside its benchmark.

"hardening" is this library; "limit" the least code that does the work safely, "bare" the work without any protection, "handwritten" what a
careful team would write itself, "peers" several peers together; every other word is one peer. Peers do what they do: most promise less.

![What others take of our time, for each case](%s)

The line is our time. A bar to its right is slower than we are, to its left faster; every division is a factor of two, and what is more than sixteen
times as fast is cut. Blue are peers, grey is what was written by hand to compare with.
`, when.Format(time.DateOnly), setup, chart)
	fmt.Fprint(w, "\n## Budgets\n\n| | budget | allowed | measured |\n|---|---|---|---|\n")
	for _, v := range verdicts {
		measured := strings.Join(v.Reasons, "; ")
		if v.Ratio != nil {
			measured = fmt.Sprintf("%s (%s to %s)", digits(v.Ratio.Median), digits(v.Ratio.Min), digits(v.Ratio.Max))
		} else if v.Verdict == held {
			measured = "held"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", v.Verdict, v.Budget, strings.ReplaceAll(allowed(v.Budget), "<=", "at most"), measured)
	}
	room := ""
	for _, group := range groups(r.order) {
		if group[0].Room != room {
			room = group[0].Room
			fmt.Fprintf(w, "\n## %s\n\n| case | implementation | time | allocations | bytes | ours / its |\n|---|---|---|---|---|---|\n", room)
		}
		ref, name := reference(group), group[0].Case
		for _, b := range group {
			against := ""
			if q, ok := r.ratio(ref, b, secPerOp); ok && b != ref && ref.Impl == "hardening" {
				against = fmt.Sprintf("%s (%s to %s)", digits(q.Median), digits(q.Min), digits(q.Max))
			}
			fmt.Fprintf(w, "| %s | %s | %s | %.0f | %.0f | %s |\n", name, b.Impl, duration(median(r.values(b, secPerOp))),
				medianOr0(r.values(b, "allocs/op")), medianOr0(r.values(b, "B/op")), against)
			name = ""
		}
	}
}

// Measures of the chart, in pixels.
const (
	chartLabels = 250
	chartWidth  = 900
	chartRow    = 17
	chartGap    = 12 // before each case
	chartTop    = 24
)

// power writes a factor of two as 8x or 1/8.
func power(log2 float64) string {
	if log2 < 0 {
		return fmt.Sprintf("1/%g", math.Exp2(-log2))
	}
	return fmt.Sprintf("%gx", math.Exp2(log2))
}

// bar is what one implementation takes of our time.
type bar struct {
	impl   string
	factor float64
	time   string
}

// printChart draws a bar for each implementation beside ours, by case.
func printChart(w io.Writer, r *results) {
	type scene struct {
		name string
		ours string
		bars []bar
	}
	var scenes []scene
	least, most, rows := 0.0, 0.0, 0
	for _, group := range groups(r.order) {
		ref := reference(group)
		if ref.Impl != "hardening" {
			continue
		}
		s := scene{name: ref.scenario(), ours: duration(median(r.values(ref, secPerOp)))}
		for _, b := range group {
			if q, ok := r.ratio(b, ref, secPerOp); ok && b != ref && q.Median > 0 {
				s.bars = append(s.bars, bar{b.Impl, q.Median, duration(median(r.values(b, secPerOp)))})
				least, most = min(least, math.Log2(q.Median)), max(most, math.Log2(q.Median))
			}
		}
		if len(s.bars) > 0 {
			scenes, rows = append(scenes, s), rows+1+len(s.bars)
		}
	}
	least, most = max(math.Floor(least), -4), math.Ceil(most)+2 // a handler that does nothing is cut; room for the words behind the longest bar
	height := chartTop + rows*chartRow + len(scenes)*chartGap + chartRow
	x := func(log2 float64) float64 {
		return chartLabels + (log2-least)/(most-least)*(chartWidth-chartLabels)
	}
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12" role="img" aria-label="What others take of our time">
<rect width="100%%" height="100%%" fill="#fff"/>
`, chartWidth, height, chartWidth, height)
	for i := least; i <= most; i++ {
		fmt.Fprintf(w, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#e2e5ea"/><text x="%.1f" y="%d" fill="#5b6470" text-anchor="middle">%s</text>`+"\n",
			x(i), chartTop, x(i), height-chartRow, x(i), chartTop-8, power(i))
	}
	y := chartTop
	for _, s := range scenes {
		y += chartGap + chartRow
		fmt.Fprintf(w, `<text x="4" y="%d" font-weight="bold" fill="#14181f">%s</text><text x="%.1f" y="%d" fill="#14181f">ours: %s</text>`+"\n",
			y-4, html.EscapeString(s.name), x(0)+4, y-4, s.ours)
		for _, b := range s.bars {
			y += chartRow
			from, to, fill := x(0), x(max(math.Log2(b.factor), least)), "#2f6fb7"
			switch b.impl {
			case "limit", "bare", "handwritten", "atomic", "signing":
				fill = "#9aa4b2"
			}
			fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="end" fill="#333a45">%s</text><rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d" fill="#333a45">%sx, %s</text>`+"\n",
				chartLabels-8, y-4, html.EscapeString(b.impl), min(from, to), y-chartRow+2, max(math.Abs(to-from), 1), chartRow-5, fill,
				max(from, to)+4, y-4, digits(b.factor), b.time)
		}
	}
	fmt.Fprintf(w, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#14181f" stroke-width="1.5"/>`+"\n</svg>\n", x(0), chartTop, x(0), height-chartRow)
}
