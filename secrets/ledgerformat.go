package secrets

import (
	"bytes"
	"cmp"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// book is what a ledger remembers: for every value that was seen under a name,
// when it was seen first, and when it was made by what was said about it. A
// value is a keyed fingerprint of 8 bytes, which tells nothing to whoever does
// not have the key.
//
// As text, a line each: "1 secrets-ledger", the version and a check of the key;
// the entries, sorted; a MAC of all that, so that a torn, edited or exchanged
// ledger is recognised.
type book struct {
	printKey, macKey []byte
	entries          []entryOfBook
	changed          bool
}

type entryOfBook struct {
	name    string
	print   [8]byte
	first   time.Time // whole seconds, UTC
	last    time.Time // whole days, UTC
	created time.Time // the oldest date that was credibly stated; may be zero
}

const (
	bookVersion  = "1 secrets-ledger "
	maxPerName   = 32 // twice the keys of a ring
	maxBookBytes = 1 << 20
	// Dates that differ by less are one: a day was written for a time.
	restampSlack = 24 * time.Hour
	// A value may be replaced again within this time of its date.
	redateSlack = 48 * time.Hour
)

// newBook returns an empty book under a ledger's key.
func newBook(key []byte) (*book, error) {
	b := &book{}
	for _, k := range []struct {
		to   *[]byte
		info string
	}{{&b.printKey, "print"}, {&b.macKey, "mac"}} {
		derived, err := hkdf.Key(sha256.New, key, nil, "github.com/inovy/hardening/secrets/ledger/v1|"+k.info, 32)
		if err != nil {
			return nil, err
		}
		*k.to = derived
	}
	return b, nil
}

// wipe clears the keys.
func (b *book) wipe() {
	clear(b.printKey)
	clear(b.macKey)
}

// sighting is one value as a load found it.
type sighting struct {
	name     string
	material []byte
	stated   time.Time // when it was made, as someone says; may be zero
}

// verdict is what a book knows about a sighting.
type verdict struct {
	first     time.Time
	created   time.Time // credible date; zero if there is none
	restamped bool      // the value is older than what is said about it
	undated   bool      // the value is new, its date is that of the one before
}

// see remembers a sighting and tells what is known about it.
func (b *book) see(s sighting, now time.Time) verdict {
	now = now.UTC().Truncate(time.Second)
	print := b.fingerprint(s)
	i := slices.IndexFunc(b.entries, func(e entryOfBook) bool { return e.name == s.name && e.print == print })
	if i < 0 {
		i = len(b.entries)
		b.entries = append(b.entries, entryOfBook{name: s.name, print: print, first: now})
		b.changed = true
	}
	e := &b.entries[i]
	if today := now.Truncate(day); today.After(e.last) {
		e.last, b.changed = today, true
	}
	v := verdict{first: e.first, created: e.created}
	stated := s.stated.UTC().Truncate(time.Second)
	switch {
	case s.stated.IsZero():
	case stated.After(e.first.Add(restampSlack)), !e.created.IsZero() && stated.After(e.created.Add(restampSlack)):
		v.restamped = true
	case e.created.IsZero() && e.first.After(stated.Add(redateSlack)) && b.hadBefore(*e, stated):
		v.undated = true
	case e.created.IsZero() || stated.Before(e.created):
		e.created, v.created, b.changed = stated, stated, true
	}
	b.prune(s.name)
	return v
}

// hadBefore reports whether an earlier value of the same name has this date.
func (b *book) hadBefore(e entryOfBook, stated time.Time) bool {
	return slices.ContainsFunc(b.entries, func(o entryOfBook) bool {
		return o.name == e.name && o.print != e.print && o.created.Equal(stated) && o.first.Before(e.first)
	})
}

// prune forgets the value of a name that was not seen for the longest time.
func (b *book) prune(name string) {
	oldest, count := -1, 0
	for i, e := range b.entries {
		if e.name != name {
			continue
		}
		count++
		if oldest < 0 || e.last.Before(b.entries[oldest].last) {
			oldest = i
		}
	}
	if count > maxPerName {
		b.entries = slices.Delete(b.entries, oldest, oldest+1)
		b.changed = true
	}
}

func (b *book) fingerprint(s sighting) (print [8]byte) {
	h := hmac.New(sha256.New, b.printKey)
	h.Write([]byte(s.name)) // so that one value under two names is not seen to be one
	h.Write([]byte{0})
	h.Write(s.material)
	copy(print[:], h.Sum(nil))
	return print
}

func (b *book) mac(text []byte) []byte {
	h := hmac.New(sha256.New, b.macKey)
	h.Write(text)
	return h.Sum(nil)
}

func (b *book) encode() []byte {
	slices.SortFunc(b.entries, func(x, y entryOfBook) int {
		return cmp.Or(strings.Compare(x.name, y.name), x.first.Compare(y.first), bytes.Compare(x.print[:], y.print[:]))
	})
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s%x\n", bookVersion, b.mac([]byte("key"))[:8])
	for _, e := range b.entries {
		created := "-"
		if !e.created.IsZero() {
			created = e.created.Format(time.RFC3339)
		}
		fmt.Fprintf(&out, "%s %x %s %s %s\n", e.name, e.print, e.first.Format(time.RFC3339), e.last.Format(time.DateOnly), created)
	}
	fmt.Fprintf(&out, "mac %x\n", b.mac(out.Bytes()))
	return out.Bytes()
}

// decode fills b from text, or says what is wrong with it.
func (b *book) decode(text []byte) (reason string) {
	head, rest, _ := bytes.Cut(text, []byte("\n"))
	check, ok := bytes.CutPrefix(head, []byte(bookVersion))
	switch {
	case !ok:
		return "is not a ledger of a known version"
	case string(check) != hex.EncodeToString(b.mac([]byte("key"))[:8]):
		return "does not belong to the key beside it"
	}
	at := bytes.LastIndex(text, []byte("\nmac "))
	if at < 0 {
		return "is cut off"
	}
	at++
	if want := fmt.Sprintf("mac %x\n", b.mac(text[:at])); !hmac.Equal([]byte(want), text[at:]) {
		return "was changed or damaged"
	}
	for line := range bytes.Lines(rest[:len(rest)-len(text[at:])]) {
		e, ok := parseEntryOfBook(string(line))
		if !ok {
			return "has an entry that can not be read"
		}
		b.entries = append(b.entries, e)
	}
	return ""
}

func parseEntryOfBook(line string) (e entryOfBook, ok bool) {
	parts := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	if len(parts) != 5 || parts[0] == "" {
		return e, false
	}
	print, err := hex.DecodeString(parts[1])
	if err != nil || len(print) != len(e.print) {
		return e, false
	}
	e.name, e.print = parts[0], [8]byte(print)
	if e.first, err = time.Parse(time.RFC3339, parts[2]); err != nil {
		return e, false
	}
	if e.last, err = time.Parse(time.DateOnly, parts[3]); err != nil {
		return e, false
	}
	if parts[4] != "-" {
		if e.created, err = time.Parse(time.RFC3339, parts[4]); err != nil {
			return e, false
		}
	}
	return e, true
}
