package tlsconfig_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

// recorder keeps records for tests.
type recorder struct {
	mu  sync.Mutex
	buf bytes.Buffer
	err error // refuses
}

func (*recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler     { return r }
func (r *recorder) WithGroup(string) slog.Handler          { return r }
func (r *recorder) Handle(ctx context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	return slog.NewJSONHandler(&r.buf, nil).Handle(ctx, rec)
}

func (r *recorder) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// events are the records called name.
func (r *recorder) events(t testing.TB, name string) (out []map[string]any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(r.String()))
	for dec.More() {
		var rec map[string]any
		if err := dec.Decode(&rec); err != nil {
			t.Fatal(err)
		}
		if rec["msg"] == name {
			out = append(out, rec)
		}
	}
	return out
}

// site is a certificate file pair that a test rewrites.
type site struct {
	t         testing.TB
	ca        *authority
	cert, key string
}

func newSite(t testing.TB, hosts ...string) *site {
	ca := newAuthority(t)
	s := &site{t: t, ca: ca}
	key := ecKey(t, elliptic.P256())
	s.cert, s.key = write(t, chainPEM(ca.issue(leaf(hosts...), key)), keyPEM(t, key))
	return s
}

func (s *site) source() tlsconfig.CertSource { return tlsconfig.Files(s.cert, s.key) }

// put renews the pair with a changed leaf.
func (s *site) put(change func(*x509.Certificate), hosts ...string) {
	s.t.Helper()
	tmpl := leaf(hosts...)
	if change != nil {
		change(tmpl)
	}
	key := ecKey(s.t, elliptic.P256())
	s.write(chainPEM(s.ca.issue(tmpl, key)), keyPEM(s.t, key))
}

func (s *site) write(cert, key []byte) {
	s.t.Helper()
	for name, data := range map[string][]byte{s.cert: cert, s.key: key} {
		if data == nil {
			continue
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

func started(t testing.TB, cfg tlsconfig.ServerConfig) *tlsconfig.Server {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = silent
	}
	if cfg.PollInterval == 0 {
		cfg.PollInterval = time.Hour
	}
	s, err := tlsconfig.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func certs(src ...tlsconfig.CertSource) []tlsconfig.CertSource { return src }

func TestAChangedPairIsTakenOverWithinThreeLooks(t *testing.T) {
	t.Attr("control", "ISO27002 8.24")
	synctest.Test(t, func(t *testing.T) {
		site, rec := newSite(t, "a.test"), &recorder{}
		s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source()), Audit: rec, PollInterval: 10 * time.Second})
		first := s.Status()[0].Fingerprint
		site.put(nil, "a.test", "b.test")
		time.Sleep(30 * time.Second)
		synctest.Wait()
		st := s.Status()[0]
		if st.Fingerprint == first || !slices.Equal(st.DNSNames, []string{"a.test", "b.test"}) {
			t.Errorf("still %+v", st)
		}
		if ev := rec.events(t, "certificate_reloaded"); len(ev) != 2 || ev[1]["object"] != st.Fingerprint {
			t.Errorf("events %v", ev)
		}
		time.Sleep(time.Hour)
		if n := len(rec.events(t, "certificate_reloaded")); n != 2 {
			t.Errorf("%d events after an hour without a change", n)
		}
	})
}

