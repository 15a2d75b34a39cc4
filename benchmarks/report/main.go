// Command report measures this library beside its peers and physical limits,
// prints the ratios and holds them to budgets.json.
//
//	go run ./report [-rounds 5] [-benchtime 100ms] [-run regexp] [-json file] [-page file.md]
//
// It exits with 0 when every measured budget holds, with 1 when one is missed
// and with 2 when it could not measure. A budget whose benchmark does not exist
// yet is listed as not measured.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"time"

	"github.com/inovy/hardening/benchmarks"
)

// Exit codes.
const (
	exitHeld   = 0
	exitMissed = 1
	exitError  = 2
)

type options struct {
	rounds    int
	benchtime string
	wanted    *regexp.Regexp
	json      string
	page      string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parseFlags(args, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "report:", err)
		return exitError
	}
	budgets, err := loadBudgets(benchmarks.Budgets)
	if err != nil {
		fmt.Fprintln(stderr, "report:", err)
		return exitError
	}
	res, cpu, err := measure(ctx, opts, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "report:", err)
		return exitError
	}
	return conclude(opts, res, cpu, budgets, stdout, stderr)
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("report", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.rounds, "rounds", 5, "how often each benchmark is measured")
	fs.StringVar(&o.benchtime, "benchtime", "100ms", "how long one measurement takes, or how many iterations (100x)")
	fs.StringVar(&o.json, "json", "", "file to write the results to")
	fs.StringVar(&o.page, "page", "", "Markdown file to write the results to, with a chart beside it (.svg)")
	pattern := fs.String("run", ".", "only benchmarks whose <Room>/<case>/<implementation> matches this `regexp`")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("-rounds %d: at least one is needed", o.rounds)
	}
	var err error
	o.wanted, err = regexp.Compile(*pattern)
	if err != nil {
		return o, fmt.Errorf("-run: %w", err)
	}
	return o, nil
}

func measure(ctx context.Context, o options, progress io.Writer) (*results, string, error) {
	// Not os.TempDir: that is memory on many systems, and what is measured
	// here includes what a disk takes to be sure.
	dir, err := os.MkdirTemp(".", ".report-")
	if err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintln(progress, "building the benchmarks ...")
	binary, err := build(ctx, dir)
	if err != nil {
		return nil, "", err
	}
	r := &runner{binary: "./bench.test", dir: dir, benchtime: o.benchtime, progress: progress}
	if binary == "" {
		return nil, "", fmt.Errorf("no test binary in %s", dir)
	}
	fmt.Fprintln(progress, "running each of them once ...")
	all, cpu, err := r.discover(ctx, o.wanted)
	if err != nil {
		return nil, "", err
	}
	res, err := r.rounds(ctx, all, o.rounds)
	return res, cpu, err
}

// conclude prints the tables, writes the JSON file and turns the verdicts
// into an exit code.
func conclude(o options, res *results, cpu string, budgets []budget, stdout, stderr io.Writer) int {
	verdicts := make([]verdict, len(budgets))
	count := map[string]int{}
	for i, b := range budgets {
		verdicts[i] = judge(b, res, o.wanted)
		count[verdicts[i].Verdict]++
	}
	setup := fmt.Sprintf("%s, %s, GOMAXPROCS %d, %d rounds of %s; medians, ratios within a round with (lowest..highest)",
		runtime.Version(), cpu, runtime.GOMAXPROCS(0), o.rounds, o.benchtime)
	fmt.Fprintf(stdout, "%s\n\n", setup)
	printMeasurements(stdout, res)
	fmt.Fprintln(stdout)
	printVerdicts(stdout, verdicts)
	fmt.Fprintf(stdout, "\n%d held, %d missed, %d not measured\n", count[held], count[missed], count[notMeasured])
	if o.json != "" {
		if err := writeJSON(o, res, cpu, verdicts); err != nil {
			fmt.Fprintln(stderr, "report:", err)
			return exitError
		}
	}
	if o.page != "" {
		if err := writePage(o.page, setup, time.Now().UTC(), res, verdicts); err != nil {
			fmt.Fprintln(stderr, "report:", err)
			return exitError
		}
	}
	if count[missed] == 0 {
		return exitHeld
	}
	for _, v := range verdicts {
		if v.Verdict == missed {
			fmt.Fprintf(stdout, "missed: %s: %s\n", v.Budget, v.Reasons)
		}
	}
	return exitMissed
}

// measurement is one implementation in the JSON file.
type measurement struct {
	Room   string            `json:"room"`
	Case   string            `json:"case"`
	Impl   string            `json:"impl"`
	Values map[string]spread `json:"values"` // by unit, over the rounds
}

func writeJSON(o options, res *results, cpu string, verdicts []verdict) error {
	file := struct {
		Time         time.Time     `json:"time"`
		Go           string        `json:"go"`
		CPU          string        `json:"cpu"`
		Procs        int           `json:"procs"`
		Rounds       int           `json:"rounds"`
		Benchtime    string        `json:"benchtime"`
		Measurements []measurement `json:"measurements"`
		Verdicts     []verdict     `json:"verdicts"`
	}{time.Now().UTC(), runtime.Version(), cpu, runtime.GOMAXPROCS(0), o.rounds, o.benchtime, nil, verdicts}
	for _, b := range res.order {
		m := measurement{b.Room, b.Case, b.Impl, map[string]spread{}}
		for unit := range res.rounds[b][0] {
			if v := res.values(b, unit); v != nil {
				m.Values[unit] = spreadOf(v)
			}
		}
		file.Measurements = append(file.Measurements, m)
	}
	text, err := json.MarshalIndent(file, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(text, '\n'), 0o644)
}
