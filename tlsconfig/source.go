package tlsconfig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"

	"github.com/inovy/hardening/internal/filepoll"
)

// CertSource is where a certificate chain and its private key come from. Make
// one with [Files] or [Standby]; the interface is closed.
type CertSource interface {
	// String names the source without secrets: for files, the certificate's path.
	String() string

	paths() []string
	parse(filepoll.Snapshot) (*pair, []flaw)
}

// Files reads a PEM chain, leaf first, and its PEM private key (PKCS #8, PKCS #1
// or SEC 1, not encrypted). One file may hold both. [NewServer] and [NewClient]
// read the files and follow them from then on: a change that has stood still
// for a [ServerConfig].PollInterval is checked and taken over, whether it came
// by renaming, by rewriting or by a swap of Kubernetes' ..data link.
func Files(certFile, keyFile string) CertSource { return files{certFile, keyFile} }

type files struct{ cert, key string }

func (f files) String() string { return f.cert }

func (f files) paths() []string { return []string{f.cert, f.key} }

// Standby marks a certificate as a reserve: it is loaded, checked, followed and
// warned about like any other, but used only for names that no other
// certificate covers any more, because those have expired or their issuer has
// revoked them. BIO2 8.24.05 asks for reserve certificates of another supplier.
func Standby(src CertSource) CertSource { return standby{src} }

type standby struct{ CertSource }

func (s standby) String() string {
	if s.CertSource == nil {
		return ""
	}
	return s.CertSource.String()
}

// flaw is what is wrong with one file. Its texts are ours alone: errors of
// parsers can quote what they parse, which may be a key.
type flaw struct {
	file, reason, fix string
	kind              flawKind
}

// flawKind tells apart the flaws that do not always refuse a certificate.
type flawKind uint8

const (
	flawed     flawKind = iota
	tooEarly            // may be in order later, so it is looked at again
	expired             // tolerated at the start if a standby takes over
	unapproved          // the audit handler refused the record
	tooWeak             // by the guidelines, not by what peers accept
)

// pair is a chain and the key of its leaf, as loaded. It is immutable.
type pair struct {
	source      string
	cert        tls.Certificate
	chain       []*x509.Certificate
	fingerprint string      // hex SHA-256 of the leaf
	keyMode     fs.FileMode // permission bits of the key's file
}

func (p *pair) leaf() *x509.Certificate { return p.chain[0] }

// same reports whether q would serve the same bytes under the same key. The
// chain counts: an intermediate can be replaced without the leaf.
func (p *pair) same(q *pair) bool {
	return slices.EqualFunc(p.cert.Certificate, q.cert.Certificate, bytes.Equal) && p.keyMode == q.keyMode
}

// load reads both files once.
func (f files) load() (*pair, []flaw) {
	s := filepoll.Read(f.paths(), maxFileBytes)
	defer s.Wipe()
	return f.parse(s)
}

// parse returns all that is wrong with either file. The pair is nil unless both
// parse and belong together.
func (f files) parse(s filepoll.Snapshot) (*pair, []flaw) {
	var flaws []flaw
	add := func(file, reason, fix string) { flaws = append(flaws, flaw{file: file, reason: reason, fix: fix}) }

	p := &pair{source: f.cert}
	if f.cert == "" {
		add("", "has no certificate file", `name both: Files("tls.crt", "tls.key")`)
	} else if reason := fileReason(s.Files[0]); reason != "" {
		add(f.cert, reason, "give the path of a readable PEM file")
	} else if chain, reason, fix := parseChain(s.Files[0].Data); reason != "" {
		add(f.cert, reason, fix)
	} else {
		p.chain = chain
	}

	var key crypto.Signer
	if f.key == "" {
		add("", "has no key file", `name both: Files("tls.crt", "tls.key")`)
	} else if reason := fileReason(s.Files[1]); reason != "" {
		add(f.key, reason, "give the path of a PEM file that this process may read")
	} else if k, reason, fix := parseKey(s.Files[1].Data); reason != "" {
		add(f.key, reason, fix)
	} else {
		key, p.keyMode = k, permissions(s.Files[1].Info)
	}

	if p.chain == nil || key == nil {
		return nil, flaws
	}
	if !samePublicKey(key.Public(), p.leaf().PublicKey) {
		reason, fix := "is not the key of the certificate in "+f.cert, "install the key that the certificate was requested with"
		ofIssuer := func(c *x509.Certificate) bool { return samePublicKey(key.Public(), c.PublicKey) }
		if slices.ContainsFunc(p.chain[1:], ofIssuer) {
			reason, fix = reason+", but of a later certificate in that file", "put the leaf certificate first in the chain"
		}
		add(f.key, reason, fix)
		return nil, flaws
	}
	sum := sha256.Sum256(p.leaf().Raw)
	p.fingerprint = hex.EncodeToString(sum[:])
	p.cert = tls.Certificate{PrivateKey: key, Leaf: p.leaf()}
	for _, c := range p.chain {
		p.cert.Certificate = append(p.cert.Certificate, c.Raw)
	}
	return p, flaws
}

