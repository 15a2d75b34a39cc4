package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestThePageNamesEverythingAndTheChartIsDrawn(t *testing.T) {
	res := measured(map[string][]float64{"hardening": {200e-9}, "limit": {100e-9}, "un<rolled": {800e-9}}, 1)
	row := budget{Room: "Headers", Case: "static", Numerator: "hardening", Denominator: "limit", Unit: secPerOp, Limit: 1.5}
	path := filepath.Join(t.TempDir(), "page.md")
	if err := writePage(path, "one machine", time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), res, []verdict{judge(row, res, everything)}); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2026-11-24: one machine", "(page.svg)", "| MISSED | Headers/static/hardening / limit | at most 1.5x | 2.00 (2.00 to 2.00) |",
		"## Headers\n", "| static | hardening | 200 ns | 1 | 0 |  |", "|  | limit | 100 ns | 1 | 0 | 2.00 (2.00 to 2.00) |",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	chart, err := os.ReadFile(strings.TrimSuffix(path, "md") + "svg")
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(strings.NewReader(string(chart))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, chart)
		}
	}
	// From a factor of 1/2 to 4 with two free ones behind it are five doublings of 130 pixels.
	for _, want := range []string{
		`<rect x="250.0" y="55" width="130.0"`, ">0.500x, 100 ns<", ">1/2<", `<rect x="380.0" y="72" width="260.0"`, ">4.00x, 800 ns<", ">ours: 200 ns<", "un&lt;rolled",
	} {
		if !strings.Contains(string(chart), want) {
			t.Errorf("the chart lacks %q:\n%s", want, chart)
		}
	}
	if err := writePage(filepath.Join(path, "no", "page.md"), "", time.Time{}, res, nil); err == nil {
		t.Error("a page that cannot be written is no error")
	}
}
