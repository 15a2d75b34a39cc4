package tlsconfig

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/faults"
)

// KeySource derives the keys of session tickets. *secrets.Ring fulfils it.
//
// Derive returns one key of n bytes for each root key that is in force, the
// primary first; the rest only open what they once sealed. The same purpose
// and length give the same keys until Generation moves, and keys of different
// purposes are independent. Generation moves when a root key activates or
// retires; it must be cheap, because it is asked at every handshake. Both are
// safe for concurrent use.
type KeySource interface {
	Derive(purpose string, n int) [][]byte
	Generation() uint64
}

const (
	// purposeTicket and the instance's name make the purpose: instances that
	// trust different peers have different keys.
	purposeTicket = "tlsconfig/ticket/"

	// ticketEpoch is how long one key seals tickets. RFC 9325 section 3.4 and
	// 7.4 want ticket keys changed regularly, weekly at the very least: whoever
	// steals one opens what was sent under it.
	ticketEpoch = 12 * time.Hour

	// ticketEpochsBefore more epochs can still be opened, so that a ticket
	// works for 24 to 36 hours. crypto/tls alone would take it for 7 days.
	ticketEpochsBefore = 2

	ticketKeySize = 32
)

// tickets seals and opens session tickets. It works through the WrapSession and
// UnwrapSession hooks, because http.Server.ServeTLS clones a configuration and
// SetSessionTicketKeys on the original would not reach the clone. It is safe
// for concurrent use.
type tickets struct {
	keys    KeySource
	purpose string
	own     *processTicketKeys // when keys has none to give

	now    atomic.Pointer[ticketKeys]
	mu     sync.Mutex // serialises renewals
	failed atomic.Bool
}

// ticketKeys are those of one epoch of one generation. They are immutable.
type ticketKeys struct {
	epoch      int64
	generation uint64
	// holder seals with the first of its keys and opens with all, in the
	// format of crypto/tls. It serves no connection.
	holder *tls.Config
	// retry is when to ask a source again that had no keys to give; zero = it had.
	retry time.Time
}

func (k *ticketKeys) good(epoch int64, generation uint64, now time.Time) bool {
	return k != nil && k.epoch == epoch && k.generation == generation && (k.retry.IsZero() || now.Before(k.retry))
}

// newTickets checks the source; nil makes keys that no other process has.
func newTickets(f *faults.Collector, keys KeySource, name string) *tickets {
	own := newProcessTicketKeys()
	t := &tickets{keys: keys, purpose: purposeTicket + name, own: own}
	if keys == nil {
		t.keys = own
	} else if why := badKeys(keys.Derive(t.purpose, ticketKeySize)); why != "" {
		f.Secret("TicketKeys", why, "give a key ring with a key in force, or leave it nil")
		t.keys = own
	}
	return t
}

func badKeys(keys [][]byte) string {
	if len(keys) == 0 {
		return "derives no key"
	}
	for _, k := range keys {
		if len(k) != ticketKeySize {
			return fmt.Sprintf("derives keys of another length than the %d bytes asked for", ticketKeySize)
		}
		if bytes.Equal(k, make([]byte, ticketKeySize)) {
			return "derives a key of zeros"
		}
	}
	return ""
}

