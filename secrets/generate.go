package secrets

import (
	"crypto/rand"
	"encoding/base64"

	"github.com/inovy/hardening"
)

// Generate returns nBytes random bytes as base64url text without padding, fit
// for environment variables, files and URLs, that kind=key accepts. nBytes is
// at least 32 (256 bits) and at most 512; anything else is a
// [*hardening.ConfigError].
func Generate(nBytes int) (string, error) {
	if nBytes < minKeyBits/8 || nBytes > maxKeyBits/8 {
		return "", &hardening.ConfigError{Room: "secrets", Field: "nBytes", Reason: "is not between 32 and 512", Fix: "use 32 for a 256-bit key"}
	}
	raw := make([]byte, nBytes)
	defer clear(raw)
	for {
		_, _ = rand.Read(raw) // never fails, see crypto/rand
		text := base64.RawURLEncoding.EncodeToString(raw)
		// One in 1e9 keys looks weak to us, and one that begins with a dash
		// looks like a flag to a shell command.
		if key, bad := checkKey([]byte(text), nBytes*8); bad == nil && text[0] != '-' {
			clear(key)
			return text, nil
		}
	}
}