// maxFileBytes: a PEM chain is a few KiB, a bundle of all public CAs 250 KiB.
// The limit keeps a wrong path from filling the memory.
const maxFileBytes = 1 << 20

// readSmall reads one file.
func readSmall(name string) (data []byte, mode fs.FileMode, reason string) {
	f := filepoll.Read([]string{name}, maxFileBytes).Files[0]
	if reason = fileReason(f); reason != "" {
		return nil, 0, reason
	}
	return f.Data, permissions(f.Info), ""
}

// permissions are those that say who may read or write. Windows makes the bits
// up, so there is nothing to judge there.
func permissions(info fs.FileInfo) fs.FileMode {
	if runtime.GOOS == "windows" {
		return 0
	}
	return info.Mode().Perm()
}

// fileReason says why a file cannot be used, or nothing.
func fileReason(f filepoll.File) string {
	switch err := f.Err; {
	case err == nil && len(bytes.TrimSpace(f.Data)) == 0:
		return "is empty"
	case err == nil:
		return ""
	case errors.Is(err, filepoll.ErrMissing):
		return "does not exist"
	case errors.Is(err, filepoll.ErrPermission):
		return "may not be read by this process"
	case errors.Is(err, filepoll.ErrNotRegular):
		return "is not a regular file"
	case errors.Is(err, filepoll.ErrTooLarge):
		return "is larger than 1 MiB"
	case errors.Is(err, filepoll.ErrUnsettled):
		return "kept changing while it was read"
	}
	return "cannot be read"
}

// pemBlocks decodes every block. damaged means that more blocks begin than
// decode: pem.Decode skips those silently, which is how a half-written file
// loses the end of its chain without a word.
func pemBlocks(data []byte) (blocks []*pem.Block, damaged bool) {
	begun := bytes.Count(data, []byte("-----BEGIN "))
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return blocks, begun != len(blocks)
		}
		blocks = append(blocks, b)
	}
}

const damagedPEM = "is damaged or half-written: a PEM block begins that does not end well"

func parseChain(data []byte) (chain []*x509.Certificate, reason, fix string) {
	blocks, damaged := pemBlocks(data)
	if damaged {
		return nil, damagedPEM, "write the file again; write to a temporary name and rename"
	}
	keys := 0
	for _, b := range blocks {
		if strings.HasSuffix(b.Type, "PRIVATE KEY") {
			keys++
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Sprintf("holds a certificate (number %d) that does not parse", len(chain)+1), "write the file again from what the CA delivered"
		}
		chain = append(chain, c)
	}
	switch {
	case len(chain) > 0:
		return chain, "", ""
	case keys > 0:
		return nil, "holds a private key and no certificate", "give the certificate first, the key second; are they swapped?"
	}
	return nil, "holds no PEM certificate", "convert it to PEM with: openssl x509 -inform der"
}

func parseKey(data []byte) (key crypto.Signer, reason, fix string) {
	const convert = "convert it with: openssl pkcs8 -topk8 -nocrypt"
	blocks, damaged := pemBlocks(data)
	if damaged {
		return nil, damagedPEM, "write the file again; write to a temporary name and rename"
	}
	certs := 0
	for _, b := range blocks {
		var parsed any
		var err error
		switch b.Type {
		case "CERTIFICATE":
			certs++
			continue
		case "ENCRYPTED PRIVATE KEY":
			return nil, "holds an encrypted private key", convert
		case "PRIVATE KEY":
			parsed, err = x509.ParsePKCS8PrivateKey(b.Bytes)
		case "RSA PRIVATE KEY":
			if b.Headers["DEK-Info"] != "" {
				return nil, "holds an encrypted private key", convert
			}
			parsed, err = x509.ParsePKCS1PrivateKey(b.Bytes)
		case "EC PRIVATE KEY":
			if b.Headers["DEK-Info"] != "" {
				return nil, "holds an encrypted private key", convert
			}
			parsed, err = x509.ParseECPrivateKey(b.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, "holds a private key that does not parse", convert
		}
		if key != nil {
			return nil, "holds more than one private key", "keep the one that belongs to the certificate"
		}
		switch k := parsed.(type) {
		case *rsa.PrivateKey:
			key = k
		case *ecdsa.PrivateKey:
			key = k
		case ed25519.PrivateKey:
			key = k
		default:
			return nil, "holds a private key of a kind that TLS cannot sign with", "use ECDSA P-256"
		}
	}
	switch {
	case key != nil:
		return key, "", ""
	case certs > 0:
		return nil, "holds a certificate and no private key", "give the certificate first, the key second; are they swapped?"
	}
	return nil, "holds no PEM private key", "convert it to PEM with: openssl pkey -inform der"
}

func samePublicKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
