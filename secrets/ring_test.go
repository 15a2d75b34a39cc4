package secrets

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
)

// testKeys are three keys that pass every check; made once at random.
var testKeys = [3]string{
	"mVxq0s4h7pYt1CkRz8uWJdE5nLbGaF3oTiXyKvB9fQU",
	"2gPZ6rNcHwS8yDk1MjVxA4tUeQfBo7LmXiR0vTzJpKs",
	"7HhTq3WbXn5LdYsRk9VfC2zJmPgE1uAoN8iKtQ0wDvM",
}

// in fills V1, V2 and V3 with the test keys.
func in(format string) string {
	return strings.NewReplacer("V1", testKeys[0], "V2", testKeys[1], "V3", testKeys[2]).Replace(format)
}

func TestRingFormat(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, text string
		versions   []int
		reason     string // part of a flaw, if it is refused
	}{
		{"a bare key is version 1", "V1", []int{1}, ""},
		{"a bare key may say its encoding", "base64:V1", []int{1}, ""},
		{"a key with a version", "v3:V1", []int{3}, ""},
		{"a key with a version and a day", "v3@2026-11-01:V1", []int{3}, ""},
		{"a key with a time", "v3@2026-11-01T08:00:00Z:V1", []int{3}, ""},
		{"an encoding inside an entry", "v3@2026-11-01T08:00:00Z:base64:V1", []int{3}, ""},
		{"the oldest needs no date", "v2@2026-11-01:V2,v1:V1", []int{2, 1}, ""},
		{"three keys", "v7@2026-11-01:V3,v6@2026-08-01:V2,v2@2026-05-01:V1", []int{7, 6, 2}, ""},
		{"today in a time zone ahead of UTC", "v2@2026-12-02:V2,v1:V1", []int{2, 1}, ""},
		{"a clock that is ahead by minutes", "v2@2026-12-01T12:04:00Z:V2,v1:V1", []int{2, 1}, ""},

		{"a newer key without a date", "v2:V2,v1@2026-08-01:V1", nil, "no date"},
		{"a bare key among several", "v2@2026-11-01:V2,V1", nil, "entry 2 of 2"},
		{"two bare keys", "V2,V1", nil, "not written as"},
		{"oldest first", "v1@2026-08-01:V1,v2@2026-11-01:V2", nil, "do not fall"},
		{"one version twice", "v2@2026-11-01:V2,v2@2026-08-01:V1", nil, "do not fall"},
		{"a new version with an older date", "v2@2026-07-01:V2,v1@2026-08-01:V1", nil, "older than"},
		{"one key under two versions", "v2@2026-11-01:V1,v1@2026-08-01:V1", nil, "the same key"},
		{"one key in two encodings", "v2@2026-11-01:hex:" + toHex(testKeys[0]) + ",v1@2026-08-01:V1", nil, "the same key"},
		{"a day far ahead", "v2@2026-12-24:V2,v1:V1", nil, "future"},
		{"a time an hour ahead", "v2@2026-12-01T13:00:00Z:V2,v1:V1", nil, "future"},
		{"a day that does not exist", "v2@2026-02-30:V2,v1:V1", nil, "does not exist"},
		{"a local time", "v2@2026-11-01T08:00:00+01:00:V2", nil, "not RFC 3339 in UTC"},
		{"version zero", "v0@2026-11-01:V1", nil, "version"},
		{"a leading zero", "v01@2026-11-01:V1", nil, "version"},
		{"a version without end", "v99999999999999999999@2026-11-01:V1", nil, "version"},
		{"a trailing comma", "v2@2026-11-01:V2,", nil, "empty"},
		{"a space after the comma", "v2@2026-11-01:V2, v1@2026-08-01:V1", nil, "entry 2 of 2"},
		{"no key", "v2@2026-11-01:", nil, "neither hex nor base64"},
		{"a weak key among good ones", "v2@2026-11-01:V2,v1@2026-08-01:" + strings.Repeat("ab", 32), nil, "entry 2 of 2: its key repeats"},
		{"too many keys", strings.Repeat("v2@2026-11-01:V2,", 17), nil, "more than 16"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := in(tt.text)
			keys, bad := parseRing([]byte(text), 256, now)
			var versions []int
			for _, k := range keys {
				versions = append(versions, k.version)
			}
			if len(versions) != len(tt.versions) {
				t.Fatalf("versions %v, flaws %v", versions, bad)
			}
			for i := range versions {
				if versions[i] != tt.versions[i] {
					t.Errorf("versions %v, want %v", versions, tt.versions)
				}
			}
			var lines []string
			for _, b := range bad {
				lines = append(lines, b.reason+"; "+b.fix)
			}
			all := strings.Join(lines, "\n")
			if tt.reason != "" && !strings.Contains(all, tt.reason) {
				t.Errorf("flaws lack %q:\n%s", tt.reason, all)
			}
			for _, k := range testKeys {
				if strings.Contains(all, k[:8]) {
					t.Errorf("a flaw shows a key:\n%s", all)
				}
			}
		})
	}
}

