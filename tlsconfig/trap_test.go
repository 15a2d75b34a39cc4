package tlsconfig_test

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

// With OTel's reload interval, every handshake fails while the key is
// half-written.
func TestTrap_AHalfWrittenKeyStopsHandshakes(t *testing.T) {
	site := newSite(t, "a.test")
	s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source())})
	addr := echo(t, s.TLS())
	key, err := os.ReadFile(site.key)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 30, len(key) / 2, len(key) - 2} {
		site.write(nil, append([]byte{}, key[:n]...))
		if err := s.Reload(t.Context()); err == nil {
			t.Errorf("%d bytes of the key were accepted", n)
		}
		if _, err := dial(t, addr, &tls.Config{ServerName: "a.test", RootCAs: site.ca.pool()}); err != nil {
			t.Errorf("with %d bytes of the key: %v", n, err)
		}
	}
}

// grpc's file watcher logs certificate and key in full when they do not match,
// as happens in the middle of every rotation.
func TestTrap_AMismatchLogsThePrivateKey(t *testing.T) {
	site := newSite(t, "a.test")
	var buf bytes.Buffer
	s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source()), Logger: slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	secret := keyPEM(t, ecKey(t, elliptic.P256()))
	site.write(nil, secret)
	err := s.Reload(t.Context())
	if err == nil || !strings.Contains(buf.String(), "certificate_rejected") {
		t.Fatalf("%v, %s", err, &buf)
	}
	noKeyBytes(t, strings.ReplaceAll(err.Error()+buf.String(), filepath.Dir(site.cert), ""), secret)
}

// certinel's watcher returns at the first bad reload and never reloads again.
func TestTrap_ABadReloadIsTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := newSite(t, "a.test")
		s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source()), PollInterval: 10 * time.Second})
		for range 5 {
			before := s.Status()[0].Fingerprint
			site.write([]byte("rubbish"), nil)
			time.Sleep(time.Minute)
			if st := s.Status()[0]; st.Fingerprint != before || st.Refused == "" {
				t.Errorf("%+v", st)
			}
			site.put(nil, "a.test")
			time.Sleep(time.Minute)
			if st := s.Status()[0]; st.Fingerprint == before || st.Refused != "" {
				t.Errorf("%+v", st)
			}
		}
	})
}

// Watchers of files miss the second swap of a link (cilium#13621), or do not
// watch links at all (minio).
func TestTrap_SwapsOfLinksAreMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site, dir := newSite(t, "a.test"), t.TempDir()
		link := filepath.Join(dir, "..data")
		swap := func() {
			t.Helper()
			site.put(nil, "a.test")
			gen, err := os.MkdirTemp(dir, "..gen")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{site.cert, site.key} {
				data, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(gen, filepath.Base(name)), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			old, _ := os.Readlink(link)
			if err := errors.Join(os.Symlink(gen, link+"_tmp"), os.Rename(link+"_tmp", link)); err != nil {
				t.Fatal(err)
			}
			if old != "" {
				os.RemoveAll(old)
			}
		}
		swap()
		s := started(t, tlsconfig.ServerConfig{Certs: certs(tlsconfig.Files(filepath.Join(link, "tls.crt"), filepath.Join(link, "tls.key"))), PollInterval: 10 * time.Second})
		for i := range 4 {
			before := s.Status()[0].Fingerprint
			swap()
			time.Sleep(30 * time.Second)
			if s.Status()[0].Fingerprint == before {
				t.Errorf("swap %d was missed", i+1)
			}
		}
	})
}

// Comparing the first certificate of a file misses a change in the others
// (temporal#11230).
func TestTrap_OnlyTheFirstCertificateIsCompared(t *testing.T) {
	first, second, third := newAuthorityNamed(t, "1"), newAuthorityNamed(t, "2"), newAuthorityNamed(t, "3")
	file := caFile(t, first, second)
	c := newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(file), ServerName: "a.test"})
	addr := echo(t, &tls.Config{Certificates: []tls.Certificate{third.server(nil, "a.test")}})
	if _, err := dial(t, addr, c.TLS()); err == nil {
		t.Fatal("trusted before")
	}
	putCAs(t, file, first, third)
	if err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, addr, c.TLS()); err != nil {
		t.Errorf("%v", err)
	}

	site := newSite(t, "a.test")
	key, err := os.ReadFile(site.key)
	if err != nil {
		t.Fatal(err)
	}
	leafPEM, err := os.ReadFile(site.cert)
	if err != nil {
		t.Fatal(err)
	}
	s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source())})
	site.write(append(leafPEM, chainPEM(site.ca.cert)...), key)
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.TLS().GetCertificate(&tls.ClientHelloInfo{}); err != nil || len(got.Certificate) != 2 {
		t.Errorf("%d certificates served, %v", len(got.Certificate), err)
	}
}

// RequireAndVerifyClientCert with ClientCAs nil trusts the system's roots, so
// that whoever owns a domain is a client; a pool that AppendCertsFromPEM left
// empty (its result is widely ignored) lets nobody in and says nothing.
func TestTrap_NilAndEmptyClientCAs(t *testing.T) {
	if (&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert}).ClientCAs != nil || x509.NewCertPool().AppendCertsFromPEM([]byte("no PEM")) {
		t.Fatal("the trap is gone")
	}
	site := newSite(t, "a.test")
	empty := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(empty, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cas := range map[string]tlsconfig.CASource{"nil": nil, "no certificate": tlsconfig.CAFile(empty), "the system's": tlsconfig.SystemCAs()} {
		_, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: certs(site.source()), ClientAuth: &tlsconfig.ClientAuth{CAs: cas, Allow: []tlsconfig.SAN{tlsconfig.DNS("a.test")}}})
		n := 0
		for f := range hardening.Faults(err) {
			if n++; f.Field != "ClientAuth.CAs" {
				t.Errorf("%s: %v", name, f)
			}
		}
		if n != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// In TLS 1.3 the client's handshake ends before the server has judged its
