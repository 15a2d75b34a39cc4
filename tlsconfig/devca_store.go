package tlsconfig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/durable"
)

// open loads the CA or makes one. Two processes that create it at once end up
// with the same one: the second finds the first's key file.
func (ca *DevCA) open() error {
	if err := os.MkdirAll(ca.dir, 0o700); err != nil {
		return fmt.Errorf("tlsconfig: development CA: %w", err)
	}
	info, err := os.Stat(ca.dir)
	if err != nil {
		return fmt.Errorf("tlsconfig: development CA: %w", err)
	}
	if permissions(info)&0o002 != 0 {
		return &hardening.ConfigError{Room: room, Field: "dir", Value: ca.dir, Reason: "may be written by every user of this machine", Fix: "chmod 0700 it, or name another directory"}
	}
	keyFile := filepath.Join(ca.dir, caKeyFile)
	if _, err := os.Lstat(keyFile); errors.Is(err, fs.ErrNotExist) {
		bundle, err := ca.create()
		if err != nil {
			return err
		}
		if err := durable.CreateWhole(keyFile, bundle, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("tlsconfig: %w", err)
		}
	}
	usable, err := ca.load(keyFile)
	if err != nil {
		return err
	}
	if !usable {
		bundle, err := ca.create()
		if err != nil {
			return err
		}
		if err := durable.Replace(keyFile, bundle, 0o600); err != nil {
			return fmt.Errorf("tlsconfig: %w", err)
		}
		if _, err := ca.load(keyFile); err != nil {
			return err
		}
	}
	want := certPEM(ca.cert.Raw)
	if have, err := os.ReadFile(ca.CertFile()); err != nil || !bytes.Equal(have, want) {
		if err := durable.Replace(ca.CertFile(), want, 0o644); err != nil {
			return fmt.Errorf("tlsconfig: %w", err)
		}
	}
	return nil
}

// load reads the bundle. usable is false for a CA of ours that must be
// replaced.
func (ca *DevCA) load(keyFile string) (usable bool, err error) {
	refuse := func(reason string) (bool, error) {
		return false, &hardening.ConfigError{
			Room: room, Field: "dir", Value: keyFile, Reason: reason,
			Fix: "remove the directory if it is a development CA's, and trust the new one; else name another directory",
		}
	}
	p, flaws := files{keyFile, keyFile}.load()
	if len(flaws) > 0 {
		return refuse(flaws[0].reason)
	}
	key, ok := p.cert.PrivateKey.(*ecdsa.PrivateKey)
	if c := p.leaf(); !ok || !c.IsCA || !slices.Contains(c.Subject.Organization, devCAOrganization) {
		return refuse("is not a development CA's key")
	}
	if p.keyMode&0o077 != 0 {
		return refuse("may be read by other users of this machine, so its key is no secret")
	}
	ca.cert, ca.key = p.leaf(), key
	e := expiryOf(ca.cert.NotBefore, ca.cert.NotAfter, time.Now())
	return e < ExpiryUrgent && ca.constrained(ca.cert), nil
}

// create makes a new CA as a bundle of key and certificate.
func (ca *DevCA) create() ([]byte, error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	host, _ := os.Hostname() // tells developers' CAs apart in a trust store
	t := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Development CA of " + host, Organization: []string{devCAOrganization}},
		NotBefore:             now.Add(-clockSlack),
		NotAfter:              now.Add(devCALife - clockSlack),
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true, // no CA below this one
	}
	ca.constrain(t)
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("tlsconfig: development CA: %w", err)
	}
	return append(keyPEM, certPEM(der)...), nil
}

// constrain permits something in every name type. A type without a permitted
// name would be unrestricted: RFC 5280 section 4.2.1.10.
func (ca *DevCA) constrain(t *x509.Certificate) {
	t.PermittedDNSDomainsCritical = true
	t.PermittedDNSDomains = slices.Clone(ca.cfg.Domains)
	for _, p := range ca.cfg.Networks {
		t.PermittedIPRanges = append(t.PermittedIPRanges, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	// A leading dot means all names below; without it, that host alone.
	for _, d := range ca.cfg.Domains {
		t.PermittedEmailAddresses = append(t.PermittedEmailAddresses, d, "."+d)
		t.PermittedURIDomains = append(t.PermittedURIDomains, d, "."+d)
	}
}

// constrained reports whether c has the constraints of this configuration.
func (ca *DevCA) constrained(c *x509.Certificate) bool {
	want := new(x509.Certificate)
	ca.constrain(want)
	return c.PermittedDNSDomainsCritical &&
		slices.Equal(c.PermittedDNSDomains, want.PermittedDNSDomains) &&
		slices.Equal(c.PermittedEmailAddresses, want.PermittedEmailAddresses) &&
		slices.Equal(c.PermittedURIDomains, want.PermittedURIDomains) &&
		slices.EqualFunc(c.PermittedIPRanges, want.PermittedIPRanges, func(a, b *net.IPNet) bool { return a.String() == b.String() })
}

func newKey() (key *ecdsa.PrivateKey, keyPEM []byte, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(crypto.PrivateKey(key))
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
