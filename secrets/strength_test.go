package secrets

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

// weakKeys are what people put where a 256-bit key should be.
var weakKeys = []string{
	"",
	"secret",
	"changeme",
	"CHANGE_ME_PLEASE_CHANGE_ME_12345",
	"dev-secret-key-change-me-in-production",
	"this-is-a-very-long-development-secret-key-ok", // base64url of 33 bytes that look random
	"thisisaverylongdevelopmentsecretkeyxx00000",    // no capitals
	"${SESSION_KEY}",
	"0123456789abcdef0123456789abcdef",    // 128 bits of hex
	"5f4dcc3b5aa765d61d8327deb882cf99",    // the same, from a hash
	strings.Repeat("0123456789abcdef", 4), // 256 bits that repeat
	strings.Repeat("0", 64),
	strings.Repeat("deadbeef", 8),
	strings.Repeat("A", 43),
	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", // counts
	hex.EncodeToString([]byte("my passphrase is long and has words")),
	base64.StdEncoding.EncodeToString([]byte("correct horse battery staple 1234")),
	"ChangeMePlease0ThisIsNotASecretKeyAtAll0abc",
	"not base64 at all, but quite long indeed, really!",
	"hex:zz",
	"base64:",
}

func TestWeakKeysAreRefused(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.2.3")
	for _, text := range weakKeys {
		key, bad := checkKey([]byte(text), 256)
		if bad == nil {
			t.Errorf("%q was accepted as %x", text, key)
			continue
		}
		if bad.reason == "" || bad.fix == "" || bad.soft {
			t.Errorf("%q: %+v", text, bad)
		}
		if len(text) > 8 && (strings.Contains(bad.reason, text) || strings.Contains(bad.fix, text)) {
			t.Errorf("the flaw shows the value: %+v", bad)
		}
	}
}

func TestRandomKeysAreAcceptedInEveryEncoding(t *testing.T) {
	encodings := map[string]func([]byte) string{
		"hex":              hex.EncodeToString,
		"upper hex":        func(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) },
		"hex prefix":       func(b []byte) string { return "hex:" + hex.EncodeToString(b) },
		"base64":           base64.StdEncoding.EncodeToString,
		"raw base64":       base64.RawStdEncoding.EncodeToString,
		"base64url":        base64.URLEncoding.EncodeToString,
		"raw base64url":    base64.RawURLEncoding.EncodeToString,
		"base64 prefix":    func(b []byte) string { return "base64:" + base64.StdEncoding.EncodeToString(b) },
		"base64url prefix": func(b []byte) string { return "base64:" + base64.RawURLEncoding.EncodeToString(b) },
	}
	rounds := 100_000
	if raceEnabled || testing.Short() {
		rounds = 2_000
	}
	for name, encode := range encodings {
		for _, size := range []int{32, 48, 64} {
			raw := make([]byte, size)
			for range rounds/3 + 1 {
				_, _ = rand.Read(raw)
				key, bad := checkKey([]byte(encode(raw)), size*8)
				if bad != nil {
					t.Fatalf("%s of %x: %s", name, raw, bad.reason)
				}
				if !bytes.Equal(key, raw) {
					t.Fatalf("%s of %x decodes to %x", name, raw, key)
				}
			}
		}
	}
}

func TestGenerateMakesWhatKindKeyAccepts(t *testing.T) {
	seen := map[string]bool{}
	for range 500 {
		text, err := Generate(32)
		if err != nil {
			t.Fatal(err)
		}
		if _, bad := checkKey([]byte(text), 256); bad != nil || checkText(kindKey, []byte(text)) != nil || seen[text] || text[0] == '-' {
			t.Fatalf("Generate made %q: %v", text, bad)
		}
		seen[text] = true
	}
	for _, n := range []int{-1, 0, 16, 31, 513} {
		if text, err := Generate(n); err == nil {
			t.Errorf("Generate(%d) gave %q", n, text)
		}
	}
}

func TestPlaceholdersAreRecognised(t *testing.T) {
	for _, text := range []string{
		"changeme", "CHANGE_ME", "change-me-please", "your-token-here", "YOUR_API_KEY_GOES_HERE", "replace_with_real_token", "insert token here",
		"MyPassword2024!!", "P4ssw0rd-for-prod", "secret", "Secret123", "postgres", "todo: fill", "example-token-for-docs", "supersecretvalue123", "redacted",
	} {
		if !placeholder([]byte(text)) {
			t.Errorf("%q passes", text)
		}
	}
	for _, text := range []string{"${TOKEN}", "$(cat token)", "{{ .Token }}", "<token>", "%TOKEN%"} {
		if !template([]byte(text)) {
			t.Errorf("%q passes", text)
		}
	}
	if text := "put-HBhI3Wd-Cvp9k4PrHTB2Sw_HYa8qU3JQfZU_sE4"; placeholder([]byte(text)) {
		t.Errorf("%q is random", text) // was taken for "put ... here" once
	}
	for range 20_000 {
		text, err := Generate(32)
		if err != nil {
			t.Fatal(err)
		}
		if placeholder([]byte(text)) || template([]byte(text)) {
			t.Fatalf("random text %q is taken for a placeholder", text)
		}
	}
}

func FuzzCheckKey(f *testing.F) {
	for _, text := range weakKeys {
		f.Add([]byte(text))
	}
	f.Add([]byte("base64:3q2+7wAAr0kX8J1v5uZ0m9Qy4b7cT2hWnL6sPjKdEfM="))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, bad := checkKey(text, 256)
		if bad != nil {
			if key != nil {
				t.Error("a refused key was returned")
			}
			return
		}
		if len(key) < 32 || fewer(key, 20) {
			t.Errorf("%q was accepted as %x", text, key)
		}
	})
}
