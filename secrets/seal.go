package secrets

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/inovy/hardening/internal/text"
	"github.com/inovy/hardening/internal/xaes"
)

// Errors of sealing and opening.
var (
	// ErrOpen says that a text was not sealed by a key that the ring still
	// has, or not for this additional data, or was changed since. It does not
	// say which, on purpose.
	ErrOpen = errors.New("secrets: the sealed text does not open under this ring and additional data")
	// ErrNoKey says that there is nothing to seal or open with: the ring is nil,
	// zero or destroyed, or a Column has no purpose.
	ErrNoKey = errors.New("secrets: there is no key to seal or open with")
	// ErrTooLarge says that a plaintext is larger than 64 MiB.
	ErrTooLarge = errors.New("secrets: more than 64 MiB can not be sealed at once")
)

// The sealed text is "s1." + key id + "." + base64url without padding, where
// the base64url part is an XAES-256-GCM message (C2SP): nonce, ciphertext, tag.
// "s1" is the version of the format. The additional data that the message is
// bound to is everything up to and with the second point, followed by the
// caller's; the first part has a fixed length, so that no two pairs of header
// and caller's data read alike.
const (
	sealVersion = "s1"
	sealHeader  = len(sealVersion) + 1 + 2*kidBytes + 1
	kidBytes    = 4
	maxSealed   = 64 << 20
)

// Domains of the keys that sealing uses. None of them is what Derive uses, so
// that who may call Derive can not get at them.
const (
	kidInfo    = "github.com/inovy/hardening/secrets/kid/v1"
	sealInfo   = "github.com/inovy/hardening/secrets/seal/v1"
	columnInfo = "github.com/inovy/hardening/secrets/column/v1|" // + purpose
)

var sealEncoding = base64.RawURLEncoding.Strict()

// Seal encrypts plaintext under the primary key, bound to aad, and returns
// text that fits a URL, a header and a database column: "s1.<key id>.<base64url>",
// 4/3 of the plaintext and 66 characters more. aad is not in the text, and the
// same must be given to [Ring.Open]: say what the text is and whose, as in
// "invite|" + id; it may be nil. The cipher is XAES-256-GCM with a random nonce:
// a key may seal 2^49 texts. It returns [ErrNoKey] or [ErrTooLarge].
func (r *Ring) Seal(plaintext, aad []byte) (string, error) {
	inner := r.inner()
	if inner == nil {
		return "", ErrNoKey
	}
	return inner.seal.seal(inner, plaintext, aad)
}

// Open returns the plaintext of a text that [Ring.Seal] made with the same aad;
// the caller may wipe it. stale says that it was sealed under an older key than
// the primary, which will retire: seal the plaintext again and store that.
// Whatever is wrong with the text, the error is [ErrOpen]; without keys it is
// [ErrNoKey].
func (r *Ring) Open(sealed string, aad []byte) (plaintext []byte, stale bool, err error) {
	inner := r.inner()
	if inner == nil {
		return nil, false, ErrNoKey
	}
	return inner.seal.open(inner, sealed, aad)
}

// sealer seals for one domain with the keys of a ring, which it expands once
// per generation. Dumpers do not follow its pointer.
type sealer struct {
	info string
	set  atomic.Pointer[sealSet]
}

// sealSet is what holds for one generation of one ring. It is never changed.
type sealSet struct {
	of         *ringBox
	generation uint64
	keys       []sealKey // primary first
}

type sealKey struct {
	header string // of the texts it sealed
	aead   *xaes.AEAD
	sealer *xaes.Sealer
	old    bool // older than the primary
}

// keys returns the expanded keys of this moment; none if the ring has none.
func (s *sealer) keys(b *ringBox) []sealKey {
	generation := b.look().generation
	set := s.set.Load()
	if set == nil || set.of != b || set.generation != generation {
		set = s.expand(b)
	}
	return set.keys
}

func (s *sealer) expand(b *ringBox) *sealSet {
	b.mu.RLock() // held until the set is stored, so that Destroy comes after
	defer b.mu.RUnlock()
	view := b.view.Load()
	set := &sealSet{of: b, generation: view.generation}
	for _, i := range view.order {
		id, err := hkdf.Key(sha256.New, b.keys[i].key, nil, kidInfo, kidBytes)
		if err != nil { // only for lengths that are excluded by construction
			continue
		}
		key, err := hkdf.Key(sha256.New, b.keys[i].key, nil, s.info, xaes.KeySize)
		if err != nil {
			continue
		}
		aead, err := xaes.New(key)
		clear(key)
		if err != nil {
			continue
		}
		set.keys = append(set.keys, sealKey{
			header: sealVersion + "." + hex.EncodeToString(id) + ".",
			aead:   aead, sealer: aead.Sealer(), old: i > view.order[0],
		})
	}
	s.set.Store(set)
	return set
}

// scratch holds ciphertexts and additional data on their way, no plaintext.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// borrow returns scratch space of n bytes; give it back with its result.
func borrow(n int) (space []byte, giveBack func()) {
	p := scratch.Get().(*[]byte)
	if cap(*p) < n {
		*p = make([]byte, n)
	}
	return (*p)[:n], func() {
		if cap(*p) <= 64<<10 {
			scratch.Put(p)
		}
	}
}

func (s *sealer) seal(b *ringBox, plaintext, aad []byte) (string, error) {
	if len(plaintext) > maxSealed {
		return "", ErrTooLarge
	}
	keys := s.keys(b)
	if len(keys) == 0 {
		return "", ErrNoKey
	}
	key := keys[0]
	size := len(plaintext) + xaes.Overhead
	space, giveBack := borrow(size + sealHeader + len(aad))
	defer giveBack()
	raw := key.sealer.Seal(space[:0:size], plaintext, append(append(space[size:size], key.header...), aad...))
	var out strings.Builder
	out.Grow(sealHeader + sealEncoding.EncodedLen(size))
	out.WriteString(key.header)
	var chunk [1024]byte
	for len(raw) > 0 { // 768 bytes are 1024 characters
		n := min(len(raw), len(chunk)/4*3)
		sealEncoding.Encode(chunk[:], raw[:n])
		out.Write(chunk[:sealEncoding.EncodedLen(n)])
		raw = raw[n:]
	}
	return out.String(), nil
}

func (s *sealer) open(b *ringBox, sealed string, aad []byte) (plaintext []byte, stale bool, err error) {
	keys := s.keys(b)
	if len(keys) == 0 {
		return nil, false, ErrNoKey
	}
	const longest = sealHeader + (maxSealed+xaes.Overhead+2)/3*4
	if len(sealed) < sealHeader || len(sealed) > longest {
		return nil, false, ErrOpen
	}
	header, body := sealed[:sealHeader], sealed[sealHeader:]
	if text.HasLineBreak(body) {
		return nil, false, ErrOpen
	}
	size := sealEncoding.DecodedLen(len(body))
	space, giveBack := borrow(size + len(body) + sealHeader + len(aad))
	defer giveBack()
	encoded := append(space[size:size], body...)
	n, err := sealEncoding.Decode(space[:size], encoded)
	if err != nil {
		return nil, false, ErrOpen
	}
	bound := append(append(space[size+len(body):size+len(body)], header...), aad...)
	for _, key := range keys {
		if key.header != header { // two keys may share an id by chance
			continue
		}
		if plaintext, err := key.aead.Open(nil, space[:n], bound); err == nil {
			return plaintext, key.old, nil
		}
	}
	return nil, false, ErrOpen
}