// Every way in which new files can be bad: the handshake goes on with the last
// good pair, Reload says what is wrong, one event is recorded, and neither
// holds key material.
func TestBadReloadsKeepTheLastGoodPair(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	t.Attr("control", "ASVS v5.0.0-12.1.4")
	ca := newAuthority(t)
	key := ecKey(t, elliptic.P256())
	issue := func(k crypto.Signer, change func(*x509.Certificate), hosts ...string) []byte {
		c := leaf(hosts...)
		if change != nil {
			change(c)
		}
		return chainPEM(ca.issue(c, k))
	}
	other, bits := ecKey(t, elliptic.P256()), 1024
	if fips140.Enforced() {
		bits = 2048 // no weaker key to be had
	}
	weak := rsaKey(t, bits)
	good := issue(other, nil, "a.test", "b.test")
	truncated := keyPEM(t, other)
	truncated = truncated[:len(truncated)-20]
	for _, tt := range []struct {
		name      string
		cert, key []byte // nil = removed
		reason    string
		forced    bool // ForceReload takes it
	}{
		{"another key", good, keyPEM(t, ecKey(t, elliptic.P256())), "is not the key", false},
		{"the key before the certificate", nil, keyPEM(t, other), "is not the key", false},
		{"a truncated key", good, truncated, "half-written", false},
		{"a truncated certificate", good[:len(good)/2], keyPEM(t, other), "half-written", false},
		{"an empty certificate", []byte{}, keyPEM(t, other), "is empty", false},
		{"an expired certificate", issue(other, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "a.test", "b.test"), keyPEM(t, other), "expired", false},
		{"a client's certificate", issue(other, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, "a.test", "b.test"), keyPEM(t, other), "lacks serverAuth", false},
		{"RSA of 1024 bits", issue(weak, nil, "a.test", "b.test"), keyPEM(t, weak), "RSA-1024", false},
		{"a broken chain", append(bytes.Clone(good), chainPEM(newAuthority(t).cert)...), keyPEM(t, other), "chain that breaks", false},
		{"another host", issue(other, nil, "evil.test"), keyPEM(t, other), "lacks names of the certificate in use: a.test, b.test", true},
		{"a lost name", issue(other, nil, "a.test"), keyPEM(t, other), "lacks names of the certificate in use: b.test", true},
		{"an earlier end", issue(other, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) }, "a.test", "b.test"), keyPEM(t, other), "before the certificate in use", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.reason == "RSA-1024" && bits != 1024 {
				t.Skip("FIPS 140-only mode")
			}
			firstCert, firstKey := issue(key, nil, "a.test", "b.test"), keyPEM(t, key)
			site := &site{t: t, ca: ca}
			site.cert, site.key = write(t, firstCert, firstKey)
			rec := &recorder{}
			s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source()), Audit: rec})
			addr := echo(t, s.TLS())
			inUse := s.Status()[0].Fingerprint

			site.write(tt.cert, tt.key)
			err := s.Reload(t.Context())
			var reasons []string
			for f := range hardening.Faults(err) {
				reasons = append(reasons, f.Reason)
				if f.Field != "Certs[0]" || f.Value == "" || f.Fix == "" {
					t.Errorf("incomplete %+v", f)
				}
			}
			if len(reasons) == 0 || !strings.Contains(strings.Join(reasons, ";"), tt.reason) {
				t.Errorf("faults %q, want %q", reasons, tt.reason)
			}
			if _, err := dial(t, addr, &tls.Config{ServerName: "b.test", RootCAs: ca.pool()}); err != nil {
				t.Errorf("the last good pair is gone: %v", err)
			}
			if st := s.Status()[0]; st.Fingerprint != inUse || !strings.Contains(st.Refused, tt.reason) {
				t.Errorf("status %+v", st)
			}
			if f := find(t, s.Check(), "HDN-TLS-030"); f.Passed || !strings.Contains(f.Observed, tt.reason) {
				t.Errorf("%v", f)
			}
			if again := s.Reload(t.Context()); again == nil {
				t.Error("the second Reload is content")
			}
			if ev := rec.events(t, "certificate_rejected"); len(ev) != 1 || ev[0]["object"] != inUse || ev[0]["outcome"] != "failure" {
				t.Errorf("events %v", ev)
			}
			noKeyBytes(t, strings.ReplaceAll(err.Error(), filepath.Dir(site.cert), "")+strings.ReplaceAll(rec.String(), filepath.Dir(site.cert), ""), tt.cert, tt.key)

			if err := s.ForceReload(t.Context()); (err == nil) != tt.forced {
				t.Errorf("forced: %v", err)
			}
			site.write(firstCert, firstKey)
			if err := s.ForceReload(t.Context()); err != nil {
				t.Errorf("back to the first: %v", err)
			}
			if f := find(t, s.Check(), "HDN-TLS-030"); !f.Passed {
				t.Errorf("%v", f)
			}
		})
	}
}

