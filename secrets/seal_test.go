package secrets

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/internal/xaes"
)

func ringOf(t testing.TB, text string) *Ring {
	t.Helper()
	r, err := NewRing(RingConfig{Keys: NewSecret(in(text))})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func seal(t testing.TB, r *Ring, plaintext, aad string) string {
	t.Helper()
	s, err := r.Seal([]byte(plaintext), []byte(aad))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Sealed texts are stored for years: what was sealed once must open always.
func TestSealedTextsOfTheVectorsOpen(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-11.3.3")
	text, err := os.ReadFile("testdata/ring_seal.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Key, Purpose, AAD, Plaintext, Sealed string }
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	columns := 0
	for _, v := range vectors {
		r := ringOf(t, v.Key)
		var got []byte
		if v.Purpose == "" {
			got, _, err = r.Open(v.Sealed, []byte(v.AAD))
		} else {
			columns++
			cell := r.Column(v.Purpose).Row(v.AAD)
			err = cell.Scan(v.Sealed)
			got = []byte(Expose(cell.Secret))
		}
		if err != nil || hex.EncodeToString(got) != v.Plaintext {
			t.Errorf("%s: %x, %v", v.Sealed, got, err)
		}
	}
	if len(vectors) < 4 || columns == 0 {
		t.Errorf("only %d vectors, %d of columns", len(vectors), columns)
	}
}

// The format, written down a second time from its description.
func TestSealFollowsItsDescription(t *testing.T) {
	raw, _ := decodeKey([]byte(testKeys[0]))
	derive := func(info string, n int) []byte {
		key, err := hkdf.Key(sha256.New, raw, nil, "github.com/inovy/hardening/secrets/"+info, n)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	r := ringOf(t, "V1")
	cell := r.Column("orders.token").Row("row-7")
	cell.Secret = NewSecret("a token")
	value, err := cell.Value()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ sealed, info, aad, want string }{
		{seal(t, r, "hello", "who"), "seal/v1", "who", "hello"},
		{seal(t, r, strings.Repeat("long", 500), ""), "seal/v1", "", strings.Repeat("long", 500)},
		{value.(string), "column/v1|orders.token", "row-7", "a token"},
	} {
		parts := strings.Split(tt.sealed, ".")
		if len(parts) != 3 || parts[0] != "s1" || parts[1] != hex.EncodeToString(derive("kid/v1", 4)) {
			t.Fatalf("%s", tt.sealed)
		}
		message, err := base64.RawURLEncoding.DecodeString(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		aead, err := xaes.New(derive(tt.info, 32))
		if err != nil {
			t.Fatal(err)
		}
		got, err := aead.Open(nil, message, []byte("s1."+parts[1]+"."+tt.aad))
		if err != nil || string(got) != tt.want {
			t.Errorf("%q, %v", got, err)
		}
	}
	// The id must tell nothing about the key: neither it nor its hash begins so.
	sum := sha256.Sum256(raw)
	if id := derive("kid/v1", 4); bytes.HasPrefix(sum[:], id) || bytes.HasPrefix(raw, id) {
		t.Error("the key id is a part or a hash of the key")
	}
}

func TestSealAndOpenGiveBackWhatWasSealed(t *testing.T) {
	r := ringOf(t, "V1")
	for _, n := range []int{0, 1, 2, 3, 727, 728, 729, 1024, 100_000} {
		plain, aad := bytes.Repeat([]byte{byte(n)}, n), bytes.Repeat([]byte("a"), n%100)
		sealed, err := r.Seal(plain, aad)
		if err != nil {
			t.Fatal(err)
		}
		if want := (n+40)*4/3 + 12; len(sealed) < want || len(sealed) > want+1 {
			t.Errorf("%d bytes make %d characters", n, len(sealed))
		}
		got, stale, err := r.Open(sealed, aad)
		if err != nil || stale || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %d bytes, %v, %v", n, len(got), stale, err)
		}
	}
	if first, second := seal(t, r, "x", ""), seal(t, r, "x", ""); first == second {
		t.Error("the same text twice")
	}
}

func TestEveryFlippedBitOfASealedTextIsRefusedAlike(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-11.3.3")
	r := ringOf(t, "v2@2020-01-02:V2,v1@2020-01-01:V1")
	for _, plain := range []string{"", "1", "12", "plaintext of some length"} { // all paddings
		sealed := seal(t, r, plain, "aad")
		for i := range len(sealed) * 8 {
			bad := []byte(sealed)
			bad[i/8] ^= 1 << (i % 8)
			if got, stale, err := r.Open(string(bad), []byte("aad")); err != ErrOpen || got != nil || stale { //nolint:errorlint // the very same error, not one that wraps it
				t.Fatalf("bit %d of %q: %q, %v, %v", i, sealed, got, stale, err)
			}
		}
		for n := range sealed {
			if _, _, err := r.Open(sealed[:n], []byte("aad")); !errors.Is(err, ErrOpen) {
				t.Fatalf("cut to %d: %v", n, err)
			}
		}
		other := seal(t, r, plain, "aad")
		for name, bad := range map[string]string{
			"a letter more": sealed + "A", "padding": sealed + "=", "a line end": sealed + "\n", "a line end inside": sealed[:20] + "\n" + sealed[20:],
			"a space before": " " + sealed, "another version": "s2" + sealed[2:], "no version": sealed[3:], "capitals": strings.ToUpper(sealed[:11]) + sealed[11:],
			"another's message": sealed[:40] + other[40:], "standard base64": strings.NewReplacer("-", "+", "_", "/").Replace(sealed) + "+", "twice": sealed + sealed,
		} {
			if got, _, err := r.Open(bad, []byte("aad")); !errors.Is(err, ErrOpen) || got != nil {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	}
}

// What was sealed for one thing must not open as another.
func TestASealedTextOpensOnlyForWhatItIsBoundTo(t *testing.T) {
	r := ringOf(t, "V1")
	sealed := seal(t, r, "secret", "user|1")
	for _, aad := range []string{"", "user|2", "user|1 ", "user|", "1", sealed[:12] + "user|1"} {
		if got, _, err := r.Open(sealed, []byte(aad)); !errors.Is(err, ErrOpen) {
			t.Errorf("aad %q: %q, %v", aad, got, err)
		}
	}
	if _, _, err := ringOf(t, "V2").Open(sealed, []byte("user|1")); !errors.Is(err, ErrOpen) {
		t.Errorf("another ring: %v", err)
	}
	// A header of a key that the ring has does not make a message that key's. (That
	// the header is bound as well, TestSealFollowsItsDescription shows.)
	two := ringOf(t, "v2@"+time.Now().UTC().Add(-2*day).Format(time.DateOnly)+":V2,v1:V1")
	moved := seal(t, ringOf(t, "V2"), "x", "")[:sealHeader] + sealed[sealHeader:]
	if _, _, err := two.Open(moved, []byte("user|1")); !errors.Is(err, ErrOpen) {
		t.Errorf("a moved header: %v", err)
	}
	if _, stale, err := two.Open(sealed, []byte("user|1")); err != nil || !stale {
		t.Errorf("its own header: %v, %v", stale, err)
	}
	for name, none := range map[string]*Ring{"nil": nil, "zero": new(Ring)} {
		if _, err := none.Seal(nil, nil); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := none.Open(sealed, nil); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s: %v", name, err)
		}
		if err := none.Column("x").Row("1").Scan(sealed); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.Destroy()
	if _, err := r.Seal(nil, nil); !errors.Is(err, ErrNoKey) {
		t.Errorf("destroyed: %v", err)
	}
	if _, _, err := r.Open(sealed, []byte("user|1")); !errors.Is(err, ErrNoKey) {
		t.Errorf("destroyed: %v", err)
	}
	if _, err := ringOf(t, "V1").Seal(make([]byte, maxSealed+1), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

// The life of a sealed text, by the ring's calendar: fresh, to be resealed, gone.
func TestOpenSaysStaleWhileTheOldKeyLivesAndRefusesWhenItIsGone(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-11.2.2")
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(day) // 2000-01-02
		r := ringOf(t, "v2@2000-01-02T00:00:00Z:V2,v1:V1")
		early := seal(t, ringOf(t, "V2"), "by a node that is ahead", "")
		sealed := seal(t, r, "by the old key", "")
		column := r.Column("p")
		cell := column.Row("1")
		cell.Secret = NewSecret("by the old key")
		stored, err := cell.Value()
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			after     time.Duration
			stale, ok bool
			name      string
		}{
			{0, false, true, "sealed under the primary"},
			{10*time.Minute - 1, false, true, "still"},
			{10 * time.Minute, true, true, "superseded"},
			{7*day + 10*time.Minute - 1, true, true, "in the grace time"},
			{7*day + 10*time.Minute, false, false, "gone"},
		} {
			synctestUntil(step.after)
			got, stale, err := r.Open(sealed, nil)
			if (err == nil) != step.ok || stale != step.stale || step.ok && string(got) != "by the old key" {
				t.Errorf("%s: %q, %v, %v", step.name, got, stale, err)
			}
			cell := column.Row("1")
			if err := cell.Scan(stored); (err == nil) != step.ok || cell.Stale() != step.stale || cell.Secret.IsZero() == step.ok {
				t.Errorf("%s: in a column: %v, %v", step.name, cell.Stale(), err)
			}
			// A key that is not primary yet opens, and needs no reseal.
			if _, stale, err := r.Open(early, nil); err != nil || stale {
				t.Errorf("%s: the newer key: %v, %v", step.name, stale, err)
			}
			if again := seal(t, r, "x", ""); (again[:sealHeader] == sealed[:sealHeader]) != (step.after < 10*time.Minute) {
				t.Errorf("%s: sealed by %s", step.name, again[:sealHeader])
			}
		}
	})
}

func FuzzOpen(f *testing.F) {
	r := ringOf(f, "v2@2020-01-02:V2,v1:V1")
	column := r.Column("p")
	f.Add(seal(f, r, "seed", "aad"), "aad")
	f.Add("s1.00000000.", "")
	f.Add("s1..", "")
	f.Add(seal(f, r, "", ""), "")
	f.Fuzz(func(t *testing.T, sealed, aad string) {
		plain, _, err := r.Open(sealed, []byte(aad))
		if err != nil {
			if !errors.Is(err, ErrOpen) || plain != nil {
				t.Fatalf("%q, %v", plain, err)
			}
		} else if sealEncoding.EncodedLen(len(plain)+xaes.Overhead)+sealHeader != len(sealed) {
			t.Fatalf("%d bytes from %d", len(plain), len(sealed))
		}
		if err := column.Row("1").Scan(sealed); !errors.Is(err, ErrOpen) {
			t.Fatalf("a column opened it: %v", err)
		}
		again, err := r.Seal([]byte(sealed), []byte(aad))
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := r.Open(again, []byte(aad)); err != nil || string(got) != sealed {
			t.Fatalf("%q, %v", got, err)
		}
	})
}

// BenchmarkSeal1KiB has the limits in the same run: raw AES-256-GCM with a
// random nonce into memory of its own, as any function must that returns what
// it sealed, and the same without that memory.
func BenchmarkSeal1KiB(b *testing.B) {
	plain, aad := make([]byte, 1024), []byte("invite|42")
	r := ringOf(b, "V1")
	b.Run("ring", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = r.Seal(plain, aad)
		}
	})
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("raw", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = gcm.Seal(nil, nil, plain, aad)
		}
	})
	dst := make([]byte, 0, 2048)
	b.Run("raw reused", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = gcm.Seal(dst, nil, plain, aad)
		}
	})
}

func BenchmarkOpen1KiB(b *testing.B) {
	r := ringOf(b, "V1")
	sealed := seal(b, r, string(make([]byte, 1024)), "invite|42")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.Open(sealed, []byte("invite|42")); err != nil {
			b.Fatal(err)
		}
	}
}
