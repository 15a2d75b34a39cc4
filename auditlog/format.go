package auditlog

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// A log is a directory of segments, text files of which only the newest is
// written, and only at its end. Each line is one of
//
//	H hardening-auditlog/1 <origin> <seq of the first record> <frontier> <epoch> <key>
//	R <seq> <leaf hash> <record>
//	C <signed checkpoint>
//
// H is the first line of every segment. The frontier is "-" in the first one;
// in a later one it is the roots of the complete subtrees so far, joined by
// commas, and the line after it repeats the last C of the segment before: so a
// segment can be opened, and kept, without those before it. Epoch and key are
// those under which the segment begins.
//
// R holds the leaf hash so that a changed line is found exactly. C is the
// base64 of a C2SP signed note over a tlog checkpoint: origin, tree size, root,
// and as extension line the size of the checkpoint before, so that none can be
// left out. Records and the checkpoint that covers them go to the file in one
// write and are synced before anyone is told that they are recorded.
//
// An epoch ends with a record of kind epoch that names the next public key. It
// is the last before its checkpoint, which is the last that the old key signs.
//
// All base64 is standard, padded, and compared with its own re-encoding: a
// decoder that is generous about trailing bits would not see every flipped bit.
const (
	formatVersion = 1
	magic         = "hardening-auditlog/"
	hashText      = 44 // bytes of a hash in base64

	// maxLine bounds what a reader holds: the largest event is about 80 KiB.
	maxLine = 256 << 10
)

func segmentName(first int64) string { return fmt.Sprintf("seg-%020d.alog", first) }

// parseSegmentName is the inverse of segmentName.
func parseSegmentName(name string) (first int64, ok bool) {
	digits, ok1 := strings.CutPrefix(name, "seg-")
	digits, ok2 := strings.CutSuffix(digits, ".alog")
	first, err := strconv.ParseInt(digits, 10, 64)
	return first, ok1 && ok2 && err == nil && segmentName(first) == name
}

// epoch is the stretch of a log that one key signs.
type epoch struct {
	n   int64
	key string // verifier key, as x/mod's note writes it
}

// appendHeader writes the H line of a segment that starts after the records in t.
func appendHeader(b []byte, origin string, t *tree, e epoch) []byte {
	b = append(b, "H "+magic...)
	b = strconv.AppendInt(b, formatVersion, 10)
	b = append(b, ' ')
	b = append(b, origin...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, t.size, 10)
	b = append(b, ' ')
	b = appendFrontier(b, t)
	b = append(b, ' ')
	b = strconv.AppendInt(b, e.n, 10)
	b = append(b, ' ')
	b = append(b, e.key...)
	return append(b, '\n')
}

func appendFrontier(b []byte, t *tree) []byte {
	if t.size == 0 {
		return append(b, '-')
	}
	for i, h := range t.roots {
		if i > 0 {
			b = append(b, ',')
		}
		b = base64.StdEncoding.AppendEncode(b, h[:])
	}
	return b
}

// parseHeader reads an H line without its newline. The result says exactly what
// the line says: appendHeader of it gives the same bytes.
func parseHeader(line []byte) (origin string, t *tree, e epoch, err error) {
	fields := bytes.Split(line, []byte{' '})
	if len(fields) != 7 || string(fields[0]) != "H" || string(fields[1]) != magic+strconv.Itoa(formatVersion) {
		return "", nil, e, fmt.Errorf("the first line is not the header of a segment of format %d", formatVersion)
	}
	origin = string(fields[2])
	if t, err = parseFrontier(fields[3], fields[4]); err != nil {
		return "", nil, e, err
	}
	e.key = string(fields[6])
	e.n, err = strconv.ParseInt(string(fields[5]), 10, 64)
	if err != nil || !bytes.Equal(appendHeader(nil, origin, t, e), append(slices.Clone(line), '\n')) {
		return "", nil, e, fmt.Errorf("the header is malformed")
	}
	return origin, t, e, nil
}

// formatOf returns the version that the first line of a file names, or 0.
func formatOf(header []byte) int {
	rest, ok := bytes.CutPrefix(header, []byte("H "+magic))
	number, _, ok2 := bytes.Cut(rest, []byte{' '})
	n, err := strconv.Atoi(string(number))
	if !ok || !ok2 || err != nil || strconv.Itoa(n) != string(number) {
		return 0
	}
	return n
}

// parseFrontier reads the size of a tree and the roots of its complete subtrees.
func parseFrontier(size, roots []byte) (t *tree, err error) {
	t = &tree{}
	if t.size, err = strconv.ParseInt(string(size), 10, 64); err == nil && t.size > 0 {
		for part := range bytes.SplitSeq(roots, []byte{','}) {
			h, ok := parseHash(part)
			if !ok {
				return nil, fmt.Errorf("the frontier holds a malformed hash")
			}
			t.roots = append(t.roots, h)
		}
	}
	if err != nil || !t.wellFormed() || !bytes.Equal(appendFrontier(nil, t), roots) {
		return nil, fmt.Errorf("the frontier is malformed")
	}
	return t, nil
}

func parseHash(text []byte) (h tlog.Hash, ok bool) {
	var buf [33]byte // DecodedLen of 44
	if len(text) != hashText {
		return h, false
	}
	n, err := base64.StdEncoding.Strict().Decode(buf[:], text)
	if err != nil || n != len(h) {
		return h, false
	}
	copy(h[:], buf[:])
	return h, bytes.Equal(base64.StdEncoding.AppendEncode(nil, h[:]), text)
}

func appendRecordLine(b []byte, seq int64, h tlog.Hash, record []byte) []byte {
	b = append(b, 'R', ' ')
	b = strconv.AppendInt(b, seq, 10)
	b = append(b, ' ')
	b = base64.StdEncoding.AppendEncode(b, h[:])
	b = append(b, ' ')
	b = append(b, record...)
	return append(b, '\n')
}

// parseRecordLine reads an R line without its newline, which must be the
// record numbered seq and hash to what the line says.
func parseRecordLine(line []byte, seq int64) (record []byte, h tlog.Hash, err error) {
	rest, ok := bytes.CutPrefix(line, []byte("R "))
	if !ok {
		return nil, h, fmt.Errorf("the line is neither a record nor a checkpoint")
	}
	var buf [20]byte
	rest, ok = bytes.CutPrefix(rest, append(strconv.AppendInt(buf[:0], seq, 10), ' '))
	if !ok {
		return nil, h, fmt.Errorf("the line is not record %d, which should stand here", seq)
	}
	if len(rest) < hashText+1 || rest[hashText] != ' ' {
		return nil, h, fmt.Errorf("record %d has no leaf hash", seq)
	}
	record = rest[hashText+1:]
	h = tlog.RecordHash(record)
	var want [hashText]byte
	base64.StdEncoding.Encode(want[:], h[:])
	if !bytes.Equal(want[:], rest[:hashText]) {
		return nil, h, fmt.Errorf("record %d does not have the hash that its line gives", seq)
	}
	return record, h, nil
}
