package tlsconfig

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/inovy/hardening/internal/faults"
)

// PinOf returns the pin of a certificate's public key: "sha256/" and the base64
// SHA-256 of its SubjectPublicKeyInfo (RFC 7469 section 2.4). It stays the same
// when the certificate is renewed with the same key.
func PinOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return pinPrefix + base64.StdEncoding.EncodeToString(sum[:])
}

const pinPrefix = "sha256/"

// pinSet holds public key digests. nil = no pinning.
type pinSet map[[sha256.Size]byte]bool

// parsePins reads pins. One alone is a fault: with the key that it pins, every
// connection would be lost (RFC 7469 section 4.3).
func parsePins(f *faults.Collector, field string, pins []string) pinSet {
	if pins == nil {
		return nil
	}
	if len(pins) == 0 {
		f.Missing(field, "is empty but not nil, which pins nothing", "leave it nil, or give the pin in use and a backup")
		return nil
	}
	set := pinSet{}
	bad := false
	for i, p := range pins {
		b, ok := strings.CutPrefix(p, pinPrefix)
		sum, err := base64.StdEncoding.Strict().DecodeString(b)
		if !ok || err != nil || len(sum) != sha256.Size {
			f.Add(fmt.Sprintf("%s[%d]", field, i), p, "is not a pin", `write "sha256/" and the base64 of a SHA-256, as PinOf returns it`)
			bad = true
			continue
		}
		set[[sha256.Size]byte(sum)] = true
	}
	if !bad && len(set) < 2 {
		f.Missing(field, "has no backup pin", "add the pin of a key that is kept offline, or of the CA that would issue next")
	}
	return set
}

// match reports whether any certificate of any verified chain has a pinned key:
// the leaf, an intermediate, or the root.
func (s pinSet) match(chains [][]*x509.Certificate) bool {
	for _, chain := range chains {
		for _, c := range chain {
			if s[sha256.Sum256(c.RawSubjectPublicKeyInfo)] {
				return true
			}
		}
	}
	return false
}
