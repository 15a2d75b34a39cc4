package auditlog

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/inovy/hardening/internal/durable"
)

// What identifies a person whose data was touched stands in the log sealed,
// under a random key of that person's own (EDPB guidelines 01/2025: the secret
// is kept apart). Destroying the key erases the person from the log, and the
// log still verifies, because its hashes are over what is sealed. A derived
// key could not be destroyed, so none is derived.
//
// The keys are in a file of their own:
//
//	S hardening-auditlog-subjects/1 <lookup key>
//	<HMAC-SHA-256 of the id under the lookup key> <ref> <key> <check>
//
// Each row has the same length, so that an erasure can overwrite it. An erased
// row has zeros for HMAC and key. Check is the beginning of the SHA-256 of the
// rest of the row. The ref stands in the log in place of the person.
const (
	subjectMagic = "S hardening-auditlog-subjects/1 "
	refBytes     = 16
	rowBytes     = 44 + 1 + 24 + 1 + 44 + 1 + 8 + 1

	// maxOpenSubjects bounds the keys held ready for use.
	maxOpenSubjects = 4096
)

type ref [refBytes]byte

// subject seals for one person.
type subject struct {
	ref    ref
	aead   cipher.AEAD
	erased bool
}

// subjects keeps the keys of all persons. It is safe for concurrent use.
type subjects struct {
	mu      sync.Mutex // guards the fields below
	file    *os.File
	lookup  []byte
	header  int64
	rows    int64 // in the file, or waiting to be
	waiting []byte
	byMAC   map[[sha256.Size]byte]int64 // row number
	byRef   map[ref]int64
	open    map[string]*subject // by id, of those used lately
	err     error               // why it can not be trusted any more
}

// openSubjects opens the file, or makes one for a log that has not begun.
func openSubjects(path string, begun bool) (*subjects, error) {
	there, err := exists(path)
	switch {
	case err != nil:
		return nil, err
	case !there && begun:
		return nil, fmt.Errorf("%w: there is a log but no keys of its subjects at %s; restore the file: without it nobody can read whose data was touched", ErrKey, path)
	case !there:
		var key [sha256.Size]byte
		_, _ = rand.Read(key[:]) // never fails
		if err := durable.Create(path, []byte(subjectMagic+base64.StdEncoding.EncodeToString(key[:])+"\n")); err != nil {
			return nil, err
		}
	}
	if err := privateFile(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0o600) // #nosec G304 -- the configured file
	if err != nil {
		return nil, err
	}
	s := &subjects{file: f, byMAC: map[[sha256.Size]byte]int64{}, byRef: map[ref]int64{}, open: map[string]*subject{}}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrKey, path, err), f.Close())
	}
	return s, nil
}

// load reads the file. A row that a crash cut off belongs to no record that was
// acknowledged, and is taken away.
func (s *subjects) load() error {
	text, err := io.ReadAll(s.file)
	if err != nil {
		return err
	}
	line, rest, ok := bytes.Cut(text, []byte("\n"))
	encoded, magic := bytes.CutPrefix(line, []byte(subjectMagic))
	key, ok2 := parseHash(encoded)
	if !ok || !magic || !ok2 {
		return errors.New("the file does not begin as one of version 1 does")
	}
	s.lookup, s.header = key[:], int64(len(line)+1)
	for ; len(rest) >= rowBytes; rest = rest[rowBytes:] {
		mac, r, _, err := parseRow(rest[:rowBytes])
		if err != nil {
			return fmt.Errorf("row %d: %w", s.rows+1, err)
		}
		if mac != ([sha256.Size]byte{}) {
			s.byMAC[mac] = s.rows
		}
		s.byRef[r] = s.rows
		s.rows++
	}
	if len(rest) == 0 {
		return nil
	}
	if err := s.file.Truncate(s.header + s.rows*rowBytes); err != nil {
		return err
	}
	return s.file.Sync()
}

func appendRow(b []byte, mac [sha256.Size]byte, r ref, key [32]byte) []byte {
	start := len(b)
	b = append(base64.StdEncoding.AppendEncode(b, mac[:]), ' ')
	b = append(base64.StdEncoding.AppendEncode(b, r[:]), ' ')
	b = append(base64.StdEncoding.AppendEncode(b, key[:]), ' ')
	sum := sha256.Sum256(b[start:])
	return append(hex.AppendEncode(b, sum[:4]), '\n')
}

