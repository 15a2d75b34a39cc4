// Package xaes is XAES-256-GCM (C2SP, c2sp.org/XAES-256-GCM): AES-256-GCM with
// 192-bit nonces, which may be drawn at random for more messages than a key
// will ever see. It is the house's one AEAD.
//
// A sealed message is nonce (24 bytes), ciphertext, tag (16 bytes). The second
// half of the nonce is drawn by the standard library's own random-nonce GCM,
// so that sealing and opening also run with GODEBUG=fips140=only.
package xaes

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"errors"
)

const (
	// KeySize is the length of a key in bytes.
	KeySize = 32
	// NonceSize is the length in bytes of the nonce before each ciphertext.
	NonceSize = 24
	// Overhead is how many bytes a sealed message is longer than its plaintext.
	Overhead = NonceSize + 16
)

// ErrOpen says that a message was not sealed under this key and additional
// data, or was changed since. It says no more, on purpose.
var ErrOpen = errors.New("xaes: message does not open under this key and additional data")

// AEAD seals and opens under one key. It is safe for concurrent use.
type AEAD struct {
	block cipher.Block
	k1    [aes.BlockSize]byte // the CMAC subkey of NIST SP 800-38B
}

// New returns an AEAD for a key of [KeySize] bytes. It keeps no reference to
// the slice.
func New(key []byte) (*AEAD, error) {
	if len(key) != KeySize {
		return nil, errors.New("xaes: the key must have 32 bytes")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	a := &AEAD{block: block}
	block.Encrypt(a.k1[:], a.k1[:])
	msb := a.k1[0] >> 7
	for i := range len(a.k1) - 1 {
		a.k1[i] = a.k1[i]<<1 | a.k1[i+1]>>7
	}
	a.k1[len(a.k1)-1] = a.k1[len(a.k1)-1]<<1 ^ 0x87*msb
	return a, nil
}

// derive returns AES-256-GCM under the key that belongs to the first half of
// the nonce: two CMAC blocks in counter mode (NIST SP 800-108).
func (a *AEAD) derive(n1 []byte) cipher.AEAD {
	var key [KeySize]byte
	for i := range 2 {
		m := key[i*aes.BlockSize : (i+1)*aes.BlockSize]
		m[1], m[2] = byte(i+1), 'X'
		copy(m[4:], n1)
		subtle.XORBytes(m, m, a.k1[:])
		a.block.Encrypt(m, m)
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("xaes: " + err.Error()) // the length is right by construction
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("xaes: " + err.Error()) // an AES block is 16 bytes
	}
	return gcm
}

// Seal appends the sealed message to dst. The plaintext must not overlap dst's
// spare capacity.
func (a *AEAD) Seal(dst, plaintext, additionalData []byte) []byte {
	var n1 [NonceSize / 2]byte
	_, _ = rand.Read(n1[:]) // never fails (Go 1.24)
	dst = append(dst, n1[:]...)
	return a.derive(n1[:]).Seal(dst, nil, plaintext, additionalData) // #nosec G407 -- the AEAD draws its own nonce and wants nil
}

// Open appends the plaintext to dst, or returns dst's zero value and [ErrOpen].
func (a *AEAD) Open(dst, sealed, additionalData []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, ErrOpen
	}
	plain, err := a.derive(sealed[:NonceSize/2]).Open(dst, nil, sealed[NonceSize/2:], additionalData)
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}