// certificate: a check that stops there takes a refusal for success.
func TestTrap_ARefusalArrivesAfterTheHandshake(t *testing.T) {
	m := newMutual(t, nil, tlsconfig.DNS("alice.internal"))
	addr := echo(t, m.TLS())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: m.with(m.clients.client(dns("mallory.internal")))}).DialContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatalf("the trap is gone: %v", err)
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	if alert := new(net.OpError); !errors.As(err, &alert) || alert.Op != "remote error" {
		t.Errorf("%v, want the server's alert", err)
	}
	c := newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(caFile(t, m.site.ca))})
	silent, err := c.DialTLSContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := silent.Read(make([]byte, 1)); err == nil || tlsconfig.SafeError(err).Error() != "tlsconfig: call: the server refused the TLS connection" {
		t.Errorf("%v", tlsconfig.SafeError(err))
	}
}

// Configurations that GetConfigForClient returns fall back to the ticket keys
// of the one that returned them: a session of one trust domain resumes in the
// other. Servers of this package share keys under one name only.
func TestTrap_TrustDomainsShareTickets(t *testing.T) {
	ca := newAuthority(t)
	crossed := func(cfg *tls.Config) bool {
		t.Helper()
		client := &tls.Config{RootCAs: ca.pool(), ClientSessionCache: new(oneTicket)}
		client.ServerName = "public.test"
		if _, err := inMemory(t, cfg, client); err != nil {
			t.Fatal(err)
		}
		client.ServerName = "admin.test"
		cs, err := inMemory(t, cfg, client)
		if err != nil {
			t.Fatal(err)
		}
		return cs.DidResume
	}
	both := func(a, b *tls.Config) *tls.Config {
		return &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			if h.ServerName == "admin.test" {
				return b, nil
			}
			return a, nil
		}}
	}
	pair := ca.server(nil, "public.test", "admin.test")
	if plain := func() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{pair}} }; !crossed(both(plain(), plain())) {
		t.Fatal("the trap is gone")
	}
	keys := &ring{roots: []string{"k"}}
	public := started(t, tlsconfig.ServerConfig{Name: "public", Certs: certs(ca.good("public.test", "admin.test")), TicketKeys: keys})
	admin := started(t, tlsconfig.ServerConfig{Name: "admin", Certs: certs(ca.good("public.test", "admin.test")), TicketKeys: keys})
	if crossed(both(public.TLS(), admin.TLS())) {
		t.Error("a ticket of one server resumed at another")
	}
	if crossed(public.TLS()) {
		t.Error("a ticket for one name resumed at another")
	}
}

// Public CAs issue no clientAuth any more (Let's Encrypt since 2026-02): such a
// certificate fails at the server with "bad certificate" and no reason. Here it
// fails at the start of the client.
func TestTrap_AServerCertificateAsClientCertificate(t *testing.T) {
	site := newSite(t, "a.test")
	if _, err := tlsconfig.NewClient(tlsconfig.ClientConfig{Certs: certs(site.source())}); err == nil || !strings.Contains(err.Error(), "lacks clientAuth") {
		t.Errorf("%v", err)
	}
}

// A dialler of the caller's must not lose the limits of the handshake.
func TestAServerThatNeverAnswersIsLeftAfterTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		go func() { // reads the hello and says nothing
			buf := make([]byte, 4096)
			for {
				if _, err := far.Read(buf); err != nil {
					return
				}
			}
		}()
		c := newClient(t, tlsconfig.ClientConfig{DialContext: func(context.Context, string, string) (net.Conn, error) { return near, nil }})
		start := time.Now()
		_, err := c.DialTLSContext(t.Context(), "tcp", "a.test:443")
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 10*time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// middlebox drops a ClientHello that takes more than one packet.
type middlebox struct {
	net.Conn
	passed bool
}

var errDropped = errors.New("dropped")

func (m *middlebox) Write(b []byte) (int, error) {
	if !m.passed && len(b) > 1400 {
		return 0, errDropped
	}
	m.passed = true
	return m.Conn.Write(b)
}

// The hybrid groups make the ClientHello longer than a packet, and there are
// middleboxes that drop it: one client can leave them out, with a reason.
func TestTrap_MiddleboxesDropHybridClientHellos(t *testing.T) {
	site := newSite(t, "localhost")
	addr := echo(t, started(t, tlsconfig.ServerConfig{Certs: certs(site.source())}).TLS())
	for reason, want := range map[string]bool{"": false, "the firewall of the laboratory drops large hellos": true} {
		c, err := tlsconfig.NewClient(tlsconfig.ClientConfig{
			Roots: tlsconfig.CAFile(caFile(t, site.ca)), ServerName: "localhost", ClassicalKexOnly: reason, Logger: silent, PollInterval: time.Hour,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				raw, err := new(net.Dialer).DialContext(ctx, network, addr)
				return &middlebox{Conn: raw}, err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := c.DialTLSContext(t.Context(), "tcp", addr)
		if (err == nil) != want {
			t.Errorf("reason %q: %v", reason, err)
		}
		if err == nil {
			conn.Close()
		}
		if f := find(t, c.Check(), "HDN-TLS-037"); f.Passed == want {
			t.Errorf("%v", f)
		}
		c.Close()
	}
}
