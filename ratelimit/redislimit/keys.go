package redislimit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"strconv"

	"github.com/inovy/hardening/ratelimit"
)

// KeySource gives the keys that subjects are hashed with; *secrets.Ring is one.
// It is safe for concurrent use.
type KeySource interface {
	// Derive returns keys of n bytes for the purpose, the primary one first.
	Derive(purpose string, n int) [][]byte
	// Generation changes when Derive would answer otherwise.
	Generation() uint64
}

// ErrKeys is returned when [Config.Keys] holds no key.
var ErrKeys = errors.New("redislimit: no key to hash subjects with")

// derived is what a KeySource gave in one generation.
type derived struct {
	generation uint64
	keys       [][]byte // the primary one first
}

// derived returns the keys that hash who is counted.
func (s *Store) derived() (*derived, error) {
	d := s.key.Load()
	if g := s.keys.Generation(); d == nil || d.generation != g {
		ks := s.keys.Derive("ratelimit/redislimit/v1", 32)
		if len(ks) == 0 || len(ks[0]) == 0 {
			return nil, ErrKeys
		}
		d = &derived{g, ks}
		s.key.Store(d)
	}
	return d, nil
}

// names are the keys of the charges.
func (s *Store) names(charges []ratelimit.Charge) ([]string, error) {
	d, err := s.derived()
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, d.keys[0])
	var sum [sha256.Size]byte
	keys := make([]string, len(charges))
	for i := range charges {
		c := &charges[i]
		b := make([]byte, 0, 64)
		if c.Burst > 0 {
			b = append(b, 0) // which no window's length is
		}
		b = binary.AppendUvarint(b, uint64(c.Per))
		addr := c.Subject.Addr.AsSlice()
		for _, part := range []string{c.Rule, string(addr), c.Subject.Name} {
			b = binary.AppendUvarint(b, uint64(len(part)))
			b = append(b, part...)
		}
		prefix := s.prefix
		if s.slots > 1 {
			prefix = s.spread(mac, &sum, addr, c.Subject.Name)
		}
		mac.Reset()
		mac.Write(b)
		keys[i] = prefix + c.Rule + ":" + base64.RawURLEncoding.EncodeToString(mac.Sum(sum[:0])[:16])
	}
	return keys, nil
}

// spread is the beginning of the keys of a subject, which lie in one slot. The
// hash is keyed, so that nobody can choose to share one with a victim.
func (s *Store) spread(mac hash.Hash, sum *[sha256.Size]byte, addr []byte, name string) string {
	mac.Reset()
	mac.Write([]byte{0, 0, byte(len(addr))}) // which no key's hash begins with
	mac.Write(addr)
	mac.Write([]byte(name))
	slot := binary.BigEndian.Uint32(mac.Sum(sum[:0])) % s.slots
	return s.tag + ":{" + s.tag + "-" + strconv.Itoa(int(slot)) + "}:"
}
