package tlsconfig

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/durable"
	"github.com/inovy/hardening/internal/faults"
)

const (
	// devCAOrganization marks certificates of a development CA, so that
	// finding HDN-TLS-023 knows them.
	devCAOrganization = "hardening development CA - never trust outside this machine"

	devCALife   = 366 * 24 * time.Hour // Mozilla 6.0's longest life of a leaf
	devLeafLife = 30 * 24 * time.Hour  // less than 1/6 of the CA's life, so that a leaf never outlives it
	clockSlack  = time.Hour            // certificates begin this much before now

	caCertFile = "ca.crt" // for trust stores: the certificate alone
	caKeyFile  = "ca.key" // key and certificate in one file, so that one rename replaces both

	// devKeyMark begins every leaf key that Issue writes. PEM readers skip
	// text before a block.
	devKeyMark = "Key of a development certificate; written by hardening, replaced at will.\n"
)

// DevCAConfig describes a development CA. Environment must be given.
type DevCAConfig struct {
	_ [0]func()

	// Environment must be hardening.Development: the CA refuses to exist
	// anywhere else, and the zero value is Production.
	Environment hardening.Environment

	// Domains are the DNS names, each with all names below it, that the CA may
	// vouch for. Each must end in localhost, test, internal, local, home.arpa,
	// example or invalid, the names reserved for private use (RFC 6761, RFC
	// 6762, RFC 8375, ICANN 2024). Default: "localhost", "test".
	Domains []string

	// Networks are the addresses that the CA may vouch for: loopback, private
	// (RFC 1918, RFC 4193) or link-local. Default: 127.0.0.0/8 and ::1/128.
	Networks []netip.Prefix
}

// DevCA issues server certificates for local development. It is constrained to
// its Domains and Networks in every name type (DNS, IP address, e-mail, URI;
// RFC 5280 section 4.2.1.10): whoever steals its key can impersonate no name
// on the Internet to those who trust it. It is safe for concurrent use.
type DevCA struct {
	dir string
	cfg DevCAConfig

	mu   sync.Mutex // guards cert and key, and one Issue at a time
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewDevCA loads the development CA in dir, or creates it: an ECDSA P-256 key
// valid for 366 days, in a directory of mode 0700 and files written atomically
// (ca.key 0600, ca.crt 0644). A CA of ours that expired, has less than a sixth
// of its life left or has other constraints than cfg is replaced; trust
// CertFile again then. Files that are not ours or damaged are never touched.
// Its error joins every fault as [hardening.ConfigError]s.
func NewDevCA(dir string, cfg DevCAConfig) (*DevCA, error) {
	f := faults.For(room)
	if cfg.Environment != hardening.Development {
		f.Add("DevCAConfig.Environment", cfg.Environment, "is not development", "set hardening.Development on developers' machines; elsewhere use certificates of a real CA")
	}
	if dir == "" {
		f.Missing("dir", "is empty", "name a directory of its own, such as .devca, and keep it out of version control")
	}
	checkDomains(f, cfg.Domains)
	checkNetworks(f, cfg.Networks)
	if err := f.Err(); err != nil {
		return nil, err
	}
	cfg.Domains, cfg.Networks = slices.Clone(cfg.Domains), slices.Clone(cfg.Networks)
	if cfg.Domains == nil {
		cfg.Domains = []string{"localhost", "test"}
	}
	if cfg.Networks == nil {
		cfg.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	ca := &DevCA{dir: dir, cfg: cfg}
	if err := ca.open(); err != nil {
		return nil, err
	}
	return ca, nil
}

func checkDomains(f *faults.Collector, domains []string) {
	if domains != nil && len(domains) == 0 {
		f.Add("DevCAConfig.Domains", "[]", "is empty but not nil", "leave it nil for localhost and test")
	}
	for i, d := range domains {
		field := fmt.Sprintf("DevCAConfig.Domains[%d]", i)
		switch {
		case !validHost(d) || strings.HasPrefix(d, "*."):
			f.Add(field, d, "is not a lower-case DNS name", "write it like portal.test, without dot or star before it")
		case !privateName(d):
			f.Add(field, d, "is a name that others may own", "use a name that ends in localhost, test, internal, local, home.arpa, example or invalid")
		}
	}
}

func checkNetworks(f *faults.Collector, networks []netip.Prefix) {
	if networks != nil && len(networks) == 0 {
		f.Add("DevCAConfig.Networks", "[]", "is empty but not nil", "leave it nil for loopback addresses")
	}
	private := []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
	}
	for i, p := range networks {
		field := fmt.Sprintf("DevCAConfig.Networks[%d]", i)
		inside := func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) }
		switch {
		case !p.IsValid():
			f.Add(field, p, "is not a network", `build it with netip.MustParsePrefix("127.0.0.0/8")`)
		case p != p.Masked():
			f.Add(field, p, "has address bits behind its mask", "write "+p.Masked().String())
		case !slices.ContainsFunc(private, inside):
			f.Add(field, p, "is not within loopback, private or link-local addresses", "use addresses of your own machine or network")
		}
	}
}

