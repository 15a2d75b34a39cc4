package secrets

import (
	"bytes"
	"slices"
	"strings"
)

// speaking are the words by which a name speaks of a secret.
var speaking = []string{"passw", "passphrase", "passwd", "pwd", "secret", "token", "key", "credential", "creds", "auth", "api", "access", "pass"}

// issuers are services whose own name is enough, if the value looks random:
// ALGOLIA_ADMIN=... They are words of at least five letters that say little else.
var issuers = []string{
	"adafruit", "airtable", "algolia", "alibaba", "asana", "atlassian", "confluence", "jira", "beamer", "bitbucket", "bittrex", "meraki", "cloudflare", "codecov", "cohere", "coinbase",
	"confluent", "contentful", "datadog", "discord", "droneci", "dropbox", "etsy", "facebook", "fastly", "finicity", "finnhub", "flickr", "freshbooks", "gitter", "gocardless", "heroku", "hubspot",
	"intercom", "kraken", "kucoin", "launchdarkly", "linear", "linkedin", "looker", "mailchimp", "mailgun", "mapbox", "mattermost", "messagebird", "netlify", "newrelic", "new_relic", "nytimes", "okta",
	"plaid", "privateai", "private_ai", "rapidapi", "sendbird", "sentry", "snyk", "sonar", "squarespace", "sumo", "telegram", "travis", "twilio", "twitch", "twitter", "typeform", "yandex", "zendesk", "opsgenie", "pagerduty", "segment", "rollbar", "bugsnag",
}

// silent are words of names that speak of something that everyone may know.
// They are whole words: a security token is no uri, a profile key no file.
var silent = []string{
	"public", "pub", "pubkey", "publickey", "keyword", "keywords", "tokenizer", "fingerprint", "thumbprint", "checksum", "digest", "sha", "sha1", "sha256", "sha512", "md5", "integrity", "author", "authors", "keyboard", "monkey", "turkey", "hotkey", "hotkeys",
	"keyid", "id", "ids", "kid", "path", "paths", "file", "files", "filename", "filepath", "url", "urls", "uri", "uris", "endpoint", "endpoints", "issuer", "expires", "expiry", "nonce", "compass", "bypass", "passive", "passport", "accessible", "accessibility", "version", "versions", "commit", "revision", "etag", "hash", "hashes",
	"tokenurl", "tokenuri", "authurl", "authuri", "keypath", "keyfile", "tokenpath", "tokenfile",
}

// loud are words that mean a secret even beside a silent one.
var loud = []string{"password", "passwd", "secret", "private", "api_key", "apikey", "access_token"}

// decisive are the words that a name ends in when it speaks of a secret: what
// precedes them says what the secret is for, as in URL_SIGNING_KEY.
var decisive = []string{
	"key", "keys", "token", "tokens", "credential", "credentials", "creds", "auth", "pass", "pwd", "passphrase",
	"apitoken", "authtoken", "accesstoken", "accesskey", "signingkey", "secretkey", "privatekey",
}

// openKinds are words of names that speak of no secret even then: PUBLIC_KEY.
var openKinds = []string{"public", "pub", "commit", "author", "passport", "bypass", "compass"}

// assignmentHits finds NAME = value in every way in which configuration and
// code write it. unquoted says whether a value needs no quotes in this file;
// where it does, one without them must look random.
func assignmentHits(text string, unquoted bool) []hit {
	var hits []hit
	lower := []byte(text)
	for i, c := range lower {
		if c >= 'A' && c <= 'Z' {
			lower[i] = c | 0x20
		}
	}
	upTo := 0 // names before it are done
	for _, at := range wordsIn(lower) {
		if at < upTo {
			continue
		}
		name := nameAround(lower, at)
		upTo = name.end
		if !speaks(text[name.start:name.end]) {
			continue
		}
		for _, v := range valuesBehind(text, name) {
			value := text[v.start:v.end]
			if !(unquoted || v.quoted) && !random(value) || name.issuer(lower) && !random(value) || !likelySecret(text[name.start:name.end], value) {
				continue
			}
			hits = append(hits, hit{v.start, v.end, leakAssignment})
			upTo = v.end
			break
		}
	}
	return hits
}

