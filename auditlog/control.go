package auditlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
)

// Kinds of records. Only kindEvent comes from outside; the rest is how the log
// keeps account of itself.
const (
	kindEvent     = "event"
	kindGenesis   = "genesis"   // first record: origin and first public key
	kindOpen      = "open"      // a process began to write
	kindClose     = "close"     // it stopped on purpose
	kindRecovered = "recovered" // an unsigned tail was moved to quarantine
	kindEpoch     = "epoch"     // the key of the next epoch
	kindLost      = "lost"      // events were dropped under load (BestEffort)
	kindStopped   = "stopped"   // the disk is full; what could not be written is counted
	kindPrune     = "prune"     // segments below a size are removed after this record

	// Reserved for what is to come: erase, hold, config. A verifier that meets
	// a kind it does not know says "unverifiable" rather than "ok".
)

// head reads the kind and time of a record without decoding the rest.
func head(record []byte) (kind string, at time.Time, err error) {
	rest, ok := bytes.CutPrefix(record, []byte(envelope))
	k, rest, ok2 := bytes.Cut(rest, []byte(`","t":"`))
	t, _, ok3 := bytes.Cut(rest, []byte{'"'})
	if !ok || !ok2 || !ok3 || len(k) > 32 {
		return "", at, errors.New("the record has no envelope of version 1")
	}
	if at, err = time.Parse(time.RFC3339Nano, string(t)); err != nil {
		return "", at, errors.New("the record has no time") // the parser's words quote it
	}
	return string(k), at, nil
}

// control is the body of every kind but kindEvent.
type control struct {
	Format     int    `json:"format,omitempty"`     // genesis
	Origin     string `json:"origin,omitempty"`     // genesis
	VKey       string `json:"vkey,omitempty"`       // genesis: the first public key; epoch: the next
	Epoch      int64  `json:"epoch,omitempty"`      // epoch: number of the next
	Link       string `json:"link,omitempty"`       // epoch: the next key under the old one's signature
	Lost       int64  `json:"lost,omitempty"`       // lost, stopped: how many
	From       string `json:"from,omitempty"`       // lost: time of the first
	To         string `json:"to,omitempty"`         // lost: time of the last
	Reason     string `json:"reason,omitempty"`     // stopped
	Upto       int64  `json:"upto,omitempty"`       // prune: records below this are removed
	Retention  string `json:"retention,omitempty"`  // open
	Bytes      int64  `json:"bytes,omitempty"`      // recovered
	Records    int    `json:"records,omitempty"`    // recovered
	Quarantine string `json:"quarantine,omitempty"` // recovered: file name
	SHA256     string `json:"sha256,omitempty"`     // recovered: of the file
}

func appendControl(b []byte, kind string, at time.Time, c control) []byte {
	b = appendEnvelope(b, kind, at)
	body, err := json.Marshal(c)
	if err != nil || len(body) <= len("{}") { // plain strings and numbers always marshal
		return append(b, '}')
	}
	b = append(b, ',')
	return append(b, body[1:]...)
}

func parseControl(record []byte) (c control, err error) {
	return c, json.Unmarshal(record, &c)
}
