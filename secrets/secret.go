package secrets

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// Errors of a Secret.
var (
	// ErrNoValue is returned for a Secret that is zero or destroyed.
	ErrNoValue = errors.New("secrets: the secret holds no value")
	// ErrRedacted is returned when the redaction marker is read back as if it
	// were a secret, which happens to a configuration saved from its own dump.
	ErrRedacted = errors.New("secrets: the text is a redaction marker, not a secret")
	// ErrNotEncodable is returned by binary encoders, which have no way to say
	// that something was left out.
	ErrNotEncodable = errors.New("secrets: a secret has no binary encoding")
)

// Secret holds a text that no formatting verb, encoder, template, dumper or
// reflection walk shows, in unexported fields too; all of them print
// [hardening.Redacted], an address, or refuse. Two ways lead out: [Expose] and
// [Secret.Use].
//
// A Secret is a small value: pass and store it as such. All copies share the
// text, so Destroy wipes it for every copy. It can not be compared with ==
// (use Equal). The zero Secret holds no value. All methods are safe for
// concurrent use.
type Secret struct {
	opaque
	_ [0]func() // == does not compile
	// atomic.Pointer hides the box behind an unsafe.Pointer, which fmt and the
	// dumpers print as an address and do not follow; a plain pointer they do.
	p *atomic.Pointer[box]
}

type box struct {
	mu sync.RWMutex // guards b against being wiped while it is copied
	b  []byte
}

func (b *box) wipe() {
	b.mu.Lock()
	clear(b.b)
	b.b = nil
	b.mu.Unlock()
}

// NewSecret returns a Secret with a copy of text. An empty text gives the zero
// Secret. The caller's string stays where it is: prefer [Load].
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return newVault(1).seal([]byte(text))
}

// vault makes secrets that are allocated together. A cleanup costs more than
// everything else about a Secret, so they share one: the texts are wiped when
// the last copy of the last secret of a vault is collected.
type vault struct {
	slots   []atomic.Pointer[box]
	boxes   []box
	cleanup runtime.Cleanup
}

// newVault has room for n secrets.
func newVault(n int) *vault {
	v := &vault{slots: make([]atomic.Pointer[box], n), boxes: make([]box, n)}
	if n > 0 {
		v.cleanup = runtime.AddCleanup(&v.slots[0], wipeAll, v.boxes)
	}
	return v
}

func wipeAll(boxes []box) {
	for i := range boxes {
		boxes[i].wipe()
	}
}

// seal takes ownership of b. There must be room.
func (v *vault) seal(b []byte) Secret {
	slot, inner := &v.slots[0], &v.boxes[0]
	v.slots, v.boxes = v.slots[1:], v.boxes[1:]
	inner.b = b
	slot.Store(inner)
	return Secret{p: slot}
}

// Expose returns the text of s, or "" if s holds no value. It is a function
// and not a method so that no template can call it and so that every use can be
// found by its name. The string is a copy that can not be wiped; where a
// []byte will do, use [Secret.Use].
func Expose(s Secret) string {
	if s.p == nil {
		return ""
	}
	defer runtime.KeepAlive(s.p) // the cleanup must not wipe while we copy
	inner := s.p.Load()
	if inner == nil {
		return ""
	}
	inner.mu.RLock()
	defer inner.mu.RUnlock()
	return string(inner.b)
}

// Use calls fn with a copy of the text and wipes the copy when fn returns or
// panics. fn must not keep the slice; it may use s again. Use returns fn's
// error, or [ErrNoValue] without calling fn if s holds no value.
func (s Secret) Use(fn func([]byte) error) error {
	text := s.clone()
	if text == nil {
		return ErrNoValue
	}
	defer clear(text)
	return fn(text)
}

// clone returns a copy of the text, or nil if there is none.
func (s Secret) clone() []byte {
	if s.p == nil {
		return nil
	}
	defer runtime.KeepAlive(s.p)
	inner := s.p.Load()
	if inner == nil {
		return nil
	}
	inner.mu.RLock()
	defer inner.mu.RUnlock()
	if len(inner.b) == 0 {
		return nil
	}
	return bytes.Clone(inner.b)
}

// peek calls fn with the text itself, if there is one. fn must neither keep it
// nor touch s.
func (s Secret) peek(fn func(text []byte)) {
	if s.p == nil {
		return
	}
	defer runtime.KeepAlive(s.p)
	inner := s.p.Load()
	if inner == nil {
		return
	}
	inner.mu.RLock()
	defer inner.mu.RUnlock()
	fn(inner.b)
}

// Equal reports whether both hold the same text. The time it takes tells
// nothing about the texts but their lengths in blocks of 64 bytes. A Secret
// that holds no value equals nothing, not even itself, so that a secret someone
// forgot to set never matches an empty input.
func (s Secret) Equal(other Secret) bool {
	a, b := s.clone(), other.clone()
	defer clear(a)
	defer clear(b)
	if a == nil || b == nil {
		return false
	}
	x, y := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// IsZero reports whether s holds no value, because it is the zero Secret or
// was destroyed.
func (s Secret) IsZero() bool { return s.p == nil || s.p.Load() == nil }

// Destroy wipes the text, for all copies of s. Strings that [Expose] returned
// stay as they are. Destroying twice, or the zero Secret, does nothing.
func (s Secret) Destroy() {
	if s.p == nil {
		return
	}
	if inner := s.p.Swap(nil); inner != nil {
		inner.wipe()
	}
}

// UnmarshalText makes s hold a copy of text; copies of s made before keep what
// they had. It refuses a redaction marker with [ErrRedacted], and an empty text
// gives the zero Secret.
func (s *Secret) UnmarshalText(text []byte) error {
	if holdsMarker(text) {
		return ErrRedacted
	}
	if len(text) == 0 {
		*s = Secret{}
		return nil
	}
	*s = newVault(1).seal(bytes.Clone(text))
	return nil
}
