package xaes_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/inovy/hardening/internal/xaes"
)

func aead(t testing.TB, key []byte) *xaes.AEAD {
	t.Helper()
	a, err := xaes.New(key)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The two vectors of the specification: one for each value of the bit that
// decides about the subkey's reduction.
func TestSpecificationVectors(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-11.3.2")
	for _, tt := range []struct {
		key      byte
		aad, hex string
	}{
		{0x01, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{0x03, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		ct, err := hex.DecodeString(tt.hex)
		if err != nil {
			t.Fatal(err)
		}
		a := aead(t, bytes.Repeat([]byte{tt.key}, 32))
		got, err := a.Open(nil, append([]byte("ABCDEFGHIJKLMNOPQRSTUVWX"), ct...), []byte(tt.aad))
		if err != nil || string(got) != "XAES-256-GCM" {
			t.Errorf("key %#x: %q, %v", tt.key, got, err)
		}
	}
}

// Sealing draws its own nonce, so it is held against an independent writing of
// the specification, for keys, nonces and texts from an extendable hash.
func TestSealAgreesWithTheSpecification(t *testing.T) {
	s := sha3.NewSHAKE128()
	draw := func(n int) []byte { b := make([]byte, n); _, _ = s.Read(b); return b }
	for range 300 {
		key, plain, aad := draw(32), draw(int(draw(1)[0])), draw(int(draw(1)[0]))
		sealed := aead(t, key).Seal(nil, plain, aad)
		if want := specified(key, sealed[:24], plain, aad); !bytes.Equal(sealed[24:], want) {
			t.Fatalf("sealed %x, specified %x", sealed[24:], want)
		}
	}
}

func specified(key, nonce, plain, aad []byte) []byte {
	b, _ := aes.NewCipher(key)
	l := make([]byte, 16)
	b.Encrypt(l, l)
	carry := l[0]&0x80 != 0
	for i := range l {
		l[i] <<= 1
		if i < 15 && l[i+1]&0x80 != 0 {
			l[i] |= 1
		}
	}
	if carry {
		l[15] ^= 0x87
	}
	var kx []byte
	for i := byte(1); i <= 2; i++ {
		m := append([]byte{0, i, 0x58, 0}, nonce[:12]...)
		for j := range m {
			m[j] ^= l[j]
		}
		b.Encrypt(m, m)
		kx = append(kx, m...)
	}
	bx, _ := aes.NewCipher(kx)
	g, _ := cipher.NewGCM(bx)
	return g.Seal(nil, nonce[12:], plain, aad)
}

func TestEveryFlippedBitIsRefusedWithOneError(t *testing.T) {
	a := aead(t, bytes.Repeat([]byte{7}, 32))
	sealed := a.Seal(nil, []byte("plaintext"), []byte("aad"))
	for i := range len(sealed) * 8 {
		bad := bytes.Clone(sealed)
		bad[i/8] ^= 1 << (i % 8)
		if got, err := a.Open(nil, bad, []byte("aad")); !errors.Is(err, xaes.ErrOpen) || got != nil {
			t.Fatalf("bit %d: %q, %v", i, got, err)
		}
	}
	for n := range sealed {
		if _, err := a.Open(nil, sealed[:n], []byte("aad")); !errors.Is(err, xaes.ErrOpen) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := a.Open(nil, sealed, []byte("other")); !errors.Is(err, xaes.ErrOpen) {
		t.Error("other additional data was accepted")
	}
	if got, err := a.Open([]byte("x"), sealed, []byte("aad")); err != nil || string(got) != "xplaintext" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestKeyLength(t *testing.T) {
	for _, n := range []int{0, 16, 24, 31, 33} {
		if _, err := xaes.New(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes was accepted", n)
		}
	}
}

func TestRunsInFIPSOnlyMode(t *testing.T) {
	if os.Getenv("XAES_FIPS_CHILD") == "1" {
		a := aead(t, bytes.Repeat([]byte{9}, 32))
		if got, err := a.Open(nil, a.Seal(nil, []byte("x"), nil), nil); err != nil || string(got) != "x" {
			t.Fatalf("%q, %v", got, err)
		}
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRunsInFIPSOnlyMode$")
	cmd.Env = append(os.Environ(), "XAES_FIPS_CHILD=1", "GODEBUG=fips140=only")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func FuzzOpen(f *testing.F) {
	a := aead(f, bytes.Repeat([]byte{7}, 32))
	f.Add(a.Seal(nil, []byte("seed"), nil), []byte{})
	f.Add([]byte{}, []byte("aad"))
	f.Fuzz(func(t *testing.T, sealed, aad []byte) {
		plain, err := a.Open(nil, sealed, aad)
		if err == nil && len(plain) != len(sealed)-xaes.Overhead {
			t.Errorf("%d bytes from %d", len(plain), len(sealed))
		}
	})
}

func BenchmarkSeal1KiB(b *testing.B) {
	key, plain := make([]byte, 32), make([]byte, 1024)
	_, _ = rand.Read(key)
	a := aead(b, key)
	dst := make([]byte, 0, 2048)
	b.Run("xaes", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			a.Seal(dst, plain, nil)
		}
	})
	block, _ := aes.NewCipher(key)
	gcm, _ := cipher.NewGCMWithRandomNonce(block)
	b.Run("limit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			gcm.Seal(dst, nil, plain, nil)
		}
	})
}
