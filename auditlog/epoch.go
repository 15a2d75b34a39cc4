package auditlog

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Forward security: each epoch has a key of its own, which is destroyed when
// the epoch ends. Whoever takes the machine gets the key of this epoch, and can
// not sign for the time before it.

// idleFactor is how much longer an epoch lasts in which nothing happened, so
// that a quiet log is still seen to live and does not fill with its own records.
const idleFactor = 15

// linkText is what the key of an epoch signs about the next.
func linkText(origin string, next epoch) string {
	return "hardening-auditlog epoch\n" + origin + "\n" + strconv.FormatInt(next.n, 10) + "\n" + next.key + "\n"
}

// signLink names the next epoch's key under the signature of this one's. It
// stands in the record of the epoch's end, and outlives the segments that are
// pruned.
func signLink(signer note.Signer, origin string, next epoch) (string, error) {
	signed, err := note.Sign(&note.Note{Text: linkText(origin, next)}, signer)
	return base64.StdEncoding.EncodeToString(signed), err
}

func openLink(link string, v note.Verifier, next epoch) error {
	signed, err := base64.StdEncoding.Strict().DecodeString(link)
	if err != nil || base64.StdEncoding.EncodeToString(signed) != link {
		return errors.New("the link to the next epoch is not in canonical base64")
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil || len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 || n.Text != linkText(v.Name(), next) {
		return errors.New("the next epoch's key is not signed by this one's")
	}
	return nil
}

// succession is an epoch's end that is on its way to the disk.
type succession struct {
	key    *keyFile
	signer note.Signer
}

// sealLocked adds the record that ends the epoch, if its time has come, as the
// last of the batch, and returns the successor.
func (l *Log) sealLocked(now time.Time) (*succession, error) {
	if now.Before(l.epochEnd) {
		return nil, nil
	}
	secret, public, err := note.GenerateKey(nil, l.key.Origin)
	if err != nil {
		return nil, err
	}
	next := epoch{l.key.Epoch + 1, public}
	s := &succession{key: &keyFile{V: keyVersion, Origin: l.key.Origin, First: l.key.First, Epoch: next.n, Key: public, Secret: secret}}
	if s.signer, err = note.NewSigner(secret); err != nil {
		return nil, err
	}
	link, err := signLink(l.signer, l.key.Origin, next)
	if err != nil {
		return nil, err
	}
	l.addLocked(appendControl(nil, kindEpoch, now, control{Epoch: next.n, VKey: public, Link: link}))
	return s, nil
}

// lengthen sets when the epoch ends, given that it began at now.
func (l *Log) lengthen(now time.Time, busy bool) {
	d := l.cfg.Epoch
	if !busy {
		d *= idleFactor
	}
	l.epochEnd = now.Add(d)
}

// linkedKey returns the key that a link names, unverified.
func linkedKey(link string) (key string, ok bool) {
	signed, err := base64.StdEncoding.Strict().DecodeString(link)
	if err != nil {
		return "", false
	}
	lines := strings.SplitN(string(signed), "\n", 5)
	if len(lines) < 5 {
		return "", false
	}
	return lines[3], true
}
