package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/inovy/hardening/benchmarks"
	"golang.org/x/perf/benchfmt"
)

var everything = regexp.MustCompile(".")

// output is what a test binary prints, with a case of two words and a metric
// of its own.
const output = `goos: linux
goarch: amd64
pkg: github.com/inovy/hardening/benchmarks
cpu: AMD EPYC
BenchmarkHeaders/static/hardening-2         	  134824	       380.5 ns/op	     160 B/op	       1 allocs/op
BenchmarkHeaders/static/limit-2             	  240352	       269.4 ns/op	     160 B/op	       1 allocs/op
BenchmarkRateLimit/take/1key/hardening-2    	  240352	       61.00 ns/op	     0 B/op	       0 allocs/op
BenchmarkChain/durable/hardening-16         	  1000	       350000 ns/op	     300000 p50-ns/op	     10 B/op	       2 allocs/op
PASS
`

func TestOutputOfATestBinaryIsRead(t *testing.T) {
	found, samples, cpu, err := parse(strings.NewReader(output))
	if err != nil {
		t.Fatal(err)
	}
	want := []bench{
		{"Headers", "static", "hardening"}, {"Headers", "static", "limit"},
		{"RateLimit", "take/1key", "hardening"}, {"Chain", "durable", "hardening"},
	}
	if len(found) != len(want) {
		t.Fatalf("found %v, want %v", found, want)
	}
	for i := range want {
		if found[i] != want[i] {
			t.Errorf("found %v, want %v", found[i], want[i])
		}
	}
	if cpu != "AMD EPYC" {
		t.Errorf("cpu %q", cpu)
	}
	near := func(b bench, unit string, want float64) {
		t.Helper()
		got, ok := samples[b][unit]
		if !ok || got < want*0.9999 || got > want*1.0001 {
			t.Errorf("%s %s is %v (%v), want %v", b, unit, got, ok, want)
		}
	}
	near(want[0], secPerOp, 380.5e-9)
	near(want[1], "B/op", 160)
	near(want[2], "allocs/op", 0)
	near(want[3], "p50-sec/op", 300e-6)
}

func TestOutputThatWouldMisleadIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"a benchmark without an implementation": "BenchmarkHeaders/static-2 1 1 ns/op\n",
		"a benchmark without a case":            "BenchmarkHeaders-2 1 1 ns/op\n",
		"the same benchmark twice":              "BenchmarkA/b/c-2 1 1 ns/op\nBenchmarkA/b/c-2 1 1 ns/op\n",
		"two sub-benchmarks of one name":        "BenchmarkA/b/c#01-2 1 1 ns/op\n",
		"a line cut in the middle":              "BenchmarkA/b/c-2 1 1\n",
	} {
		if found, _, _, err := parse(strings.NewReader(text)); err == nil {
			t.Errorf("%s: read as %v", name, found)
		}
	}
}

func TestAPatternSelectsOneBenchmark(t *testing.T) {
	b, err := parseName(benchfmt.Name("RateLimit/take/1key/x.y-8"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := pattern(b), `^BenchmarkRateLimit$/^take$/^1key$/^x\.y$`; got != want {
		t.Errorf("pattern %s, want %s", got, want)
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 100}, 3}} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median of %v is %v, want %v", tt.values, got, tt.want)
		}
	}
}

func TestRoundsInterleaveAndTurn(t *testing.T) {
	a1, b1, a2 := bench{"R", "a", "x"}, bench{"R", "b", "x"}, bench{"R", "a", "y"}
	all := []bench{a1, b1, a2}
	names := func(seq []bench) string {
		var s []string
		for _, b := range seq {
			s = append(s, b.String())
		}
		return strings.Join(s, " ")
	}
	if got := names(order(all, 0)); got != "R/a/x R/a/y R/b/x" {
		t.Errorf("round 0: %s", got)
	}
	if got := names(order(all, 1)); got != "R/a/y R/a/x R/b/x" {
		t.Errorf("round 1: %s", got)
	}
}

// measured builds results of three rounds.
func measured(times map[string][]float64, allocs float64) *results {
	r := &results{}
	for impl, ts := range times {
		for _, sec := range ts {
			r.add(bench{"Headers", "static", impl}, sample{secPerOp: sec, "allocs/op": allocs})
		}
	}
	return r
}

