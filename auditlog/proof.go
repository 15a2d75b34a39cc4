package auditlog

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const proofMagic = "c2sp.org/tlog-proof@v1"

// Proof shows that one record is in a log, without showing any other.
type Proof struct {
	// Text is the proof in the form of C2SP tlog-proof.
	Text []byte
	// Record is the record as it stands in the log. It may hold what is sealed
	// for the data subject.
	Record []byte
	// Key is the verifier key of the epoch whose checkpoint is in the proof, as
	// [Verify] derived it from the first key.
	Key string
}

// Prove returns the proof for the record numbered seq, under the newest
// checkpoint. It reads, and verifies, the whole log: about a second for each
// million records.
func (l *Log) Prove(ctx context.Context, seq int64) (*Proof, error) {
	return Prove(ctx, l.cfg.Dir, l.first, seq)
}

// Prove is [Log.Prove] for a log in dir, which may be open elsewhere. It needs
// the verifier key only. It returns [ErrTampered] if the log does not verify,
// [ErrKey] if it can not be verified with this key, and [ErrNoRecord] for a
// number that no record has.
func Prove(ctx context.Context, dir, key string, seq int64) (*Proof, error) {
	for {
		begins := prunedUpto(dir)
		proof, err := prove(ctx, dir, key, seq)
		if err == nil || ctx.Err() != nil || prunedUpto(dir) == begins {
			return proof, err
		}
	}
}

// prove reads the log twice: to verify it, and for the hashes.
func prove(ctx context.Context, dir, key string, seq int64) (*Proof, error) {
	c, report, err := verifyChain(ctx, dir, key, VerifyOptions{})
	if err != nil {
		return nil, err
	}
	switch report.Status {
	case StatusOK, StatusTornTail:
	case StatusUnverifiable:
		return nil, fmt.Errorf("%w: %s", ErrKey, report.Reason)
	default:
		return nil, fmt.Errorf("%w: %v", ErrTampered, report)
	}
	if seq < report.Pruned || seq >= report.Size {
		return nil, fmt.Errorf("%w: %d; the log has records %d to %d", ErrNoRecord, seq, report.Pruned, report.Size-1)
	}
	p := prover{seq: seq}
	p.plan(0, report.Size)
	if err := p.read(ctx, dir, key, report.Size); err != nil {
		return nil, err
	}
	cp, err := decodeCheckpointLine(c.last)
	if err != nil {
		return nil, err
	}
	proof := &Proof{Record: p.record, Key: c.signer.key}
	b := []byte(proofMagic + "\nindex " + strconv.FormatInt(seq, 10) + "\n")
	for i := range p.ranges {
		h := p.ranges[i].tree.root()
		b = append(base64.StdEncoding.AppendEncode(b, h[:]), '\n')
	}
	proof.Text = append(append(b, '\n'), cp...)
	return proof, proof.Check()
}

// Check verifies the proof: that the log which Key belongs to contained Record,
// at the place that Text gives, when it signed the checkpoint. It returns
// [ErrKey] if Key is malformed or did not sign the checkpoint, [ErrTampered] if
// the record is another, and a plain error if Text is no proof. It needs
// nothing but the three fields, and is safe for concurrent use.
func (p *Proof) Check() error {
	v, err := note.NewVerifier(p.Key)
	if err != nil {
		return fmt.Errorf("%w: the verifier key is malformed", ErrKey)
	}
	head, signed, ok := bytes.Cut(p.Text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) < 2 || lines[0] != proofMagic {
		return errors.New("auditlog: this is no proof in the form of " + proofMagic)
	}
	number, ok := strings.CutPrefix(lines[1], "index ")
	seq, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || seq < 0 || strconv.FormatInt(seq, 10) != number {
		return errors.New("auditlog: the proof has no index")
	}
	var hashes tlog.RecordProof
	for _, l := range lines[2:] {
		h, ok := parseHash([]byte(l))
		if !ok {
			return errors.New("auditlog: the proof holds a malformed hash")
		}
		hashes = append(hashes, h)
	}
	cp := checkpoint{note: signed}
	err = cp.open(v, v.Name())
	if errors.Is(err, errForeignKey) {
		return fmt.Errorf("%w: the proof's checkpoint is not signed by it; the key is that of the checkpoint's epoch, not the one with which the log began", ErrKey)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTampered, err)
	}
	if seq >= cp.size {
		return fmt.Errorf("%w: the checkpoint is over %d records", ErrTampered, cp.size)
	}
	if err := tlog.CheckRecord(hashes, cp.size, cp.root, seq, tlog.RecordHash(p.Record)); err != nil {
		return fmt.Errorf("%w: the record is not in the tree that was signed", ErrTampered)
	}
	return nil
}

// prover computes the hashes of an inclusion proof in one reading: each is the
// root of a range of leaves, and the ranges do not overlap.
type prover struct {
	seq    int64
	ranges []provedRange
	record []byte
}

type provedRange struct {
	from, to int64
	tree     tree
}

// plan is PATH(m, D[n]) of RFC 6962 section 2.1.1, innermost first.
func (p *prover) plan(from, to int64) {
	if to-from == 1 {
		return
	}
	k := int64(1)
	for k*2 < to-from {
		k *= 2
	}
	if p.seq < from+k {
		p.plan(from, from+k)
		p.ranges = append(p.ranges, provedRange{from: from + k, to: to})
	} else {
		p.plan(from+k, to)
		p.ranges = append(p.ranges, provedRange{from: from, to: from + k})
	}
}

func (p *prover) leaf(seq int64, h tlog.Hash) {
	for i := range p.ranges {
		if r := &p.ranges[i]; seq >= r.from && seq < r.to {
			r.tree.add(h)
			return
		}
	}
}

// pruned takes the roots of what is no longer there from the frontier. A range
// is never inside one of its subtrees, because the record is not.
func (p *prover) pruned(t *tree) {
	at := int64(0)
	for i, root := range t.roots {
		size := subtreeSize(t.size, i)
		for j := range p.ranges {
			if r := &p.ranges[j]; at >= r.from && at < r.to {
				r.tree.roots, r.tree.size = append(r.tree.roots, root), r.tree.size+size
			}
		}
		at += size
	}
}

// subtreeSize is how many leaves the i-th complete subtree of a tree has.
func subtreeSize(size int64, i int) int64 {
	for bit := int64(1) << 62; ; bit >>= 1 {
		if size&bit != 0 {
			if i == 0 {
				return bit
			}
			i--
		}
	}
}

// read feeds the leaves below size to the ranges.
func (p *prover) read(ctx context.Context, dir, key string, size int64) error {
	c, start, err := startChain(dir, key)
	if err != nil {
		return err
	}
	p.pruned(&c.signed.tree)
	firsts, err := segments(dir)
	if err != nil {
		return err
	}
	for _, first := range firsts {
		if first < start.size || first >= size {
			continue
		}
		if err := p.segment(ctx, filepath.Join(dir, segmentName(first)), first, size); err != nil {
			return err
		}
	}
	return nil
}

func (p *prover) segment(ctx context.Context, path string, seq, size int64) error {
	f, err := openRegular(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for in := newLines(f); seq < size; {
		line, complete, err := in.next()
		if err != nil || !complete {
			return nil // the end; what is missing shows in the root
		}
		if len(line) == 0 || line[0] != 'R' {
			continue
		}
		if seq&1023 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		record, h, err := parseRecordLine(line, seq)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrTampered, err)
		}
		if seq == p.seq {
			p.record = bytes.Clone(record)
		}
		p.leaf(seq, h)
		seq++
	}
	return nil
}
