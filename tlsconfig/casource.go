package tlsconfig

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/inovy/hardening/internal/filepoll"
)

// CASource is where the certificates of the CAs that a side trusts come from.
// Make one with [CAFile] or [SystemCAs]; the interface is closed.
type CASource interface {
	// String names the source: for a file, its path.
	String() string

	paths() []string
	parse(s filepoll.Snapshot, now time.Time) (*anchors, []flaw)
}

// CAFile reads CA certificates in PEM. [NewServer] and [NewClient] follow the
// file like [Files]: a CA added to it is trusted, and one removed from it is
// not, from the next handshake on, also of sessions that are resumed. To
// replace a CA, first add the new one beside the old one everywhere.
func CAFile(file string) CASource { return caFile(file) }

type caFile string

func (f caFile) String() string  { return string(f) }
func (f caFile) paths() []string { return []string{string(f)} }

// SystemCAs are the CAs that the operating system trusts. They are the default
// of a [Client], and refused for a server's clients: any of some 150 public CAs
// could make one.
func SystemCAs() CASource { return systemCAs{} }

type systemCAs struct{}

func (systemCAs) String() string  { return "system" }
func (systemCAs) paths() []string { return nil }

func (systemCAs) parse(filepoll.Snapshot, time.Time) (*anchors, []flaw) {
	return &anchors{source: "system"}, nil
}

// anchors are the trusted certificates of one source. They are immutable.
type anchors struct {
	source string
	certs  []*x509.Certificate
	pool   *x509.CertPool // nil = the system's
	digest string         // hex SHA-256 over the sorted fingerprints
}

// parse returns all that is wrong with the file. One that holds no usable CA
// would make an empty pool, which trusts nobody, or in other hands a nil one,
// which trusts every public CA.
func (f caFile) parse(s filepoll.Snapshot, now time.Time) (*anchors, []flaw) {
	var flaws []flaw
	add := func(reason, fix string) {
		flaws = append(flaws, flaw{file: string(f), reason: reason, fix: fix})
	}
	if f == "" {
		add("has no file name", `name it: CAFile("ca.crt")`)
		return nil, flaws
	}
	if reason := fileReason(s.Files[0]); reason != "" {
		add(reason, "give the path of a readable PEM file with CA certificates")
		return nil, flaws
	}
	blocks, damaged := pemBlocks(s.Files[0].Data)
	if damaged {
		add(damagedPEM, "write the file again; write to a temporary name and rename")
		return nil, flaws
	}
	a := &anchors{source: string(f), pool: x509.NewCertPool()}
	alive := false
	for _, b := range blocks {
		if strings.HasSuffix(b.Type, "PRIVATE KEY") {
			add("holds a private key, and a CA file is for everybody to read", "remove the key from the file, and treat it as lost if others could read it")
			continue
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		n := len(a.certs) + 1
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			add(fmt.Sprintf("holds a certificate (number %d) that does not parse", n), "write the file again from what the CA delivered")
			return nil, flaws
		}
		a.certs = append(a.certs, c)
		a.pool.AddCert(c)
		alive = alive || !now.After(c.NotAfter)
		if !c.IsCA && (c.Version > 1 || !isSelfSigned(c)) {
			add(fmt.Sprintf("holds a certificate (number %d) that is no CA's", n), "give the certificate of the CA that issued it")
		}
		if name, l := keyLevel(c.PublicKey); l == LevelInsufficient {
			add(fmt.Sprintf("holds a CA (number %d) with a key of %s, which NCSC-NL 2025-05 calls %s", n, name, l), "use a CA with ECDSA P-256, or RSA of 3072 bits or more")
		}
	}
	switch {
	case len(a.certs) == 0:
		add("holds no PEM certificate", "give the CA's certificate in PEM")
	case !alive:
		add("holds only CAs that have expired", "give the CA's certificate that is valid now")
	}
	if len(flaws) > 0 {
		return nil, flaws
	}
	var prints [][]byte
	for _, c := range a.certs {
		sum := sha256.Sum256(c.Raw)
		prints = append(prints, sum[:])
	}
	slices.SortFunc(prints, bytes.Compare)
	sum := sha256.Sum256(bytes.Join(slices.CompactFunc(prints, bytes.Equal), nil))
	a.digest = hex.EncodeToString(sum[:])
	return a, nil
}
