package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/inovy/hardening/secrets"
)

// keys are the secrets of one state directory: a file each, readable by its
// owner alone, made at the first start.
type keys struct {
	Session *secrets.Ring  `secret:"SESSION_KEY,kind=key,bits=256,maxage=90d"`
	Pepper  *secrets.Ring  `secret:"PEPPER_KEY,kind=key,bits=256,maxage=90d"`
	Vermeer secrets.Secret `secret:"PASSWORD_VERMEER,kind=password"`
	Jansen  secrets.Secret `secret:"PASSWORD_JANSEN,kind=password"`
	Bakker  secrets.Secret `secret:"PASSWORD_BAKKER,kind=password"`
	Visser  secrets.Secret `secret:"PASSWORD_VISSER,kind=password"`
	Beheer  secrets.Secret `secret:"PASSWORD_BEHEER,kind=password"`
}

func (k *keys) passwordOf(id string) string {
	return secrets.Expose(map[string]secrets.Secret{
		"vermeer": k.Vermeer, "jansen": k.Jansen, "bakker": k.Bakker, "visser": k.Visser, "beheer": k.Beheer,
	}[id])
}

// makeSecrets writes the secrets that dir lacks.
func makeSecrets(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	missing := func(name string, generate func() (string, error)) error {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return err // nil: it is there
		}
		value, err := generate()
		if err != nil {
			return err
		}
		return writeFile(path, []byte(value))
	}
	// A password holds no date: a file beside it says when it was made. Neither
	// is ever written over.
	password := func(name string) error {
		return cmp.Or(missing(name, demoPassword), missing(name+"_CREATED_AT", func() (string, error) {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				return "", err
			}
			return info.ModTime().UTC().Format(time.RFC3339), nil
		}))
	}
	err := cmp.Or(missing("SESSION_KEY", newKey), missing("PEPPER_KEY", newKey))
	for _, u := range demoUsers {
		err = cmp.Or(err, password("PASSWORD_"+strings.ToUpper(u.ID)))
	}
	return err
}

// newKey is a ring of one key that says when it was made, so that it can
// become overdue.
func newKey() (string, error) {
	key, err := secrets.Generate(32)
	return "v1@" + time.Now().UTC().Format(time.RFC3339) + ":" + key, err
}

// demoPassword has 100 random bits, in groups that can be typed.
func demoPassword() (string, error) {
	t := strings.ToLower(rand.Text())
	return strings.Join([]string{t[:5], t[5:10], t[10:15], t[15:20]}, "-"), nil
}
