package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

const benchPackage = "github.com/inovy/hardening/benchmarks"

// runner builds the benchmarks once and runs them one implementation at a
// time, each in a process of its own: no heap, timer or goroutine of one weighs
// on the next.
type runner struct {
	binary    string
	dir       string // where the processes run: a directory on a disk
	benchtime string
	progress  io.Writer
}

// build compiles the test binary into dir.
func build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "bench.test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, benchPackage)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go test -c %s: %w\n%s", benchPackage, err, out)
	}
	if _, err := os.Stat(binary); err != nil {
		return "", fmt.Errorf("go test -c %s built nothing: no test files", benchPackage)
	}
	return binary, nil
}

// run executes the test binary and returns its output.
func (r *runner) run(ctx context.Context, pattern, benchtime string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, r.binary, "-test.run=^$", "-test.bench="+pattern,
		"-test.benchtime="+benchtime, "-test.benchmem", "-test.timeout=10m")
	cmd.Dir = r.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("benchmark %s: %w\n%s", pattern, err, out.Bytes())
	}
	return out.Bytes(), nil
}

// discover runs everything once: it learns the names, which only the
// benchmarks themselves know, and stops on one that fails.
func (r *runner) discover(ctx context.Context, wanted *regexp.Regexp) (all []bench, cpu string, err error) {
	out, err := r.run(ctx, ".", "1x")
	if err != nil {
		return nil, "", err
	}
	found, _, cpu, err := parse(bytes.NewReader(out))
	if err != nil {
		return nil, "", err
	}
	all = slices.DeleteFunc(found, func(b bench) bool { return !wanted.MatchString(b.String()) })
	if len(all) == 0 {
		return nil, "", fmt.Errorf("no benchmark matches -run %q", wanted)
	}
	return all, cpu, nil
}

// pattern selects exactly one benchmark.
func pattern(b bench) string {
	var p strings.Builder
	p.WriteString("^Benchmark" + regexp.QuoteMeta(b.Room) + "$")
	for part := range strings.SplitSeq(b.Case+"/"+b.Impl, "/") {
		p.WriteString("/^" + regexp.QuoteMeta(part) + "$")
	}
	return p.String()
}

// measure runs a benchmark once.
func (r *runner) measure(ctx context.Context, b bench) (sample, error) {
	out, err := r.run(ctx, pattern(b), r.benchtime)
	if err != nil {
		return nil, err
	}
	_, samples, _, err := parse(bytes.NewReader(out))
	if err != nil {
		return nil, err
	}
	s := samples[b]
	if s == nil || len(samples) != 1 {
		return nil, fmt.Errorf("benchmark %s measured %d things instead of itself:\n%s", b, len(samples), out)
	}
	return s, nil
}

// order groups the benchmarks by case, each case where its first
// implementation stood, and reverses the implementations in every second
// round, so that none of them always runs first.
func order(all []bench, round int) []bench {
	var cases []string
	byCase := map[string][]bench{}
	for _, b := range all {
		if byCase[b.scenario()] == nil {
			cases = append(cases, b.scenario())
		}
		byCase[b.scenario()] = append(byCase[b.scenario()], b)
	}
	var seq []bench
	for _, c := range cases {
		impls := byCase[c]
		if round%2 == 1 {
			slices.Reverse(impls)
		}
		seq = append(seq, impls...)
	}
	return seq
}

// rounds measures all benchmarks the given number of times, interleaved.
func (r *runner) rounds(ctx context.Context, all []bench, n int) (*results, error) {
	res := &results{}
	for round := range n {
		for i, b := range order(all, round) {
			s, err := r.measure(ctx, b)
			if err != nil {
				return nil, err
			}
			res.add(b, s)
			fmt.Fprintf(r.progress, "round %d/%d  %3d/%d  %-48s %10s %6.0f allocs\n",
				round+1, n, i+1, len(all), b, duration(s[secPerOp]), s["allocs/op"])
		}
	}
	return res, nil
}
