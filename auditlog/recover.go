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

	"golang.org/x/mod/sumdb/tlog"

	"github.com/inovy/hardening/internal/durable"
)

// open finds the end of the log, or begins one. On return l.live is open for
// writing and everything in it is signed.
func (l *Log) open(ctx context.Context) error {
	firsts, err := segments(l.cfg.Dir)
	if err != nil {
		return err
	}
	keys, err := l.findKeys(len(firsts) > 0)
	if err != nil {
		return err
	}
	l.key = keys[0].keyFile // until the log says which is in force
	if l.signer, err = l.key.signer(); err != nil {
		return err
	}
	if l.subjects, err = openSubjects(l.cfg.SubjectFile, len(firsts) > 0); err != nil {
		return err
	}
	if len(firsts) == 0 {
		firsts = []int64{0}
		if err := l.begin(); err != nil {
			return err
		}
	}
	if err := l.afterPrune(firsts); err != nil {
		return err
	}
	return l.resume(ctx, firsts[len(firsts)-1], keys)
}

// foundKey is a signing key on the disk. A crash at the end of an epoch leaves
// two: which of them is in force, the log says.
type foundKey struct {
	*keyFile
	pending bool // written, and not yet known to be announced
}

// findKeys reads the signing key, or makes one for a log that has not begun.
func (l *Log) findKeys(begun bool) ([]foundKey, error) {
	path := l.cfg.KeyFile
	var keys []foundKey
	k, err := readKey(path)
	switch {
	case err == nil && !begun:
		return nil, fmt.Errorf("%w: there is a key at %s but no segment in %s: the log was removed, or the key belongs to another", ErrTampered, path, l.cfg.Dir)
	case err == nil:
		keys = append(keys, foundKey{k, false})
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	next, err := readKey(path + nextSuffix)
	switch {
	case err == nil:
		keys = append(keys, foundKey{next, true})
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrKey) && (!begun || len(keys) > 0):
		// Not there; or a crash in the midst of writing it, when nothing had been signed with it.
	default:
		return nil, err
	}
	switch {
	case len(keys) > 0:
	case begun:
		return nil, fmt.Errorf("%w: there is a log in %s but no key at %s; restore the key, or begin a log elsewhere", ErrKey, l.cfg.Dir, path)
	default:
		origin := l.cfg.Origin
		if origin == "" {
			origin = "auditlog-" + strings.ToLower(rand.Text())
		}
		if k, err = newKey(origin); err != nil {
			return nil, err
		}
		if err := writeKey(path, k); err != nil {
			return nil, err
		}
		keys = append(keys, foundKey{k, true})
	}
	for _, k := range keys {
		if l.cfg.Origin != "" && l.cfg.Origin != k.Origin {
			return nil, fmt.Errorf("%w: the log in %s is named %s, not %s", ErrKey, l.cfg.Dir, k.Origin, l.cfg.Origin)
		}
	}
	return keys, nil
}

// settleKey puts the key in force with which the log goes on, and destroys the
// other.
func (l *Log) settleKey(e epoch, keys []foundKey) (err error) {
	for _, k := range keys {
		if k.Epoch != e.n || k.Key != e.key {
			continue
		}
		l.key = k.keyFile
		if l.signer, err = k.signer(); err != nil {
			return err
		}
		if k.pending {
			return promoteKey(l.cfg.KeyFile)
		}
		if err := os.Remove(l.cfg.KeyFile + nextSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return fmt.Errorf("%w: the log ends in epoch %d and the key is of epoch %d: newer records were removed, or the key is an old copy", ErrTampered, e.n, keys[0].Epoch)
}

// begin writes the first segment: a header, the genesis record, a checkpoint.
func (l *Log) begin() error {
	var t tree
	content := appendHeader(nil, l.key.Origin, &t, epoch{0, l.key.First})
	genesis := appendControl(nil, kindGenesis, time.Now(), control{Format: formatVersion, Origin: l.key.Origin, VKey: l.key.First})
	h := tlog.RecordHash(genesis)
	content = appendRecordLine(content, 0, h, genesis)
	t.add(h)
	signed, err := signCheckpoint(l.signer, l.key.Origin, &t, 0)
	if err != nil {
		return err
	}
	_, err = createSegment(l.cfg.Dir, 0, appendCheckpointLine(content, signed))
	return err
}

// resume reads the newest segment, and only that one, puts what no checkpoint
// covers into quarantine, and opens the segment for writing.
func (l *Log) resume(ctx context.Context, first int64, keys []foundKey) error {
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
	if err := l.settleKey(c.signed.epoch, keys); err != nil {
		return err
	}
	l.tree = c.signed.tree.clone()
	l.nextSeq = l.tree.size
	l.checkpoint = append(bytes.Clone(c.last), '\n')
	l.live = live{path: path, first: first, size: t.offset, records: l.tree.size - first, begun: c.begun}
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
	origin, t, e, err := parseHeader(header)
	if err != nil {
		return err
	}
	if origin != c.origin {
		return errors.New("the header is of another log")
	}
	if err := c.read.enter(e, c.origin); err != nil {
		return err
	}
	line, complete, err := in.next()
	if err != nil || !complete {
		return errors.New("the segment does not repeat a checkpoint")
	}
	cp, err := openCheckpointLine(line, c.read.verifier, c.origin)
	if err != nil {
		return err
	}
	if cp.size != t.size || cp.root != t.root() {
		return errors.New("the header does not fit its checkpoint")
	}
	c.read.tree = *t
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
	if err := durable.Create(filepath.Join(dir, name+pendingSuffix), content); err != nil {
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
		f, err := openRegular(path)
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
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
