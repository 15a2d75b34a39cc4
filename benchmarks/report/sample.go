package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// secPerOp is the unit of time as benchfmt tidies it.
const secPerOp = "sec/op"

// bench names one implementation of one case.
type bench struct {
	Room, Case, Impl string
}

func (b bench) String() string { return b.Room + "/" + b.Case + "/" + b.Impl }

// scenario is what the implementations of a case share.
func (b bench) scenario() string { return b.Room + "/" + b.Case }

// parseName reads <Room>/<case>/<impl>-<procs>, in which the case may itself
// have slashes.
func parseName(name benchfmt.Name) (bench, error) {
	base, parts := name.Parts()
	var path []string
	for _, p := range parts {
		if p[0] == '/' {
			path = append(path, string(p[1:]))
		}
	}
	if len(base) == 0 || len(path) < 2 {
		return bench{}, fmt.Errorf("benchmark %q is not named <Room>/<case>/<implementation>", name)
	}
	last := len(path) - 1
	if strings.Contains(path[last], "#") {
		return bench{}, fmt.Errorf("benchmark %q exists twice", name)
	}
	return bench{string(base), strings.Join(path[:last], "/"), path[last]}, nil
}

// sample is what one run of one benchmark measured, by tidied unit.
type sample map[string]float64

// parse reads the output of a test binary. cpu is the machine's name for
// itself, where the output has it.
func parse(r io.Reader) (found []bench, samples map[bench]sample, cpu string, err error) {
	samples = map[bench]sample{}
	in := benchfmt.NewReader(r, "benchmarks")
	for in.Scan() {
		switch rec := in.Result().(type) {
		case *benchfmt.Result:
			b, err := parseName(rec.Name)
			if err != nil {
				return nil, nil, "", err
			}
			if samples[b] != nil {
				return nil, nil, "", fmt.Errorf("benchmark %s was measured twice in one run", b)
			}
			s := sample{}
			for _, v := range rec.Values {
				s[v.Unit] = v.Value
			}
			found, samples[b] = append(found, b), s
			cpu = rec.GetConfig("cpu")
		case *benchfmt.SyntaxError:
			return nil, nil, "", rec
		}
	}
	return found, samples, cpu, in.Err()
}

// median of an odd number of values is the middle one, of an even number the
// mean of the middle two. It panics on no values: a case without a sample never
// gets this far.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}
