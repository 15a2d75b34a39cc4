package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/inovy/hardening/internal/durable"
)

// When old segments are removed, a file takes their place that proves where the
// rest begins, for whoever has nothing but the first key:
//
//	P hardening-auditlog/1 <origin> <seq of the first record> <frontier> <epoch> <key>
//	C <signed checkpoint over what was removed>
//	K <epoch> <link>
//
// with a K line for every epoch up to that one: its key under the signature of
// the key before.
const prunedName = "pruned"

// PruneReport says what [Log.Prune] removed.
type PruneReport struct {
	Segments int   // files removed
	Records  int64 // records in them
	Upto     int64 // records below this are gone, now or earlier
	Bytes    int64 // of the files removed
}

// Prune removes the segments all of whose records are older than
// Config.Retention, oldest first, and never the one that is being written. Each
// is verified before. A record says what will be removed, then a file takes its
// place that keeps the rest verifiable, and only then is anything removed; what
// a crash leaves in between, the next Open removes. It returns [ErrTampered] if
// an old segment does not verify: keep that and find out why.
//
// The keys of subjects of whom no record is left are not removed with it.
func (l *Log) Prune(ctx context.Context) (r PruneReport, err error) {
	l.pruning.Lock()
	defer l.pruning.Unlock()
	l.mu.Lock()
	live := l.extent.first
	l.mu.Unlock()
	c, start, err := startChain(l.cfg.Dir, l.first)
	if err != nil {
		return r, err
	}
	if start.flaw != nil {
		return r, fmt.Errorf("%w: %s: %s", ErrTampered, start.flaw.file, start.flaw.reason)
	}
	var links, settled []byte
	c.onLink = func(e epoch, link string) { links = appendLink(links, e.n, link) }
	r.Upto = start.size
	firsts, err := segments(l.cfg.Dir)
	if err != nil {
		return r, err
	}
	var old []int64
	var end chain
	for i, first := range firsts {
		if first < start.size {
			continue
		}
		if first >= live || i+1 == len(firsts) {
			break
		}
		_, f, err := c.file(ctx, l.cfg.Dir, first, false)
		if err != nil {
			return r, err
		}
		if f != nil {
			return r, fmt.Errorf("%w: %s line %d: %s; nothing was pruned", ErrTampered, f.file, f.line, f.reason)
		}
		if time.Since(c.signed.latest) <= l.cfg.Retention {
			break
		}
		old, r.Upto = append(old, first), firsts[i+1]
		end, settled = *c, links
		end.signed = c.signed.clone()
	}
	if len(old) == 0 {
		return r, nil
	}
	if _, err := l.control(ctx, kindPrune, control{Upto: r.Upto}); err != nil {
		return r, err
	}
	if err := end.writePruned(l.cfg.Dir, settled); err != nil {
		return r, err
	}
	for _, first := range old {
		path := filepath.Join(l.cfg.Dir, segmentName(first))
		if info, err := os.Stat(path); err == nil {
			r.Bytes += info.Size()
		}
		if err := os.Remove(path); err != nil {
			return r, err
		}
		r.Segments++
	}
	r.Records = r.Upto - old[0]
	return r, durable.SyncDir(l.cfg.Dir)
}

func appendLink(b []byte, n int64, link string) []byte {
	b = append(b, "K "...)
	b = strconv.AppendInt(b, n, 10)
	b = append(b, ' ')
	b = append(b, link...)
	return append(b, '\n')
}

