package session_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/session"
)

type badKeys [][]byte

func (badKeys) Generation() uint64 { return 0 }
func (k badKeys) Derive(purpose string, n int) [][]byte {
	var out [][]byte
	for _, key := range k {
		if len(key) == n && key[0] != key[1] && key[0] != 'S' {
			key = append([]byte(purpose), key...)[:n]
		}
		out = append(out, key)
	}
	return out
}

func TestEveryFaultOfAConfigIsReportedAtOnce(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.1.1")
	const secret = "S3cr3t-S3cr3t-S3cr3t-S3cr3t-S3cr"
	cfg := session.Config{
		Environment:  hardening.Environment(9),
		Keys:         badKeys{[]byte(secret)}, // the same for every purpose
		Store:        (*session.MemoryStore)(nil),
		Cookie:       session.Cookie{Name: "__Host-id", SameSite: http.SameSiteNoneMode, DangerouslyDomain: "localhost"},
		Policy:       session.Policy{Absolute: -1, Idle: 0, Touch: 1},
		MaxDataBytes: -5,
		Audit:        (*trail)(nil),
	}
	_, err := session.New[struct {
		C chan int
		hidden
		private int
	}](cfg)
	want := map[string]bool{}
	for _, f := range []string{"Environment", "Keys", "Store", "Cookie.Name", "Cookie.SameSite", "Cookie.DangerouslyDomain", "Policy.Absolute", "Policy.Idle", "Policy.Touch", "MaxDataBytes", "Audit", "Data.C", "Data.private", "Data.hidden.Inner"} {
		want[f] = false
	}
	for f := range hardening.Faults(err) {
		if f.Room != "session" || f.Reason == "" || f.Fix == "" {
			t.Errorf("incomplete: %+v", f)
		}
		if _, ok := want[f.Field]; !ok {
			t.Errorf("unexpected: %v", f)
		}
		want[f.Field] = true
	}
	for f, seen := range want {
		if !seen {
			t.Errorf("%s is not reported", f)
		}
	}
	if strings.Contains(err.Error(), "S3cr3t") {
		t.Errorf("a key is in the error: %v", err)
	}
}

type hidden struct{ Inner any }

