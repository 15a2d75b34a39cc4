package tlsconfig_test

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

// noKeyBytes fails if any line of the body of a PEM file is in the text.
func noKeyBytes(t *testing.T, text string, files ...[]byte) {
	t.Helper()
	if strings.Contains(text, "-----") {
		t.Errorf("PEM in %q", text)
	}
	for _, data := range files {
		for line := range strings.Lines(string(data)) {
			for line = strings.TrimSpace(line); len(line) >= 12; line = line[12:] {
				if !strings.HasPrefix(line, "-----") && strings.Contains(text, line[:12]) {
					t.Errorf("key material in %q", text)
				}
			}
		}
	}
}

func TestBadCertificatesAreRefusedWithOneClearFault(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	ca := newAuthority(t)
	key := ecKey(t, elliptic.P256())
	goodCert, goodKey := chainPEM(ca.issue(leaf("a.test"), key)), keyPEM(t, key)
	otherKey := keyPEM(t, ecKey(t, elliptic.P256()))
	with := func(change func(*x509.Certificate)) []byte {
		c := leaf("a.test")
		change(c)
		return chainPEM(ca.issue(c, key))
	}
	withRSA := func(bits int) (cert, keyData []byte) {
		k := rsaKey(t, bits)
		return chainPEM(ca.issue(leaf("a.test"), k)), keyPEM(t, k)
	}
	rsa1024, rsa1024Key := withRSA(1024)
	rsa2048, rsa2048Key := withRSA(2048)
	p224 := ecKey(t, elliptic.P224())
	sha1CA := &authority{t, ca.cert, rsaKey(t, 2048)}
	sha1CA.cert = sign(t, &x509.Certificate{Subject: ca.cert.Subject, NotBefore: ca.cert.NotBefore, NotAfter: ca.cert.NotAfter, IsCA: true, BasicConstraintsValid: true}, ca.cert, sha1CA.key.Public(), ca.key)
	sha1 := leaf("a.test")
	sha1.SignatureAlgorithm = x509.SHA1WithRSA
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("0123456789abcdef0123456789abcdef")})
	stranger := newAuthority(t)
	oldTmpl := leaf()
	oldTmpl.Subject.CommonName, oldTmpl.IsCA, oldTmpl.BasicConstraintsValid, oldTmpl.KeyUsage = "Old", true, true, x509.KeyUsageCertSign
	oldTmpl.NotAfter = time.Now().Add(-time.Minute)
	old := &authority{t, ca.issue(oldTmpl, key), key}

	for _, tt := range []struct {
		name      string
		cert, key []byte
		profile   tlsconfig.Profile
		reason    string
	}{
		{"the key belongs to another certificate", goodCert, otherKey, 0, "is not the key of the certificate"},
		{"the leaf is not first", append(chainPEM(ca.cert), goodCert...), goodKey, 0, "of a later certificate"},
		{"the certificate expired", with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), goodKey, 0, "expired on"},
		{"the certificate is of tomorrow", with(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(24 * time.Hour) }), goodKey, 0, "is not valid before"},
		{"the certificate is for clients", with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), goodKey, 0, "lacks serverAuth"},
		{"the certificate may not sign", with(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), goodKey, 0, "lacks digitalSignature"},
		{"the certificate has a common name only", with(func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = "a.test", nil }), goodKey, 0, "names no host"},
		{"RSA of 1024 bits", rsa1024, rsa1024Key, 0, "RSA-1024, which NCSC-NL 2025-05 calls insufficient"},
		{"RSA of 2048 bits in profile NCSC", rsa2048, rsa2048Key, tlsconfig.NCSC, "RSA-2048, which NCSC-NL 2025-05 calls phase out"},
		{"ECDSA P-224", chainPEM(ca.issue(leaf("a.test"), p224)), keyPEM(t, p224), 0, "P-224, which TLS clients do not support"},
		{"a SHA-1 signature", chainPEM(sha1CA.issue(sha1, key)), goodKey, 0, "a signature by SHA1-RSA"},
		{"the chain breaks", append(bytes.Clone(goodCert), chainPEM(stranger.cert)...), goodKey, 0, "was not issued by certificate 2"},
		{"an intermediate that expired", append(chainPEM(old.issue(leaf("a.test"), key)), chainPEM(old.cert)...), goodKey, 0, "certificate 2 (Old) expired on"},
		{"a half-written certificate", goodCert[:len(goodCert)-40], goodKey, 0, "is damaged or half-written"},
		{"a half-written end of the chain", append(bytes.Clone(goodCert), chainPEM(ca.cert)[:100]...), goodKey, 0, "is damaged or half-written"},
		{"a half-written key", goodCert, goodKey[:len(goodKey)/2], 0, "is damaged or half-written"},
		{"an empty certificate file", nil, goodKey, 0, "is empty"},
		{"an empty key file", goodCert, []byte("\n"), 0, "is empty"},
		{"no PEM at all", []byte("certificate goes here"), goodKey, 0, "holds no PEM certificate"},
		{"a key file without PEM", goodCert, []byte("hunter2hunter2"), 0, "holds no PEM private key"},
		{"DER rubbish in the certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("rubbish rubbish")}), goodKey, 0, "does not parse"},
		{"DER rubbish in the key", goodCert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("rubbish rubbish")}), 0, "does not parse"},
		{"an encrypted key", goodCert, encrypted, 0, "encrypted private key"},
		{"two keys", goodCert, append(bytes.Clone(goodKey), otherKey...), 0, "more than one private key"},
		{"a file of more than 1 MiB", bytes.Repeat([]byte("a"), 1<<20+1), goodKey, 0, "is larger than 1 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			certFile, keyFile := write(t, tt.cert, tt.key)
			_, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Profile: tt.profile, Certs: []tlsconfig.CertSource{tlsconfig.Files(certFile, keyFile)}})
			if err == nil {
				t.Fatal("accepted")
			}
			var reasons []string
			for f := range hardening.Faults(err) {
				reasons = append(reasons, f.Reason)
				if f.Room != "tlsconfig" || f.Field != "Certs[0]" || f.Value == "" || f.Fix == "" {
					t.Errorf("incomplete fault %+v", f)
				}
			}
			if len(reasons) != 1 || !strings.Contains(reasons[0], tt.reason) {
				t.Errorf("faults %q, want one with %q", reasons, tt.reason)
			}
			noKeyBytes(t, err.Error(), tt.cert, tt.key)
		})
	}
}

