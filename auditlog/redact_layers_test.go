package auditlog

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Documents stand in texts, texts in URLs, and URLs in documents. However deep,
// what is under a denied name is found, whatever signs it holds.
func TestNoLayerOfEncodingHidesAPassword(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-14.2.4")
	r := newRedactor(RedactorConfig{})
	g := rand.New(rand.NewPCG(5, 6))
	pick := func(s ...string) string { return s[g.IntN(len(s))] }
	for range 20_000 {
		secret := "hunter2" + pick("", "!", "\"x", "\\y", "'z", "&a", ";b", ",c", "}d", " e", "/f", "#g", "%h", "é", "=i", ":j", "@k", "<l>", "|m", "]n", "+o", "\n p") + "hunter2"
		name := pick("password", "api_key", "user_token", "dbPass", "smtp_pass", "X-Api-Key", "pin", "client_secret")
		var s string
		switch g.IntN(9) {
		case 0:
			b, _ := json.Marshal(map[string]any{"a": 1, name: secret, "z": "x"})
			s = string(b)
		case 1:
			s = url.Values{"a": {"1"}, name: {secret}, "z": {"x"}}.Encode()
		case 2:
			s = fmt.Sprintf("%s=%q z=1", name, secret)
		case 3:
			s = fmt.Sprintf("%q", map[string]string{name: secret, "z": "x"})
		case 4:
			b, _ := json.MarshalIndent(map[string]any{"a": 1, name: []string{secret}, "z": "x"}, "", "  ")
			s = string(b)
		case 5:
			s = fmt.Sprintf("%#v", http.Header{name: {secret}, "z": {"x"}})
		case 6:
			s = fmt.Sprintf("https://h.example/p?a=1&%s=%s&z=x", name, url.QueryEscape(secret))
		case 7:
			s = fmt.Sprintf("postgres://app:%s@db/x?z=1", url.QueryEscape(secret))
		case 8:
			b, _ := json.Marshal([]map[string]string{{"name": name, "value": secret}})
			s = string(b)
		}
		for range g.IntN(3) {
			switch g.IntN(4) {
			case 0:
				b, _ := json.Marshal(map[string]string{"body": s, "n": "x"})
				s = string(b)
			case 1:
				s = "GET /x?next=" + url.QueryEscape(s) + "&n=1"
			case 2:
				s = fmt.Sprintf("msg=%q n=1", s)
			case 3:
				s = "level: " + s + " end"
			}
		}
		if got := r.String(s); strings.Contains(got, "hunter2") {
			t.Fatalf("%q became\n%q", s, got)
		}
	}
}

// What is known by its shape is found through as many layers, three deep,
// whatever stands beside it.
func TestNoLayerOfEncodingHidesAShape(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-14.2.4")
	r := newRedactor(RedactorConfig{})
	g := rand.New(rand.NewPCG(7, 6))
	tokens := [][2]string{ // with the part that must not be seen
		{"4111111111111111", "1111"}, {"4111 1111 1111 1111", "1111"}, {"123456782", "456782"}, {"123.456.782", "123"}, {"NL91ABNA0417164300", "0417"},
		{"NL91 ABNA 0417 1643 00", "0417"}, {"jansen@example.nl", "jansen"}, {seeds[0], "abcdefghij"}, {seeds[1], "c2lnbmF0"}, {seeds[2], "QWERTZ"}, {seeds[4], "abcdefghij"},
		{"amqp://u:4711hunter2@h/v", "hunter2"}, {"Bearer abcDEF123456xyz", "DEF123"}, {"Basic dXNlcjpodW50ZXIy", "dXNlcjpodW"},
	}
	beside := [][2]string{
		{"", ""}, {"x ", " y"}, {"x\n", "\ny"}, {"\t", "\t"}, {"(", ")"}, {"<i>", "</i>"}, {"'", "'"}, {`"`, `"`}, {"n=", "&m=1"}, {"a,", ",b"}, {"[1,", ",2]"}, {"x:", ";"},
		{"é", "é"}, {"\u00a0", "\u200b"}, {"/", "/"}, {"#", "."}, {"|", "|"}, {"*", "*"}, {"~", "!"}, {"{", "}"}, {"$", "?"}, {"x ", ", y"}, {"x-", "-y"},
	}
	for range 20_000 {
		token, around := tokens[g.IntN(len(tokens))], beside[g.IntN(len(beside))]
		s := around[0] + token[0] + around[1]
		for range g.IntN(4) {
			var b bytes.Buffer
			switch g.IntN(6) {
			case 0:
				must(t, json.NewEncoder(&b).Encode(map[string]string{"body": s, "n": "x"}))
				s = b.String()
			case 1:
				s = "GET /x?next=" + url.QueryEscape(s) + "&n=1"
			case 2:
				s = fmt.Sprintf("msg=%q n=1", s)
			case 3:
				s = "/p/" + url.PathEscape(s)
			case 4:
				must(t, xml.EscapeText(&b, []byte(s)))
				s = "<m>" + b.String() + "</m>"
			case 5:
				must(t, slog.NewTextHandler(&b, nil).Handle(t.Context(), slog.NewRecord(time.Time{}, 0, s, 0)))
				s = b.String()
			}
		}
		if got := r.String(s); strings.Contains(got, token[1]) {
			t.Fatalf("%q became\n%q", s, got)
		}
	}
}
