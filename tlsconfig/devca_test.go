package tlsconfig_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

func newDevCA(t testing.TB, dir string) *tlsconfig.DevCA {
	t.Helper()
	ca, err := tlsconfig.NewDevCA(dir, tlsconfig.DevCAConfig{Environment: hardening.Development})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestDevCAServesALocalhostThatItsPoolTrusts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	ca := newDevCA(t, dir)
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := ca.Issue(cert, key, "localhost", "*.portal.test", "127.0.0.1", "::1"); err != nil {
		t.Fatal(err)
	}
	s, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Profile: tlsconfig.NCSCStrict, Certs: []tlsconfig.CertSource{tlsconfig.Files(cert, key)}, Environment: hardening.Development, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	if ids := failed(s.Check()); len(ids) > 0 {
		t.Errorf("failing findings in development: %v", ids)
	}
	addr := echo(t, s.TLS())
	data, err := os.ReadFile(ca.CertFile())
	if err != nil {
		t.Fatal(err)
	}
	fromFile := x509.NewCertPool()
	if !fromFile.AppendCertsFromPEM(data) {
		t.Fatal("CertFile holds no certificate")
	}
	for _, name := range []string{"localhost", "a.portal.test", "127.0.0.1", "::1"} {
		for _, pool := range []*x509.CertPool{ca.Pool(), fromFile} {
			if _, err := dial(t, addr, &tls.Config{ServerName: name, RootCAs: pool}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for name, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, "ca.key"): 0o600, ca.CertFile(): 0o644, key: 0o600, cert: 0o644} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
	if bytes.Contains(data, []byte("PRIVATE")) {
		t.Error("the certificate file holds the key")
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".tmp-*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	c := s.Status()[0]
	if life := c.NotAfter.Sub(c.NotBefore); life > 90*24*time.Hour {
		t.Errorf("the leaf lives %v", life)
	}
}

// thief has the CA's key and signs whatever it likes.
func thief(t *testing.T, dir string) *authority {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)}
}

func TestAStolenDevCAKeyForgesNoPublicName(t *testing.T) {
	t.Attr("control", "RFC 5280 4.2.1.10")
	dir := filepath.Join(t.TempDir(), "ca")
	pool := newDevCA(t, dir).Pool()
	stolen := thief(t, dir)
	key := ecKey(t, elliptic.P256())
	uri := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, tt := range []struct {
		name    string
		change  func(*x509.Certificate)
		allowed bool
	}{
		{"DNS localhost", func(c *x509.Certificate) { c.DNSNames = []string{"localhost"} }, true},
		{"DNS a.b.test", func(c *x509.Certificate) { c.DNSNames = []string{"a.b.test"} }, true},
		{"DNS example.com", func(c *x509.Certificate) { c.DNSNames = []string{"example.com"} }, false},
		{"DNS nottest", func(c *x509.Certificate) { c.DNSNames = []string{"nottest"} }, false},
		{"DNS localhost.example.com", func(c *x509.Certificate) { c.DNSNames = []string{"localhost.example.com"} }, false},
		{"DNS test beside example.com", func(c *x509.Certificate) { c.DNSNames = []string{"a.test", "example.com"} }, false},
		{"IP 127.0.0.1", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }, true},
		{"IP ::1", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv6loopback} }, true},
		{"IP 8.8.8.8", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(8, 8, 8, 8)} }, false},
		{"IP 10.0.0.1", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)} }, false},
		{"IP 2001:db8::1", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP("2001:db8::1")} }, false},
		{"e-mail dev@portal.test", func(c *x509.Certificate) { c.EmailAddresses = []string{"dev@portal.test"} }, true},
		{"e-mail dev@example.com", func(c *x509.Certificate) { c.EmailAddresses = []string{"dev@example.com"} }, false},
		{"URI spiffe://portal.test/a", func(c *x509.Certificate) { c.URIs = []*url.URL{uri("spiffe://portal.test/a")} }, true},
		{"URI https://example.com", func(c *x509.Certificate) { c.URIs = []*url.URL{uri("https://example.com/")} }, false},
		{"URI spiffe://example.com/a", func(c *x509.Certificate) { c.URIs = []*url.URL{uri("spiffe://example.com/a")} }, false},
	} {
		tmpl := leaf()
		tt.change(tmpl)
		_, err := stolen.issue(tmpl, key).Verify(x509.VerifyOptions{Roots: pool})
		if (err == nil) != tt.allowed {
			t.Errorf("%s: %v, want allowed %t", tt.name, err, tt.allowed)
		}
		if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); !tt.allowed && (!ok || invalid.Reason != x509.CANotAuthorizedForThisName) {
			t.Errorf("%s was refused for another reason: %v", tt.name, err)
		}
	}

	tmpl := leaf("localhost")
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
	below := &authority{t, stolen.issue(tmpl, key), key}
	sub := x509.NewCertPool()
	sub.AddCert(below.cert)
	if _, err := below.issue(leaf("a.test"), key).Verify(x509.VerifyOptions{Roots: pool, Intermediates: sub}); err == nil {
		t.Error("a CA below the development CA is accepted")
	}
	tmpl = leaf("localhost")
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	if _, err := stolen.issue(tmpl, key).Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}); err == nil {
		t.Error("code signing is accepted")
	}
}

