package password_test

import (
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/session/password"
)

func TestEveryFaultOfAConfigIsReportedAtOnce(t *testing.T) {
	_, err := password.New(password.Config{Params: password.Params{MemoryKiB: 19455, Passes: 2, Lanes: 1}, MemoryMiB: -1, MaxWaiting: -1})
	want := map[string]bool{"Params": true, "MemoryMiB": true, "MaxWaiting": true}
	for f := range hardening.Faults(err) {
		if !want[f.Field] || f.Room != "password" || f.Reason == "" || f.Fix == "" {
			t.Errorf("%+v", f)
		}
		delete(want, f.Field)
	}
	if len(want) != 0 {
		t.Errorf("not reported: %v", want)
	}
	for name, cfg := range map[string]password.Config{
		"a zero in Params":               {Params: password.Params{MemoryKiB: 19456}},
		"more than Verify would accept":  {Params: password.Params{MemoryKiB: 256<<10 + 1, Passes: 1, Lanes: 1}, MemoryMiB: 1024},
		"less than argon2 needs":         {Params: password.Params{MemoryKiB: 31, Passes: 1, Lanes: 4}, DangerouslyWeak: true},
		"a budget smaller than one hash": {MemoryMiB: 18},
		"an absurd budget":               {MemoryMiB: 1 << 20},
		"one pass of too little":         {Params: password.Params{MemoryKiB: 47103, Passes: 1, Lanes: 1}},
	} {
		_, err := password.New(cfg)
		n := 0
		for range hardening.Faults(err) {
			n++
		}
		if n != 1 {
			t.Errorf("%s: %d faults: %v", name, n, err)
		}
	}
	for _, p := range []password.Params{{47104, 1, 1}, {12288, 3, 1}, {65536, 3, 4}} {
		if _, err := password.New(password.Config{Params: p}); err != nil {
			t.Errorf("%v: %v", p, err)
		}
	}
}

func TestEveryFindingFlips(t *testing.T) {
	flips := map[string]password.Config{
		"HDN-PASSWORD-001": {Params: cheap, DangerouslyWeak: true},
		"HDN-PASSWORD-002": {DangerouslyWeak: true},
		"HDN-PASSWORD-003": {MemoryMiB: 8192},
		"HDN-PASSWORD-004": {MemoryMiB: 40},
		"HDN-PASSWORD-005": {MaxWaiting: 1},
		"HDN-PASSWORD-006": {Algorithm: password.Bcrypt},
		"HDN-PASSWORD-007": {},
	}
	check := func(cfg password.Config) map[string]hardening.Finding {
		h, err := password.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]hardening.Finding{}
		for _, f := range h.Check() {
			m[f.ID] = f
		}
		return m
	}
	good := check(password.Config{Name: "staff", Pepper: newPepper("one")})
	if len(good) != len(flips) {
		t.Errorf("%d findings, %d flips", len(good), len(flips))
	}
	flipped(t, good, func(id string) hardening.Finding { return check(flips[id])[id] })
	if weak := check(password.Config{Algorithm: password.Bcrypt, BcryptCost: 4, DangerouslyWeak: true})["HDN-PASSWORD-001"]; weak.Passed {
		t.Error("bcrypt of cost 4 passes")
	}

	policy := func(cfg password.PolicyConfig) map[string]hardening.Finding {
		p, err := password.NewPolicy(cfg)
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]hardening.Finding{}
		for _, f := range p.Check() {
			m[f.ID] = f
		}
		return m
	}
	hibp, err := password.NewHIBP(password.HIBPConfig{})
	if err != nil {
		t.Fatal(err)
	}
	weaker := map[string]password.PolicyConfig{"HDN-PASSWORD-008": {MinLength: 8}, "HDN-PASSWORD-009": {}}
	good = policy(password.PolicyConfig{Name: "staff", Breached: hibp})
	if len(good) != len(weaker) {
		t.Errorf("%d findings, %d flips", len(good), len(weaker))
	}
	flipped(t, good, func(id string) hardening.Finding { return policy(weaker[id])[id] })
}

func flipped(t *testing.T, good map[string]hardening.Finding, flip func(id string) hardening.Finding) {
	t.Helper()
	for id, f := range good {
		if !f.Passed || f.Component != "staff" || f.Title == "" || f.Observed == "" || f.Expected == "" || f.Remedy == "" || len(f.Controls) == 0 {
			t.Errorf("%+v", f)
		}
		if bad := flip(id); bad.Passed || bad.ID != id || bad.Observed == f.Observed {
			t.Errorf("%s did not flip: %v", id, bad)
		}
	}
}
