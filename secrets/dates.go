package secrets

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math"
	"net/url"
	"strconv"
	"time"
)

// dates is what someone says about when a value was made and stops to work.
type dates struct {
	created, expires time.Time // zero: nothing is said
	basis            string    // who says so
}

// datesInside finds the dates that a value itself holds: iat and exp of a JSON
// Web Token (RFC 7519), the validity of the first certificate of PEM text
// (RFC 5280), st and se of an Azure shared access signature. Nothing is
// verified: whoever can forge a value that the service trusts has won already.
func datesInside(k kind, text []byte) dates {
	switch k {
	case kindToken:
		if d, ok := jwtDates(text); ok {
			return d
		}
		return sasDates(text)
	case kindURL:
		return sasDates(text)
	case kindPEM:
		return certificateDates(text)
	}
	return dates{}
}

func jwtDates(text []byte) (d dates, ok bool) {
	parts := bytes.Split(text, []byte("."))
	if len(parts) != 3 {
		return d, false
	}
	payload := make([]byte, base64.RawURLEncoding.DecodedLen(len(parts[1])))
	n, err := base64.RawURLEncoding.Decode(payload, parts[1])
	defer clear(payload)
	if err != nil {
		return d, false
	}
	var claims struct{ Iat, Exp *float64 }
	if json.Unmarshal(payload[:n], &claims) != nil {
		return d, false
	}
	d = dates{created: numericDate(claims.Iat), expires: numericDate(claims.Exp), basis: "iat and exp of the JSON Web Token"}
	return d, !d.created.IsZero() || !d.expires.IsZero()
}

// numericDate is RFC 7519's: seconds, possibly with a fraction.
func numericDate(n *float64) time.Time {
	if n == nil || math.IsNaN(*n) || *n < 1 || *n > 253402300799 { // the year 9999
		return time.Time{}
	}
	return time.Unix(int64(*n), 0).UTC()
}

func certificateDates(text []byte) dates {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			clear(block.Bytes)
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return dates{}
		}
		// The first is that of the service itself; the others are its issuers'.
		return dates{created: cert.NotBefore.UTC(), expires: cert.NotAfter.UTC(), basis: "the validity of the certificate"}
	}
	return dates{}
}

// sasDates reads the query of an Azure shared access signature, alone, after
// "SharedAccessSignature ", or in a URL. se is an RFC 3339 time or day in
// storage tokens and a number of seconds in those of messaging services.
func sasDates(text []byte) dates {
	query := text
	if _, after, ok := bytes.Cut(text, []byte("?")); ok {
		query = after
	}
	if after, ok := bytes.CutPrefix(query, []byte("SharedAccessSignature ")); ok {
		query = after
	}
	if !bytes.Contains(query, []byte("sig=")) || !bytes.Contains(query, []byte("se=")) {
		return dates{}
	}
	values, err := url.ParseQuery(string(query)) // err quotes the value: never pass it on
	if err != nil || values.Get("sig") == "" {
		return dates{}
	}
	d := dates{basis: "st and se of the shared access signature"}
	d.created, _ = sasTime(values.Get("st"))
	var ok bool
	if d.expires, ok = sasTime(values.Get("se")); !ok {
		return dates{}
	}
	return d
}

func sasTime(s string) (time.Time, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 0 && n <= 253402300799 {
		return time.Unix(n, 0).UTC(), true
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// parseDate reads what people write beside a value: an RFC 3339 time, or a day,
// which begins in UTC. skew is how far it may lie ahead of our clock.
func parseDate(text []byte) (t time.Time, skew time.Duration, ok bool) {
	s := string(cutNewline(text))
	if t, err := time.Parse(time.DateOnly, s); err == nil && t.Year() >= 1970 {
		return t, dateSkew, true
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil && t.Year() >= 1970 {
		return t.UTC(), clockSkew, true
	}
	return time.Time{}, 0, false
}

// companion is what stands beside a value: NAME_CREATED_AT, NAME_EXPIRES_AT
// or NAME.meta.
type companion uint8

const (
	noCompanion companion = iota
	createdAt
	expiresAt
	metaFile
)

// suffix is what the companion's name has after that of the value.
func (c companion) suffix() string {
	return [...]string{"", "_CREATED_AT", "_EXPIRES_AT", ".meta"}[c]
}

// parseCompanion reads one into m. what names it in flaws.
func parseCompanion(c companion, name string, text []byte, m *Meta, now time.Time) *flaw {
	const fixDate = "write when the value was made, as 2026-11-01 or 2026-11-01T08:00:00Z"
	if c != metaFile {
		t, skew, ok := parseDate(text)
		if !ok {
			return &flaw{reason: name + c.suffix() + " is not an RFC 3339 time or day", fix: fixDate}
		}
		return m.state(c, t, skew, name+c.suffix(), now)
	}
	var file struct{ Version, Created, Expires string }
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if dec.Decode(&file) != nil || dec.More() {
		return &flaw{reason: name + ".meta is not JSON with version, created and expires", fix: `write {"created":"2026-11-01","version":"7"}`}
	}
	m.Version = file.Version
	for part, value := range map[companion]string{createdAt: file.Created, expiresAt: file.Expires} {
		if value == "" {
			continue
		}
		t, skew, ok := parseDate([]byte(value))
		if !ok {
			return &flaw{reason: name + ".meta holds a date that is not an RFC 3339 time or day", fix: fixDate}
		}
		if bad := m.state(part, t, skew, name+".meta", now); bad != nil {
			return bad
		}
	}
	return nil
}

// state puts a date into m, if it can be true and contradicts nothing there.
func (m *Meta) state(c companion, t time.Time, skew time.Duration, where string, now time.Time) *flaw {
	to := &m.Created
	if c == expiresAt {
		to = &m.Expires
	} else if t.After(now.Add(skew)) {
		return &flaw{reason: where + " lies in the future", fix: "write when the value was made"}
	}
	if !to.IsZero() && !to.Equal(t) {
		return &flaw{reason: where + " says something else than what stands beside it", fix: "keep one of them"}
	}
	*to = t
	return nil
}

// checkMeta returns the flaw of dates that someone states about a value.
func checkMeta(m *Meta, now time.Time) *flaw {
	switch {
	case m == nil:
	case m.Created.After(now.Add(dateSkew)):
		return &flaw{reason: "its date lies in the future", fix: "write when the value was made"}
	case !m.Created.IsZero() && !m.Expires.IsZero() && !m.Expires.After(m.Created):
		return &flaw{reason: "expires before it was made", fix: "check both dates"}
	}
	return nil
}