func TestConfigFaultsOneByOne(t *testing.T) {
	p := session.PolicyAAL2()
	with := func(f func(*session.Policy)) session.Config {
		q := p
		f(&q)
		return session.Config{Policy: q}
	}
	for _, tt := range []struct {
		name, field string
		cfg         session.Config
	}{
		{"a name with its prefix", "Cookie.Name", session.Config{Cookie: session.Cookie{Name: "__Secure-id"}}},
		{"a name with a semicolon", "Cookie.Name", session.Config{Cookie: session.Cookie{Name: "a;b"}}},
		{"a name with a line break", "Cookie.Name", session.Config{Cookie: session.Cookie{Name: "a\r\nb"}}},
		{"a name that is too long", "Cookie.Name", session.Config{Cookie: session.Cookie{Name: strings.Repeat("a", 65)}}},
		{"SameSite left to the browser", "Cookie.SameSite", session.Config{Cookie: session.Cookie{SameSite: http.SameSiteDefaultMode}}},
		{"a domain with a leading dot", "Cookie.DangerouslyDomain", session.Config{Cookie: session.Cookie{DangerouslyDomain: ".care.example"}}},
		{"a domain with a port", "Cookie.DangerouslyDomain", session.Config{Cookie: session.Cookie{DangerouslyDomain: "care.example:443"}}},
		{"an address for a domain", "Cookie.DangerouslyDomain", session.Config{Cookie: session.Cookie{DangerouslyDomain: "192.0.2.1"}}},
		{"a domain that injects an attribute", "Cookie.DangerouslyDomain", session.Config{Cookie: session.Cookie{DangerouslyDomain: "a.example; Path=/x"}}},
		{"a policy taken whole lacks Idle", "Policy.Idle", with(func(p *session.Policy) { p.Idle = 0 })},
		{"Idle longer than Absolute", "Policy.Idle", with(func(p *session.Policy) { p.Idle = 25 * time.Hour })},
		{"Touch longer than half of Idle", "Policy.Touch", with(func(p *session.Policy) { p.Touch = 31 * time.Minute })},
		{"Touch of nanoseconds", "Policy.Touch", with(func(p *session.Policy) { p.Touch = 5 })},
		{"Absolute longer than browsers keep a cookie", "Policy.Absolute", with(func(p *session.Policy) { p.Absolute = 401 * 24 * time.Hour })},
		{"data larger than a megabyte", "MaxDataBytes", session.Config{MaxDataBytes: 1<<20 + 1}},
		{"no key", "Keys", session.Config{Keys: badKeys{}}},
		{"a short key", "Keys", session.Config{Keys: badKeys{[]byte("short")}}},
		{"a key of zeros", "Keys", session.Config{Keys: badKeys{make([]byte, 32)}}},
		{"two equal keys", "Keys", session.Config{Keys: newRing("one", "one")}},
		{"a ring that was never loaded", "Keys", session.Config{Keys: (*ring)(nil)}},
	} {
		_, err := session.New[visit](tt.cfg)
		n := 0
		for f := range hardening.Faults(err) {
			n++
			if f.Field != tt.field || f.Reason == "" || f.Fix == "" {
				t.Errorf("%s: %+v", tt.name, f)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d faults: %v", tt.name, n, err)
		}
	}
}

func TestPresetsAreValid(t *testing.T) {
	for _, p := range []session.Policy{session.Policy7Days(), session.PolicyAAL2(), session.PolicyAAL3()} {
		if _, err := session.New[visit](session.Config{Policy: p}); err != nil {
			t.Error(err)
		}
	}
}

func TestEveryFindingFlips(t *testing.T) {
	good := func() session.Config {
		return session.Config{Keys: newRing("one"), Audit: new(trail), Policy: session.PolicyAAL2(), Logger: slog.New(slog.DiscardHandler)}
	}
	flips := map[string]func(*session.Config){
		"HDN-SESSION-001": func(c *session.Config) { c.Cookie.DangerouslyDomain = "care.example" },
		"HDN-SESSION-002": func(c *session.Config) { c.Environment = hardening.Development },
		"HDN-SESSION-003": func(c *session.Config) { c.Keys = nil },
		"HDN-SESSION-004": func(c *session.Config) { c.Policy.Absolute = 8 * 24 * time.Hour },
		"HDN-SESSION-005": func(c *session.Config) { c.Policy.Absolute, c.Policy.Idle = 48*time.Hour, 25*time.Hour },
		"HDN-SESSION-006": func(c *session.Config) { c.Policy.Persistent = true },
		"HDN-SESSION-007": func(c *session.Config) { c.Audit = nil },
		"HDN-SESSION-008": func(c *session.Config) { c.Store = kinds(t)["cookies"] },
		"HDN-SESSION-009": func(c *session.Config) { c.MaxPerUser = 101 },
	}
	asvs := map[string]string{ // an auditor's matrix refers to these
		"HDN-SESSION-001": "v5.0.0-3.3.1 v5.0.0-3.3.3 v5.0.0-3.3.4",
		"HDN-SESSION-002": "v5.0.0-3.3.1",
		"HDN-SESSION-003": "v5.0.0-11.1.1 v5.0.0-13.3.1",
		"HDN-SESSION-004": "v5.0.0-7.3.2",
		"HDN-SESSION-005": "v5.0.0-7.3.1",
		"HDN-SESSION-006": "v5.0.0-7.1.1",
		"HDN-SESSION-007": "v5.0.0-16.3.1",
		"HDN-SESSION-008": "v5.0.0-7.2.1 v5.0.0-7.4.1",
		"HDN-SESSION-009": "v5.0.0-7.1.2",
	}
	check := func(cfg session.Config) map[string]hardening.Finding {
		m := map[string]hardening.Finding{}
		for _, f := range newManager(t, cfg).Check() {
			if _, twice := m[f.ID]; twice {
				t.Errorf("%s twice", f.ID)
			}
			m[f.ID] = f
		}
		return m
	}
	passing := check(good())
	if len(passing) != len(flips) {
		t.Errorf("%d findings, %d flips", len(passing), len(flips))
	}
	for id, f := range passing {
		if !f.Passed || f.Component != "session" || f.Title == "" || f.Observed == "" || f.Expected == "" || f.Remedy == "" || len(f.Controls) == 0 {
			t.Errorf("%+v", f)
		}
		var ids []string
		for _, c := range f.Controls {
			if c.Framework == hardening.ASVS {
				ids = append(ids, c.ID)
			}
		}
		if got := strings.Join(ids, " "); got != asvs[id] {
			t.Errorf("%s maps to %q, want %q", id, got, asvs[id])
		}
		flip := flips[id]
		if flip == nil {
			t.Errorf("%s is flipped by no test", id)
			continue
		}
		cfg := good()
		cfg.Name = "web"
		flip(&cfg)
		if bad := check(cfg)[id]; bad.Passed || bad.Component != "web" || bad.Observed == f.Observed {
			t.Errorf("%s did not flip: %v", id, bad)
		}
	}
	failing := 0
	for _, f := range check(session.Config{}) {
		if !f.Passed {
			failing++
		}
	}
	if failing != 3 { // keys of the process, AAL2 limits, no audit
		t.Errorf("the zero Config fails %d findings: %v", failing, check(session.Config{}))
	}
}

type recursive struct {
	Children []recursive
	Up       *recursive
}

// duplicated has two fields called X, of which encoding/json takes neither.
type duplicated struct {
	Left
	Right
}

type (
	Left  struct{ X int }
	Right struct{ X int }
)

type half struct{ v int }

func (h half) MarshalText() ([]byte, error) { return fmt.Append(nil, h.v), nil }

func TestDataThatJSONWouldChangeIsAFault(t *testing.T) {
	for name, err := range map[string]error{
		"a pointer":                    refused[*visit](),
		"an interface":                 refused[any](),
		"a field of any type":          refused[struct{ V any }](),
		"an error":                     refused[struct{ V error }](),
		"a function":                   refused[struct{ V func() }](),
		"a complex number deep inside": refused[struct{ V map[string][]complex128 }](),
		"an unexported field":          refused[struct{ a int }](),
		"a field left out": refused[struct {
			A int `json:"-"`
		}](),
		"two fields of one name":            refused[duplicated](),
		"a map by struct":                   refused[map[struct{ A int }]int](),
		"a type that only encodes":          refused[struct{ H half }](),
		"an embedded pointer":               refused[struct{ *hidden }](),
		"an unexported field of an element": refused[[]struct{ a int }](),
	} {
		n := 0
		for f := range hardening.Faults(err) {
			n++
			if !strings.HasPrefix(f.Field, "Data") || f.Reason == "" || f.Fix == "" {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if n == 0 {
			t.Errorf("%s was accepted", name)
		}
	}
	for name, err := range map[string]error{
		"nothing":  refused[struct{}](),
		"a number": refused[int](),
		"maps, slices": refused[struct {
			M map[int64]map[string][]byte
			A [3]string
			P *float64
			T time.Time
			D time.Duration `json:",omitempty"`
			S string        `json:"s,omitzero"`
		}](),
		"raw JSON":           refused[struct{ R json.RawMessage }](),
		"itself":             refused[recursive](),
		"an embedded struct": refused[struct{ visit }](),
		"a name _ and a dash": refused[struct {
			_ int
			//lint:ignore SA5008 encoding/json does take this for a field named "-"
			A int `json:"-,"` //nolint:staticcheck // the same
		}](),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func refused[T any]() error {
	_, err := session.New[T](session.Config{})
	return err
}
