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
// without extension lines.
func checkpointText(origin string, size int64, root tlog.Hash) string {
	return origin + "\n" + strconv.FormatInt(size, 10) + "\n" + root.String() + "\n"
}

// signCheckpoint returns the signed note over t.
func signCheckpoint(signer note.Signer, origin string, t *tree) ([]byte, error) {
	return note.Sign(&note.Note{Text: checkpointText(origin, t.size, t.root())}, signer)
}

func appendCheckpointLine(b, signed []byte) []byte {
	b = append(b, 'C', ' ')
	b = base64.StdEncoding.AppendEncode(b, signed)
	return append(b, '\n')
}

var errForeignKey = errors.New("the checkpoint is signed by a key that is not known here")

// openCheckpointLine reads a C line without its newline and returns the signed
// size and root. Every bit of the line matters: both layers of base64 are
// encoded again and compared.
func openCheckpointLine(line []byte, v note.Verifier, origin string) (size int64, root tlog.Hash, err error) {
	text, ok := bytes.CutPrefix(line, []byte("C "))
	if !ok {
		return 0, root, errors.New("the line is not a checkpoint")
	}
	signed, err := base64.StdEncoding.Strict().AppendDecode(nil, text)
	if err != nil || !bytes.Equal(base64.StdEncoding.AppendEncode(nil, signed), text) {
		return 0, root, errors.New("the checkpoint is not in canonical base64")
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if unverified := (*note.UnverifiedNoteError)(nil); errors.As(err, &unverified) {
		return 0, root, errForeignKey
	}
	if err != nil {
		return 0, root, fmt.Errorf("the checkpoint does not verify: %w", err)
	}
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		return 0, root, errors.New("the checkpoint has not exactly one signature")
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(n.Sigs[0].Base64)
	again := n.Text + "\n— " + v.Name() + " " + base64.StdEncoding.EncodeToString(sig) + "\n"
	if err != nil || again != string(signed) {
		return 0, root, errors.New("the signature is not in canonical base64")
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != origin {
		return 0, root, errors.New("the checkpoint is not of this log")
	}
	size, err = strconv.ParseInt(lines[1], 10, 64)
	root, ok = parseHash([]byte(lines[2]))
	if err != nil || !ok || checkpointText(origin, size, root) != n.Text {
		return 0, root, errors.New("the checkpoint is malformed")
	}
	return size, root, nil
}