// wordsIn returns where one of the words stands, in order.
func wordsIn(lower []byte) []int {
	var at []int
	for _, words := range [][]string{speaking, issuers} {
		for _, word := range words {
			for from := 0; ; {
				i := bytes.Index(lower[from:], []byte(word))
				if i < 0 {
					break
				}
				at = append(at, from+i)
				from += i + len(word)
			}
		}
	}
	slices.Sort(at)
	return at
}

type span struct {
	start, end int
	quoted     bool
}

// longestName is more than any name has.
const longestName = 80

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
}

// nameAround widens a word to the name that holds it.
func nameAround(text []byte, at int) span {
	s := span{start: at, end: at}
	for s.start > 0 && nameByte(text[s.start-1]) && at-s.start < longestName {
		s.start--
	}
	for s.end < len(text) && nameByte(text[s.end]) && s.end-at < longestName {
		s.end++
	}
	return s
}

// speaks reports whether a name, as it is written, is that of a secret. Words
// count whole; a loud one decides, then the last.
func speaks(name string) bool {
	lower := strings.ToLower(name)
	if slices.ContainsFunc(loud, func(w string) bool { return strings.Contains(lower, w) }) {
		return true
	}
	words := wordsOf(name)
	if len(words) == 0 || !slices.ContainsFunc(words, func(w string) bool { return slices.Contains(silent, w) }) {
		return true
	}
	return slices.Contains(decisive, words[len(words)-1]) && !slices.ContainsFunc(words, func(w string) bool { return slices.Contains(openKinds, w) })
}

// wordsOf splits a name at what separates words and where a capital begins one,
// without numbers alone: AWS_SecurityToken2 is aws, security, token.
func wordsOf(name string) (words []string) {
	class := func(i int) byte {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			return 'a'
		case c >= 'A' && c <= 'Z':
			return 'A'
		}
		return 0
	}
	add := func(word string) {
		word = strings.ToLower(word)
		if bare := strings.TrimRight(word, "0123456789"); bare != "sha" && bare != "md" {
			word = bare
		}
		if word != "" {
			words = append(words, word)
		}
	}
	from := 0
	for i := range len(name) {
		switch c := class(i); {
		case c == 0:
			add(name[from:i])
			from = i + 1
		case c == 'A' && i > from && (class(i-1) == 'a' || i+1 < len(name) && name[i+1] >= 'a' && name[i+1] <= 'z'):
			add(name[from:i])
			from = i
		}
	}
	add(name[from:])
	return words
}

// issuer reports whether a name speaks only by the name of a service, or by a
// word that others than secrets bear too.
func (s span) issuer(lower []byte) bool {
	name := string(lower[s.start:s.end])
	for _, w := range []string{"passw", "passphrase", "pwd", "secret", "token", "key", "credential", "creds"} {
		if strings.Contains(name, w) {
			return false
		}
	}
	return true
}

// valuesBehind returns what may be the value of a name, the likeliest first.
func valuesBehind(text string, name span) []span {
	i := name.end
	before := byte(0)
	if name.start > 0 {
		before = text[name.start-1]
	}
	quoted := false
	for i < len(text) && (text[i] == '\\' || text[i] == '"' || text[i] == '\'' || text[i] == ']' || text[i] == '`') {
		quoted = true
		i++
	}
	spaced := blank(text, i)
	i = spaced
	word := strings.ToLower(text[name.start:name.end])
	switch sep := separator(text, i); {
	case sep > 0:
		i += sep
	case i < len(text) && text[i] == '>' && (before == '<' || before == '/'): // <password>value</password>
		i++
	case i < len(text) && text[i] == ',' && quoted: // setenv("PASSWORD", "value"), {"name":"PASSWORD","value":"..."}
		i++
	case i < len(text) && text[i] == '(' && i+1 < len(text) && quote(text[i+1]): // setPassword("value")
		i++
	case quoted && i < len(text) && strings.HasPrefix(text[i:], "value="): // <add key="password" value="..."/>
	case spaced > name.end && i < len(text) && (text[i] == '\'' || strings.HasPrefix(word, "--") || word == "password" || word == "_authtoken" || lineBegins(text, name.start, "ENV ", "ARG ")):
	case i < len(text) && (text[i] == '\n' || text[i] == '\r') && before != '=': // name: PASSWORD, and value: ... on the next line
		if v, ok := valueKey(text, i); ok {
			return []span{v}
		}
		return nil
	default:
		return nil
	}
	i = blank(text, i)
	if at, ok := valueWord(text, i); ok {
		i = at
	}
	var out []span
	if v, ok := valueAt(text, i); ok {
		out = append(out, v)
		// Authorization: Bearer value
		if scheme := strings.ToLower(text[v.start:v.end]); slices.Contains([]string{"bearer", "basic", "token", "apikey", "api-key", "key", "bot"}, scheme) {
			if w, ok := valueAt(text, blank(text, v.end)); ok {
				w.quoted = w.quoted || v.quoted
				out = append(out, w)
			}
		}
	} else if i < len(text) && (text[i] == '\n' || text[i] == '|' || text[i] == '>') {
		// YAML: the value stands on the next line.
		if v, ok := valueAt(text, blankLines(text, i)); ok && text[i] != '\n' {
			out = append(out, v)
		}
	}
	return out
}