// A CA that permits DNS names only may vouch for every address and URI.
func TestTrap_DNSConstraintsAloneLeaveIPAndURIOpen(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	tmpl := leaf()
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage, tmpl.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
	tmpl.PermittedDNSDomains, tmpl.PermittedDNSDomainsCritical = []string{"test"}, true
	naive := &authority{t, sign(t, tmpl, tmpl, key.Public(), key), key}
	if _, err := naive.issue(leaf("8.8.8.8"), key).Verify(x509.VerifyOptions{Roots: naive.pool()}); err != nil {
		t.Errorf("the trap is gone: %v", err)
	}
}

func TestDevCARefusesToExistOutsideDevelopment(t *testing.T) {
	for _, env := range []hardening.Environment{hardening.Production, hardening.Staging, 99} {
		dir := filepath.Join(t.TempDir(), "ca")
		ca, err := tlsconfig.NewDevCA(dir, tlsconfig.DevCAConfig{Environment: env})
		if err == nil || ca != nil {
			t.Errorf("%v: created", env)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%v: left a directory", env)
		}
	}
}

func TestDevCANamesEveryFaultAtOnce(t *testing.T) {
	_, err := tlsconfig.NewDevCA("", tlsconfig.DevCAConfig{
		Domains:  []string{"portal.test", "example.com", "", "*.test", ".test", "Test", "com", "localhost."},
		Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("8.8.8.0/24"), netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("10.1.2.3/8"), {}, netip.MustParsePrefix("::/0"), netip.MustParsePrefix("10.0.0.0/7")},
	})
	got := map[string]bool{}
	for f := range hardening.Faults(err) {
		got[f.Field] = true
		if f.Reason == "" || f.Fix == "" {
			t.Errorf("incomplete %+v", f)
		}
	}
	want := []string{"DevCAConfig.Environment", "dir"}
	for _, i := range "1234567" {
		want = append(want, "DevCAConfig.Domains["+string(i)+"]")
	}
	for _, i := range "123456" {
		want = append(want, "DevCAConfig.Networks["+string(i)+"]")
	}
	for _, field := range want {
		if !got[field] {
			t.Errorf("no fault of %s", field)
		}
	}
	if len(got) != len(want) {
		t.Errorf("faults of %v, want %v", got, want)
	}
	_, err = tlsconfig.NewDevCA(t.TempDir(), tlsconfig.DevCAConfig{Environment: hardening.Development, Domains: []string{}, Networks: []netip.Prefix{}})
	if n := len(errorsOf(err)); n != 2 {
		t.Errorf("%d faults for empty lists: %v", n, err)
	}
}

func errorsOf(err error) (out []*hardening.ConfigError) {
	for f := range hardening.Faults(err) {
		out = append(out, f)
	}
	return out
}

func TestIssueRefusesHostsOutsideTheConstraints(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	ca := newDevCA(t, dir)
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	bad := []string{"example.com", "8.8.8.8", "10.0.0.1", "2001:db8::1", "localhost:8443", "https://localhost", "a..test", "-a.test", "*.*.test", "*", "t\u00e9st.test", "a.test.", "", "fe80::1%eth0", strings.Repeat("a.", 130) + "test"}
	err := ca.Issue(cert, key, bad...)
	if n := len(errorsOf(err)); n != len(bad) {
		t.Errorf("%d faults for %d hosts: %v", n, len(bad), err)
	}
	for _, hosts := range [][]string{nil, {"localhost", "example.com"}} {
		if err := ca.Issue(cert, key, hosts...); err == nil {
			t.Errorf("issued for %q", hosts)
		}
	}
	if err := ca.Issue(cert, cert, "localhost"); err == nil {
		t.Error("issued certificate and key into one file")
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("a refused Issue wrote a key")
	}
	if err := ca.Issue(cert, key, "LOCALHOST", "::ffff:127.0.0.1"); err != nil {
		t.Errorf("spellings of allowed hosts: %v", err)
	}
}

