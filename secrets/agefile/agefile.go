// Package agefile is a source of secrets.Load that reads a file encrypted with
// age (age-encryption.org/v1): one file of NAME=value lines, as
// [secrets.DotEnv] reads them, that may lie in a repository or an image.
//
//	source, err := agefile.New(agefile.Config{
//		Path:             "secrets.env.age",
//		IdentityVariable: "AGE_IDENTITY", // or IdentityFile, or PassphraseVariable
//	})
//	loader, err := secrets.Load(ctx, &cfg, secrets.Options{Sources: []secrets.Source{source, secrets.Env()}})
//
// Write the file with the age command or this package's [Encrypt]:
//
//	age -r age1... -o secrets.env.age secrets.env
//
// # Threat model
//
// The file keeps its content from whoever reads it, now and when the
// repository leaks. It does not prove who wrote it: anyone who knows the public
// recipient can make one, so it must not be writable by others, and Load refuses
// it if it is. The identity is the secret that is left; it stays out of errors
// and, as a variable, is taken out of the environment after the load. A
// passphrase costs as much work as the file asks for, at most
// [Config.MaxWorkFactor]: a file can not make a service compute for hours.
package agefile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/internal/filepoll"
	"github.com/inovy/hardening/secrets"
)

const (
	// defaultWorkFactor is the base-2 logarithm of scrypt's N that age itself
	// writes (about a second on a desktop).
	defaultWorkFactor = 18
	maxWorkFactor     = 22 // the highest that age itself reads
	maxPlain          = 1 << 20
	maxIdentity       = 64 << 10
)

// Config names a file and what opens it: exactly one of IdentityVariable,
// IdentityFile, PassphraseVariable and Passphrase.
type Config struct {
	_ [0]func()
	// Path is the encrypted file, binary or armored (age -a), of at most 1 MiB.
	// Zero is a fault.
	Path string
	// IdentityVariable names a variable of the environment that holds one or more
	// identities (AGE-SECRET-KEY-1...), a line each. New reads it; Load takes it
	// out of the environment when it succeeds.
	IdentityVariable string
	// IdentityFile is a file of identities, as age-keygen writes it, of at most
	// 64 KiB, that others than owner and group may not read, and others than the
	// owner may not write. On Unix it and its directory are judged by owner too, as
	// the files of [secrets.Dir] are, and in Development as well. It is read each time the encrypted file is opened, so
	// that both can be replaced together.
	IdentityFile string
	// PassphraseVariable names a variable of the environment that holds the
	// passphrase of a file that was encrypted with age -p, in which one newline
	// at the end does not count. New reads it; Load takes it out of the
	// environment when it succeeds.
	PassphraseVariable string
	// Passphrase opens such a file too, where it comes from somewhere else.
	Passphrase secrets.Secret
	// MaxWorkFactor bounds the work of a passphrase: the base-2 logarithm of
	// scrypt's N, 10 to 22. 18 needs 256 MiB and about a second. Default: 18.
	MaxWorkFactor int
}

// New returns the file as a source for [secrets.Options]. Its error holds every
// fault of cfg as [*hardening.ConfigError]. The file is first read by Load.
func New(cfg Config) (secrets.Source, error) {
	c := faults.For("agefile")
	if cfg.Path == "" {
		c.Missing("Path", "is empty", "name the file, as in secrets.env.age")
	}
	given := 0
	for _, set := range []bool{cfg.IdentityVariable != "", cfg.IdentityFile != "", cfg.PassphraseVariable != "", !cfg.Passphrase.IsZero()} {
		if set {
			given++
		}
	}
	if given != 1 {
		c.Missing("IdentityVariable, IdentityFile, PassphraseVariable, Passphrase", "are not exactly one", "set one of them")
	}
	if cfg.MaxWorkFactor == 0 {
		cfg.MaxWorkFactor = defaultWorkFactor
	}
	if cfg.MaxWorkFactor < 10 || cfg.MaxWorkFactor > maxWorkFactor {
		c.Add("MaxWorkFactor", cfg.MaxWorkFactor, "is not between 10 and 22", "leave it zero for 18")
	}
	f := &file{path: cfg.IdentityFile, passphrase: cfg.Passphrase, maxWorkFactor: cfg.MaxWorkFactor}
	if full, err := filepath.Abs(f.path); err == nil && f.path != "" { // it is read again, wherever the program has gone
		f.path = full
	}
	var variables []string
	if cfg.IdentityVariable != "" && given == 1 {
		variables = []string{cfg.IdentityVariable}
		text := os.Getenv(cfg.IdentityVariable)
		f.fixed = secrets.NewSecret(text)
		if text == "" {
			c.Missing("IdentityVariable", "names a variable that is not set", "set it to the line of age-keygen that begins with AGE-SECRET-KEY-1")
		} else if _, err := identities([]byte(text)); err != nil {
			c.Join(err)
		}
	}
	if cfg.PassphraseVariable != "" && given == 1 {
		variables = []string{cfg.PassphraseVariable}
		text := strings.TrimSuffix(strings.TrimSuffix(os.Getenv(cfg.PassphraseVariable), "\n"), "\r")
		f.passphrase = secrets.NewSecret(text)
		if text == "" {
			c.Missing("PassphraseVariable", "names a variable that is not set", "set it to the passphrase that age -p was given")
		}
	}
	if err := c.Err(); err != nil {
		return secrets.Source{}, err
	}
	return secrets.Encrypted(cfg.Path, f.open, variables...), nil
}