// A file that is cut exactly between two PEM blocks parses and looks whole.
func TestAChainThatLostItsIntermediateIsRefused(t *testing.T) {
	root := newAuthority(t)
	mid := &authority{t: t, key: ecKey(t, elliptic.P256())}
	mid.cert = sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "Intermediate"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, root.cert, mid.key.Public(), root.key)
	issue := func() (*x509.Certificate, []byte) {
		key := ecKey(t, elliptic.P256())
		return mid.issue(leaf("a.test"), key), keyPEM(t, key)
	}
	first, key := issue()
	s := &site{t: t, ca: root}
	s.cert, s.key = write(t, chainPEM(first, mid.cert, root.cert), key)
	server := newServer(t, 0, s.source())
	verifies := func() error {
		_, err := dial(t, echo(t, server.TLS()), &tls.Config{ServerName: "a.test", RootCAs: root.pool()})
		return err
	}

	next, nextKey := issue()
	for what, cert := range map[string][]byte{"the same leaf": chainPEM(first), "a renewed leaf": chainPEM(next)} {
		k := key
		if what == "a renewed leaf" {
			k = nextKey
		}
		s.write(cert, k)
		if err := server.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "lacks the intermediate certificate Intermediate") {
			t.Errorf("%s: %v", what, err)
		}
		if err := verifies(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if f := find(t, server.Check(), "HDN-TLS-030"); f.Passed {
			t.Errorf("%s: %v", what, f)
		}
	}
	s.write(chainPEM(next, mid.cert), nextKey) // clients have the root
	if err := server.Reload(t.Context()); err != nil {
		t.Errorf("without the root: %v", err)
	}
	if err := verifies(); err != nil {
		t.Error(err)
	}
	s.write(chainPEM(next), nextKey)
	if err := server.ForceReload(t.Context()); err != nil {
		t.Errorf("forced: %v", err)
	}
}

func TestRemovedFilesKeepTheLastGoodPair(t *testing.T) {
	site := newSite(t, "a.test")
	s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source())})
	if err := errors.Join(os.Remove(site.cert), os.Remove(site.key)); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context()); err == nil || strings.Count(err.Error(), "does not exist") != 2 {
		t.Errorf("%v", err)
	}
	if _, err := dial(t, echo(t, s.TLS()), &tls.Config{ServerName: "a.test", RootCAs: site.ca.pool()}); err != nil {
		t.Error(err)
	}
}