func TestIssueKeepsAFreshPairAndReplacesEveryOther(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	newDevCA(t, dir)
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	read := func() string {
		data, err := os.ReadFile(cert)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	issue := func(hosts ...string) {
		t.Helper()
		if err := newDevCA(t, dir).Issue(cert, key, hosts...); err != nil {
			t.Fatal(err)
		}
		if _, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: []tlsconfig.CertSource{tlsconfig.Files(cert, key)}, Logger: silent}); err != nil {
			t.Fatal(err)
		}
	}
	issue("localhost")
	first := read()
	issue("localhost")
	if read() != first {
		t.Error("a fresh pair was replaced")
	}
	issue("localhost", "127.0.0.1")
	second := read()
	if second == first {
		t.Error("other hosts did not get another certificate")
	}
	// A crash between the two renames: the new key beside the old certificate.
	other := filepath.Join(dir, "other.key")
	if err := newDevCA(t, dir).Issue(filepath.Join(dir, "other.crt"), other, "a.test"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, key); err != nil {
		t.Fatal(err)
	}
	issue("localhost", "127.0.0.1")
	third := read()
	if third == second {
		t.Error("a pair that does not match was kept")
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	issue("localhost", "127.0.0.1")
	if read() == third {
		t.Error("a key that others may have read was kept")
	}
	if err := os.RemoveAll(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	fourth := read()
	issue("localhost", "127.0.0.1")
	if read() == fourth {
		t.Error("the certificate of another CA was kept")
	}
}

func TestIssueNeverOverwritesWhatItDidNotWrite(t *testing.T) {
	real := newAuthority(t)
	k := ecKey(t, elliptic.P256())
	cert, key := chainPEM(real.issue(leaf("www.example.org"), k)), keyPEM(t, k)
	dir := filepath.Join(t.TempDir(), "ca")
	ca := newDevCA(t, dir)
	for name, tt := range map[string]struct{ cert, key []byte }{
		"a certificate of a real CA":    {cert, nil},
		"a damaged certificate":         {cert[:60], nil},
		"a key without a certificate":   {nil, key},
		"a certificate that is no file": {[]byte("dir"), nil},
	} {
		d := t.TempDir()
		c, kf := filepath.Join(d, "tls.crt"), filepath.Join(d, "tls.key")
		if string(tt.cert) == "dir" {
			os.Mkdir(c, 0o700)
		} else if tt.cert != nil {
			os.WriteFile(c, tt.cert, 0o600)
		}
		if tt.key != nil {
			os.WriteFile(kf, tt.key, 0o600)
		}
		if err := ca.Issue(c, kf, "localhost"); err == nil {
			t.Errorf("%s was overwritten", name)
		}
		if tt.key != nil {
			if now, err := os.ReadFile(kf); err != nil || !bytes.Equal(now, tt.key) {
				t.Errorf("%s: the key is gone", name)
			}
		}
	}
}

// What a development CA wrote once may since hold, or be, something else.
func TestIssueNeverOverwritesItsOwnCAOrWhatWasAdded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	ca := newDevCA(t, dir)
	d := t.TempDir()
	cert, key := filepath.Join(d, "tls.crt"), filepath.Join(d, "tls.key")
	if err := ca.Issue(cert, key, "localhost"); err != nil {
		t.Fatal(err)
	}
	realKey := ecKey(t, elliptic.P256())
	add := func(name string, more []byte) string {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), filepath.Base(name))
		if err := os.WriteFile(to, append(data, more...), 0o600); err != nil {
			t.Fatal(err)
		}
		return to
	}
	hard, link := filepath.Join(d, "hard.key"), filepath.Join(d, "link.crt")
	if err := os.Link(cert, hard); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(d, "gone"), link); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string][2]string{
		"the CA's certificate":               {ca.CertFile(), filepath.Join(t.TempDir(), "new.key")},
		"the CA's key":                       {filepath.Join(t.TempDir(), "new.crt"), filepath.Join(dir, "ca.key")},
		"a certificate with a key added":     {add(cert, keyPEM(t, realKey)), key},
		"a certificate with another":         {add(cert, chainPEM(newAuthority(t).cert)), key},
		"a key with a real one added":        {cert, add(key, keyPEM(t, realKey))},
		"one file under two names":           {cert, hard},
		"one new file spelt in two ways":     {filepath.Join(d, "x.pem"), filepath.Join(d, "..", filepath.Base(d), "X.pem")},
		"a link to a file that is not there": {link, filepath.Join(d, "y.key")},
	} {
		before := [2][]byte{}
		for i, f := range files {
			before[i], _ = os.ReadFile(f)
		}
		err := ca.Issue(files[0], files[1], "localhost", "127.0.0.1")
		if len(errorsOf(err)) == 0 {
			t.Errorf("%s: %v", name, err)
		}
		for i, f := range files {
			if now, _ := os.ReadFile(f); !bytes.Equal(now, before[i]) {
				t.Errorf("%s: %s was written", name, f)
			}
		}
	}
}

func TestDevCAIsLoadedAndReplacedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "ca")
		first := newDevCA(t, dir)
		if !newDevCA(t, dir).Pool().Equal(first.Pool()) {
			t.Error("the second start made another CA")
		}
		c := thief(t, dir).cert
		if life := c.NotAfter.Sub(c.NotBefore); life > 366*24*time.Hour {
			t.Errorf("the CA lives %v", life)
		}
		cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
		read := func() string {
			t.Helper()
			if err := newDevCA(t, dir).Issue(cert, key, "localhost"); err != nil {
				t.Fatal(err)
			}
			data, _ := os.ReadFile(cert)
			return string(data)
		}
		const day = 24 * time.Hour
		was := read()
		time.Sleep(19 * day)
		if read() != was {
			t.Error("a leaf with more than a third of its life left was replaced")
		}
		time.Sleep(2 * day)
		if read() == was {
			t.Error("a leaf with less than a third of its life left was kept")
		}
		time.Sleep(270 * day)
		if !newDevCA(t, dir).Pool().Equal(first.Pool()) {
			t.Error("a CA with more than a sixth of its life left was replaced")
		}
		time.Sleep(20 * day)
		second := newDevCA(t, dir)
		if second.Pool().Equal(first.Pool()) {
			t.Error("a CA with less than a sixth of its life left was kept")
		}
		data, _ := os.ReadFile(second.CertFile())
		if b, _ := pem.Decode(data); b == nil || bytes.Equal(b.Bytes, c.Raw) {
			t.Error("the certificate file still holds the old CA")
		}
		other, err := tlsconfig.NewDevCA(dir, tlsconfig.DevCAConfig{Environment: hardening.Development, Domains: []string{"portal.internal"}})
		if err != nil || other.Pool().Equal(second.Pool()) {
			t.Errorf("%v; or other constraints kept the old CA", err)
		}
		if err := other.Issue(cert, key, "localhost"); err == nil {
			t.Error("issued outside the new constraints")
		}
	})
}

func TestDevCALeavesForeignAndDamagedFilesAlone(t *testing.T) {
	real := newAuthority(t)
	own := filepath.Join(t.TempDir(), "own")
	newDevCA(t, own)
	good, err := os.ReadFile(filepath.Join(own, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		data []byte
		mode os.FileMode
	}{
		"another CA's key":             {append(keyPEM(t, real.key), chainPEM(real.cert)...), 0o600},
		"a half-written bundle":        {good[:len(good)-50], 0o600},
		"an empty file":                {nil, 0o600},
		"a key that others could read": {good, 0o644},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "ca.key")
		if err := os.WriteFile(file, tt.data, tt.mode); err != nil {
			t.Fatal(err)
		}
		_, err := tlsconfig.NewDevCA(dir, tlsconfig.DevCAConfig{Environment: hardening.Development})
		if len(errorsOf(err)) != 1 {
			t.Errorf("%s: %v, want one fault", name, err)
		}
		if now, _ := os.ReadFile(file); !bytes.Equal(now, tt.data) {
			t.Errorf("%s was changed", name)
		}
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := tlsconfig.NewDevCA(open, tlsconfig.DevCAConfig{Environment: hardening.Development}); err == nil {
		t.Error("a directory that everybody may write to was used")
	}
}

func TestDevCAMayBeCreatedByManyAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	cas := make([]*tlsconfig.DevCA, 8)
	var wg sync.WaitGroup
	for i := range cas {
		wg.Go(func() {
			ca, err := tlsconfig.NewDevCA(dir, tlsconfig.DevCAConfig{Environment: hardening.Development})
			if err != nil {
				t.Error(err)
				return
			}
			cas[i] = ca
			if err := ca.Issue(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), "localhost"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, ca := range cas {
		if ca == nil || !ca.Pool().Equal(cas[0].Pool()) {
			t.Fatal("two of them hold different CAs")
		}
	}
}
