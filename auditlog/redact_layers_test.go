package auditlog

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
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