func TestSwappedFilesAreNamedAsSuch(t *testing.T) {
	ca := newAuthority(t)
	key := ecKey(t, elliptic.P256())
	certFile, keyFile := write(t, chainPEM(ca.issue(leaf("a.test"), key)), keyPEM(t, key))
	_, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: []tlsconfig.CertSource{tlsconfig.Files(keyFile, certFile)}})
	if err == nil || strings.Count(err.Error(), "swapped") != 2 {
		t.Errorf("%v", err)
	}
}

// Nobody verifies a root's signature on itself, and old roots have SHA-1.
func TestARootWithSHA1AtTheEndOfTheChainIsNoFault(t *testing.T) {
	rootKey, key := rsaKey(t, 3072), ecKey(t, elliptic.P256())
	tmpl := leaf()
	tmpl.Subject.CommonName, tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = "Old root", true, true, x509.KeyUsageCertSign
	tmpl.SignatureAlgorithm = x509.SHA1WithRSA
	root := &authority{t, sign(t, tmpl, tmpl, rootKey.Public(), rootKey), rootKey}
	src := tlsconfig.Files(write(t, chainPEM(root.issue(leaf("a.test"), key), root.cert), keyPEM(t, key)))
	s := newServer(t, tlsconfig.NCSC, src)
	if ids := failed(s.Check()); len(ids) > 0 {
		t.Errorf("failing findings %v", ids)
	}
}

func TestOneFileMayHoldBoth(t *testing.T) {
	ca := newAuthority(t)
	key := ecKey(t, elliptic.P256())
	both, _ := write(t, append(keyPEM(t, key), chainPEM(ca.issue(leaf("a.test"), key))...), nil)
	newServer(t, 0, tlsconfig.Files(both, both))
}

func TestFilesThatCannotBeReadAreFaults(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		filepath.Join(dir, "missing"): "does not exist",
		dir:                           "is not a regular file",
		"/dev/zero":                   "is not a regular file",
		"":                            "has no certificate file",
	} {
		_, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: []tlsconfig.CertSource{tlsconfig.Files(name, name)}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	locked := filepath.Join(dir, "locked")
	if err := os.WriteFile(locked, []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(locked); err == nil {
		return // this user reads everything
	}
	if _, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: []tlsconfig.CertSource{tlsconfig.Files(locked, locked)}}); err == nil || !strings.Contains(err.Error(), "may not be read") {
		t.Errorf("%v", err)
	}
}