func toHex(key string) string {
	b, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(b)
}

// Derived keys protect what is stored: a change of the derivation loses data.
func TestDerivedKeysAreThoseOfTheVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/ring_derive.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Key, Purpose, Derived string }
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		r, err := NewRing(RingConfig{Keys: NewSecret(v.Key)})
		if err != nil {
			t.Fatal(err)
		}
		got := r.Derive(v.Purpose, len(v.Derived)/2)
		if len(got) != 1 || hex.EncodeToString(got[0]) != v.Derived {
			t.Errorf("%s gives %x, want %s", v.Purpose, got, v.Derived)
		}
	}
	if len(vectors) < 3 {
		t.Errorf("only %d vectors", len(vectors))
	}
}

func TestKeysOfDifferentPurposesAndTheRingItselfDiffer(t *testing.T) {
	r, err := NewRing(RingConfig{Keys: NewSecret(testKeys[0])})
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := decodeKey([]byte(testKeys[0]))
	a, b, again := r.Derive("session/cookie", 32)[0], r.Derive("session/csrf", 32)[0], r.Derive("session/cookie", 32)[0]
	if bytes.Equal(a, b) || bytes.Equal(a, raw) || !bytes.Equal(a, again) {
		t.Errorf("derivation: %x %x %x", a, b, again)
	}
	for name, got := range map[string][][]byte{
		"no purpose": r.Derive("", 32), "no bytes": r.Derive("x", 0), "negative": r.Derive("x", -1), "too many": r.Derive("x", 8161),
		"nil ring": (*Ring)(nil).Derive("x", 32), "zero ring": new(Ring).Derive("x", 32),
	} {
		if got != nil {
			t.Errorf("%s gave %x", name, got)
		}
	}
	if longest := r.Derive("x", 8160); len(longest) != 1 || len(longest[0]) != 8160 {
		t.Error("8160 bytes must be possible")
	}
	before := r.Generation()
	r.Destroy()
	r.Destroy()
	if r.Derive("session/cookie", 32) != nil || r.Generation() != before+1 {
		t.Errorf("a destroyed ring still derives, generation %d", r.Generation())
	}
	if (*Ring)(nil).Generation() != 0 || new(Ring).Generation() != 0 {
		t.Error("no ring is generation 0")
	}
	(*Ring)(nil).Destroy()
}

// versions tells which versions a ring derives for, in order, by comparing
// with rings that hold one key each.
func versions(t *testing.T, r *Ring) string {
	t.Helper()
	var out []byte
	for _, key := range r.Derive("p", 32) {
		for i, text := range testKeys {
			single, err := NewRing(RingConfig{Keys: NewSecret(text)})
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(single.Derive("p", 32)[0], key) {
				out = append(out, byte('1'+i))
			}
		}
	}
	return string(out)
}

func TestKeysBecomePrimaryAndRetireByThemselves(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.4")
	synctest.Test(t, func(t *testing.T) { // the bubble's clock starts at 2000-01-01
		time.Sleep(day)
		r, err := NewRing(RingConfig{Keys: NewSecret(in("v3@2000-01-02T00:00:00Z:V3,v2@1999-12-31:V2,v1:V1"))})
		if err != nil {
			t.Fatal(err)
		}
		generation := r.Generation()
		for _, step := range []struct {
			after time.Duration // since the ring was made
			want  string
			moves uint64
			name  string
		}{
			{0, "231", 0, "a new key only opens, and stands after the primary"},
			{10*time.Minute - 1, "231", 0, "until its activation time is over"},
			{10 * time.Minute, "321", 1, "then it is primary and its predecessor opens"},
			{5*day + 10*time.Minute - 1, "321", 1, "version 1 opens for the grace time after version 2 became primary"},
			{5*day + 10*time.Minute, "32", 2, "and is gone"},
			{7*day + 10*time.Minute - 1, "32", 2, "version 2 opens for the grace time after version 3 became primary"},
			{7*day + 10*time.Minute, "3", 3, "and is gone"},
			{400 * day, "3", 3, "the last key stays"},
		} {
			synctestUntil(step.after)
			if got := versions(t, r); got != step.want {
				t.Errorf("after %v: versions %s, want %s: %s", step.after, got, step.want, step.name)
			}
			if got := r.Generation() - generation; got != step.moves {
				t.Errorf("after %v: generation moved by %d, want %d", step.after, got, step.moves)
			}
		}
		inner := r.inner()
		if len(inner.keys) != 1 {
			t.Errorf("%d keys are still held", len(inner.keys))
		}
	})
}