// separator is the length of what may stand between a name and its value.
func separator(text string, i int) int {
	for _, sep := range []string{"||=", ":=", "=>", "?=", "==", "=", ":"} {
		if strings.HasPrefix(text[min(i, len(text)):], sep) {
			return len(sep)
		}
	}
	return 0
}

func quote(c byte) bool { return c == '"' || c == '\'' || c == '`' }

// blank skips up to 40 blanks: configuration is written in columns.
func blank(text string, i int) int {
	for end := i + 40; i < len(text) && i < end && (text[i] == ' ' || text[i] == '\t'); {
		i++
	}
	return i
}

func blankLines(text string, i int) int {
	for end := i + 60; i < len(text) && i < end && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r' || text[i] == '|' || text[i] == '>' || text[i] == '-'); {
		i++
	}
	return i
}

// valueKey reads `value: ...` at the beginning of the next line.
func valueKey(text string, i int) (span, bool) {
	at, ok := valueWord(text, blankLines(text, i))
	if !ok {
		return span{}, false
	}
	return valueAt(text, at)
}

// valueWord skips the word value and its separator: value="...", "value": "...".
func valueWord(text string, i int) (int, bool) {
	for i < len(text) && (quote(text[i]) || text[i] == '\\') {
		i++
	}
	if len(text)-i < 7 || !strings.EqualFold(text[i:i+5], "value") {
		return i, false
	}
	i += 5
	for i < len(text) && (quote(text[i]) || text[i] == '\\') {
		i++
	}
	i = blank(text, i)
	if i < len(text) && (text[i] == ':' || text[i] == '=') {
		return blank(text, i+1), true
	}
	return i, false
}

func lineBegins(text string, at int, words ...string) bool {
	from := max(0, at-16) // not back to the beginning of a line that may be as long as the file
	line := text[from+strings.LastIndexByte(text[from:at], '\n')+1 : at]
	return slices.Contains(words, strings.ToUpper(strings.TrimLeft(line, " \t")))
}

// longestValue is more than a secret in one piece has.
const longestValue = 400

// valueAt reads the value that begins at i, in quotes or without.
func valueAt(text string, i int) (span, bool) {
	for i < len(text) && text[i] == '\\' { // \"value\" inside a JSON string
		i++
	}
	var open byte
	if i < len(text) && quote(text[i]) {
		open = text[i]
		i++
	}
	end := i
	for end < len(text) && end-i <= longestValue {
		c := text[end]
		if c <= ' ' || c == open && open != 0 || c == '\\' || open == 0 && strings.IndexByte("\"'`,;&<)]}", c) >= 0 {
			break
		}
		end++
	}
	if end == i || end-i > longestValue {
		return span{}, false
	}
	if open != 0 && (end == len(text) || text[end] != open && text[end] != '\\') {
		// Words in quotes: a phrase, or a scheme and its credential.
		return span{i, end, true}, end < len(text) && text[end] == ' '
	}
	return span{i, end, open != 0}, true
}
