package session

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"sync"
	"sync/atomic"

	"github.com/gorilla/securecookie"

	"github.com/inovy/hardening/internal/xaes"
)

// KeySource derives the room's keys. *secrets.Ring fulfils it.
//
// Derive returns one key of n bytes for each root key that is in force, the
// primary first; the rest only open what they once signed. The same purpose
// and length give the same keys until Generation moves, and keys of different
// purposes are independent. Generation moves when a root key activates or
// retires; it must be cheap, because it is asked on every request that carries
// a session. Both are safe for concurrent use.
//
// A session lives no longer than the root key under which it was issued: keep
// a retiring key in the ring for [Policy].Absolute, and nobody is logged out.
type KeySource interface {
	Derive(purpose string, n int) [][]byte
	Generation() uint64
}

// Purposes. They are part of the formats in testdata and never change.
const (
	purposeID    = "session/id"    // signs ids
	purposeTag   = "session/tag"   // hides user ids from the store
	purposeData  = "session/data"  // seals data that leaves this process
	purposeEvent = "session/event" // names sessions in records
	purposeCSRF  = "session/csrf"  // tokens for forms

	// Two keys, or securecookie would take what is signed for what is sealed.
	purposeCookieMAC = "session/cookie/mac"
	purposeCookieEnc = "session/cookie/enc"
)

const keySize = 32

// processKeys is the KeySource of a manager without one: a random root key
// that nobody else has and that ends with the process.
type processKeys struct{ root [keySize]byte }

func newProcessKeys() *processKeys {
	k := new(processKeys)
	_, _ = rand.Read(k.root[:]) // never fails (Go 1.24)
	return k
}

func (k *processKeys) Generation() uint64 { return 0 }

func (k *processKeys) Derive(purpose string, n int) [][]byte {
	h := hmac.New(sha256.New, k.root[:])
	h.Write([]byte(purpose))
	return [][]byte{h.Sum(nil)[:n]}
}

// keyset is one generation of a KeySource, made ready. It is immutable.
type keyset struct {
	generation uint64
	keys       []*key // primary first
}

// key holds what is derived from one root key.
type key struct {
	id    [keyIDSize]byte // recognises the key in cookies and sealed records; not secret
	mac   macPool
	tag   macPool
	event macPool
	csrf  macPool
	data  *xaes.AEAD

	cookie *securecookie.SecureCookie // sessions that travel in their cookie
}

// byID returns the key with this id, or nil.
func (s *keyset) byID(id []byte) *key {
	for _, k := range s.keys {
		if bytes.Equal(k.id[:], id) {
			return k
		}
	}
	return nil
}

var errKeysMoving = errors.New("session: the key source kept changing while it was read")

// loadKeys reads a consistent generation of src.
func loadKeys(src KeySource) (*keyset, error) {
	for range 8 {
		generation := src.Generation()
		derived := map[string][][]byte{}
		for _, p := range []string{purposeID, purposeTag, purposeData, purposeEvent, purposeCSRF, purposeCookieMAC, purposeCookieEnc} {
			derived[p] = src.Derive(p, keySize)
		}
		if src.Generation() != generation {
			continue
		}
		return newKeyset(generation, derived)
	}
	return nil, errKeysMoving
}

func newKeyset(generation uint64, derived map[string][][]byte) (*keyset, error) {
	n := len(derived[purposeID])
	if n == 0 {
		return nil, errors.New("gave no key")
	}
	seen := map[string]bool{}
	for _, keys := range derived {
		if len(keys) != n {
			return nil, errors.New("gave a different number of keys for different purposes")
		}
		for _, k := range keys {
			switch {
			case len(k) != keySize:
				return nil, errors.New("gave a key of the wrong length")
			case weak(k):
				return nil, errors.New("gave a key whose bytes are all the same")
			case seen[string(k)]:
				return nil, errors.New("gave the same key twice")
			}
			seen[string(k)] = true
		}
	}
	s := &keyset{generation: generation}
	for i := range n {
		k := new(key)
		k.mac.init(derived[purposeID][i])
		k.tag.init(derived[purposeTag][i])
		k.event.init(derived[purposeEvent][i])
		aead, err := xaes.New(derived[purposeData][i])
		if err != nil {
			return nil, err
		}
		k.data = aead
		k.csrf.init(derived[purposeCSRF][i])
		if k.cookie, err = newCodec(derived[purposeCookieMAC][i], derived[purposeCookieEnc][i]); err != nil {
			return nil, err
		}
		full := k.mac.sum([]byte("key id"))
		copy(k.id[:], full[:])
		if s.byID(k.id[:]) != nil {
			return nil, errors.New("gave two keys that share an id of 32 bits; replace either")
		}
		s.keys = append(s.keys, k)
	}
	return s, nil
}

func weak(k []byte) bool {
	return subtle.ConstantTimeCompare(k, bytes.Repeat(k[:1], len(k))) == 1
}

// keyring follows a KeySource.
type keyring struct {
	src     KeySource
	current atomic.Pointer[keyset]
	mu      sync.Mutex // serialises reloads
}

// get returns the keys in force. A generation that cannot be used is an
// error rather than a silent return to keys that may have been withdrawn.
func (r *keyring) get() (*keyset, error) {
	if s := r.current.Load(); s != nil && s.generation == r.src.Generation() {
		return s, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.current.Load(); s != nil && s.generation == r.src.Generation() {
		return s, nil
	}
	s, err := loadKeys(r.src)
	if err != nil {
		return nil, err
	}
	r.current.Store(s)
	return s, nil
}

// macPool is HMAC-SHA256 under one key. A pooled state costs a third of
// hmac.New and no allocation.
type macPool struct{ pool sync.Pool }

type macState struct {
	h   hash.Hash
	in  [256]byte
	out [sha256.Size]byte
}

func (p *macPool) init(k []byte) {
	k = bytes.Clone(k)
	p.pool.New = func() any { return &macState{h: hmac.New(sha256.New, k)} }
}

// sum returns the MAC of the parts' concatenation. Callers make it injective.
func (p *macPool) sum(parts ...[]byte) [sha256.Size]byte {
	m := p.pool.Get().(*macState)
	m.h.Reset()
	for _, part := range parts {
		for len(part) > 0 { // through in, so that the caller's bytes stay on its stack
			n := copy(m.in[:], part)
			m.h.Write(m.in[:n])
			part = part[n:]
		}
	}
	m.h.Sum(m.out[:0])
	out := m.out
	p.pool.Put(m)
	return out
}

// tagOf returns the tag under which a store keeps the sessions of user.
func (k *key) tagOf(user string) Tag {
	full := k.tag.sum([]byte(user))
	return Tag(full[:len(Tag{})])
}

// nameOf returns the name of a session in records: a keyed prefix, of no use
// to anyone who reads them (ASVS v5.0.0-16.2.5).
func (k *key) nameOf(ref Ref) string {
	full := k.event.sum(ref.Hash[:])
	return hex.EncodeToString(full[:8])
}
