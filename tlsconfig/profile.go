package tlsconfig

import (
	"crypto/tls"
	"fmt"
)

// Profile is a named set of protocol versions, cipher suites and groups. The
// values are frozen: they change with a release of this library, never with
// the Go version. The zero value is the role's default: [Intermediate] for
// servers, [Modern] for clients.
type Profile uint8

const (
	// Intermediate speaks TLS 1.3, and TLS 1.2 with ECDHE and AEAD only. It
	// serves every client of the last ten years. Source: Mozilla server-side
	// TLS 6.0 "intermediate" without its RSA-2048 allowance going unnoticed:
	// see finding HDN-TLS-020.
	Intermediate Profile = iota + 1

	// Modern speaks TLS 1.3 only. Source: Mozilla server-side TLS 6.0 "modern".
	Modern

	// NCSC speaks TLS 1.3 only and sends no session tickets, and refuses
	// certificates that NCSC-NL 2025-05 wants phased out (RSA below 3072 bits).
	NCSC

	// NCSCStrict is NCSC with hybrid post-quantum groups only, the ones that
	// NCSC-NL 2025-05 paragraph 3.3.3 calls good. Clients without ML-KEM
	// cannot connect.
	NCSCStrict
)

// String returns the lower-case name: "intermediate", "modern", "ncsc",
// "ncsc-strict".
func (p Profile) String() string {
	switch p {
	case 0:
		return "default"
	case Intermediate:
		return "intermediate"
	case Modern:
		return "modern"
	case NCSC:
		return "ncsc"
	case NCSCStrict:
		return "ncsc-strict"
	}
	return fmt.Sprintf("profile(%d)", uint8(p))
}

// Valid reports whether p is one of the constants or zero.
func (p Profile) Valid() bool { return p <= NCSCStrict }

// minVersion: RFC 8996 forbids 1.0 and 1.1; NCSC-NL 2025-05 par. 3.3.1 calls
// 1.3 good and 1.2 sufficient.
func (p Profile) minVersion() uint16 {
	if p == Intermediate {
		return tls.VersionTLS12
	}
	return tls.VersionTLS13
}

// cipherSuites are those of TLS 1.2; crypto/tls fixes the ones of 1.3. The six
// are Mozilla 6.0 "intermediate" less DHE, and all that NCSC-NL 2025-05
// appendix B calls sufficient for TLS 1.2 and Go has. AES-128-GCM must stay:
// HTTP/2 requires it (RFC 9113 section 9.2.2).
func (p Profile) cipherSuites() []uint16 {
	if p != Intermediate {
		return nil
	}
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// groups: NCSC-NL 2025-05 par. 3.3.3 calls the hybrids good and the others
// sufficient; Mozilla 6.0 has the same classical ones. crypto/tls prefers them
// in its own order, hybrids first, and ignores ours.
func (p Profile) groups() []tls.CurveID {
	hybrid := []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024}
	if p == NCSCStrict {
		return hybrid
	}
	return append(hybrid, tls.X25519, tls.CurveP256, tls.CurveP384)
}

// tickets: a stolen ticket key opens every session resumed under it, so the
// NCSC profiles do without. It costs about a quarter of the handshakes a
// second that resumption would give with TLS 1.3.
func (p Profile) tickets() bool { return p == Intermediate || p == Modern }

// worstKey is the lowest level of certificate key and signature that the
// profile serves.
func (p Profile) worstKey() Level {
	if p == NCSC || p == NCSCStrict {
		return LevelSufficient
	}
	return LevelPhaseOut
}

// serverConfig is the profile as a configuration that lacks only certificates.
func (p Profile) serverConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             p.minVersion(),
		CipherSuites:           p.cipherSuites(),
		CurvePreferences:       p.groups(),
		SessionTicketsDisabled: !p.tickets(),
		NextProtos:             []string{"h2", "http/1.1"},
	}
}

// clientConfig is the profile as a configuration that lacks roots and hooks. It
// names no application protocol: whoever uses it knows which one it speaks.
func (p Profile) clientConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             p.minVersion(),
		CipherSuites:           p.cipherSuites(),
		CurvePreferences:       p.groups(),
		SessionTicketsDisabled: !p.tickets(),
	}
}
