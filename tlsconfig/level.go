package tlsconfig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// Level is a verdict of the NCSC-NL TLS guidelines 2025-05 on one setting. The
// zero value means that it was not judged. A higher Level is worse.
type Level uint8

// The four levels, best first. internet.nl fails a site on LevelInsufficient
// and remarks on LevelPhaseOut.
const (
	LevelGood Level = iota + 1
	LevelSufficient
	LevelPhaseOut
	LevelInsufficient
)

// String returns the guidelines' word: "good", "sufficient", "phase out",
// "insufficient".
func (l Level) String() string {
	switch l {
	case 0:
		return "not judged"
	case LevelGood:
		return "good"
	case LevelSufficient:
		return "sufficient"
	case LevelPhaseOut:
		return "phase out"
	case LevelInsufficient:
		return "insufficient"
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// versionLevel: par. 3.3.1.
func versionLevel(v uint16) Level {
	switch {
	case v >= tls.VersionTLS13:
		return LevelGood
	case v == tls.VersionTLS12:
		return LevelSufficient
	}
	return LevelInsufficient
}

// suiteLevel: par. 3.3.2 to 3.3.5 and appendix B, for the suites Go has.
func suiteLevel(id uint16) Level {
	switch id {
	case tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256:
		return LevelGood
	case tls.TLS_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:
		return LevelSufficient
	case tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256:
		return LevelPhaseOut
	}
	return LevelInsufficient
}

// groupLevel: par. 3.3.3.
func groupLevel(id tls.CurveID) Level {
	switch id {
	case tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024:
		return LevelGood
	case tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521:
		return LevelSufficient
	}
	return LevelInsufficient
}

// keyLevel judges a certificate's public key (par. 3.3.2) and names it. The
// guidelines call no certificate key better than sufficient.
func keyLevel(pub crypto.PublicKey) (name string, l Level) {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		bits := k.N.BitLen()
		name = fmt.Sprintf("RSA-%d", bits)
		switch {
		case bits >= 3072:
			return name, LevelSufficient
		case bits >= 2048:
			return name, LevelPhaseOut
		}
		return name, LevelInsufficient
	case *ecdsa.PublicKey:
		name = "ECDSA " + k.Curve.Params().Name
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return name, LevelSufficient
		case elliptic.P224():
			return name, LevelPhaseOut
		}
		return name, LevelInsufficient
	case ed25519.PublicKey:
		return "Ed25519", LevelSufficient
	}
	return fmt.Sprintf("%T", pub), LevelInsufficient
}

// signatureLevel judges the hash under a certificate's signature: par. 3.3.5.
func signatureLevel(a x509.SignatureAlgorithm) Level {
	switch a {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
		x509.PureEd25519:
		return LevelGood
	}
	return LevelInsufficient
}