// The ways in which renewals write: all end with the new pair, and no handshake
// fails on the way.
func TestEveryWayOfWritingIsFollowed(t *testing.T) {
	kube := func(t *testing.T, dir, generation string, cert, key []byte) {
		t.Helper()
		gen := filepath.Join(dir, generation)
		if err := os.Mkdir(gen, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
			if err := os.WriteFile(filepath.Join(gen, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Symlink(generation, filepath.Join(dir, "..data_tmp")), os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	rename := func(t *testing.T, name string, data []byte) {
		t.Helper()
		if err := errors.Join(os.WriteFile(name+".new", data, 0o600), os.Rename(name+".new", name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, replace := range map[string]func(t *testing.T, dir string, cert, key []byte){
		"a swap of ..data": func(t *testing.T, dir string, cert, key []byte) { kube(t, dir, "..gen2", cert, key) },
		"two swaps of ..data": func(t *testing.T, dir string, cert, key []byte) {
			kube(t, dir, "..gen2", cert[:len(cert)/2], key)
			time.Sleep(time.Minute)
			kube(t, dir, "..gen3", cert, key)
			if err := os.RemoveAll(filepath.Join(dir, "..gen1")); err != nil {
				t.Fatal(err)
			}
		},
		"the key, a pause, the certificate": func(t *testing.T, dir string, cert, key []byte) {
			rename(t, filepath.Join(dir, "tls.key"), key)
			time.Sleep(time.Minute)
			rename(t, filepath.Join(dir, "tls.crt"), cert)
		},
		"the certificate, a moment, the key": func(t *testing.T, dir string, cert, key []byte) {
			rename(t, filepath.Join(dir, "tls.crt"), cert)
			time.Sleep(time.Second)
			rename(t, filepath.Join(dir, "tls.key"), key)
		},
		"byte by byte": func(t *testing.T, dir string, cert, key []byte) {
			for name, data := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
				os.Remove(filepath.Join(dir, name))
				f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
				if err != nil {
					t.Fatal(err)
				}
				for part := range slices.Chunk(data, 100) {
					f.Write(part)
					time.Sleep(3 * time.Second)
				}
				f.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca, dir := newAuthority(t), t.TempDir()
				pair := func() (cert, key []byte) {
					k := ecKey(t, elliptic.P256())
					return chainPEM(ca.issue(leaf("a.test"), k)), keyPEM(t, k)
				}
				cert, key := pair()
				kube(t, dir, "..gen1", cert, key)
				for _, n := range []string{"tls.crt", "tls.key"} {
					if err := os.Symlink(filepath.Join("..data", n), filepath.Join(dir, n)); err != nil {
						t.Fatal(err)
					}
				}
				s := started(t, tlsconfig.ServerConfig{Certs: certs(tlsconfig.Files(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))), PollInterval: 10 * time.Second})
				first := s.Status()[0].Fingerprint
				time.Sleep(25 * time.Second)
				cert, key = pair()
				replace(t, dir, cert, key)
				time.Sleep(30 * time.Second)
				if st := s.Status()[0]; st.Fingerprint == first || st.Refused != "" {
					t.Errorf("not taken over: %+v", st)
				}
				if _, err := s.TLS().GetCertificate(&tls.ClientHelloInfo{ServerName: "a.test"}); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAnAuditHandlerThatRefusesStopsTheSwapUntilItRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site, rec := newSite(t, "a.test"), &recorder{}
		s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source()), Audit: rec})
		first := s.Status()[0].Fingerprint
		rec.refuse(errFull)
		site.put(nil, "a.test")
		if err := s.Reload(t.Context()); !errors.Is(err, errFull) {
			t.Errorf("%v", err)
		}
		if st := s.Status()[0]; st.Fingerprint != first || !strings.Contains(st.Refused, "audit handler") {
			t.Errorf("%+v", st)
		}
		rec.refuse(nil)
		time.Sleep(2 * time.Minute)
		if st := s.Status()[0]; st.Fingerprint == first || st.Refused != "" {
			t.Errorf("not tried again: %+v", st)
		}
	})
}

func TestACertificateOfTomorrowIsTakenOverTomorrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site, rec := newSite(t, "a.test"), &recorder{}
		s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source()), Audit: rec})
		first := s.Status()[0].Fingerprint
		site.put(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(24 * time.Hour) }, "a.test")
		if err := s.Reload(t.Context()); err == nil {
			t.Error("accepted today")
		}
		time.Sleep(23 * time.Hour)
		if s.Status()[0].Fingerprint != first {
			t.Error("taken over before its time")
		}
		time.Sleep(time.Hour + 2*time.Minute)
		if s.Status()[0].Fingerprint == first {
			t.Error("not taken over")
		}
		if n := len(rec.events(t, "certificate_rejected")); n != 1 {
			t.Errorf("%d events of one refusal", n)
		}
	})
}

