package secrets

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// ErrURLCredential is what [CheckURL] finds, for errors.Is.
var ErrURLCredential = errors.New("secrets: a URL holds a credential")

// URLCredential is one credential in a URL. It says where it stands and what
// kind it seems to be, and holds nothing of it.
type URLCredential struct {
	Part string // "userinfo", "query", "path" or "fragment"
	Name string // of the parameter, as far as it is one of the names that we know; else ""
	Kind string // "password", "parameter", or a token's shape as in [ScanKinds]
}

// Error reads as "secrets: the query of a URL holds a credential: parameter api_key".
func (e *URLCredential) Error() string {
	return strings.TrimRight(fmt.Sprintf("secrets: the %s of a URL holds a credential: %s %s", e.Part, e.Kind, e.Name), " ")
}

// Is makes errors.Is(err, [ErrURLCredential]) true.
func (e *URLCredential) Is(target error) bool { return target == ErrURLCredential }

// CheckURL reports every credential in a URL: a password in its userinfo, a
// parameter whose name speaks of one (api_key, access_token, sig, jsessionid ...),
// and token shapes anywhere, in the name of a user and in the path too. URLs end up
// in the logs of every proxy, in browser histories and in Referer headers; a
// credential belongs into a header or a [Secret]. Placeholders, templates as
// {token} and redacted passwords are no credentials, and nil holds none.
//
// A signed URL is a credential as well, and reported. Where one is meant to be,
// do not ask.
//
// The error joins one [*URLCredential] each, and never holds a value; that of
// [url.Parse] does, so do not show it.
// Controls: ASVS v5.0.0-14.2.1, CWE-598.
func CheckURL(u *url.URL) error {
	if u == nil {
		return nil
	}
	var errs []error
	add := func(part, name, kind string) {
		found := &URLCredential{Part: part, Name: name, Kind: kind}
		if !slices.ContainsFunc(errs, func(e error) bool { return *e.(*URLCredential) == *found }) { //nolint:errorlint // all are ours
			errs = append(errs, found)
		}
	}
	tokens := func(part string, texts ...string) {
		for _, text := range texts {
			for _, h := range tokenHits(text) {
				add(part, "", h.kind)
			}
		}
	}
	if u.User != nil {
		user := u.User.Username()
		if password, _ := u.User.Password(); isCredential(password) && password != "xxxxx" { // url.URL.Redacted
			add("userinfo", "", "password")
		}
		password, _ := u.User.Password()
		tokens("userinfo", user, password)
	}
	parameters := func(part, text string) {
		for pair := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '&' || r == ';' || r == '?' }) {
			name, value, _ := strings.Cut(pair, "=")
			name, value = unescape(name), unescape(value)
			if known := credentialName(name); known != "" && isCredential(value) {
				add(part, known, "parameter")
			}
		}
		tokens(part, text, unescape(text))
	}
	parameters("query", u.RawQuery)
	parameters("fragment", u.Fragment)
	path := u.Opaque
	if path == "" {
		path = u.Path
	}
	// A shape may begin with the host, and a matrix parameter hides in a path.
	if _, matrix, ok := strings.Cut(path, ";"); ok {
		parameters("path", matrix)
	}
	tokens("path", u.Host+path, u.Host+unescape(u.EscapedPath()))
	return errors.Join(errs...)
}

func withoutUser(u *url.URL) *url.URL {
	rest := *u
	rest.User = nil
	return &rest
}

// isCredential reports whether a value is more than a stand-in for one.
func isCredential(value string) bool {
	return value != "" && !placeholder([]byte(value)) && !standsForVariable(value) && !holdsMarker([]byte(value)) && !fewer([]byte(value), 2)
}

// unescape decodes what it can, and leaves the rest as it is: a malformed
// escape must not hide what stands beside it.
func unescape(s string) string {
	if out, err := url.QueryUnescape(s); err == nil {
		return out
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if out, err := url.QueryUnescape(s[i : i+3]); err == nil {
				b.WriteString(out)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// credentialNames are parameters that hold a credential, as letters and digits
// in lower case.
var credentialNames = []string{
	"password", "passwd", "passwort", "passphrase", "pwd", "pass", "secret", "token", "apikey", "key", "auth", "authorization", "bearer", "jwt", "credential", "credentials",
	"signature", "sig", "xamzsignature", "xgoogsignature", "xosssignature", "privatekey", "accesskey", "secretkey", "sessionid", "session", "sessid", "sid", "phpsessid", "jsessionid", "aspsessionid", "otp", "pin",
	"samlresponse", "assertion", "clientassertion", "hapikey", "subscriptionkey",
}

// credentialEnds are how the names of further ones end.
var credentialEnds = []string{"password", "passwd", "secret", "token", "apikey", "accesskey", "privatekey", "secretkey", "authkey", "sessionid", "passphrase"}

// pagingNames end as credentials do, and turn pages.
var pagingNames = []string{"pagetoken", "nexttoken", "continuationtoken", "synctoken", "cursortoken", "nextpagetoken", "paginationtoken", "starttoken", "resumetoken"}

// credentialName returns the one of our words by which a name speaks of a
// credential. The name itself may be one: ?ghp_... has no value.
func credentialName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if c := alnum[name[i]]; c != 0 {
			b.WriteByte(c)
		}
	}
	plain := b.String()
	if i := slices.Index(credentialNames, plain); i >= 0 {
		return credentialNames[i]
	}
	if slices.Contains(pagingNames, plain) {
		return ""
	}
	for _, end := range credentialEnds {
		if strings.HasSuffix(plain, end) {
			return end
		}
	}
	return ""
}