// current returns the keys of this moment.
func (t *tickets) current() (*ticketKeys, error) {
	now := time.Now()
	epoch, generation := now.Unix()/int64(ticketEpoch/time.Second), t.keys.Generation()
	if k := t.now.Load(); k.good(epoch, generation, now) {
		return k, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := t.now.Load(); k.good(epoch, generation, now) {
		return k, nil
	}
	roots := t.keys.Derive(t.purpose, ticketKeySize)
	bad := badKeys(roots) != ""
	t.failed.Store(bad)
	if bad {
		// Handshakes must not fail over tickets: until the source recovers,
		// only this process opens what it seals.
		roots = t.own.Derive(t.purpose, ticketKeySize)
	}
	// Every root key's current epoch comes before the epochs before it, and the
	// primary's first of all: it seals.
	var all [][ticketKeySize]byte
	for e := epoch; e >= epoch-ticketEpochsBefore; e-- {
		for _, root := range roots {
			key, err := hkdf.Key(sha256.New, root, nil, "epoch "+strconv.FormatInt(e, 10), ticketKeySize)
			if err != nil {
				return nil, err
			}
			all = append(all, [ticketKeySize]byte(key))
		}
	}
	k := &ticketKeys{epoch: epoch, generation: generation, holder: new(tls.Config)}
	if bad {
		k.retry = now.Add(retryEvery)
	}
	k.holder.SetSessionTicketKeys(all)
	t.now.Store(k)
	return k, nil
}

// into sets the hooks.
func (t *tickets) into(cfg *tls.Config) {
	cfg.WrapSession, cfg.UnwrapSession = t.wrap, t.unwrap
}

// hostMark begins the entry of SessionState.Extra that binds a ticket to the
// name that the client asked for. RFC 8446 section 4.6.1 leaves it to clients
// not to take a ticket to another name; this server does not rely on it.
const hostMark = "tlsconfig host "

// isHost reports whether an entry binds to that name. It does not allocate: it
// runs in every resumed handshake.
func isHost(extra []byte, name string) bool {
	return len(extra) == len(hostMark)+len(name) && string(extra[:len(hostMark)]) == hostMark && string(extra[len(hostMark):]) == name
}

func (t *tickets) wrap(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
	k, err := t.current()
	if err != nil {
		return nil, errTicket
	}
	ss.Extra = append(ss.Extra, []byte(hostMark+cs.ServerName))
	return k.holder.EncryptTicket(cs, ss)
}

var errTicket = errors.New("tlsconfig: no session ticket can be made")

// unwrap returns nil for whatever it cannot open: the handshake is then a full
// one.
func (t *tickets) unwrap(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	k, err := t.current()
	if err != nil {
		return nil, nil
	}
	ss, err := k.holder.DecryptTicket(identity, cs)
	if err != nil || ss == nil {
		return nil, nil
	}
	for i, extra := range ss.Extra {
		if isHost(extra, cs.ServerName) {
			ss.Extra = append(ss.Extra[:i:i], ss.Extra[i+1:]...) // wrap adds it anew
			return ss, nil
		}
	}
	return nil, nil
}

// finding: a nil t means that no tickets are sent. Keys of this process alone
// are no failure: another node then makes a full handshake, and nothing else is
// lost.
func (t *tickets) finding(component string) hardening.Finding {
	good := "no tickets"
	var bad []string
	switch {
	case t == nil:
	case t.failed.Load():
		bad = []string{"TicketKeys derives no key at the moment; keys of this process stand in"}
	case t.keys == KeySource(t.own):
		good = "keys of this process, each sealing for 12 h and opening for 24 h more"
	default:
		good = "keys of TicketKeys, each sealing for 12 h and opening for 24 h more"
	}
	return finding("HDN-TLS-033", component, "Keys of session tickets can be had, and are short-lived", hardening.Low, good, bad,
		"keys from TicketKeys or of this process, or no tickets", "see why the key ring has no key in force",
		hardening.Control{Framework: hardening.RFC, ID: "9325 7.4", Relation: hardening.Implements},
		hardening.Control{Framework: hardening.ISO27002, ID: "8.24", Relation: hardening.Supports})
}

// processTicketKeys are keys that nobody else has and that end with the
// process.
type processTicketKeys struct{ root [sha256.Size]byte }

func newProcessTicketKeys() *processTicketKeys {
	k := new(processTicketKeys)
	_, _ = rand.Read(k.root[:]) // never fails (Go 1.24)
	return k
}

func (k *processTicketKeys) Generation() uint64 { return 0 }

func (k *processTicketKeys) Derive(purpose string, n int) [][]byte {
	h := hmac.New(sha256.New, k.root[:])
	h.Write([]byte(purpose))
	return [][]byte{h.Sum(nil)[:n]}
}
