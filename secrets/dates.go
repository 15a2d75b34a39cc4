package secrets

import (
	"bytes"
	"crypto"
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
	basis            string    // who says when it was made
	loose            bool      // it stands in a file that another user can replace
}

func (d dates) silent() bool { return d.created.IsZero() && d.expires.IsZero() }

// datesOf puts together what is said about a value: by itself, beside it, and
// by its provider, who are believed in this order; of several ends the first one
// counts.
func datesOf(k kind, value []byte, beside dates, meta *Meta) (dates, *flaw) {
	now := time.Now()
	d := datesInside(k, value)
	if d.created.After(now.Add(clockSkew)) {
		return dates{}, &flaw{reason: "is not valid yet, by " + d.basis, fix: "wait, or set the clock right"}
	}
	add := func(other dates) {
		if d.created.IsZero() {
			d.created, d.basis = other.created, other.basis
		}
		if d.expires.IsZero() || !other.expires.IsZero() && other.expires.Before(d.expires) {
			d.expires = other.expires
		}
	}
	add(beside)
	if meta != nil {
		if meta.Created.After(now.Add(clockSkew)) {
			return dates{}, &flaw{reason: "was made in the future, by what its provider says", fix: "set the clocks right"}
		}
		add(dates{created: meta.Created, expires: meta.Expires, basis: "what its provider says"})
	}
	if !d.created.IsZero() && !d.expires.IsZero() && !d.expires.After(d.created) {
		return dates{}, &flaw{reason: "expires before it was made", fix: "check both dates"}
	}
	return d, nil
}

// mayHoldDates reports, in one look, whether datesInside can find anything.
func mayHoldDates(k kind, text []byte) bool {
	switch k {
	case kindToken:
		return bytes.HasPrefix(text, []byte("ey")) || bytes.IndexByte(text, '=') >= 0
	case kindURL, kindPEM:
		return true
	}
	return false
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
	if !bytes.HasPrefix(text, []byte("ey")) { // {" in base64
		return d, false
	}
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

// publicKeyOf returns the public key, as X.509 spells it, of the first private key
// in text, or nil: what tells a new key from a new certificate for the old one.
func publicKeyOf(text []byte) []byte {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default:
			clear(block.Bytes)
			continue
		}
		clear(block.Bytes)
		signer, ok := key.(crypto.Signer)
		if err != nil || !ok {
			return nil
		}
		der, err := x509.MarshalPKIXPublicKey(signer.Public())
		if err != nil {
			return nil
		}
		return der
	}
	return nil
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
