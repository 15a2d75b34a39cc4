package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// budget is one row of budgets.json: the ratio of two implementations of a
// case that may not be exceeded, counts that the numerator may not exceed, or
// both.
type budget struct {
	Room          string   `json:"room"`
	Case          string   `json:"case"`
	Numerator     string   `json:"numerator"`
	Denominator   string   `json:"denominator,omitempty"`
	Unit          string   `json:"unit,omitempty"` // default: sec/op
	Limit         float64  `json:"limit,omitempty"`
	MaxAllocs     *float64 `json:"max_allocs,omitempty"`
	MaxRoundTrips *float64 `json:"max_roundtrips,omitempty"`
	// Pending marks a row whose benchmark is still to be written: without a
	// measurement it reads "not measured". Without the mark, a benchmark that
	// went missing is a budget missed.
	Pending bool `json:"pending,omitempty"`
}

func (b budget) numerator() bench   { return bench{b.Room, b.Case, b.Numerator} }
func (b budget) denominator() bench { return bench{b.Room, b.Case, b.Denominator} }

func (b budget) String() string {
	s := b.numerator().String()
	if b.Denominator != "" {
		s += " / " + b.Denominator
	}
	if b.Unit != "" && b.Unit != secPerOp {
		s += " (" + b.Unit + ")"
	}
	return s
}

// loadBudgets reads budgets.json and refuses rows that could never fail.
func loadBudgets(text []byte) ([]budget, error) {
	var file struct {
		Budgets []budget `json:"budgets"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("budgets.json: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("budgets.json: something follows the object")
	}
	if len(file.Budgets) == 0 {
		return nil, errors.New("budgets.json: no budgets")
	}
	var errs []error
	seen := map[string]bool{}
	for i, b := range file.Budgets {
		fault := func(reason string) { errs = append(errs, fmt.Errorf("budgets.json: row %d (%s) %s", i+1, b, reason)) }
		if b.Room == "" || b.Case == "" || b.Numerator == "" {
			fault("lacks room, case or numerator")
		}
		if b.Numerator == b.Denominator {
			fault("compares an implementation with itself")
		}
		if (b.Denominator == "") != (b.Limit == 0) {
			fault("needs a denominator and a limit, or neither")
		}
		if b.Denominator == "" && b.MaxAllocs == nil && b.MaxRoundTrips == nil {
			fault("limits nothing")
		}
		if b.Limit < 0 || b.MaxAllocs != nil && *b.MaxAllocs < 0 || b.MaxRoundTrips != nil && *b.MaxRoundTrips < 0 {
			fault("has a negative limit")
		}
		if seen[b.String()] {
			fault("exists twice")
		}
		seen[b.String()] = true
		if b.Unit == "" {
			file.Budgets[i].Unit = secPerOp
		}
	}
	return file.Budgets, errors.Join(errs...)
}
