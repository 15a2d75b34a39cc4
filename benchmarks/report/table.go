package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// duration formats seconds with three significant digits.
func duration(sec float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}} {
		if sec >= u.size {
			return digits(sec/u.size) + " " + u.name
		}
	}
	return digits(sec*1e9) + " ns"
}

// digits formats x with three significant digits and no exponent.
func digits(x float64) string {
	decimals := 2
	if x != 0 {
		decimals = min(max(2-int(math.Floor(math.Log10(math.Abs(x)))), 0), 4)
	}
	return fmt.Sprintf("%.*f", decimals, x)
}

// reference is what the ratios of a case are relative to: us, or the first
// implementation where the case has none of ours.
func reference(impls []bench) bench {
	for _, b := range impls {
		if b.Impl == "hardening" {
			return b
		}
	}
	return impls[0]
}

// printMeasurements lists medians and what each implementation costs
// relative to ours.
func printMeasurements(w io.Writer, r *results) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "CASE\tIMPLEMENTATION\tTIME\tALLOCS\tBYTES\tUS / IT")
	last := ""
	for _, group := range groups(r.order) {
		ref := reference(group)
		for _, b := range group {
			name := b.scenario()
			if name == last {
				name = ""
			}
			last = b.scenario()
			against := ""
			if q, ok := r.ratio(ref, b, secPerOp); ok && b != ref && ref.Impl == "hardening" {
				against = describe(q)
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%.0f\t%.0f\t%s\n", name, b.Impl, duration(median(r.values(b, secPerOp))),
				medianOr0(r.values(b, "allocs/op")), medianOr0(r.values(b, "B/op")), against)
		}
	}
	tw.Flush()
}

// groups splits benchmarks by case, ours first within each.
func groups(order []bench) [][]bench {
	var all [][]bench
	at := map[string]int{}
	for _, b := range order {
		i, ok := at[b.scenario()]
		if !ok {
			i = len(all)
			at[b.scenario()] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], b)
	}
	for _, g := range all {
		slices.SortStableFunc(g, func(a, b bench) int { return rank(a) - rank(b) })
	}
	return all
}

func rank(b bench) int {
	switch b.Impl {
	case "hardening":
		return 0
	case "limit", "bare":
		return 1
	}
	return 2
}

// describe says "0.083 (0.081..0.085), 12.0x faster" when we are the faster.
func describe(q spread) string {
	s := fmt.Sprintf("%s (%s..%s)", digits(q.Median), digits(q.Min), digits(q.Max))
	if q.Median > 0 && q.Median < 1 {
		s += fmt.Sprintf(", %.1fx faster", 1/q.Median)
	}
	return s
}

func medianOr0(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return median(v)
}

// printVerdicts lists every budget, also those that were not measured.
func printVerdicts(w io.Writer, verdicts []verdict) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "VERDICT\tBUDGET\tALLOWED\tRATIO\tWHY")
	for _, v := range verdicts {
		ratio := "-"
		if v.Ratio != nil {
			ratio = fmt.Sprintf("%s (%s..%s)", digits(v.Ratio.Median), digits(v.Ratio.Min), digits(v.Ratio.Max))
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", v.Verdict, v.Budget, allowed(v.Budget), ratio, strings.Join(v.Reasons, "; "))
	}
	tw.Flush()
}

func allowed(b budget) string {
	var parts []string
	if b.Denominator != "" {
		parts = append(parts, fmt.Sprintf("<= %.3gx", b.Limit))
	}
	if b.MaxAllocs != nil {
		parts = append(parts, fmt.Sprintf("<= %.0f allocs", *b.MaxAllocs))
	}
	if b.MaxRoundTrips != nil {
		parts = append(parts, fmt.Sprintf("<= %.0f round trips", *b.MaxRoundTrips))
	}
	return strings.Join(parts, ", ")
}