// validHost accepts lower-case letter-digit-hyphen names, with a star as the
// whole first label.
func validHost(name string) bool {
	if len(name) == 0 || len(name) > 253 {
		return false
	}
	if parent, ok := strings.CutPrefix(name, "*."); ok {
		name = parent
	}
	for label := range strings.SplitSeq(name, ".") { // it does not allocate: requests are judged with it
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
				return false
			}
		}
	}
	return true
}

func privateName(name string) bool {
	for _, tld := range [...]string{"localhost", "test", "internal", "local", "home.arpa", "example", "invalid"} {
		if below(name, tld) {
			return true
		}
	}
	return false
}

func below(name, domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) }

// CertFile is the path of the CA's certificate, for trust stores and
// curl --cacert.
func (ca *DevCA) CertFile() string { return filepath.Join(ca.dir, caCertFile) }

// Pool returns a new pool that holds the CA alone, for a client's RootCAs.
func (ca *DevCA) Pool() *x509.CertPool {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Issue writes a server certificate for hosts, DNS names (a star may be the
// whole first label) or IP addresses, to certFile (0644) and its new ECDSA
// P-256 key to keyFile (0600), atomically. It is valid for 30 days. If both
// files hold such a certificate already, for the same hosts, from this CA and
// with more than a third of its life left, they are kept; so a service may
// call Issue at every start. Files that no development CA
// wrote are never overwritten. Hosts outside the constraints are refused, all at once,
// as [hardening.ConfigError]s.
func (ca *DevCA) Issue(certFile, keyFile string, hosts ...string) error {
	f := faults.For(room)
	if certFile == "" || keyFile == "" || sameFile(certFile, keyFile) {
		f.Missing("certFile, keyFile", "do not name two files", `give "tls.crt" and "tls.key"`)
	}
	leaf := ca.template(f, hosts)
	if err := f.Err(); err != nil {
		return err
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if err := overwritable(certFile, keyFile); err != nil {
		return err
	}
	if ca.keeps(certFile, keyFile, leaf) {
		return nil
	}
	key, keyPEM, err := newKey()
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca.cert, key.Public(), ca.key)
	if err != nil {
		return fmt.Errorf("tlsconfig: issuing: %w", err)
	}
	// The key goes first. A crash in between leaves a pair that does not match,
	// which the next Issue replaces.
	if err := durable.Replace(keyFile, append([]byte(devKeyMark), keyPEM...), 0o600); err != nil {
		return fmt.Errorf("tlsconfig: %w", err)
	}
	if err := durable.Replace(certFile, certPEM(der), 0o644); err != nil {
		return fmt.Errorf("tlsconfig: %w", err)
	}
	return nil
}

func (ca *DevCA) template(f *faults.Collector, hosts []string) *x509.Certificate {
	now := time.Now()
	leaf := &x509.Certificate{
		Subject:     pkix.Name{Organization: []string{devCAOrganization}},
		NotBefore:   now.Add(-clockSlack),
		NotAfter:    now.Add(devLeafLife - clockSlack),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if len(hosts) == 0 {
		f.Missing("hosts", "is empty", `name what clients connect to: "localhost", "127.0.0.1"`)
	}
	for i, h := range hosts {
		field := fmt.Sprintf("hosts[%d]", i)
		if addr, err := netip.ParseAddr(h); err == nil {
			addr = addr.Unmap()
			if !slices.ContainsFunc(ca.cfg.Networks, func(p netip.Prefix) bool { return addr.Zone() == "" && p.Contains(addr) }) {
				f.Add(field, h, "is not within the networks of this CA", "use a loopback address, or name the network in DevCAConfig.Networks")
				continue
			}
			leaf.IPAddresses = append(leaf.IPAddresses, net.IP(addr.AsSlice()))
			continue
		}
		h = strings.ToLower(h)
		switch {
		case !validHost(h):
			f.Add(field, h, "is neither a DNS name nor an IP address", "write it without scheme, port and trailing dot")
		case !slices.ContainsFunc(ca.cfg.Domains, func(d string) bool { return below(strings.TrimPrefix(h, "*."), d) }):
			f.Add(field, h, "is not within the domains of this CA", "use localhost or a name below test, or name the domain in DevCAConfig.Domains")
		default:
			leaf.DNSNames = append(leaf.DNSNames, h)
		}
	}
	return leaf
}

// overwritable refuses to replace files that no development CA wrote: a lost
// private key does not come back.
func overwritable(certFile, keyFile string) error {
	f := faults.For(room)
	const fix = "give another path, or remove the file"
	if data, _, reason := readSmall(certFile); reason == "" {
		chain, bad, _ := parseChain(data)
		if blocks, _ := pemBlocks(data); bad != "" || len(blocks) != 1 || chain[0].IsCA || !slices.Contains(chain[0].Issuer.Organization, devCAOrganization) {
			f.Add("certFile", certFile, "exists and is not the one certificate that a development CA issued", fix)
		}
	} else if _, err := os.Lstat(certFile); err == nil {
		f.Add("certFile", certFile, occupied(reason), fix)
	}
	if data, _, reason := readSmall(keyFile); reason == "" {
		if blocks, _ := pemBlocks(data); !bytes.HasPrefix(data, []byte(devKeyMark)) || len(blocks) > 1 {
			f.Add("keyFile", keyFile, "exists and was not written by a development CA", fix)
		}
	} else if _, err := os.Lstat(keyFile); err == nil {
		f.Add("keyFile", keyFile, occupied(reason), fix)
	}
	return f.Err()
}

// occupied words why a name cannot be written to: what exists and yet does not
// is a link to nothing.
func occupied(reason string) string {
	if reason == "does not exist" {
		return "is a link to a file that does not exist"
	}
	return "exists and " + reason
}

// sameFile reports whether two paths lead to one file, by different spellings
// or links.
func sameFile(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	if err == nil && err2 == nil {
		return os.SameFile(x, y)
	}
	if !strings.EqualFold(filepath.Base(a), filepath.Base(b)) {
		return false // names that differ by case only are one file on some systems
	}
	x, err = os.Stat(filepath.Dir(a))
	y, err2 = os.Stat(filepath.Dir(b))
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// keeps reports whether the files hold what Issue would write.
func (ca *DevCA) keeps(certFile, keyFile string, want *x509.Certificate) bool {
	p, flaws := files{certFile, keyFile}.load()
	if p == nil || len(flaws) > 0 || p.keyMode&0o077 != 0 {
		return false
	}
	have := p.leaf()
	return have.CheckSignatureFrom(ca.cert) == nil &&
		expiryOf(have.NotBefore, have.NotAfter, time.Now()) == ExpiryFresh &&
		slices.Equal(have.DNSNames, want.DNSNames) &&
		slices.EqualFunc(have.IPAddresses, want.IPAddresses, net.IP.Equal)
}