func TestVerdicts(t *testing.T) {
	us, limit := []float64{130e-9, 140e-9, 150e-9}, []float64{100e-9, 100e-9, 100e-9}
	row := budget{Room: "Headers", Case: "static", Numerator: "hardening", Denominator: "limit", Unit: secPerOp}
	with := func(change func(*budget)) budget { b := row; change(&b); return b }
	both := measured(map[string][]float64{"hardening": us, "limit": limit}, 2)

	for _, tt := range []struct {
		name    string
		budget  budget
		results *results
		wanted  string
		verdict string
		reason  string
	}{
		{"a ratio at its limit holds", with(func(b *budget) { b.Limit = 1.4000001 }), both, ".", held, ""},
		{"a ratio over its limit is missed", with(func(b *budget) { b.Limit = 1.39 }), both, ".", missed, "ratio 1.4 is over 1.39"},
		{"a pending row is judged as soon as it is measured", with(func(b *budget) { b.Limit = 1.39; b.Pending = true }), both, ".", missed, "ratio"},
		{"allocations at their limit hold", with(func(b *budget) { b.Limit = 2; b.MaxAllocs = new(2.0) }), both, ".", held, ""},
		{"one allocation too many is missed", with(func(b *budget) { b.Limit = 2; b.MaxAllocs = new(1.0) }), both, ".", missed, "2 allocs/op is over 1"},
		{"zero allocations can be asked for", with(func(b *budget) { b.Limit = 2; b.MaxAllocs = new(0.0) }), both, ".", missed, "2 allocs/op is over 0"},
		{"round trips that are not reported are missed", with(func(b *budget) { b.Limit = 2; b.MaxRoundTrips = new(1.0) }), both, ".", missed, "does not report roundtrips/op"},
		{"a unit that is not reported is missed", with(func(b *budget) { b.Limit = 2; b.Unit = "p50-sec/op" }), both, ".", missed, "do not both report p50-sec/op"},
		{"a benchmark that went missing is missed", with(func(b *budget) { b.Limit = 2; b.Case = "statik" }), both, ".", missed, "no benchmark Headers/statik"},
		{"a peer that went missing is missed", with(func(b *budget) { b.Limit = 2; b.Denominator = "rs" }), both, ".", missed, "no benchmark Headers/static/rs"},
		{"a benchmark still to be written is not measured", with(func(b *budget) { b.Limit = 2; b.Case = "later"; b.Pending = true }), both, ".", notMeasured, "no benchmark"},
		{"a benchmark that -run leaves out is not measured", with(func(b *budget) { b.Limit = 2; b.Case = "other" }), both, "/static/", notMeasured, "not selected"},
		{"a row of counts alone", with(func(b *budget) { b.Denominator = ""; b.MaxAllocs = new(3.0) }), both, ".", held, ""},
		{"a denominator of zero proves nothing", with(func(b *budget) { b.Limit = 2 }), measured(map[string][]float64{"hardening": us, "limit": {0, 0, 0}}, 0), ".", missed, "do not both report"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := judge(tt.budget, tt.results, regexp.MustCompile(tt.wanted))
			if v.Verdict != tt.verdict {
				t.Fatalf("verdict %q (%v), want %q", v.Verdict, v.Reasons, tt.verdict)
			}
			if got := strings.Join(v.Reasons, "; "); !strings.Contains(got, tt.reason) || (tt.reason == "") != (got == "") {
				t.Errorf("reasons %q, want %q", got, tt.reason)
			}
		})
	}
}

// A machine that slows down during the run slows both sides of a round.
func TestRatiosAreTakenWithinARound(t *testing.T) {
	r := measured(map[string][]float64{"hardening": {100, 1000, 200}, "limit": {50, 500, 100}}, 0)
	q, ok := r.ratio(bench{"Headers", "static", "hardening"}, bench{"Headers", "static", "limit"}, secPerOp)
	if !ok || q != (spread{2, 2, 2}) {
		t.Errorf("ratio %v %v, want 2 in every round", q, ok)
	}
}

func TestBudgetsThatCouldNotFailAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no budgets":                 `{"budgets": []}`,
		"an unknown field":           `{"budgets": [{"room":"A","case":"b","numerator":"c","denominator":"d","limit":1,"max_alocs":1}]}`,
		"a ratio without a limit":    `{"budgets": [{"room":"A","case":"b","numerator":"c","denominator":"d"}]}`,
		"a limit without a ratio":    `{"budgets": [{"room":"A","case":"b","numerator":"c","limit":1}]}`,
		"nothing limited":            `{"budgets": [{"room":"A","case":"b","numerator":"c"}]}`,
		"a ratio with itself":        `{"budgets": [{"room":"A","case":"b","numerator":"c","denominator":"c","limit":1}]}`,
		"a row without a case":       `{"budgets": [{"room":"A","numerator":"c","denominator":"d","limit":1}]}`,
		"a negative limit":           `{"budgets": [{"room":"A","case":"b","numerator":"c","denominator":"d","limit":-1}]}`,
		"the same row twice":         `{"budgets": [{"room":"A","case":"b","numerator":"c","max_allocs":1},{"room":"A","case":"b","numerator":"c","max_allocs":2}]}`,
		"something after the object": `{"budgets": [{"room":"A","case":"b","numerator":"c","max_allocs":1}]} x`,
	} {
		if _, err := loadBudgets([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTheBudgetsThemselvesAreReadable(t *testing.T) {
	budgets, err := loadBudgets(benchmarks.Budgets)
	if err != nil {
		t.Fatal(err)
	}
	rooms := map[string]bool{}
	for _, b := range budgets {
		rooms[b.Room] = true
	}
	for _, room := range []string{"Headers", "CORS", "RateLimit", "Session", "Secrets", "AuditLog", "TLSConfig", "Chain"} {
		if !rooms[room] {
			t.Errorf("no budget for %s", room)
		}
	}
}

func TestTheExitCodeTellsWhetherABudgetWasMissed(t *testing.T) {
	res := measured(map[string][]float64{"hardening": {300e-9, 300e-9}, "limit": {100e-9, 100e-9}}, 1)
	row := func(limit float64) []budget {
		return []budget{
			{Room: "Headers", Case: "static", Numerator: "hardening", Denominator: "limit", Unit: secPerOp, Limit: limit},
			{Room: "CORS", Case: "actual", Numerator: "hardening", Denominator: "rs", Unit: secPerOp, Limit: 1, Pending: true},
		}
	}
	for _, tt := range []struct {
		name  string
		limit float64
		code  int
		says  string
	}{
		{"held", 3.5, exitHeld, "1 held, 0 missed, 1 not measured"},
		{"missed", 2.5, exitMissed, "missed: Headers/static/hardening / limit: [ratio 3 is over 2.5]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			file := filepath.Join(t.TempDir(), "out.json")
			code := conclude(options{rounds: 2, benchtime: "1x", wanted: everything, json: file}, res, "cpu", row(tt.limit), &stdout, &stderr)
			if code != tt.code || !strings.Contains(stdout.String(), tt.says) {
				t.Errorf("exit code %d, want %d; printed\n%s%s", code, tt.code, &stdout, &stderr)
			}
			var saved struct {
				Measurements []measurement
				Verdicts     []verdict
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &saved); err != nil {
				t.Fatal(err)
			}
			if len(saved.Measurements) != 2 || len(saved.Verdicts) != 2 || saved.Verdicts[0].Ratio == nil || saved.Verdicts[0].Ratio.Median < 2.99 {
				t.Errorf("saved %s", text)
			}
		})
	}
}

func TestWrongUsageIsAnErrorAndNotAMiss(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-run", "("}, {"-nonsense"}, {"Headers"}} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, &stdout, &stderr); code != exitError {
			t.Errorf("%q: exit code %d, want %d", args, code, exitError)
		}
		if stderr.Len() == 0 {
			t.Errorf("%q: says nothing", args)
		}
	}
}

// The runner itself, on a program that stands in for a test binary.
func TestABenchmarkThatFailsStopsTheRun(t *testing.T) {
	dir := t.TempDir()
	script := func(text string) *runner {
		path := filepath.Join(dir, "bench.sh")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
		return &runner{binary: path, dir: dir, benchtime: "1x", progress: &bytes.Buffer{}}
	}
	b := bench{"Headers", "static", "hardening"}
	prints := "echo 'BenchmarkHeaders/static/hardening-2 10 5 ns/op 1 B/op 1 allocs/op'\n"

	if res, err := script(prints).rounds(t.Context(), []bench{b}, 3); err != nil || len(res.rounds[b]) != 3 {
		t.Errorf("three rounds gave %v, %v", res, err)
	}
	for name, text := range map[string]string{
		"fails after it printed":  prints + "echo FAIL; exit 1\n",
		"prints nothing":          "exit 0\n",
		"prints another":          "echo 'BenchmarkHeaders/static/limit-2 10 5 ns/op'\n",
		"prints itself and more":  prints + "echo 'BenchmarkHeaders/static/limit-2 10 5 ns/op'\n",
		"prints nothing readable": "echo 'BenchmarkHeaders/static/hardening-2 10 5'\n",
	} {
		if res, err := script(text).rounds(t.Context(), []bench{b}, 1); err == nil {
			t.Errorf("a benchmark that %s gave %v", name, res)
		}
	}
	if _, _, err := script(prints).discover(t.Context(), regexp.MustCompile("Session")); err == nil {
		t.Error("a selection that matches nothing is no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := script(prints).rounds(ctx, []bench{b}, 1); err == nil {
		t.Error("an interrupted run is no error")
	}
}

func TestTablesNameEverything(t *testing.T) {
	res := measured(map[string][]float64{"hardening": {200e-9}, "limit": {100e-9}, "unrolled": {2.2e-6}}, 1)
	var out bytes.Buffer
	printMeasurements(&out, res)
	lines := strings.Split(out.String(), "\n")
	for i, want := range []string{"CASE", "Headers/static  hardening", "limit           100 ns", "unrolled        2.20 us"} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d %q lacks %q", i, lines[i], want)
		}
	}
	if !strings.Contains(lines[3], "0.0909 (0.0909..0.0909), 11.0x faster") || !strings.Contains(lines[2], "2.00 (2.00..2.00)") {
		t.Errorf("ratios are wrong:\n%s", &out)
	}
}

func TestDurations(t *testing.T) {
	for sec, want := range map[float64]string{1.5: "1.50 s", 0.0123: "12.3 ms", 14.1e-6: "14.1 us", 183e-9: "183 ns", 0.5e-9: "0.500 ns", 0: "0.00 ns"} {
		if got := duration(sec); got != want {
			t.Errorf("%v is written %q, want %q", sec, got, want)
		}
	}
}