func TestWarningsComeAtAThirdAndASixthAndDaily(t *testing.T) {
	t.Attr("control", "ISO27002 8.24")
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		site, rec := newSite(t, "a.test"), &recorder{}
		site.put(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now(), time.Now().Add(60*day) }, "a.test")
		started(t, tlsconfig.ServerConfig{Certs: certs(site.source()), Audit: rec, PollInterval: 100 * day})
		count := func() map[string]int {
			n := map[string]int{}
			for _, e := range rec.events(t, "certificate_expiring") {
				n[e["reason"].(string)]++
			}
			return n
		}
		time.Sleep(40*day - time.Minute)
		if n := count(); len(n) != 0 {
			t.Errorf("early warnings %v", n)
		}
		time.Sleep(2 * time.Minute)
		if n := count(); n["due"] != 1 {
			t.Errorf("at a third: %v", n)
		}
		time.Sleep(10 * day)
		if n := count(); n["due"] != 10 || n["urgent"] != 1 {
			t.Errorf("at a sixth: %v", n)
		}
		time.Sleep(10 * day)
		if n := count(); n["urgent"] < 10 || n["urgent"] > 11 || n["expired"] != 1 {
			t.Errorf("at the end: %v", n)
		}
	})
}

func TestAStandbyTakesOverWhenTheCertificateExpires(t *testing.T) {
	t.Attr("control", "BIO2 8.24.05")
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		main, reserve := newSite(t, "a.test", "127.0.0.1"), newSite(t, "*.test", "127.0.0.1")
		main.put(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(10 * day) }, "a.test", "127.0.0.1")
		reserve.put(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(300 * day) }, "*.test", "127.0.0.1")
		cfg := tlsconfig.ServerConfig{Certs: certs(main.source(), tlsconfig.Standby(reserve.source())), PollInterval: 100 * day}
		s := started(t, cfg)
		serves := func(s *tlsconfig.Server, name string) string {
			t.Helper()
			c, err := s.TLS().GetCertificate(&tls.ClientHelloInfo{ServerName: name})
			if err != nil {
				t.Fatal(err)
			}
			return c.Leaf.DNSNames[0]
		}
		if got := serves(s, "a.test"); got != "a.test" {
			t.Errorf("at first %s is served", got)
		}
		if st := s.Status(); st[0].Use != "served" || st[1].Use != "standby" {
			t.Errorf("%+v", st)
		}
		time.Sleep(10*day + 2*time.Second)
		if got := serves(s, "a.test"); got != "*.test" {
			t.Errorf("after the end %s is served", got)
		}
		if got := serves(s, ""); got != "*.test" {
			t.Errorf("after the end %s is served to clients without a name", got)
		}
		again := started(t, cfg) // a restart at the worst moment
		if got := serves(again, "a.test"); got != "*.test" {
			t.Errorf("after a restart %s is served", got)
		}
		if f := find(t, again.Check(), "HDN-TLS-021"); f.Passed {
			t.Errorf("%v", f)
		}
		main.put(nil, "a.test", "127.0.0.1")
		if err := s.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := serves(s, "a.test"); got != "a.test" {
			t.Errorf("after the renewal %s is served", got)
		}
	})
}