// writePruned puts what c has read in place of its segments, with the links
// that are new since the last time.
func (c *chain) writePruned(dir string, links []byte) error {
	path := filepath.Join(dir, prunedName)
	header := appendHeader(nil, c.origin, &c.signed.tree, c.signed.epoch)
	header[0] = 'P'
	header = append(append(header, c.last...), '\n')
	before, err := openRegular(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.ReplaceWith(path, 0o600, func(w io.Writer) error {
		if _, err := w.Write(header); err != nil {
			return err
		}
		if before != nil { // its links, which may be of many years
			defer before.Close()
			in := newLines(before)
			for range 2 {
				if _, _, err := in.next(); err != nil {
					return err
				}
			}
			if _, err := io.Copy(w, in.r); err != nil {
				return err
			}
		}
		_, err := w.Write(links)
		return err
	})
}

// beginning is where the segments of a log begin.
type beginning struct {
	size int64 // records before it that were pruned
	flaw *flaw
}

// startChain returns the chain at the first record that is still there.
func startChain(dir, key string) (*chain, beginning, error) {
	c, err := newChain(key)
	if err != nil {
		return nil, beginning{}, err
	}
	start, err := c.start(dir)
	return c, start, err
}

// start moves an empty chain to the first record that is still there.
func (c *chain) start(dir string) (beginning, error) {
	f, err := openRegular(filepath.Join(dir, prunedName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return beginning{}, nil
	case errors.Is(err, errIrregular):
		return beginning{flaw: &flaw{StatusTampered, prunedName, 0, -1, errIrregular.Error()}}, nil
	case err != nil:
		return beginning{}, err
	}
	defer f.Close()
	line, status, reason, err := c.readPruned(f)
	if err != nil {
		return beginning{}, err
	}
	if reason != "" {
		return beginning{flaw: &flaw{status, prunedName, line, -1, reason}}, nil
	}
	return beginning{size: c.signed.tree.size}, nil
}

// prunedUpto returns where the log says that it begins, unverified: whoever
// reads a log while it is pruned sees by it that it was.
func prunedUpto(dir string) int64 {
	f, err := openRegular(filepath.Join(dir, prunedName))
	if err != nil {
		return 0
	}
	defer f.Close()
	header, complete, err := newLines(f).next()
	if err != nil || !complete || len(header) == 0 {
		return 0
	}
	_, t, _, err := parseHeader(slices.Concat([]byte{'H'}, header[1:]))
	if err != nil {
		return 0
	}
	return t.size
}

// readPruned follows the links from the first key to the one under which the
// remaining segments begin.
func (c *chain) readPruned(r io.Reader) (line int, status Status, reason string, err error) {
	in := newLines(r)
	next := func() ([]byte, error) {
		text, complete, err := in.next()
		if err == nil && !complete || errors.Is(err, errLongLine) {
			return nil, nil
		}
		return bytes.Clone(text), err
	}
	bad := func(reason string) (int, Status, string, error) { return in.line, StatusTampered, reason, nil }
	header, err := next()
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, "", "", err
	}
	if len(header) == 0 || header[0] != 'P' {
		return bad("the file does not say where the log begins")
	}
	header[0] = 'H'
	if n := formatOf(header); n > formatVersion {
		return 1, StatusUnverifiable, fmt.Sprintf("the file is of format %d, and this version reads format %d: verify with a newer one", n, formatVersion), nil
	}
	origin, tree, last, perr := parseHeader(header)
	if perr != nil {
		return bad(perr.Error())
	}
	if origin != c.origin {
		return in.line, StatusUnverifiable, "the log was begun with another key: either this is not its key, or this is not the log", nil
	}
	cpLine, err := next()
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, "", "", err
	}
	for {
		text, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, "", "", err
		}
		e, link, ok := parseLink(text)
		if !ok || e.n != c.read.epoch.n+1 {
			return bad("the chain of keys is broken")
		}
		if c.trusting {
			c.read.epoch = e
			continue
		}
		if err := openLink(link, c.read.verifier, e); err != nil {
			return bad(err.Error())
		}
		if err := c.read.enter(e, c.origin); err != nil {
			return bad(err.Error())
		}
	}
	if c.read.epoch != last {
		return bad("the chain of keys does not lead to the key under which the log goes on")
	}
	if err := c.read.enter(last, c.origin); err != nil {
		return bad(err.Error())
	}
	cp, perr := openCheckpointLine(cpLine, c.read.verifier, c.origin)
	if perr != nil {
		return 2, StatusTampered, perr.Error(), nil
	}
	if cp.size != tree.size || cp.root != tree.root() {
		return 2, StatusTampered, "the checkpoint is not over what was pruned", nil
	}
	c.read.tree = *tree
	c.signed = c.read.clone()
	c.last = cpLine
	c.signer, c.startSize = last, tree.size
	return 0, "", "", nil
}

// parseLink reads a K line. The next key is in the link's own text.
func parseLink(line []byte) (e epoch, link string, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("K "))
	if !ok {
		return e, "", false
	}
	number, text, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return e, "", false
	}
	n, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != string(number) {
		return e, "", false
	}
	e.n = n
	e.key, ok = linkedKey(string(text))
	return e, string(text), ok
}

// afterPrune removes what a crash in the midst of a prune left, and holds the
// segments against where the log begins. The signatures of years of epochs are
// for Verify: they would keep a service from starting for half a minute.
func (l *Log) afterPrune(firsts []int64) error {
	c, err := newChain(l.key.First)
	if err != nil {
		return err
	}
	c.trusting = true
	start, err := c.start(l.cfg.Dir)
	if err != nil {
		return err
	}
	if start.flaw != nil {
		return fmt.Errorf("%w: %s line %d: %s", ErrTampered, start.flaw.file, start.flaw.line, start.flaw.reason)
	}
	for len(firsts) > 0 && firsts[0] < start.size {
		if err := os.Remove(filepath.Join(l.cfg.Dir, segmentName(firsts[0]))); err != nil {
			return err
		}
		firsts = firsts[1:]
	}
	if len(firsts) == 0 || firsts[0] != start.size {
		return fmt.Errorf("%w: the segments from record %d on are gone", ErrTampered, start.size)
	}
	return nil
}
