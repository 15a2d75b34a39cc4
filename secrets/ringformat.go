package secrets

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// ringKey is one entry of a ring.
type ringKey struct {
	version int
	created time.Time // zero if the entry has no date
	learned time.Time // when it came to the others, as a reload or the ledger saw; zero: it was there from the start
	key     []byte
}

const (
	maxRingKeys = 16
	// Clocks of two machines may differ; a time further ahead is a mistake.
	clockSkew = 5 * time.Minute
	// A bare date is written in the writer's time zone, up to UTC+14.
	dateSkew = 14 * time.Hour
)

const fixRing = "write v2@2026-11-01:KEY,v1@2026-08-01:KEY, newest first, each KEY from secrets.Generate(32)"

// parseRing reads the text of a ring: "v2@2026-11-01:KEY,v1@2026-08-01:KEY",
// or a single bare KEY, which is version 1 without a date. A date is a day or
// an RFC 3339 time in UTC, and says when the key was made; every entry but the
// last must have one, because it is what retires the entries after it. It
// returns all flaws; then the keys are wiped and not returned.
func parseRing(text []byte, bits int, now time.Time) ([]ringKey, []flaw) {
	var keys []ringKey
	var bad []flaw
	parts := bytes.Split(text, []byte(","))
	if len(parts) > maxRingKeys {
		return nil, []flaw{{reason: fmt.Sprintf("has more than %d keys", maxRingKeys), fix: "drop the oldest"}}
	}
	for i, part := range parts {
		say := func(reason, fix string) {
			if len(parts) > 1 {
				reason = fmt.Sprintf("entry %d of %d: %s", i+1, len(parts), reason)
			}
			bad = append(bad, flaw{reason: reason, fix: fix})
		}
		entry, reason := parseEntry(part, len(parts) == 1)
		if reason != "" {
			say(reason, fixRing)
			continue
		}
		if !entry.created.IsZero() {
			if ahead := entry.created.Sub(now); ahead > dateSkew || ahead > clockSkew && entry.exact {
				say("its date lies in the future", "write when the key was made")
			}
		} else if i < len(parts)-1 {
			say("it has no date", "write when the key was made, as in v2@2026-11-01:, so that older keys can retire")
		}
		key, weak := checkKey(entry.text, bits)
		if weak != nil {
			say("its key "+weak.reason, weak.fix)
		}
		keys = append(keys, ringKey{version: entry.version, created: entry.created, key: key})
	}
	for i := 1; i < len(keys); i++ {
		newer, older := keys[i-1], keys[i]
		if newer.version <= older.version {
			bad = append(bad, flaw{reason: "its versions do not fall from entry to entry", fix: "put the newest key first, with the highest version"})
			break
		}
		if !newer.created.IsZero() && newer.created.Before(older.created) {
			bad = append(bad, flaw{reason: "a key is older than one of a lower version", fix: "write for each key when it was made"})
			break
		}
	}
	for i, a := range keys {
		for _, b := range keys[:i] {
			if len(a.key) > 0 && bytes.Equal(a.key, b.key) {
				bad = append(bad, flaw{reason: fmt.Sprintf("versions %d and %d are the same key", b.version, a.version), fix: "make a new key for each version"})
			}
		}
	}
	if bad != nil {
		wipeKeys(keys)
		return nil, bad
	}
	return keys, nil
}

func wipeKeys(keys []ringKey) {
	for _, k := range keys {
		clear(k.key)
	}
}

// entry is what parseEntry reads; text is a part of its argument.
type entry struct {
	version int
	created time.Time
	exact   bool // created is a time, not a day
	text    []byte
}

// parseEntry reads "v2@2026-11-01:KEY", "v2:KEY" or, if bare is allowed, "KEY".
// What it says about a flaw holds nothing of the text.
func parseEntry(part []byte, bare bool) (e entry, reason string) {
	const shape = "is not written as v2@2026-11-01:KEY"
	if len(part) == 0 {
		return e, "is empty"
	}
	digits := 0
	if part[0] == 'v' {
		for digits+1 < len(part) && part[digits+1] >= '0' && part[digits+1] <= '9' {
			digits++
		}
	}
	rest := part[1+digits:]
	if digits == 0 || len(rest) == 0 || rest[0] != '@' && rest[0] != ':' {
		if !bare || bytes.ContainsRune(part, '@') {
			return e, shape
		}
		return entry{version: 1, text: part}, ""
	}
	version, err := strconv.Atoi(string(part[1 : 1+digits]))
	if err != nil || version < 1 || version > 1e9 || part[1] == '0' {
		return e, "has a version that is not a number from 1 to 1000000000 without leading zeros"
	}
	e.version = version
	if rest[0] == ':' {
		e.text = rest[1:]
		return e, ""
	}
	rest = rest[1:]
	const day = len(time.DateOnly)
	switch {
	case len(rest) > day && rest[day] == ':':
		e.created, err = time.Parse(time.DateOnly, string(rest[:day]))
		e.text = rest[day+1:]
	case len(rest) > day && rest[day] == 'T':
		stamp, text, ok := bytes.Cut(rest, []byte("Z:"))
		if !ok || len(stamp) > len("2006-01-02T15:04:05.000000000") {
			return e, "has a time that is not RFC 3339 in UTC, as 2026-11-01T08:00:00Z"
		}
		e.created, err = time.Parse(time.RFC3339, string(stamp)+"Z")
		e.text, e.exact = text, true
	default:
		return e, shape
	}
	if err != nil || e.created.Year() < 1970 {
		return e, "has a date that does not exist"
	}
	return e, ""
}