func TestNewServerNamesEveryFaultAtOnce(t *testing.T) {
	ca := newAuthority(t)
	key := ecKey(t, elliptic.P256())
	worst := leaf()
	worst.NotAfter, worst.ExtKeyUsage, worst.KeyUsage = time.Now().Add(-time.Hour), []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, x509.KeyUsageKeyAgreement
	worst.NotBefore = time.Now().Add(-48 * time.Hour)
	cert, secret := chainPEM(ca.issue(worst, key)), keyPEM(t, key)
	certFile, keyFile := write(t, cert, secret)
	_, err := tlsconfig.NewServer(tlsconfig.ServerConfig{
		Profile: 99, Environment: 99,
		Certs: []tlsconfig.CertSource{tlsconfig.Files(certFile, keyFile), nil, tlsconfig.Files("", ""), tlsconfig.Files("no.crt", "no.key")},
	})
	got := map[string]int{}
	for f := range hardening.Faults(err) {
		got[f.Field]++
		if f.Room != "tlsconfig" || f.Reason == "" || f.Fix == "" {
			t.Errorf("incomplete fault %+v", f)
		}
	}
	want := map[string]int{"Profile": 1, "Environment": 1, "Certs[0]": 4, "Certs[1]": 1, "Certs[2]": 2, "Certs[3]": 2}
	for field, n := range want {
		if got[field] != n {
			t.Errorf("%d faults of %s, want %d\n%v", got[field], field, n, err)
		}
	}
	if len(got) != len(want) {
		t.Errorf("faults of %v, want %v", got, want)
	}
	noKeyBytes(t, err.Error(), cert, secret)

	if _, err := tlsconfig.NewServer(tlsconfig.ServerConfig{}); err == nil || !strings.Contains(err.Error(), "Certs") {
		t.Errorf("no certificates: %v", err)
	}
}

// FuzzFiles: no content makes loading panic or a fault quote it.
func FuzzFiles(f *testing.F) {
	ca := newAuthority(f)
	key := ecKey(f, elliptic.P256())
	cert, secret := chainPEM(ca.issue(leaf("a.test"), key)), keyPEM(f, key)
	f.Add(cert, secret)
	f.Add(secret, cert)
	f.Add(cert[:50], secret[:50])
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----"))
	f.Add(cert, []byte("-----BEGIN EC PRIVATE KEY-----\nDEK-Info: x\n\n-----END EC PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, cert, secret []byte) {
		certFile, keyFile := write(t, cert, secret)
		s, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: []tlsconfig.CertSource{tlsconfig.Files(certFile, keyFile)}, Logger: silent})
		if err != nil {
			if s != nil {
				t.Error("a server beside an error")
			}
			noKeyBytes(t, strings.ReplaceAll(strings.ReplaceAll(err.Error(), certFile, ""), keyFile, ""), cert, secret)
			return
		}
		s.Close()
	})
}

type refusing struct{ slog.Handler }

var errFull = errors.New("disk full")

func (refusing) Handle(context.Context, slog.Record) error { return errFull }

func TestAuditGetsTheRecordFirstAndCanRefuse(t *testing.T) {
	ca := newAuthority(t)
	key := ecKey(t, elliptic.P256())
	old := leaf("a.test")
	old.NotBefore, old.NotAfter = time.Now().Add(-80*24*time.Hour), time.Now().Add(10*24*time.Hour)
	src := tlsconfig.Files(write(t, chainPEM(ca.issue(old, key)), keyPEM(t, key)))

	var audit, other bytes.Buffer
	cfg := tlsconfig.ServerConfig{Name: "portal", Certs: []tlsconfig.CertSource{src}, Audit: slog.NewTextHandler(&audit, nil), Logger: slog.New(slog.NewTextHandler(&other, nil))}
	s, err := tlsconfig.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"certificate_reloaded", "certificate_expiring", "instance=portal", "reason=urgent", s.Status()[0].Fingerprint} {
		if !strings.Contains(audit.String(), want) {
			t.Errorf("no %q in %s", want, &audit)
		}
	}
	if other.Len() > 0 {
		t.Errorf("Logger got %s", &other)
	}
	cfg.Audit = refusing{slog.DiscardHandler}
	if s, err := tlsconfig.NewServer(cfg); !errors.Is(err, errFull) || s != nil {
		t.Errorf("%v, %v; want the handler's error", s, err)
	}
}
