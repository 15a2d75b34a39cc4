package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// The value of a session cookie, format 1, is base64url without padding of
//
//	version  1 byte   0x01
//	key id   4 bytes  which key signed
//	tag      8 bytes  keeps the sessions of one user together in the store
//	id      32 bytes  random (ASVS v5.0.0-7.2.3 asks for 16)
//	mac     16 bytes  HMAC-SHA256 over cookie name, 0x00 and all of the above
//
// The id alone is the credential. The signature keeps guesses away from the
// store, and makes a value worthless under another cookie name. Test vectors
// are in testdata and kept for ever.
const (
	tokenVersion = 1
	keyIDSize    = 4
	tagAt        = 1 + keyIDSize
	idAt         = tagAt + 8
	macAt        = idAt + 32
	tokenSize    = macAt + 16
	valueSize    = (tokenSize*8 + 5) / 6
)

// Strict refuses the trailing bits that make base64 malleable. Line breaks,
// which the decoder skips, cannot hide in a value of exactly valueSize.
var base64url = base64.RawURLEncoding.Strict()

// token is what a cookie says, as bytes.
type token [tokenSize]byte

func newToken(k *key, cookieName string, tag Tag) token {
	var t token
	t[0] = tokenVersion
	copy(t[1:], k.id[:])
	copy(t[tagAt:], tag[:])
	_, _ = rand.Read(t[idAt:macAt]) // never fails (Go 1.24)
	t.sign(k, cookieName)
	return t
}

func (t *token) sign(k *key, cookieName string) {
	full := k.mac.sum([]byte(cookieName), []byte{0}, t[:macAt])
	copy(t[macAt:], full[:])
}

func (t *token) value() string { return base64url.EncodeToString(t[:]) }

// ref is what the store knows of the token.
func (t *token) ref() Ref {
	return Ref{Tag: Tag(t[tagAt:idAt]), Hash: sha256.Sum256(t[tagAt:macAt])}
}

// verdict is what a cookie value turned out to be.
type verdict uint8

const (
	foreign verdict = iota // not a value of ours, or signed by a key that is gone
	forged                 // claims a key that we have, and is not signed by it
	genuine
)

// parseToken checks a cookie value without touching any store.
func parseToken(s *keyset, cookieName, value string) (token, verdict) {
	var t token
	if len(value) != valueSize {
		return t, foreign
	}
	var src [valueSize]byte
	copy(src[:], value)
	if n, err := base64url.Decode(t[:], src[:]); err != nil || n != tokenSize || t[0] != tokenVersion {
		return t, foreign
	}
	k := s.byID(t[1:tagAt])
	if k == nil {
		return t, foreign
	}
	want := k.mac.sum([]byte(cookieName), []byte{0}, t[:macAt])
	if !hmac.Equal(t[macAt:], want[:tokenSize-macAt]) {
		return t, forged
	}
	return t, genuine
}
