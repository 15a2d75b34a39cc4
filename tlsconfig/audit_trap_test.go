package tlsconfig_test

import (
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/tls"
	"net/http"
	"slices"
	"testing"

	"github.com/inovy/hardening/tlsconfig"
)

// http.Server adds h2 to its own copy of the configuration. What
// GetConfigForClient returns does not have it, and HTTP/2 is lost in silence.
func TestTrap_AConfigurationForOneClientLosesHTTP2(t *testing.T) {
	ca := newAuthority(t)
	key := ecKey(t, elliptic.P256())
	inner := soundServer(pairOf(key, ca.issue(leaf("localhost"), key)))
	inner.NextProtos = nil
	outer := inner.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return inner, nil }
	srv := &http.Server{Handler: http.NotFoundHandler(), TLSConfig: outer}
	tlsconfig.Harden(srv)
	addr := serve(t, srv, serveTLS)
	res, err := client(t, ca).Get("https://" + addr)
	if err != nil || res.ProtoMajor != 1 {
		t.Errorf("net/http offers HTTP/2 all the same (%v): the remedy of HDN-TLS-057 is not needed any more", err)
	}
	outer.NextProtos = []string{"h2", "http/1.1"} // as http.Server has it
	if ids := failed(tlsconfig.Audit(outer, tlsconfig.AuditOptions{ServerName: "localhost"})); !slices.Equal(ids, []string{"HDN-TLS-057"}) {
		t.Errorf("failed %v", ids)
	}
}

// A hook that builds a configuration anew forgets what the outer one lists:
// the suites and groups of crypto/tls come back.
func TestTrap_AConfigurationForOneClientBringsBackCBC(t *testing.T) {
	if fips140.Enabled() {
		t.Skip("FIPS 140-3 mode has no CBC")
	}
	ca := newAuthority(t)
	key := ecKey(t, elliptic.P256())
	outer := soundServer(pairOf(key, ca.issue(leaf("localhost"), key)))
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: outer.Certificates, NextProtos: outer.NextProtos, MinVersion: outer.MinVersion}, nil
	}
	cbc := &tls.Config{RootCAs: ca.pool(), ServerName: "localhost", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}
	if cs, err := dial(t, echo(t, outer), cbc); err != nil || cs.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA {
		t.Errorf("crypto/tls refuses the suite that the hook forgot to refuse: %v", err)
	}
	if ids := failed(tlsconfig.Audit(outer, tlsconfig.AuditOptions{ServerName: "localhost"})); !slices.Equal(ids, []string{"HDN-TLS-002"}) {
		t.Errorf("failed %v", ids)
	}
}

// Hybrid groups exist in TLS 1.3 only, so that a list of nothing else lets TLS
// 1.2 be offered and then fail.
func TestTrap_HybridGroupsAloneLockOutTLS12(t *testing.T) {
	ca := newAuthority(t)
	key := ecKey(t, elliptic.P256())
	cfg := soundServer(pairOf(key, ca.issue(leaf("localhost"), key)))
	cfg.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768}
	if _, err := dial(t, echo(t, cfg), &tls.Config{RootCAs: ca.pool(), ServerName: "localhost", MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("a client of TLS 1.2 is served")
	}
	if ids := failed(tlsconfig.Audit(cfg, tlsconfig.AuditOptions{ServerName: "localhost"})); !slices.Equal(ids, []string{"HDN-TLS-062"}) {
		t.Errorf("failed %v", ids)
	}
	strict := newServer(t, tlsconfig.NCSCStrict, ca.good("localhost"))
	if ids := failed(strict.Check()); len(ids) > 0 {
		t.Errorf("NCSCStrict, which has TLS 1.3 only, fails %v", ids)
	}
}

// ServeTLS refuses to start with HTTP/2 and without its one mandatory suite.
func TestTrap_HTTP2NeedsItsSuite(t *testing.T) {
	ca := newAuthority(t)
	key := ecKey(t, elliptic.P256())
	cfg := soundServer(pairOf(key, ca.issue(leaf("localhost"), key)))
	cfg.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
	srv := &http.Server{TLSConfig: cfg}
	tlsconfig.Harden(srv)
	l := &pipeListener{done: make(chan struct{})}
	if err := srv.ServeTLS(l, "", ""); err == nil || err == http.ErrServerClosed {
		t.Errorf("served: %v", err)
	}
	if ids := failed(tlsconfig.Audit(cfg, tlsconfig.AuditOptions{ServerName: "localhost"})); !slices.Equal(ids, []string{"HDN-TLS-013"}) {
		t.Errorf("failed %v", ids)
	}
}
