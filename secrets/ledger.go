package secrets

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"runtime"
	"time"

	"github.com/inovy/hardening/internal/durable"
	"github.com/inovy/hardening/internal/filepoll"
)

// Ledger remembers when a value was first seen, across restarts. Make one with
// [FileLedger]; the zero Ledger remembers nothing.
//
// It proves an age that nothing else proves: a value from the environment that
// was first seen 90 days ago is at least that old. And it finds two mistakes:
// a secret whose date was changed and whose value was not, which is then as old
// as it was before; and one whose value was changed and whose date was not,
// which then has no date.
type Ledger struct {
	_    [0]func()
	path string
	made bool // by FileLedger
}

// FileLedger keeps the ledger in a file of its own, which need not exist yet,
// in a directory that does; beside it, it makes path.key with a random key and
// path.lock. Put them where they outlive the process: on a volume, not in a
// container's own file system.
//
// The file holds names, dates and 8 bytes of an HMAC-SHA-256 of each value,
// never a value or a plain hash; without path.key nobody can try values against
// it. Both files have mode 0600, and the key may be kept out of backups. Several
// processes may share a ledger; a write replaces the file as a whole and is
// durable.
//
// A ledger that can not be read, written or trusted stops no load, because
// protection that is late is no reason for an outage. But then no age counts as
// proven, and a finding says so, until it can be used: it is tried again within the
// hour and by each [Loader.Reload]. Nothing repairs a damaged ledger: remove the
// file, and it begins anew. An empty path is a fault of Load.
func FileLedger(path string) Ledger {
	if path != "" {
		path = absolute(path)
	}
	return Ledger{path: path, made: true}
}

const (
	ledgerPatience = 5 * time.Second // for the lock
	ledgerKeyBytes = 32
)

// errLedger says why a ledger can not be used, without an operating system's
// error text.
type errLedger string

func (e errLedger) Error() string { return "secrets: the ledger " + string(e) }

// see remembers all sightings, under the names of scope, and tells what is known
// about each.
func (l Ledger) see(ctx context.Context, scope string, all []sighting) ([]verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	unlock, err := lockFile(ctx, l.path+".lock")
	if err != nil {
		if ctx.Err() != nil {
			return nil, errLedger("is locked by another process")
		}
		return nil, errLedger("needs a directory that exists and that this process may write")
	}
	defer unlock()
	key, err := l.key()
	if err != nil {
		return nil, err
	}
	defer clear(key)
	b, err := newBook(key)
	if err != nil {
		return nil, err
	}
	defer b.wipe()
	if err := l.read(b); err != nil {
		return nil, err
	}
	now := time.Now()
	out := make([]verdict, len(all))
	for i, s := range all {
		s.name = url.PathEscape(scope) + "/" + s.name // no spaces
		out[i] = b.see(s, now)
	}
	if !b.changed {
		return out, nil
	}
	text := b.encode()
	if len(text) > maxBookBytes {
		return nil, errLedger("is full: give services ledgers of their own")
	}
	if err := durable.Replace(l.path, text, 0o600); err != nil {
		return nil, errLedger("can not be written")
	}
	return out, nil
}

func (l Ledger) read(b *book) error {
	snapshot := filepoll.Read([]string{l.path}, maxBookBytes)
	defer snapshot.Wipe()
	file := snapshot.Files[0]
	if errors.Is(file.Err, filepoll.ErrMissing) {
		if _, err := os.Lstat(l.path); errors.Is(err, fs.ErrNotExist) {
			return nil // the first time
		}
	}
	if file.Err != nil {
		return errLedger("can not be read: " + file.Err.Error())
	}
	if reason := b.decode(file.Data); reason != "" {
		return errLedger(reason)
	}
	return nil
}

// key reads the key beside the ledger, or makes it. The lock is held.
func (l Ledger) key() ([]byte, error) {
	path := l.path + ".key"
	snapshot := filepoll.Read([]string{path}, 1024)
	defer snapshot.Wipe()
	file := snapshot.Files[0]
	if errors.Is(file.Err, filepoll.ErrMissing) {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return l.newKey(path)
		}
	}
	if file.Err != nil {
		return nil, errLedger("has a key that can not be read: " + file.Err.Error())
	}
	if runtime.GOOS != "windows" && file.Info.Mode().Perm()&0o077 != 0 {
		return nil, errLedger("has a key that others than its owner may read or write: chmod 0600 it")
	}
	key, err := base64.RawURLEncoding.Strict().DecodeString(string(bytes.TrimSuffix(file.Data, []byte("\n"))))
	if err != nil || len(key) != ledgerKeyBytes {
		return nil, errLedger("has a damaged key")
	}
	return key, nil
}

func (l Ledger) newKey(path string) ([]byte, error) {
	key := make([]byte, ledgerKeyBytes)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	text := append([]byte(base64.RawURLEncoding.EncodeToString(key)), '\n')
	defer clear(text)
	if err := durable.Replace(path, text, 0o600); err != nil {
		return nil, errLedger("can not be written")
	}
	return key, nil
}

// lockFile waits until nobody else holds the lock.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 5*time.Millisecond) { // longer waits starve beside who comes again at once
		unlock, err := tryLock(path)
		if err == nil {
			return unlock, nil
		}
		if !errors.Is(err, errLocked) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

var errLocked = errors.New("secrets: locked")
