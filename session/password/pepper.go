package password

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"sync"
	"sync/atomic"
)

// KeySource derives the peppers. *secrets.Ring fulfils it.
//
// Derive returns one key of n bytes for each root key that is in force, the
// primary first. The same purpose and length give the same keys until
// Generation moves. Both are safe for concurrent use.
type KeySource interface {
	Derive(purpose string, n int) [][]byte
	Generation() uint64
}

// ErrPepper says that the key source gives no usable peppers. Answer it with 503.
var ErrPepper = errors.New("password: no usable pepper")

// The purpose is part of the stored format and never changes.
const (
	purposePepper = "password/pepper"
	pepperSize    = 48
)

// pepperID recognises a pepper in stored hashes; it is not secret.
type pepperID [4]byte

func (id pepperID) String() string { return base64PHC.EncodeToString(id[:]) }

func parsePepperID(s string) (id pepperID, ok bool) {
	const prefix = "keyid="
	if len(s) != len(prefix)+base64PHC.EncodedLen(len(id)) || s[:len(prefix)] != prefix {
		return id, false
	}
	b, err := base64PHC.DecodeString(s[len(prefix):])
	return id, err == nil && copy(id[:], b) == len(id)
}

// pepper is one key. nil means none.
type pepper struct {
	id  pepperID
	key []byte
}

func (p *pepper) name() *pepperID {
	if p == nil {
		return nil
	}
	return &p.id
}

// season is what is hashed in the place of the password.
func (p *pepper) season(password string) string {
	if p == nil {
		return password
	}
	h := hmac.New(sha512.New384, p.key)
	h.Write([]byte(password))
	return string(h.Sum(nil))
}

// seasonText is season for bcrypt, which minds some bytes: 64 characters of
// base64, of which it looks at all (OWASP password storage cheat sheet).
func (p *pepper) seasonText(password string) string {
	if p == nil {
		return password
	}
	return base64.StdEncoding.EncodeToString([]byte(p.season(password)))
}

// pepperKeys is one generation of a KeySource. It is immutable. nil = none.
type pepperKeys struct {
	generation uint64
	keys       []*pepper
}

func (k *pepperKeys) primary() *pepper {
	if k == nil {
		return nil
	}
	return k.keys[0]
}

func (k *pepperKeys) byID(id pepperID) *pepper {
	if k != nil {
		for _, p := range k.keys {
			if p.id == id {
				return p
			}
		}
	}
	return nil
}

// peppers follows a KeySource.
type peppers struct {
	src     KeySource // nil = none
	current atomic.Pointer[pepperKeys]
	mu      sync.Mutex // serialises reloads
}

func (p *peppers) get() (*pepperKeys, error) {
	if p.src == nil {
		return nil, nil
	}
	if k := p.current.Load(); k != nil && k.generation == p.src.Generation() {
		return k, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for range 8 {
		generation := p.src.Generation()
		derived := p.src.Derive(purposePepper, pepperSize)
		if p.src.Generation() != generation {
			continue
		}
		k, err := newPepperKeys(generation, derived)
		if err == nil {
			p.current.Store(k)
		}
		return k, err
	}
	return nil, errors.New("the key source kept changing while it was read")
}

func newPepperKeys(generation uint64, derived [][]byte) (*pepperKeys, error) {
	k := &pepperKeys{generation: generation}
	for _, key := range derived {
		if len(key) != pepperSize {
			return nil, errors.New("gave a key of the wrong length")
		}
		if bytes.Equal(key, bytes.Repeat(key[:1], len(key))) {
			return nil, errors.New("gave a key whose bytes are all the same")
		}
		p := &pepper{key: bytes.Clone(key)}
		h := hmac.New(sha512.New384, key)
		h.Write([]byte("key id"))
		copy(p.id[:], h.Sum(nil))
		if k.byID(p.id) != nil {
			return nil, errors.New("gave the same key twice, or two that share an id of 32 bits")
		}
		k.keys = append(k.keys, p)
	}
	if len(k.keys) == 0 {
		return nil, errors.New("gave no key")
	}
	return k, nil
}
