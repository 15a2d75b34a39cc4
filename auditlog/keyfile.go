package auditlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/inovy/hardening/internal/durable"
	"golang.org/x/mod/sumdb/note"
)

// keyFile is what stands in the file of the signing key. First is the public
// key with which the log began: the one that a verifier is given, whatever the
// key in force is by then.
type keyFile struct {
	V      int    `json:"v"`
	Origin string `json:"origin"`
	First  string `json:"first"` // verifier key of epoch 0
	Epoch  int64  `json:"epoch"`
	Key    string `json:"key"`    // verifier key of this epoch
	Secret string `json:"secret"` // signer key of this epoch, as x/mod's note writes it
}

const keyVersion = 1

func newKey(origin string) (*keyFile, error) {
	secret, public, err := note.GenerateKey(nil, origin)
	if err != nil {
		return nil, err
	}
	return &keyFile{V: keyVersion, Origin: origin, First: public, Key: public, Secret: secret}, nil
}

// nextSuffix marks a key that takes effect when the record that announces it
// is durable. A crash in between leaves either the old or the new in force.
const nextSuffix = ".next"

func readKey(path string) (*keyFile, error) {
	if err := privateFile(path); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path) // #nosec G304 -- the configured key file
	if err != nil {
		return nil, err
	}
	k := &keyFile{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(k); err != nil {
		return nil, fmt.Errorf("%w: %s is not a key file", ErrKey, path) // the decoder's words may quote the key
	}
	if k.V != keyVersion {
		return nil, fmt.Errorf("%w: %s is of version %d; this library reads version %d", ErrKey, path, k.V, keyVersion)
	}
	first, err := note.NewVerifier(k.First)
	if err != nil || first.Name() != k.Origin || k.Epoch < 0 {
		return nil, fmt.Errorf("%w: %s names no usable public key", ErrKey, path)
	}
	if _, err := k.signer(); err != nil {
		return nil, err
	}
	return k, nil
}

// signer returns the signing key, which must be that of Key.
func (k *keyFile) signer() (note.Signer, error) {
	s, err := note.NewSigner(k.Secret)
	if err != nil {
		return nil, fmt.Errorf("%w: the key file holds no usable key", ErrKey)
	}
	v, err := note.NewVerifier(k.Key)
	if err != nil || v.Name() != k.Origin || s.Name() != k.Origin || v.KeyHash() != s.KeyHash() {
		return nil, fmt.Errorf("%w: the key file's two halves do not belong together", ErrKey)
	}
	return s, nil
}

// privateFile refuses a file of keys that others can read, and what is no file:
// opening a pipe would wait for whoever fills it.
func privateFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s: %w", ErrKey, path, errIrregular)
	}
	if runtime.GOOS == "windows" { // its permission bits say nothing
		return nil
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%w: %s can be read by others (mode %v); chmod 600 it", ErrKey, path, info.Mode().Perm())
	}
	return nil
}

// writeKey writes k beside path, to take effect by promoteKey. What an
// earlier try left there never took effect.
func writeKey(path string, k *keyFile) error {
	if err := os.Remove(path + nextSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, err := json.Marshal(k) // #nosec G117 -- the key file is where the signing key belongs
	if err != nil {
		return err
	}
	return durable.Create(path+nextSuffix, append(text, '\n'))
}

// promoteKey puts the key written last in force.
func promoteKey(path string) error {
	if err := os.Rename(path+nextSuffix, path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}
