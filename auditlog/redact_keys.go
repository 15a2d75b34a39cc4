package auditlog

import (
	"bytes"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// normalise folds a key so that spelling does not decide what is secret:
// "X-Api-Key", "x_api_key" and "xApiKey" are one name.
func normalise(key string) string {
	var buf [64]byte
	return string(appendNormal(buf[:0], key))
}

func appendNormal(b []byte, key string) []byte {
	for i := range len(key) {
		switch c := key[i]; {
		case c == '_' || c == '-' || c == '.' || c == ' ':
		case c >= 'A' && c <= 'Z':
			b = append(b, c+'a'-'A')
		default:
			b = append(b, c)
		}
	}
	return b
}

// rank is how much a name says about the value under it.
type rank uint8

const (
	shown  rank = iota
	weak        // a text is hidden, a number or a word is not: "tokens", "session"
	secret      // nothing is shown
)

// ranks remembers how keys were ranked: a service logs under the same few names
// for ever. It stops to learn when it holds as many as any service has.
type ranks struct {
	known atomic.Pointer[map[string]rank]
	mu    sync.Mutex // held to learn
}

const maxRanks = 256

func (m *ranks) learn(key string, k rank) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := map[string]rank{}
	if known := m.known.Load(); known != nil {
		if len(*known) >= maxRanks {
			return
		}
		maps.Copy(next, *known)
	}
	next[strings.Clone(key)] = k
	m.known.Store(&next)
}

// rank says how much of what stands under this key may be shown.
func (r *Redactor) rank(key string) rank {
	known := r.ranks.known.Load()
	if known != nil {
		if k, ok := (*known)[key]; ok {
			return k
		}
	}
	k := r.judge(key)
	if len(key) <= 64 && (known == nil || len(*known) < maxRanks) {
		r.ranks.learn(key, k)
	}
	return k
}

func (r *Redactor) judge(key string) rank {
	var buf [64]byte
	n := appendNormal(buf[:0], key)
	if len(r.allowed) > 0 && r.allowed[string(n)] {
		return shown
	}
	if len(r.denied) > 0 && r.denied[string(n)] {
		return secret
	}
	if k := rankName(n); k != shown {
		return k
	}
	return rankLast(key)
}

// lastWord returns the last word of a key, without what numbers it or stands in
// brackets behind it: "PASS" of "DB_PASS", "pin" of "user[pin]", "Otp" of "smsOtp1".
// Bytes that are not ASCII belong to no word.
func lastWord(key string) string {
	end := len(key)
	for end > 0 && !isLetter(key[end-1]) {
		end--
	}
	start := end
	for start > 0 && isLetter(key[start-1]) {
		if start--; start > 0 && isUpper(key[start]) && !isUpper(key[start-1]) {
			break
		}
	}
	return key[start:end]
}

func isLetter(c byte) bool { return (c|0x20) >= 'a' && (c|0x20) <= 'z' }
func isUpper(c byte) bool  { return c >= 'A' && c <= 'Z' }

// rankLast judges a key of several words by its last: what is secret by itself
// is so of somebody or something too.
func rankLast(key string) rank {
	w := lastWord(key)
	if len(w) == len(key) || len(w) > 16 || strings.Contains(key, "[REDACTED") {
		return shown
	}
	var buf [16]byte
	switch string(appendNormal(buf[:0], w)) {
	case "token", "jwt", "pwd", "pw", "pin", "pincode", "otp", "totp", "cvv", "cvc", "ssn", "pan", "mnemonic", "bearer", "bsn", "iban":
		return secret
	case "pass", "auth", "sid", "seed", "session", "csrf", "xsrf":
		return weak
	}
	return shown
}

// hides reports whether nothing under this key may be shown.
func (r *Redactor) hides(key string) bool { return r.rank(key) == secret }

func (r *Redactor) isSafe(key string) bool {
	if len(r.safe) == 0 {
		return false
	}
	var buf [64]byte
	return r.safe[string(appendNormal(buf[:0], key))]
}

// deniedName is hides for a normalised name, whatever the config says.
func deniedName(n string) bool { return rankName([]byte(n)) == secret }

// unversioned cuts what numbers a name: "token1", "db_pwd2", "token_v2".
func unversioned(n []byte) []byte {
	end := len(n)
	for end > 0 && is(n[end-1], digit) {
		end--
	}
	if end < len(n) && end > 1 && n[end-1] == 'v' {
		end--
	}
	if end == 0 {
		return n
	}
	return n[:end]
}

