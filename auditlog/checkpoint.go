package auditlog

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// checkpointText is what is signed: a tlog checkpoint (C2SP tlog-checkpoint)
// with one extension line, which chains it to the checkpoint before.
func checkpointText(origin string, size int64, root tlog.Hash, after int64) string {
	return origin + "\n" + strconv.FormatInt(size, 10) + "\n" + root.String() + "\n" + afterPrefix + strconv.FormatInt(after, 10) + "\n"
}

const afterPrefix = "after "

// signCheckpoint returns the signed note over t, which follows a checkpoint
// over after records.
func signCheckpoint(signer note.Signer, origin string, t *tree, after int64) ([]byte, error) {
	return note.Sign(&note.Note{Text: checkpointText(origin, t.size, t.root(), after)}, signer)
}

func appendCheckpointLine(b, signed []byte) []byte {
	b = append(b, 'C', ' ')
	b = base64.StdEncoding.AppendEncode(b, signed)
	return append(b, '\n')
}

var errForeignKey = errors.New("the checkpoint is signed by a key that is not known here")

// checkpoint is what a C line says.
type checkpoint struct {
	size, after int64
	root        tlog.Hash
	note        []byte // the signed note itself
}

// openCheckpointLine reads a C line without its newline. Every bit of the line
// matters: both layers of base64 are encoded again and compared.
func openCheckpointLine(line []byte, v note.Verifier, origin string) (c checkpoint, err error) {
	if c.note, err = decodeCheckpointLine(line); err != nil {
		return c, err
	}
	return c, c.open(v, origin)
}

// decodeCheckpointLine returns the signed note of a C line.
func decodeCheckpointLine(line []byte) ([]byte, error) {
	text, ok := bytes.CutPrefix(line, []byte("C "))
	if !ok {
		return nil, errors.New("the line is not a checkpoint")
	}
	note, err := base64.StdEncoding.Strict().AppendDecode(nil, text)
	if err != nil || !bytes.Equal(base64.StdEncoding.AppendEncode(nil, note), text) {
		return nil, errors.New("the checkpoint is not in canonical base64")
	}
	return note, nil
}

// open verifies c.note and fills in what it says.
func (c *checkpoint) open(v note.Verifier, origin string) error {
	n, err := note.Open(c.note, note.VerifierList(v))
	if unverified := (*note.UnverifiedNoteError)(nil); errors.As(err, &unverified) {
		return errForeignKey
	}
	if err != nil {
		return fmt.Errorf("the checkpoint does not verify: %w", err)
	}
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		return errors.New("the checkpoint has not exactly one signature")
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(n.Sigs[0].Base64)
	again := n.Text + "\n— " + v.Name() + " " + base64.StdEncoding.EncodeToString(sig) + "\n"
	if err != nil || again != string(c.note) {
		return errors.New("the signature is not in canonical base64")
	}
	return c.parse(n.Text, origin)
}

// parse reads the text of a checkpoint of this log.
func (c *checkpoint) parse(text, origin string) (err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 5 || lines[0] != origin {
		return errors.New("the checkpoint is not of this log")
	}
	var ok bool
	c.root, ok = parseHash([]byte(lines[2]))
	c.size, err = strconv.ParseInt(lines[1], 10, 64)
	if err == nil {
		c.after, err = strconv.ParseInt(strings.TrimPrefix(lines[3], afterPrefix), 10, 64)
	}
	if err != nil || !ok || checkpointText(origin, c.size, c.root, c.after) != text {
		return errors.New("the checkpoint is malformed")
	}
	return nil
}