// file knows how to open one encrypted file.
type file struct {
	fixed         secrets.Secret // identities of a variable
	path          string         // or of a file
	passphrase    secrets.Secret
	maxWorkFactor int
}

func fault(field, reason, fix string) error {
	return &hardening.ConfigError{Room: "agefile", Field: field, Reason: reason, Fix: fix}
}

// open decrypts. Its errors are faults in our own words: age's quote parts of
// what they could not read.
func (f *file) open(ctx context.Context, sealed []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var in io.Reader = bytes.NewReader(sealed)
	if bytes.HasPrefix(bytes.TrimSpace(sealed), []byte(armor.Header)) {
		in = armor.NewReader(in)
	}
	ids, err := f.identities()
	if err != nil {
		return nil, err
	}
	r, err := age.Decrypt(in, ids...)
	if err != nil {
		return nil, f.refuse(err)
	}
	plain := make([]byte, 0, len(sealed)+1) // never smaller than the plaintext, so that no copy is left behind by growing
	for {
		n, err := r.Read(plain[len(plain):cap(plain)])
		plain = plain[:len(plain)+n]
		switch {
		case errors.Is(err, io.EOF):
			return plain, nil
		case err != nil || len(plain) == cap(plain) || len(plain) > maxPlain:
			clear(plain)
			return nil, fault("Path", "is damaged or cut off", "write it again")
		}
	}
}

func (f *file) refuse(err error) error {
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none) && f.passphrase.IsZero():
		return fault("IdentityFile or IdentityVariable", "has no identity that this file was encrypted for", "encrypt it again for the public key of this identity (age-keygen -y)")
	case errors.As(err, &none):
		return fault("Passphrase", "does not open this file", "check the passphrase, and that the file was made with age -p")
	case !f.passphrase.IsZero() && strings.Contains(err.Error(), "work factor"):
		return fault("MaxWorkFactor", "is below what this file asks for", "encrypt the file with a lower work factor, or raise MaxWorkFactor to at most 22")
	}
	return fault("Path", "is no age file, or damaged", "write it again with age")
}

func (f *file) identities() ([]age.Identity, error) {
	switch {
	case !f.passphrase.IsZero():
		id, err := age.NewScryptIdentity(secrets.Expose(f.passphrase))
		if err != nil {
			return nil, fault("Passphrase", "is not usable", "set one that is not empty")
		}
		id.SetMaxWorkFactor(f.maxWorkFactor)
		return []age.Identity{id}, nil
	case f.path != "":
		return readIdentities(f.path)
	}
	var ids []age.Identity
	err := f.fixed.Use(func(text []byte) (err error) {
		ids, err = identities(text)
		return err
	})
	return ids, err
}

func readIdentities(path string) ([]age.Identity, error) {
	s := filepoll.Read([]string{path}, maxIdentity)
	defer s.Wipe()
	got := s.Files[0]
	switch {
	case got.Err != nil:
		return nil, fault("IdentityFile", got.Err.Error(), "name a file as age-keygen writes it")
	case open(got.Info):
		return nil, fault("IdentityFile", "may be read or written by others", "chmod 0400 the file")
	}
	if reason, fix := filepoll.Replaceable(got); reason != "" {
		return nil, fault("IdentityFile", reason, fix)
	}
	return identities(got.Data)
}

// identities parses lines of identities. age's error quotes the line.
func identities(text []byte) ([]age.Identity, error) {
	ids, err := age.ParseIdentities(bytes.NewReader(text)) // keeps copies that can not be wiped
	if err != nil {
		return nil, fault("Identity", "is not a list of age identities", "write one AGE-SECRET-KEY-1... a line, as age-keygen does")
	}
	return ids, nil
}

// Encrypt writes NAME=value lines, or anything else, to w for the recipients
// (age1...), as the age command does. At least one recipient is needed.
func Encrypt(w io.Writer, plain []byte, recipients ...string) error {
	var to []age.Recipient
	for _, text := range recipients {
		r, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return fault("recipients", "holds something that is no age recipient", "write age1..., from age-keygen -y")
		}
		to = append(to, r...)
	}
	if len(to) == 0 {
		return fault("recipients", "is empty", "give at least one age1...")
	}
	out, err := age.Encrypt(w, to...)
	if err != nil {
		return fault("recipients", "could not be encrypted for", "use recipients of one kind")
	}
	if _, err := out.Write(plain); err != nil {
		return err
	}
	return out.Close()
}
