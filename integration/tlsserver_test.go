package integration

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
	"github.com/inovy/hardening/tlsconfig"
)

// scanned is a server that scanners look at: it speaks TLS by a profile and
// sends the headers of a portal. It has an ECDSA and an RSA certificate, as a
// CA would issue them: for 90 days, with a pointer to its revocation list.
type scanned struct {
	addr   string // localhost:port, since the scanners check the name
	port   string
	caFile string
	roots  *x509.CertPool
}

// goDefaults stands for a server with no tls.Config at all: the scanners must
// find something in it, or their silence about ours would mean nothing.
const goDefaults = tlsconfig.Profile(0)

func startScanned(t *testing.T, profile tlsconfig.Profile) scanned {
	t.Helper()
	dir := t.TempDir()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Scan CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	s := scanned{caFile: filepath.Join(dir, "ca.pem"), roots: x509.NewCertPool()}
	writePEM(t, s.caFile, "CERTIFICATE", caDER)
	if ca, err = x509.ParseCertificate(caDER); err != nil {
		t.Fatal(err)
	}
	s.roots.AddCert(ca)
	issue := func(name string, key crypto.Signer) (certFile, keyFile string) {
		serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: serial, Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
			DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, CRLDistributionPoints: []string{"http://localhost/ca.crl"},
		}, ca, key.Public(), caKey)
		if err != nil {
			t.Fatal(err)
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
		writePEM(t, certFile, "CERTIFICATE", der)
		writePEM(t, keyFile, "PRIVATE KEY", keyDER)
		return certFile, keyFile
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	ecCert, ecFile := issue("ecdsa", ecKey)
	rsaCert, rsaFile := issue("rsa", rsaKey)

	policy, err := headers.New(headers.Config{})
	if err != nil {
		t.Fatal(err)
	}
	handler := policy.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "portal") }))
	srv := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{}} //nolint:gosec // G402, G112: the server that has not been hardened
	if profile == goDefaults {
		for _, pair := range [][2]string{{ecCert, ecFile}, {rsaCert, rsaFile}} {
			c, err := tls.LoadX509KeyPair(pair[0], pair[1])
			if err != nil {
				t.Fatal(err)
			}
			srv.TLSConfig.Certificates = append(srv.TLSConfig.Certificates, c)
		}
	} else {
		server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{
			Profile: profile, Certs: []tlsconfig.CertSource{tlsconfig.Files(ecCert, ecFile), tlsconfig.Files(rsaCert, rsaFile)},
			Environment: hardening.Production, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		srv = server.HTTPServer(handler)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	if _, s.port, err = net.SplitHostPort(l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	s.addr = "localhost:" + s.port
	return s
}

func writePEM(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// handshake says what a client with this configuration agrees on.
func (s scanned) handshake(t *testing.T, cfg *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	cfg.RootCAs, cfg.ServerName = s.roots, "localhost"
	conn, err := (&tls.Dialer{Config: cfg}).DialContext(t.Context(), "tcp", "127.0.0.1:"+s.port)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState(), nil
}
