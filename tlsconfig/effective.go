package tlsconfig

import (
	"crypto/fips140"
	"crypto/tls"
	"slices"
)

// What a *tls.Config comes to once crypto/tls has filled its zero fields. A
// test compares these with handshakes, so that a Go release which changes a
// default cannot make the findings wrong unnoticed.

func effectiveVersions(cfg *tls.Config, role Role) (least, most uint16) {
	least, most = cfg.MinVersion, cfg.MaxVersion
	if least == 0 {
		least = tls.VersionTLS12
		if role == RoleServer && godebug("tls10server") == "1" {
			least = tls.VersionTLS10
		}
	}
	if most == 0 || most > tls.VersionTLS13 {
		most = tls.VersionTLS13
	}
	if fips140.Enabled() {
		least = max(least, tls.VersionTLS12)
	}
	return least, most
}

// effectiveSuites are those of TLS 1.2 and below; none if only 1.3 is spoken.
func effectiveSuites(cfg *tls.Config, role Role) []uint16 {
	if least, _ := effectiveVersions(cfg, role); least >= tls.VersionTLS13 {
		return nil
	}
	listed := cfg.CipherSuites
	if listed == nil {
		for _, s := range tls.CipherSuites() {
			listed = append(listed, s.ID)
		}
		if godebug("tlsrsakex") == "1" {
			listed = append(listed, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA)
		}
		if godebug("tls3des") == "1" {
			listed = append(listed, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA)
		}
	}
	var ids []uint16
	for _, known := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if slices.Contains(listed, known.ID) && !onlyTLS13(known) && !(fips140.Enabled() && !fipsSuite(known.ID)) {
			ids = append(ids, known.ID)
		}
	}
	return ids
}

// fipsSuite: what crypto/tls leaves of TLS 1.2 in FIPS 140-3 mode.
func fipsSuite(id uint16) bool {
	return id == tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 || id == tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 ||
		id == tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 || id == tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
}

func onlyTLS13(s *tls.CipherSuite) bool {
	return len(s.SupportedVersions) == 1 && s.SupportedVersions[0] == tls.VersionTLS13
}

// effectiveGroups: crypto/tls takes its defaults and keeps those that
// CurvePreferences lists, so GODEBUG and FIPS mode outrank the list.
func effectiveGroups(cfg *tls.Config) []tls.CurveID {
	groups := []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	return slices.DeleteFunc(groups, func(g tls.CurveID) bool {
		switch {
		case godebug("tlsmlkem") == "0" && groupLevel(g) == LevelGood:
			return true
		case godebug("tlssecpmlkem") == "0" && (g == tls.SecP256r1MLKEM768 || g == tls.SecP384r1MLKEM1024):
			return true
		case fips140.Enabled() && g == tls.X25519:
			return true
		}
		return len(cfg.CurvePreferences) > 0 && !slices.Contains(cfg.CurvePreferences, g)
	})
}