// synctestUntil sleeps until d after 2000-01-02 in a bubble's time.
func synctestUntil(d time.Duration) {
	time.Sleep(time.Until(time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC).Add(d)))
}

func TestRetiredKeysAreWiped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := NewRing(RingConfig{Keys: NewSecret(in("v2@1999-12-31:V2,v1:V1")), Grace: day})
		if err != nil {
			t.Fatal(err)
		}
		old := r.inner().keys[1].key
		time.Sleep(day)
		r.Generation()
		if strings.Trim(string(old), "\x00") != "" {
			t.Errorf("a retired key still lies in memory: %x", old)
		}
	})
}

func TestARingMayBeUsedWhileKeysRetireAndItIsDestroyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := NewRing(RingConfig{Keys: NewSecret(in("v2@1999-12-31:V2,v1:V1")), Grace: 30 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		zero := make([]byte, 32)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 100 {
					for _, key := range r.Derive("p", 32) {
						if bytes.Equal(key, zero) {
							t.Error("a wiped key")
						}
					}
					time.Sleep(10 * time.Minute)
				}
			})
		}
		wg.Go(func() { time.Sleep(15 * time.Hour); r.Destroy() })
		wg.Wait()
	})
}

func TestNewRingNamesEveryFault(t *testing.T) {
	_, err := NewRing(RingConfig{Grace: -1, Activation: -1, Keys: NewSecret("v1:short,v1:short")})
	n := 0
	for f := range hardening.Faults(err) {
		n++
		if f.Field == "" || f.Reason == "" || f.Fix == "" || strings.Contains(f.Error(), "short,") {
			t.Errorf("%v", f)
		}
	}
	if n < 4 {
		t.Errorf("only %d faults: %v", n, err)
	}
	for _, keys := range []Secret{{}, NewSecret(" " + testKeys[0]), NewSecret("[REDACTED]"), NewSecret("${KEY}")} {
		if r, err := NewRing(RingConfig{Keys: keys}); err == nil || r != nil {
			t.Error("a ring of nothing was made")
		}
	}
	if _, err := NewRing(RingConfig{Keys: NewSecret("\n")}); err == nil {
		t.Error("a ring of a line end was made")
	}
	for _, end := range []string{"\n", "\r\n"} { // as a file has it
		if _, err := NewRing(RingConfig{Keys: NewSecret(testKeys[0] + end)}); err != nil {
			t.Errorf("a line end: %v", err)
		}
	}
	if _, err := NewRing(RingConfig{Keys: NewSecret(testKeys[0] + "\n\n")}); err == nil {
		t.Error("two line ends were let through")
	}
}

func FuzzParseRing(f *testing.F) {
	for _, s := range []string{"V1", "v2@2026-11-01:V2,v1@2026-08-01:V1", "v2@2026-11-01T08:00:00Z:base64:V1", "v@:", "v1@", "v1:", ",", "v1@2026-11-01T:Z:V1"} {
		f.Add([]byte(in(s)))
	}
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, bad := parseRing(text, 256, now)
		if len(keys) > 0 == (len(bad) > 0) {
			t.Fatalf("%d keys and %d flaws", len(keys), len(bad))
		}
		for i, k := range keys {
			if len(k.key) < 32 || k.version < 1 || i > 0 && keys[i-1].version <= k.version || i < len(keys)-1 && k.created.IsZero() {
				t.Fatalf("accepted %+v", keys)
			}
		}
		if len(keys) > 0 {
			if got := newRing(keys, day, time.Minute).Derive("p", 16); len(got) == 0 {
				t.Fatal("an accepted ring derives nothing")
			}
		}
	})
}