func TestAnExpiredCertificateStartsOnlyWithAStandbyForAllItsNames(t *testing.T) {
	main, reserve := newSite(t, "a.test", "b.test"), newSite(t, "a.test")
	main.put(func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	}, "a.test", "b.test")
	for name, src := range map[string][]tlsconfig.CertSource{
		"no standby":                 certs(main.source()),
		"a standby with fewer names": certs(main.source(), tlsconfig.Standby(reserve.source())),
	} {
		if _, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: src, Logger: silent}); err == nil || !strings.Contains(err.Error(), "expired on") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFaultsOfStandbysAndIntervals(t *testing.T) {
	site := newSite(t, "a.test")
	for want, cfg := range map[string]tlsconfig.ServerConfig{
		"holds standby certificates only": {Certs: certs(tlsconfig.Standby(site.source()))},
		"is nil":                          {Certs: certs(site.source(), tlsconfig.Standby(nil))},
		"is shorter than a second":        {Certs: certs(site.source()), PollInterval: time.Millisecond},
		"-1s":                             {Certs: certs(site.source()), PollInterval: -time.Second},
	} {
		if _, err := tlsconfig.NewServer(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestAStandbyOfTheSameIssuerIsAFinding(t *testing.T) {
	t.Attr("control", "BIO2 8.24.05")
	site := newSite(t, "a.test")
	same := started(t, tlsconfig.ServerConfig{Certs: certs(site.source(), tlsconfig.Standby(site.ca.good("a.test")))})
	if f := find(t, same.Check(), "HDN-TLS-036"); f.Passed {
		t.Errorf("%v", f)
	}
	otherCA := newAuthorityNamed(t, "Other CA")
	s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source(), tlsconfig.Standby(otherCA.good("a.test")))})
	if f := find(t, s.Check(), "HDN-TLS-036"); !f.Passed || !strings.Contains(f.Observed, "1 standby") {
		t.Errorf("%v", f)
	}
}

func TestCloseEndsTheGoroutinesAndReloadSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine stays
		site := newSite(t, "a.test")
		s, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: certs(site.source()), Logger: silent})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { s.Close() })
		}
		wg.Wait()
		if err := s.Reload(t.Context()); !errors.Is(err, tlsconfig.ErrClosed) {
			t.Errorf("%v", err)
		}
		if err := s.ForceReload(t.Context()); !errors.Is(err, tlsconfig.ErrClosed) {
			t.Errorf("%v", err)
		}
	})
}

func TestReloadHonoursItsContext(t *testing.T) {
	site := newSite(t, "a.test")
	s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source())})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Reload(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestThousandReloadsDuringHandshakesFailNone(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	site := newSite(t, "a.test")
	s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source()), Profile: tlsconfig.Modern})
	addr := echo(t, s.TLS())
	type material struct{ cert, key []byte }
	var pairs []material
	for range 8 {
		k := ecKey(t, elliptic.P256())
		pairs = append(pairs, material{chainPEM(site.ca.issue(leaf("a.test"), k)), keyPEM(t, k)})
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	var done atomic.Int64
	for range 4 {
		wg.Go(func() {
			client := &tls.Config{ServerName: "a.test", RootCAs: site.ca.pool(), ClientSessionCache: tls.NewLRUClientSessionCache(2)}
			for !stop.Load() {
				if _, err := dial(t, addr, client); err != nil {
					t.Errorf("handshake: %v", err)
					return
				}
				done.Add(1)
			}
		})
	}
	prints := map[string]bool{}
	for i := range 1000 {
		p := pairs[i%len(pairs)]
		site.write(p.cert, p.key)
		if err := s.ForceReload(t.Context()); err != nil { // made in one second: the ends may go back by one
			t.Fatalf("reload %d: %v", i, err)
		}
		prints[s.Status()[0].Fingerprint] = true
		if i%100 == 50 {
			site.write(nil, p.key[:40])
			if err := s.Reload(t.Context()); err == nil {
				t.Fatal("a truncated key was accepted")
			}
		}
	}
	stop.Store(true)
	wg.Wait()
	if len(prints) != len(pairs) || done.Load() < 100 {
		t.Errorf("%d certificates seen, %d handshakes", len(prints), done.Load())
	}
}

func TestKeyPermissionsAreJudgedAgainAtEachReload(t *testing.T) {
	site := newSite(t, "a.test")
	s := started(t, tlsconfig.ServerConfig{Certs: certs(site.source())})
	for _, mode := range []fs.FileMode{0o604, 0o600} {
		if err := os.Chmod(site.key, mode); err != nil {
			t.Fatal(err)
		}
		if err := s.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if f := find(t, s.Check(), "HDN-TLS-024"); f.Passed != (mode == 0o600) {
			t.Errorf("%v: %v", mode, f)
		}
	}
}
