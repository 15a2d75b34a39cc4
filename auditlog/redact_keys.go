package auditlog

import "strings"

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

// hides reports whether nothing under this key may be shown.
func (r *Redactor) hides(key string) bool {
	var buf [64]byte
	n := appendNormal(buf[:0], key)
	if r.allowed[string(n)] {
		return false
	}
	return r.denied[string(n)] || deniedBytes(n)
}

func (r *Redactor) isSafe(key string) bool {
	if len(r.safe) == 0 {
		return false
	}
	var buf [64]byte
	return r.safe[string(appendNormal(buf[:0], key))]
}

// deniedName is deniedBytes for a name that is normalised already.
func deniedName(n string) bool { return deniedBytes([]byte(n)) }

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
	return false
}

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