// rankName looks at a normalised name. It runs for every key of every record.
func rankName(n []byte) rank {
	if deniedBytes(n) {
		return secret
	}
	if len(n) > 0 && (is(n[len(n)-1], digit) || hasSuffix(n, "value")) {
		u := unversioned(n)
		if hasSuffix(u, "value") {
			u = u[:len(u)-len("value")]
		}
		if deniedBytes(u) {
			return secret
		}
		n = u
	}
	_, after, ok := bytes.Cut(n, tokenName)
	if !ok {
		return shown
	}
	switch rest := string(after); rest {
	case "s":
		return weak
	case "hint", "old", "new", "current", "previous", "next", "raw", "str", "string", "data", "text", "header":
		return secret
	}
	return shown
}

var tokenName = []byte("token")

// assigned ranks names that are innocent as keys of attributes, where a room
// puts a count or a keyed prefix, but not in a text.
func assigned(name string) rank {
	var buf [64]byte
	if w := lastWord(name); w != "" {
		name = w
	}
	switch string(unversioned(appendNormal(buf[:0], name))) {
	case "session", "sess", "phpsessid", "jsessionid", "connectsid":
		return weak
	}
	return shown
}

// deniedBytes knows the names of secrets and of numbers and addresses that
// identify a person. It runs for every key of every record.
func deniedBytes(n []byte) bool {
	switch string(n) {
	case "pw", "pass", "pin", "pincode", "pan", "cvv", "cvv2", "cvc", "cvc2", "otp", "totp", "totpcode", "auth", "bearer", "sid", "seed", "mnemonic",
		"ssn", "email", "emailaddress", "emailadres", "sofinummer", "xcsrf", "csrf", "xsrf":
		return true
	}
	for i := range n {
		for _, name := range within(n[i]) {
			if hasPrefix(n[i:], name) {
				return !strings.HasPrefix(string(n[i:]), "secretar") // secretary, secretariat
			}
		}
	}
	for _, name := range [...]string{"token", "pwd", "jwt", "bsn", "iban", "dsn", "passcode"} {
		if hasSuffix(n, name) {
			return true
		}
	}
	if hasSuffix(n, "pass") {
		return endsIn(n[:len(n)-len("pass")], passOf[:])
	}
	return hasSuffix(n, "key") && endsIn(n[:len(n)-len("key")], keyOf[:])
}

func endsIn(n []byte, names []string) bool {
	for _, name := range names {
		if hasSuffix(n, name) {
			return true
		}
	}
	return false
}

// passOf and keyOf are what a pass or a key is of that is a password or a
// secret: others are passes of a renderer, and keys of tables and maps.
var (
	passOf = [...]string{"db", "database", "sql", "pg", "postgres", "mongo", "redis", "rabbit", "mq", "smtp", "mail", "imap", "ftp", "ldap", "ssh", "http", "proxy",
		"user", "admin", "root", "login", "auth", "key", "store", "bind", "cert", "api", "app"}
	keyOf = [...]string{"auth", "account", "subscription", "master", "shared", "session", "hmac", "aes", "decryption", "consumer", "function", "functions", "license", "licence", "server", "webhook", "signature"}
)

// within lists, by first letter, the names that make a key secret wherever
// they stand in it.
func within(first byte) []string {
	switch first {
	case 'a':
		return namesA[:]
	case 'b':
		return namesB[:]
	case 'c':
		return namesC[:]
	case 'e':
		return namesE[:]
	case 'p':
		return namesP[:]
	case 's':
		return namesS[:]
	case 'w':
		return namesW[:]
	}
	return nil
}

var (
	namesA = [...]string{"apikey", "accesskey", "authorization", "authorisation"}
	namesB = [...]string{"burgerservice"}
	namesC = [...]string{"credential", "cookie", "creditcard", "cardnumber", "connectionstring", "clientkey"}
	namesE = [...]string{"encryptionkey"}
	namesP = [...]string{"password", "passwd", "passphrase", "privatekey", "privkey"}
	namesS = [...]string{"secret", "sessionid", "sessid", "signingkey", "sshkey"}
	namesW = [...]string{"wachtwoord"}
)

func hasPrefix(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }
func hasSuffix(b []byte, s string) bool { return len(b) >= len(s) && string(b[len(b)-len(s):]) == s }
