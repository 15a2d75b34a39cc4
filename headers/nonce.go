package headers

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"html/template"
	"strings"
)

// nonceChars base32 digits hold 128 random bits, which CSP Level 3 section 7.1
// asks for. The alphabet is a part of every base64 one, and html/template
// writes it unchanged: it would turn '+' into "&#43;".
const (
	nonceChars    = 26
	nonceAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

func drawNonce(b *[nonceChars]byte) {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the program instead
	one, two := binary.LittleEndian.Uint64(raw[:8]), binary.LittleEndian.Uint64(raw[8:])
	for i := range 13 { // twelve digits of five bits, and one of four
		b[i], b[13+i] = nonceAlphabet[one&31], nonceAlphabet[two&31]
		one, two = one>>5, two>>5
	}
}

// state is one request's context. It is part of one allocation with the memory
// of its header values.
type state struct {
	context.Context
	nonce string
}

// Web and API have ten headers: less memory to clear and to scan than for all there are.
type (
	smallState struct {
		state
		values [10]string
	}
	largeState struct {
		state
		values [maxHeaders]string
	}
)

// newState returns the state of a request and room for n values.
func newState(ctx context.Context, n int) (*state, []string) {
	if n <= len(smallState{}.values) {
		s := &smallState{state: state{Context: ctx}}
		return &s.state, s.values[:n]
	}
	s := &largeState{state: state{Context: ctx}}
	return &s.state, s.values[:n]
}

type nonceKey struct{}

func (s *state) Value(key any) any {
	if _, ok := key.(nonceKey); ok {
		return s
	}
	return s.Context.Value(key)
}

// Nonce returns the nonce that this response's policy allows, or "" outside
// [Middleware.Wrap] or where the policy has none. It is the same for the whole
// request, also where a policy of [Middleware.With] replaces the outer one.
func Nonce(ctx context.Context) string {
	if s, ok := ctx.Value(nonceKey{}).(*state); ok {
		return s.nonce
	}
	return ""
}

// NonceAttr returns nonce="..." for html/template, to be put into a script or
// style tag: <script {{.Nonce}}>. It is empty where [Nonce] is.
func NonceAttr(ctx context.Context) template.HTMLAttr {
	n := Nonce(ctx)
	if n == "" {
		return ""
	}
	return template.HTMLAttr(`nonce="` + n + `"`) // #nosec G203 -- n is our own nonce of letters and digits
}

// withNonce puts the nonce between the pieces of a policy. Where nonce is
// empty it draws one; it returns the one it used, as a part of the policy's
// own memory.
func withNonce(pieces []string, size int, nonce string) (policy, used string) {
	var b strings.Builder
	b.Grow(size)
	if nonce == "" {
		var fresh [nonceChars]byte
		drawNonce(&fresh)
		for i, p := range pieces {
			if i > 0 {
				b.Write(fresh[:])
			}
			b.WriteString(p)
		}
		policy = b.String()
		return policy, policy[len(pieces[0]) : len(pieces[0])+nonceChars]
	}
	for i, p := range pieces {
		if i > 0 {
			b.WriteString(nonce)
		}
		b.WriteString(p)
	}
	return b.String(), nonce
}