// parseRow reads a row with its newline. Its errors show nothing of it.
func parseRow(row []byte) (mac [sha256.Size]byte, r ref, key [32]byte, err error) {
	fields := bytes.Split(bytes.TrimSuffix(row, []byte("\n")), []byte{' '})
	if len(fields) == 4 {
		m, ok1 := parseHash(fields[0])
		k, ok2 := parseHash(fields[2])
		id, err := base64.StdEncoding.Strict().AppendDecode(nil, fields[1])
		if ok1 && ok2 && err == nil && len(id) == refBytes {
			mac, key = m, k
			copy(r[:], id)
			half := (mac == [sha256.Size]byte{}) != (key == [32]byte{}) // an erasure takes both
			if !half && bytes.Equal(appendRow(nil, mac, r, key), row) {
				return mac, r, key, nil
			}
		}
	}
	return mac, r, key, errors.New("it is damaged")
}

// of returns the sealing key of a person, whom it makes known if need be. A new
// key is on the disk once flush returned.
func (s *subjects) of(id string) (*subject, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if p := s.open[id]; p != nil {
		return p, nil
	}
	mac := s.mac(id)
	var p *subject
	if row, known := s.byMAC[mac]; known {
		var err error
		if p, err = s.rowLocked(row); err != nil {
			return nil, err
		}
	} else {
		var r ref
		var key [32]byte
		_, _ = rand.Read(r[:])
		_, _ = rand.Read(key[:])
		s.waiting = appendRow(s.waiting, mac, r, key)
		s.byMAC[mac], s.byRef[r] = s.rows, s.rows
		s.rows++
		var err error
		if p, err = newSubject(r, key); err != nil {
			return nil, err
		}
	}
	if len(s.open) >= maxOpenSubjects {
		for other := range s.open { // any: the map's order is as good as chance
			delete(s.open, other)
			break
		}
	}
	s.open[id] = p
	return p, nil
}

// find returns the ref under which a person is in the log.
func (s *subjects) find(id string) (r ref, known bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.open[id]; p != nil {
		return p.ref, true, nil
	}
	row, known := s.byMAC[s.mac(id)]
	if !known {
		return r, false, nil
	}
	p, err := s.rowLocked(row)
	if err != nil {
		return r, false, err
	}
	return p.ref, true, nil
}

// by returns the key for a ref. It is nil if the person was erased.
func (s *subjects) by(r ref) (*subject, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	row, known := s.byRef[r]
	if !known {
		return nil, errors.New("the file of the subjects' keys lacks the one of this record: it is an old copy, or of another log")
	}
	p, err := s.rowLocked(row)
	if err != nil || p.erased {
		return nil, err
	}
	return p, nil
}

func (s *subjects) mac(id string) (mac [sha256.Size]byte) {
	h := hmac.New(sha256.New, s.lookup)
	_, _ = io.WriteString(h, id) // a hash takes everything
	h.Sum(mac[:0])
	return mac
}

func (s *subjects) rowLocked(n int64) (*subject, error) {
	row := make([]byte, rowBytes)
	if stored := s.rows - int64(len(s.waiting)/rowBytes); n >= stored {
		copy(row, s.waiting[(n-stored)*rowBytes:])
	} else if _, err := s.file.ReadAt(row, s.header+n*rowBytes); errors.Is(err, os.ErrClosed) {
		return nil, ErrClosed
	} else if err != nil {
		return nil, err
	}
	mac, r, key, err := parseRow(row)
	if err != nil {
		return nil, fmt.Errorf("%w: row %d of the subjects' keys: %w", ErrKey, n+1, err)
	}
	if mac == ([sha256.Size]byte{}) && key == ([32]byte{}) {
		return &subject{ref: r, erased: true}, nil
	}
	return newSubject(r, key)
}

func newSubject(r ref, key [32]byte) (*subject, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &subject{ref: r, aead: aead}, nil
}

// flush makes the keys of new persons durable.
func (s *subjects) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || len(s.waiting) == 0 {
		return s.err
	}
	stored := s.rows - int64(len(s.waiting)/rowBytes)
	_, err := s.file.WriteAt(s.waiting, s.header+stored*rowBytes)
	if err == nil {
		err = syncData(s.file)
	}
	if err != nil {
		s.err = fmt.Errorf("the keys of new subjects could not be stored: %w", err)
		return s.err
	}
	s.waiting = s.waiting[:0]
	return nil
}

func (s *subjects) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = ErrClosed
	return s.file.Close()
}

// seal encrypts what a record says about the person.
func (p *subject) seal(plain []byte) []byte {
	return p.aead.Seal(nil, nil, plain, p.aad()) // #nosec G407 -- this AEAD draws its nonces itself and takes none
}

func (p *subject) unseal(sealed []byte) ([]byte, error) {
	return p.aead.Open(nil, nil, sealed, p.aad())
}

// aad binds what is sealed to the person; its place in the log is bound by the tree.
func (p *subject) aad() []byte { return append([]byte("hardening-auditlog/1 "), p.ref[:]...) }
