package xaes_test

import (
	"bytes"
	"sync"
	"testing"

	"github.com/inovy/hardening/internal/xaes"
)

// A Sealer must never use one derived key for more than 1024 messages, nor one
// nonce twice, also when many seal at once.
func TestSealerChangesItsDerivedKey(t *testing.T) {
	a := aead(t, bytes.Repeat([]byte{7}, 32))
	s := a.Sealer()
	var mu sync.Mutex
	halves, nonces := map[string]int{}, map[string]bool{}
	var wg sync.WaitGroup
	const each, routines = 2000, 4
	for range routines {
		wg.Go(func() {
			for range each {
				sealed := s.Seal([]byte("x"), []byte("plaintext"), []byte("aad"))
				if got, err := a.Open(nil, sealed[1:], []byte("aad")); err != nil || string(got) != "plaintext" || sealed[0] != 'x' {
					t.Errorf("%q, %v", got, err)
					return
				}
				nonce := string(sealed[1 : 1+xaes.NonceSize])
				mu.Lock()
				halves[nonce[:xaes.NonceSize/2]]++
				if nonces[nonce] {
					t.Error("one nonce twice")
				}
				nonces[nonce] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for half, n := range halves {
		if n > 1024 {
			t.Errorf("%x was used %d times", half, n)
		}
	}
	if n := len(halves); n < each*routines/1024 || n > 16 {
		t.Errorf("%d derived keys for %d messages", n, each*routines)
	}
}

func TestSealerAgreesWithTheSpecification(t *testing.T) {
	key := bytes.Repeat([]byte{3}, 32)
	s := aead(t, key).Sealer()
	for i := range 300 {
		plain, aad := bytes.Repeat([]byte{byte(i)}, i), []byte("aad")
		sealed := s.Seal(nil, plain, aad)
		if want := specified(key, sealed[:24], plain, aad); !bytes.Equal(sealed[24:], want) {
			t.Fatalf("sealed %x, specified %x", sealed[24:], want)
		}
	}
}

func BenchmarkSealer1KiB(b *testing.B) {
	s := aead(b, make([]byte, 32)).Sealer()
	plain, dst := make([]byte, 1024), make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		s.Seal(dst, plain, nil)
	}
}
