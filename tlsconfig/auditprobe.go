package tlsconfig

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"

	"github.com/inovy/hardening"
)

// stranger makes a certificate that nobody vouches for, to see who accepts it.
func stranger() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a stranger of tlsconfig.Audit"}, DNSNames: []string{"stranger.invalid"},
		NotBefore: now.Add(-clockSlack), NotAfter: now.Add(clockSlack), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// refusesStrangers reports whether cfg has a VerifyConnection that refuses a
// peer with a certificate of nobody, on a resumed session. What a hook of
// others checks cannot be read; that it checks nothing can be tried. One that
// panics ends the connection, and one that hangs lets nobody in either.
func refusesStrangers(cfg *tls.Config) bool {
	if cfg.VerifyConnection == nil {
		return false
	}
	who, err := stranger()
	if err != nil {
		return false
	}
	refused := make(chan bool, 1)
	go func() { // owner: it ends when the hook returns
		defer func() {
			if recover() != nil {
				refused <- true
			}
		}()
		refused <- cfg.VerifyConnection(tls.ConnectionState{
			Version: tls.VersionTLS13, HandshakeComplete: true, DidResume: true, CipherSuite: tls.TLS_AES_128_GCM_SHA256,
			ServerName: "stranger.invalid", PeerCertificates: []*x509.Certificate{who.Leaf},
		}) != nil
	}()
	t := time.NewTimer(probeTimeout)
	defer t.Stop()
	select {
	case r := <-refused:
		return r
	case <-t.C:
		return true
	}
}

// publicCAs reports whether pool holds CAs that the system trusts for
// everything: ten of them are no coincidence of a private CA that is installed
// on this machine too.
func publicCAs(pool *x509.CertPool) bool {
	system, err := x509.SystemCertPool()
	if pool == nil || err != nil {
		return pool == nil
	}
	if pool.Equal(system) && !system.Equal(x509.NewCertPool()) {
		return true
	}
	known := map[string]bool{}
	for _, name := range system.Subjects() { //nolint:staticcheck // SA1019: where the system's are not listed, Equal knows
		known[string(name)] = true
	}
	shared := 0
	for _, name := range pool.Subjects() { //nolint:staticcheck // SA1019: as above
		if known[string(name)] {
			shared++
		}
	}
	return shared >= 10
}

// looksPublic reports whether the CAs for clients are a bundle of public ones.
// A machine without roots of its own, as in an empty container, cannot tell
// them by name, but no private infrastructure has fifty.
func looksPublic(cas *anchors) bool {
	return len(cas.certs) >= 50 || publicCAs(cas.pool)
}

// judgePublicCAs adds to HDN-TLS-009 what takes a look at the system's files.
func judgePublicCAs(out []hardening.Finding, cfgs []labelled) {
	i := slices.IndexFunc(out, func(f hardening.Finding) bool { return f.ID == "HDN-TLS-009" })
	if i < 0 || !out[i].Passed {
		return
	}
	for _, l := range cfgs {
		if l.cfg.ClientAuth >= tls.VerifyClientCertIfGiven && publicCAs(l.cfg.ClientCAs) {
			out[i].Passed = false
			out[i].Observed = fmt.Sprintf("%v with the system's roots in the pool: any public CA can make a client", l.cfg.ClientAuth)
		}
	}
}

// clientCerts lists the certificates that a client can show: the static ones,
// and what GetClientCertificate gives a server that asks for any.
func clientCerts(cfg *tls.Config) ([]offered, error) {
	out, err := staticCerts(cfg)
	if err != nil || cfg.GetClientCertificate == nil {
		return out, err
	}
	got := make(chan probed, 1)
	go func() { // owner: the handshake's context; a hook that ignores it ends when it returns
		got <- guarded(func() probed { return probeClient(cfg) })
	}()
	t := time.NewTimer(probeTimeout + time.Second)
	defer t.Stop()
	select {
	case p := <-got:
		return append(out, p.certs...), p.err
	case <-t.C:
		return out, errHookHangs
	}
}

func probeClient(cfg *tls.Config) (p probed) {
	who, err := stranger()
	if err != nil {
		return probed{err: errHookFails}
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go func() { // ends when far closes
		_ = tls.Server(far, &tls.Config{Certificates: []tls.Certificate{who}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS10}).HandshakeContext(ctx) // #nosec G402 -- it is in memory, and asks what a client shows
		_ = far.Close()
	}()
	asked := false
	// A copy that believes the probing server, says nothing of itself and keeps nothing.
	c := cfg.Clone()
	c.InsecureSkipVerify, c.VerifyConnection, c.VerifyPeerCertificate = true, nil, nil // #nosec G402 -- nothing is sent over it
	c.ServerName, c.ClientSessionCache, c.KeyLogWriter, c.EncryptedClientHelloConfigList = "stranger.invalid", nil, nil, nil
	c.GetClientCertificate = func(req *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		cert, err := func() (cert *tls.Certificate, err error) {
			defer func() {
				if recover() != nil {
					err = errHookFails
				}
			}()
			return cfg.GetClientCertificate(req)
		}()
		switch {
		case err != nil || cert == nil: // crypto/tls ends the handshake on nil
			p.err = errHookFails
		case len(cert.Certificate) > 0:
			o, err := offer("GetClientCertificate", *cert)
			if p.err = err; err == nil {
				p.certs = []offered{o}
			}
		}
		return nil, errProbeDone
	}
	_ = tls.Client(near, c).HandshakeContext(ctx)
	if !asked && p.err == nil {
		p.err = errNoCerts
	}
	return p
}

// optionFaults lists what in opts Audit does not understand.
func optionFaults(cfg *tls.Config, opts *AuditOptions) (bad []string) {
	if opts.Role != RoleServer && opts.Role != RoleClient {
		bad = append(bad, fmt.Sprintf("Role %d: audited as a server", opts.Role))
		opts.Role = RoleServer
	}
	if !opts.Profile.Valid() {
		bad = append(bad, fmt.Sprintf("Profile %d: held to none", opts.Profile))
		opts.Profile = 0
	}
	if !opts.Environment.Valid() {
		bad = append(bad, fmt.Sprintf("Environment %d: audited as in production", opts.Environment))
		opts.Environment = hardening.Production
	}
	if opts.ServerName != "" && !validServerName(opts.ServerName) {
		bad = append(bad, "ServerName: neither a DNS name nor an IP address")
		opts.ServerName = ""
	}
	if d := opts.DangerouslySkipVerify; d.on() && !validDeviation(d.Deviation) {
		if !cfg.InsecureSkipVerify { // else HDN-TLS-007 fails, which says it
			bad = append(bad, "DangerouslySkipVerify.Deviation: not the id of a deviation")
		}
		opts.DangerouslySkipVerify = DangerouslySkipVerify{}
	}
	return bad
}
