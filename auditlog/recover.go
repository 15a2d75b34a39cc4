package auditlog

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// open finds the end of the log, or begins one. On return l.live is open for
// writing and everything in it is signed.
func (l *Log) open(ctx context.Context) error {
	keyPath := l.cfg.KeyFile
	if keyPath == "" {
		keyPath = filepath.Join(l.cfg.Dir, keyName)
	}
	firsts, err := segments(l.cfg.Dir)
	if err != nil {
		return err
	}
	if err := l.openKey(keyPath, len(firsts) > 0); err != nil {
		return err
	}
	if l.signer, err = note.NewSigner(l.key.Secret); err != nil {
		return fmt.Errorf("%w: the key file holds no usable key", ErrKey)
	}
	if len(firsts) == 0 {
		firsts = []int64{0}
		if err := l.begin(); err != nil {
			return err
		}
	}
	if firsts[0] != 0 {
		return fmt.Errorf("%w: the segments before %s are gone", ErrTampered, segmentName(firsts[0]))
	}
	if err := l.resume(ctx, firsts[len(firsts)-1]); err != nil {
		return err
	}
	if there, err := exists(keyPath); err != nil || there {
		return err
	}
	return promoteKey(keyPath)
}

// openKey reads the signing key, or makes one for a log that has not begun.
// The key of a new log is in force once the first segment is on the disk.
func (l *Log) openKey(path string, begun bool) error {
	k, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		k, err = readKey(path + nextSuffix)
		if !begun && errors.Is(err, ErrKey) {
			// A crash in the middle of writing it. No record was ever signed with it.
			if err = os.Remove(path + nextSuffix); err == nil {
				err = fs.ErrNotExist
			}
		}
		if errors.Is(err, fs.ErrNotExist) && !begun {
			origin := l.cfg.Origin
			if origin == "" {
				origin = "auditlog-" + strings.ToLower(rand.Text())
			}
			if k, err = newKey(origin); err == nil {
				err = writeKey(path, k)
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: there is a log in %s but no key at %s; restore the key, or begin a log elsewhere", ErrKey, l.cfg.Dir, path)
		}
	} else if err == nil && !begun {
		return fmt.Errorf("%w: there is a key at %s but no segment in %s: the log was removed, or the key belongs to another", ErrTampered, path, l.cfg.Dir)
	}
	if err != nil {
		return err
	}
	if l.cfg.Origin != "" && l.cfg.Origin != k.Origin {
		return fmt.Errorf("%w: the log in %s is named %s, not %s", ErrKey, l.cfg.Dir, k.Origin, l.cfg.Origin)
	}
	l.key = k
	return nil
}

// begin writes the first segment: a header, the genesis record, a checkpoint.
func (l *Log) begin() error {
	var t tree
	content := appendHeader(nil, l.key.Origin, &t)
	genesis := appendControl(nil, kindGenesis, time.Now(), control{Format: formatVersion, Origin: l.key.Origin, VKey: l.key.First})
	h := tlog.RecordHash(genesis)
	content = appendRecordLine(content, 0, h, genesis)
	t.add(h)
	signed, err := signCheckpoint(l.signer, l.key.Origin, &t)
	if err != nil {
		return err
	}
	_, err = createSegment(l.cfg.Dir, 0, appendCheckpointLine(content, signed))
	return err
}

// resume reads the newest segment, and only that one, puts what no checkpoint
// covers into quarantine, and opens the segment for writing.
func (l *Log) resume(ctx context.Context, first int64) error {
	name := segmentName(first)
	path := filepath.Join(l.cfg.Dir, name)
	c, err := newChain(l.key.First)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0o600) // #nosec G304 -- inside the configured directory
	if err != nil {
		return err
	}
	defer f.Close()
	if first > 0 {
		if err := c.trustHeader(f); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrTampered, name, err)
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	t, flaw, err := c.segment(ctx, name, f, true)
	switch {
	case err != nil:
		return err
	case flaw != nil && flaw.status == StatusUnverifiable:
		return fmt.Errorf("auditlog: %s line %d: %s", flaw.file, flaw.line, flaw.reason)
	case flaw != nil:
		return fmt.Errorf("%w: %s line %d: %s; keep the directory as it is, find out why, and begin a log elsewhere", ErrTampered, flaw.file, flaw.line, flaw.reason)
	}
	if t.bytes > 0 {
		if err := quarantine(l.cfg.Dir, f, t, c.signed.tree.size); err != nil {
			return err
		}
		l.torn = t
	}
	l.tree = c.signed.tree.clone()
	l.nextSeq = l.tree.size
	l.checkpoint = append(bytes.Clone(c.last), '\n')
	l.live = live{path: path, first: first, size: t.offset}
	l.extent = extent{first, t.offset, l.tree.size}
	l.live.file, err = l.cfg.openFile(path)
	return err
}

// trustHeader takes the state of the log before this segment from its own
// header, which the checkpoint below it proves.
func (c *chain) trustHeader(r io.Reader) error {
	in := newLines(r)
	header, complete, err := in.next()
	if err != nil || !complete {
		return errors.New("the segment has no header")
	}
	origin, t, err := parseHeader(header)
	if err != nil {
		return err
	}
	line, complete, err := in.next()
	if err != nil || !complete {
		return errors.New("the segment does not repeat a checkpoint")
	}
	size, root, err := openCheckpointLine(line, c.verifier, c.origin)
	if err != nil {
		return err
	}
	if origin != c.origin || size != t.size || root != t.root() {
		return errors.New("the header does not fit its checkpoint")
	}
	c.read = state{tree: *t}
	c.signed = c.read.clone()
	c.last = bytes.Clone(line)
	return nil
}

// A quarantined tail has pendingSuffix until a record of the log accounts for it.
const (
	quarantinePrefix = "quarantine-"
	pendingSuffix    = ".pending"
)

// quarantine moves the tail of f to a file of its own. The copy is on the disk
// before the tail is cut off.
func quarantine(dir string, f *os.File, t tail, size int64) error {
	content := make([]byte, t.bytes)
	if _, err := f.ReadAt(content, t.offset); err != nil {
		return err
	}
	name := fmt.Sprintf("%s%020d-%s", quarantinePrefix, size, strings.ToLower(rand.Text()[:8]))
	if err := writeFileSync(filepath.Join(dir, name+pendingSuffix), content); err != nil {
		return err
	}
	if err := f.Truncate(t.offset); err != nil {
		return err
	}
	return f.Sync()
}

// quarantined describes the tails that no record accounts for yet.
func quarantined(dir string) ([]control, error) {
	paths, err := filepath.Glob(filepath.Join(dir, quarantinePrefix+"*"+pendingSuffix))
	if err != nil {
		return nil, err
	}
	var accounts []control
	for _, path := range paths {
		content, err := os.ReadFile(path) // #nosec G304 -- inside the configured directory
		if err != nil {
			return nil, err
		}
		a := control{Bytes: int64(len(content)), Quarantine: strings.TrimSuffix(filepath.Base(path), pendingSuffix)}
		for line := range bytes.Lines(content) {
			if bytes.HasPrefix(line, []byte("R ")) && bytes.HasSuffix(line, []byte("\n")) {
				a.Records++
			}
		}
		sum := sha256.Sum256(content)
		a.SHA256 = hex.EncodeToString(sum[:])
		accounts = append(accounts, a)
	}
	return accounts, nil
}
