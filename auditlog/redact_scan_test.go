package auditlog

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/inovy/hardening/internal/shapes"
)

// What is read ahead of the walk is counted, not timed: it grows with the text
// and no faster, whatever the text repeats.
func TestScanningIsLinear(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-15.1.3")
	r := newRedactor(RedactorConfig{})
	cost := func(s string) int {
		sc := r.scan(s, 0)
		sc.issuers = shapes.NewScanner(s, &shapes.Runs{})
		for at := 0; ; {
			m, ok := sc.next(at)
			if !ok {
				return sc.lookups
			}
			at = m.end
		}
	}
	for _, unit := range []string{
		"eyJ-", "eyJ.", "eyJaaaaaaaa.eyJ", "://", "a://", "://:", "://[", "a@", "@", ":", "=", "password=", "password:{", "password=\"", `password=\"`, "password={\"", "password=[REDACTED:key]",
		"password=;", "password=null ", "token=a;", "tokens=1;", "tokens=1[", "basic ", "bearer ", "Cookie: \n", "session=a{", "session:\"a", "{", "[", "1", "1 ", "1234.", "NL1", "nl91 ", "-----BEGIN PRIVATE KEY-----", "-----END", `\`, `\"`, "x@tcp(", ":@a(", "\u00a01",
		"]=", "a[b]=", "a[0]=", "%5Bb%5D=", "%5D=", "%25pin=",
		"%3A%2F%2F", "a%3A%2F%2F", "u%3A%2F%2Fa%3Ab", "%40", "a%40b.", "session%3D1", "tokens%3D1 ", "token%3D", "token%3Dnull ", "%22token%22%3A", `\u003d`, `token\u003d\"`, "%252525", "basic+", "basic ", "Basic dXNl", "bearer+", "bearer a|",
		"<token>", "<token", "<token ", "<token>a</", "<token><", "<a>", "</", "&code=", "?sig=a;", "cookie=a; ", "cookie=a=b; ", `name="token" value=`, "value=", "-BEGIN", "-----BEGIN", "%20BEGIN", "Private-Lines:", "-----BEGIN+PRIVATE+KEY-----",
		"a@bb.cc ", "tokens: 1\n", "session: {\"", "session: [", "session: 'a",
	} {
		small, large := strings.Repeat(unit, 2<<10/len(unit)), strings.Repeat(unit, 32<<10/len(unit))
		if a, b := cost(small), cost(large); b > 17*a+4000 || b > 64*len(large) {
			t.Errorf("%q: %d characters ahead for %d bytes, %d for %d", unit, a, len(small), b, len(large))
		}
	}
}

func TestNoVariantOfAnAssignmentLeaks(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-14.2.4")
	r := newRedactor(RedactorConfig{})
	const part = "hunter2" // no part of a planted value may be seen
	for name, in := range map[string]string{
		"quote in a digest":             `Authorization: Digest username="x", response="hunter2"` + "\nHost: x",
		"quote in a cookie":             `Cookie: a="b"; c="hunter2"; d=hunter2`,
		"set-cookie":                    `Set-Cookie: id="x"; Path=/; v=hunter2`,
		"quoted then more":              `Cookie: "x"; c=hunter2`,
		"proxy authorization":           `Proxy-Authorization: "x" hunter2`,
		"headers of Go":                 `http.Header{"Cookie":[]string{"a=\"b\"; c=hunter2"}}`,
		"headers as map":                `map[Authorization:[Digest x="y", z="hunter2"] Host:[x]]`,
		"url with slash":                `parse "postgres://u:hun/hunter2@db:5432/x": invalid port ":hun" after host`,
		"url with hash":                 `parse "postgres://u:hun#hunter2@db/x": invalid port ":hun" after host`,
		"url with question mark":        "redis://u:a?hunter2@db/0",
		"url with at and slash":         "amqp://u:a@b/hunter2@mq/v",
		"url with digits and slash":     "postgres://u:1234/hunter2@db/x",
		"url with quote":                "postgres://u:a'hunter2@db/x",
		"url in a url":                  "https://a.example/?next=https://u:hunter2@b.example/",
		"driver":                        "open u:hunter2@tcp(db:3306)/x: refused",
		"space before the colon":        `{"password" : "hunter2"}`,
		"newline before the colon":      "{\"password\"\n:\n\"hunter2\"}",
		"tab and return":                "{\"password\"\t:\r\n\t\"hunter2\"}",
		"brace in a string":             `{"secret":{"a":"}","b":"hunter2"},"n":1}`,
		"bracket in a string":           `{"secret":["]","hunter2"]}`,
		"brace in an escaped string":    `{\"secret\":{\"a\":\"}\",\"b\":\"hunter2\"}}`,
		"escaped quote":                 `{"password":"a\"hunter2"}`,
		"escaped backslash and quote":   `{"password":"a\\\"hunter2"}`,
		"quote within JSON within JSON": `{\"password\":\"a\\\"hunter2\"}`,
		"third level":                   `{\\\"password\\\":\\\"a,hunter2\\\"}`,
		"doubled quotes":                `password='it''s hunter2' x=1`,
		"begins with a semicolon":       "password=;hunter2",
		"begins with an ampersand":      "password=&hunter2",
		"begins with a bracket":         "password=)hunter2",
		"separator within":              "password=a;hunter2 x",
		"ampersand within":              "password=a&hunter2",
		"quote within":                  `password=a"hunter2 x`,
		"looks redacted":                "password=[REDACTEDhunter2]",
		"redacted and more":             "password=[REDACTED]hunter2",
		"redacted as key and more":      "password=[REDACTED:key]hunter2",
		"open brace":                    `password={"a":"hunter2`,
		"tokens":                        "tokens=hunter2",
		"token_v2":                      "token_v2=hunter2",
		"TOKEN1":                        "TOKEN1=hunter2",
		"tokenValue":                    "tokenValue=hunter2",
		"id_token_hint":                 "id_token_hint=hunter2",
		"db_pwd1":                       "db_pwd1=hunter2",
		"session":                       "session=hunter2",
		"session in JSON":               `{"session":"hunter2"}`,
		"truncated":                     `{"password":"hunter2`,
		"arrow":                         `"password" => "hunter2"`,
		"two in a row":                  "password=a password=hunter2",
		"url query":                     "GET /?token=a%20hunter2&x=1",
		"go struct":                     `{User:a Password:hunter2 N:1}`,
		"env":                           `DB_PASSWORD="hunter2"`,
		"form of a record":              "user[password]=hunter2&x=1",
		"form, last word":               "user[pin]=hunter2",
		"form of a list":                "token[]=hunter2",
		"form, encoded":                 "user%5Btoken%5D=hunter2&x=1",
		"form, encoded, lower case":     "user%5bpin%5d=hunter2",
		"form, encoded list":            "token%5B0%5D=hunter2",
		"index":                         `headers['x-pin']="hunter2"`,
		"last word":                     "DB_PASS=hunter2",
		"last word of a camel":          `{"smtpPass":"hunter2"}`,
		"with a key":                    "AccountName=x;AccountKey=hunter2==;EndpointSuffix=y",
		"behind an escaped newline":     `{"t":"a\npin=hunter2"}`,
		"behind an escaped ampersand":   `{"u":"https://x/?a=b\u0026pass=hunter2"}`,
		"behind a percent":              "x%26pin=hunter2",
		"behind two percents":           "x%2526pin=hunter2",
		"quotation marks":               "“pin”: hunter2",
		"no-break space":                "\u00a0pin\u00a0= hunter2",
		"URL in a query":                "?next=%2Flogin%3Fpassword%3Dhunter2%26x%3D1",
		"URL in a query, twice":         "?n=%252Flogin%253Fpassword%253Dhunter2%2526x%253D1",
		"header in a query":             "h=Authorization%3A%20Digest%20hunter2",
		"JSON in a query":               "q=%7B%22password%22%3A%22hunter2%22%7D",
		"JSON in a query, spaced":       "q=%7B%22password%22%20%3A%20%22hun%20hunter2%22%7D",
		"equals sign in JSON":           `{"u":"https://x?a\u003db\u0026password\u003dhunter2"}`,
		"user of an encoded URL":        "next=https%3A%2F%2Fu%3Ahunter2%40b.example",
		"user of an encoded URL, slash": "next=https%3a%2f%2fu%3ahun%2fhunter2%40b%2fx",
		"user of a URL encoded twice":   "n=https%253A%252F%252Fu%253Ahunter2%2540b",
		"slashes in JSON":               `{"u":"https:\/\/u:hunter2!@db\/x"}`,
		"encoded e-mail":                "q=j.jansen%40hunter2.nl",
		"encoded local part":            "q=hunter2%40example.nl",
		"e-mail encoded twice":          "q=hunter2%2540example.nl",
		"e-mail in JSON":                `{"to":"hunter2\u0040example.nl"}`,
		"bearer, quoted":                `Bearer "hunter2-hunter2-hunter2"`,
		"bearer with a bar":             "Bearer 12|hunter2AbCdEfGhIj",
		"bearer, encoded":               "bearer%20hunter2AbCdEfGhIj",
		"bearer of a form":              "Bearer+hunter2AbCdEfGhIj&x=1",
		"bearer behind a tab":           "bearer\thunter2AbCdEfGhIj",
		"XML":                           "<Password>hunter2</Password>",
		"XML with a namespace":          `<wsse:Password Type="x">hunter2</wsse:Password>`,
		"XML, nested":                   "<credentials><v>hunter2</v></credentials>",
		"XML, two":                      "<pin>1234</pin><pin>hunter2</pin>",
		"XML, cut off":                  "<secret>hunter2",
		"cookies behind an equals sign": "cookie=theme=dark; sidx=hunter2; a=hunter2",
		"signature in a URL":            "https://x.blob.example/c?sv=2020&sig=0123456789abcdefhunter2%3D",
		"code in a URL":                 "GET /cb?code=0123456789abcdefhunter2&state=1",
		"PEM in a form":                 "k=-----BEGIN+RSA+PRIVATE+KEY-----%0Ahunter2%0A-----END+RSA+PRIVATE+KEY-----",
		"PEM in a URL, cut off":         "-----BEGIN%20PRIVATE%20KEY-----%0Ahunter2",
		"SSH2":                          "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nhunter2\n",
		"PuTTY":                         "PuTTY-User-Key-File-2: ssh-rsa\nPrivate-Lines: 1\nhunter2\n",
		"pair in JSON":                  `[{"name":"DB_PASSWORD","value":"hunter2"}]`,
		"pair in JSON, spaced":          `{ "key" : "api_key", "value" : "hunter2" }`,
		"pair in JSON in JSON":          `{\"name\":\"token\",\"value\":\"hunter2\"}`,
		"pair in XML":                   `<add key="password" value="hunter2"/>`,
		"yaml":                          "password: 'hunter2'\nuser: x",
	} {
		if out := r.String(in); strings.Contains(out, part) {
			t.Errorf("%s: %q became %q", name, in, out)
		}
	}
	for in, want := range map[string]string{
		"password=&next=1":                                            "password=&next=1",
		"password=; path=x":                                           "password=; path=x",
		`{"password":"","n":1}`:                                       `{"password":"","n":1}`,
		"password=x&next=1":                                           "password=[REDACTED:assignment]&next=1",
		`msg="password=x" n=1`:                                        `msg="password=[REDACTED:assignment]" n=1`,
		`{"token":"a","session":"b1","n":[1]}`:                        `{"token":"[REDACTED:assignment]","session":"[REDACTED:assignment]","n":[1]}`,
		"tokens: 15, limit: 3":                                        "tokens: 15, limit: 3",
		"prompt_tokens=1500":                                          "prompt_tokens=1500",
		"session: closed":                                             "session: closed",
		"tests_pass=12, of 12":                                        "tests_pass=12, of 12",
		"user[name]=x&list[0]=1":                                      "user[name]=x&list[0]=1",
		"npm/%40types%2Fnode@1.2 at 100%":                             "npm/%40types%2Fnode@1.2 at 100%",
		"a%3Db%26c%3Dd C:\\users\\u0040":                              "a%3Db%26c%3Dd C:\\users\\u0040",
		"next=https%3A%2F%2Fh%3A80%2Fa%2Fb":                           "next=https%3A%2F%2Fh%3A80%2Fa%2Fb",
		`{"u":"https:\/\/h.example\/a"}`:                              `{"u":"https:\/\/h.example\/a"}`,
		`{"q":"token\u003dx1\"","n":1}`:                               `{"q":"token\u003d[REDACTED:assignment]\"","n":1}`,
		`Bearer realm="api", error="x"`:                               `Bearer realm="api", error="x"`,
		"usage: login <user> <password> [-v]":                         "usage: login <user> <password> [-v]",
		"<Name>x</Name> a <b if c> d":                                 "<Name>x</Name> a <b if c> d",
		"<pin>1234</pin><n>1</n>":                                     "<pin>[REDACTED:assignment]</pin><n>1</n>",
		"cookie=a; path /x, n=1":                                      "cookie=[REDACTED:assignment]; path /x, n=1",
		"/p?code=NL-2026-0001&sig=no":                                 "/p?code=NL-2026-0001&sig=no",
		`{"name":"ward","value":"x"}`:                                 `{"name":"ward","value":"x"}`,
		`{"error":"name","value":"x"}`:                                `{"error":"name","value":"x"}`,
		`value="x" 'token', value: 3`:                                 `value="x" 'token', value: 3`,
		"k=-----BEGIN+PRIVATE+KEY-----a-----END+PRIVATE+KEY-----&n=1": "k=[REDACTED:private-key]&n=1",
		"random_seed=42":                                              "random_seed=42",
		`{"secret":{"a":"}"},"n":1}`:                                  `{"secret":[REDACTED:assignment],"n":1}`,
		"https://h.example:8080/a":                                    "https://h.example:8080/a",
		"image nginx:1.2@sha256:9f86d081884c7d":                       "image nginx:1.2@sha256:9f86d081884c7d",
	} {
		if got := r.String(in); got != want {
			t.Errorf("%q became\n%q, want\n%q", in, got, want)
		}
	}
}

func TestNumbersBehindNamesAndInOtherGroups(t *testing.T) {
	r := newRedactor(RedactorConfig{})
	for in, want := range map[string]string{
		"bsn_123456782":                              "bsn_[REDACTED:bsn]",
		"BSN123456782":                               "BSN[REDACTED:bsn]",
		"123456782_a":                                "[REDACTED:bsn]_a",
		"123 456 782":                                "[REDACTED:bsn]",
		"123.456.782":                                "[REDACTED:bsn]",
		"123\u00a0456\u00a0782":                      "[REDACTED:bsn]",
		"1234\u202f56\u202f782":                      "[REDACTED:bsn]",
		"nr\u00a0123456782\u00a0":                    "nr\u00a0[REDACTED:bsn]\u00a0",
		"pan_4111111111111111":                       "pan_[REDACTED:pan]",
		"card4111111111111111":                       "card[REDACTED:pan]",
		"4111\u00a01111\u00a01111\u00a01111":         "[REDACTED:pan]",
		"4111\u20111111\u20111111\u20111111":         "[REDACTED:pan]",
		"deadbeef123456782":                          "deadbeef123456782",
		"é123456782":                                 "é[REDACTED:bsn]",
		"号123456782号":                                "号[REDACTED:bsn]号",
		"卡4111111111111111。":                         "卡[REDACTED:pan]。",
		"١123456782":                                 "١123456782", // a digit of another script: part of a longer number
		"NL91\u00a0ABNA\u00a00417\u00a01643\u00a000": "[REDACTED:iban]",
		"NL91-ABNA-0417-1643-00":                     "[REDACTED:iban]",
		"nl91.abna.0417.1643.00 ":                    "[REDACTED:iban] ",
		"q=patient%20123456782":                      "q=patient%20[REDACTED:bsn]",
		"q%3D123456782%26":                           "q%3D[REDACTED:bsn]%26",
		"%22123456782%22":                            "%22[REDACTED:bsn]%22",
		"a%253D123456782":                            "a%253D[REDACTED:bsn]",
		"a%2520123456782":                            "a%2520[REDACTED:bsn]",
		`a\n123456782\n`:                             `a\n[REDACTED:bsn]\n`,
		`\u0020123456782`:                            `\u0020[REDACTED:bsn]`,
		`\u00a0123456782`:                            `\u00a0[REDACTED:bsn]`,
		`\u003d4111111111111111`:                     `\u003d[REDACTED:pan]`,
		"card%204111111111111111":                    "card%20[REDACTED:pan]",
		"card=4111+1111+1111+1111":                   "card=[REDACTED:pan]",
		"4111%201111%201111%201111":                  "[REDACTED:pan]",
		"4111 1111-1111 1111":                        "[REDACTED:pan]",
		"4111\u200b1111\u200b1111\u200b1111":         "[REDACTED:pan]",
		"123%20456%20782":                            "[REDACTED:bsn]",
		"%20NL91ABNA0417164300":                      "%20[REDACTED:iban]",
		"to%3DNL91ABNA0417164300":                    "to%3D[REDACTED:iban]",
		`\nNL91ABNA0417164300`:                       `\n[REDACTED:iban]`,
		"NL91+ABNA+0417+1643+00":                     "[REDACTED:iban]",
		"NL91%20ABNA%200417%201643%2000":             "[REDACTED:iban]",
		"1,123456782,Jansen":                         "1,[REDACTED:bsn],Jansen",
		"[0,123456782]":                              "[0,[REDACTED:bsn]]",
		"1,123456782,19,x":                           "1,[REDACTED:bsn],19,x",
		"4111111111111111,12":                        "[REDACTED:pan],12",
		"0,123456782":                                "0,123456782",
		"EUR 123456782,50":                           "EUR 123456782,50",
		"EUR 123.456.782,50":                         "EUR 123.456.782,50",
		"100%123456783":                              "100%123456783",
		"NL91-ABNA 0417-1643 00":                     "NL91-ABNA 0417-1643 00", // two separators
		"NL91--ABNA-0417-1643-00":                    "NL91--ABNA-0417-1643-00",
		"0x123456782":                                "0x123456782",
		"192.168.123.456":                            "192.168.123.456",
		"123 456 783":                                "123 456 783",
	} {
		if got := r.String(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	// The third to fifth part of a UUID may be as long as an IBAN of Bosnia, and
	// one in 97 passes its check.
	for n := range 100 {
		id := fmt.Sprintf("1a2b3c4d-5e6f-ba%02d-8123-123456789012", n)
		if got := r.String(id); got != id {
			t.Errorf("%q became %q", id, got)
		}
	}
}

func TestTwoNamesThatBecomeOneAreBothKept(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(newRedactor(RedactorConfig{}).Handler(slog.NewJSONHandler(&out, nil)))
	log.Info("m", "v", map[string]any{"to a@b.example": nil, "to b@b.example": nil, "to c@b.example": 3}, "g", slog.GroupValue(slog.Any("a", nil), slog.Int("a", 2)))
	if n := strings.Count(out.String(), "null"); n != 3 || !strings.Contains(out.String(), "#3") || !strings.Contains(out.String(), `"a#2":2`) {
		t.Errorf("%d of 3: %s", n, &out)
	}
}

// What follows "Basic" is known by what it says, wherever the text is cut.
func TestBasicCredentialsAreKnownByWhatTheySay(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-14.2.4")
	r := newRedactor(RedactorConfig{})
	for in, want := range map[string]string{
		"sent Basic dXNlcjpodW50ZXIy. Next": "sent Basic [REDACTED:credential]. Next",
		"Basic dXNlcjpodW50ZXIy...":         "Basic [REDACTED:credential]...",
		"Basic%20dXNlcjpodW50ZXI%3D":        "Basic%20[REDACTED:credential]%3D",
		"Basic+dXNlcjpodW50ZXIy":            "Basic+[REDACTED:credential]",
		`"Basic \"dXNlcjpodW50ZXI=\""`:      `"Basic \"[REDACTED:credential]\""`,
		"basic\tdXNlcjpodW50ZXI":            "basic\t[REDACTED:credential]",
		"basic authentication, basic: a b":  "basic authentication, basic: a b",
		"Basic dXNlcg==":                    "Basic dXNlcg==", // no password
	} {
		if got := r.String(in); got != want {
			t.Errorf("%q became\n%q, want\n%q", in, got, want)
		}
	}
	for n := range 4 {
		long := strings.Repeat("x", n) + " Basic " + strings.Repeat("dXNlcjpodW50ZXIy", 2000)
		if got := r.String(long); strings.Contains(got, "dXNl") {
			t.Errorf("%.40q", got)
		}
	}
}
