package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sort"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/zricethezav/gitleaks/v8/detect"

	"github.com/inovy/hardening/secrets"
)

// The alphabets of tokens.
const (
	digits = "0123456789"
	hexes  = digits + "abcdef"
	lowers = digits + "abcdefghijklmnopqrstuvwxyz"
	uppers = digits + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	alnums = lowers + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	words  = alnums + "_-"
	bech32 = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
)

// tokens are published forms: {alphabet, length} in braces as in a template.
// What an issuer documents about its own tokens, one line each.
var tokens = []struct {
	name string
	make func(g *generator) string
}{
	{"1password service account", func(g *generator) string { return "ops_eyJ" + g.of(alnums, 280) }},
	{"age", func(g *generator) string { return "AGE-SECRET-KEY-1" + g.of(bech32, 58) }},
	{"airtable", func(g *generator) string { return "pat" + g.of(alnums, 14) + "." + g.of(hexes, 64) }},
	{"anthropic", func(g *generator) string { return "sk-ant-api03-" + g.of(words, 91) + g.of(alnums, 0) + "AA" }},
	{"anthropic admin", func(g *generator) string { return "sk-ant-admin01-" + g.of(words, 91) + "AA" }},
	{"artifactory", func(g *generator) string { return "AKCp" + g.of(alnums, 69) }},
	{"aws", func(g *generator) string { return "AKIA" + g.of(base32, 16) }},
	{"aws temporary", func(g *generator) string { return "ASIA" + g.of(base32, 16) }},
	{"aws bedrock", func(g *generator) string { return "ABSK" + g.of(alnums, 128) }},
	{"azure client secret", func(g *generator) string { return g.of(alnums, 3) + "8Q~" + g.of(alnums, 34) }},
	{"clojars", func(g *generator) string { return "CLOJARS_" + g.of(lowers, 60) }},
	{"cloudflare origin ca", func(g *generator) string { return "v1.0-" + g.of(hexes, 24) + "-" + g.of(hexes, 146) }},
	{"databricks", func(g *generator) string { return "dapi" + g.of(hexes, 32) }},
	{"digitalocean", func(g *generator) string { return "dop_v1_" + g.of(hexes, 64) }},
	{"doppler", func(g *generator) string { return "dp.pt." + g.of(alnums, 43) }},
	{"duffel", func(g *generator) string { return "duffel_test_" + g.of(alnums, 43) }},
	{"dynatrace", func(g *generator) string { return "dt0c01." + g.of(uppers, 24) + "." + g.of(uppers, 64) }},
	{"easypost", func(g *generator) string { return "EZAK" + g.of(alnums, 54) }},
	{"facebook page", func(g *generator) string { return "EAAM" + g.of(alnums, 120) }},
	{"flutterwave", func(g *generator) string { return "FLWSECK_TEST-" + g.of(hexes, 32) + "-X" }},
	{"fly", func(g *generator) string { return "fo1_" + g.of(words, 42) + g.of(alnums, 1) }},
	{"frame.io", func(g *generator) string { return "fio-u-" + g.of(alnums, 64) }},
	{"github personal", func(g *generator) string { return "ghp_" + g.of(alnums, 36) }},
	{"github oauth", func(g *generator) string { return "gho_" + g.of(alnums, 36) }},
	{"github app", func(g *generator) string { return "ghs_" + g.of(alnums, 36) }},
	{"github refresh", func(g *generator) string { return "ghr_" + g.of(alnums, 36) }},
	{"github fine-grained", func(g *generator) string { return "github_pat_" + g.of(alnums, 22) + "_" + g.of(alnums, 59) }},
	{"gitlab personal", func(g *generator) string { return "glpat-" + g.of(alnums, 20) }},
	{"gitlab routable", func(g *generator) string { return "glpat-" + g.of(words, 28) + "." + g.of(lowers, 9) }},
	{"gitlab runner", func(g *generator) string { return "glrt-" + g.of(alnums, 20) }},
	{"gitlab registration", func(g *generator) string { return "GR1348941" + g.of(alnums, 20) }},
	{"gitlab trigger", func(g *generator) string { return "glptt-" + g.of(hexes, 40) }},
	{"google api", func(g *generator) string { return "AIza" + g.of(words, 34) + g.of(alnums, 1) }},
	{"grafana service account", func(g *generator) string { return "glsa_" + g.of(alnums, 32) + "_" + g.of(hexes, 8) }},
	{"grafana cloud", func(g *generator) string { return "glc_" + g.of(alnums, 60) }},
	{"harness", func(g *generator) string {
		return "pat." + g.of(alnums, 22) + "." + g.of(alnums, 24) + "." + g.of(alnums, 20)
	}},
	{"hashicorp terraform", func(g *generator) string { return g.of(alnums, 14) + ".atlasv1." + g.of(alnums, 67) }},
	{"hashicorp vault", func(g *generator) string { return "hvs." + g.of(words, 90) + g.of(alnums, 2) }},
	{"heroku", func(g *generator) string { return "HRKU-AA" + g.of(words, 57) + g.of(alnums, 1) }},
	{"huggingface", func(g *generator) string {
		return "hf_" + g.of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", 34)
	}},
	{"infracost", func(g *generator) string { return "ico-" + g.of(alnums, 32) }},
	{"jwt", func(g *generator) string { return g.jwt() }},
	{"linear", func(g *generator) string { return "lin_api_" + g.of(alnums, 40) }},
	{"maxmind", func(g *generator) string { return g.of(alnums, 6) + "_" + g.of(alnums, 29) + "_mmk" }},
	{"notion", func(g *generator) string { return "ntn_" + g.of(digits, 11) + g.of(alnums, 35) }},
	{"npm", func(g *generator) string { return "npm_" + g.of(alnums, 36) }},
	{"octopus", func(g *generator) string { return "API-" + g.of(uppers, 26) }},
	{"openai project", func(g *generator) string {
		return "sk-proj-" + g.of(words, 74) + "T3BlbkFJ" + g.of(words, 73) + g.of(alnums, 1)
	}},
	{"openai legacy", func(g *generator) string { return "sk-" + g.of(alnums, 20) + "T3BlbkFJ" + g.of(alnums, 20) }},
	{"openshift", func(g *generator) string { return "sha256~" + g.of(words, 42) + g.of(alnums, 1) }},
	{"perplexity", func(g *generator) string { return "pplx-" + g.of(alnums, 48) }},
	{"planetscale", func(g *generator) string { return "pscale_tkn_" + g.of(alnums, 43) }},
	{"postman", func(g *generator) string { return "PMAK-" + g.of(hexes, 24) + "-" + g.of(hexes, 34) }},
	{"prefect", func(g *generator) string { return "pnu_" + g.of(alnums, 36) }},
	{"pulumi", func(g *generator) string { return "pul-" + g.of(hexes, 40) }},
	{"pypi", func(g *generator) string { return "pypi-AgEIcHlwaS5vcmc" + g.of(words, 120) }},
	{"readme", func(g *generator) string { return "rdme_" + g.of(lowers, 70) }},
	{"rubygems", func(g *generator) string { return "rubygems_" + g.of(hexes, 48) }},
	{"scalingo", func(g *generator) string { return "tk-us-" + g.of(words, 47) + g.of(alnums, 1) }},
	{"sendgrid", func(g *generator) string { return "SG." + g.of(alnums, 22) + "." + g.of(alnums, 43) }},
	{"sendinblue", func(g *generator) string { return "xkeysib-" + g.of(hexes, 64) + "-" + g.of(alnums, 16) }},
	{"sentry user", func(g *generator) string { return "sntryu_" + g.of(hexes, 64) }},
	{"settlemint", func(g *generator) string { return "sm_pat_" + g.of(alnums, 16) }},
	{"shippo", func(g *generator) string { return "shippo_live_" + g.of(hexes, 40) }},
	{"shopify", func(g *generator) string { return "shpat_" + g.of(hexes, 32) }},
	{"slack bot", func(g *generator) string {
		return "xoxb-" + g.of(digits, 12) + "-" + g.of(digits, 12) + "-" + g.of(alnums, 24)
	}},
	{"slack user", func(g *generator) string {
		return "xoxp-" + g.of(digits, 12) + "-" + g.of(digits, 12) + "-" + g.of(digits, 12) + "-" + g.of(hexes, 32)
	}},
	{"slack app", func(g *generator) string {
		return "xapp-1-A" + g.of(uppers, 10) + "-" + g.of(digits, 13) + "-" + g.of(hexes, 64)
	}},
	{"slack webhook", func(g *generator) string {
		return "https://hooks.slack.com/services/T" + g.of(uppers, 10) + "/B" + g.of(uppers, 10) + "/" + g.of(alnums, 24)
	}},
	{"sourcegraph", func(g *generator) string { return "sgp_" + g.of(hexes, 16) + "_" + g.of(hexes, 40) }},
	{"square", func(g *generator) string { return "sq0atp-" + g.of(alnums, 22) }},
	{"stripe live", func(g *generator) string { return "sk_live_" + g.of(alnums, 24) }},
	{"stripe restricted", func(g *generator) string { return "rk_test_" + g.of(alnums, 99) }},
	{"supabase", func(g *generator) string { return "sbp_" + g.of(hexes, 40) }},
	{"twilio", func(g *generator) string { return "SK" + g.of(hexes, 32) }},
	{"typeform", func(g *generator) string { return "tfp_" + g.of(alnums, 59) }},
}

// secretsWithoutShape are values that only their name gives away.
var secretsWithoutShape = []struct {
	name string
	make func(g *generator) string
}{
	{"hex of 128 bits", func(g *generator) string { return g.of(hexes, 32) }},
	{"hex of 256 bits", func(g *generator) string { return g.of(hexes, 64) }},
	{"base62 of 20", func(g *generator) string { return g.of(alnums, 20) }},
	{"base62 of 40", func(g *generator) string { return g.of(alnums, 40) }},
	{"base64 of 256 bits", func(g *generator) string { return base64.StdEncoding.EncodeToString([]byte(g.of(alnums, 32))) }},
	{"base64url of 43", func(g *generator) string { return g.of(alnums, 1) + g.of(words, 41) + g.of(alnums, 1) }},
	{"a password of 16", func(g *generator) string { return g.of(alnums, 7) + g.of("!#%^~+", 1) + g.of(alnums, 8) }},
	{"lower case and digits of 24", func(g *generator) string { return g.of(lowers, 24) }},
	{"a UUID", func(g *generator) string {
		return g.of(hexes, 8) + "-" + g.of(hexes, 4) + "-4" + g.of(hexes, 3) + "-a" + g.of(hexes, 3) + "-" + g.of(hexes, 12)
	}},
}

// place puts a secret into a file, as one is found there.
type place struct {
	file string
	text string // %s is the secret, %j as JSON inside JSON, %b base64 of what stands around, %u escaped for a URL
}

// anywhere are contexts in which nothing but the shape tells.
var anywhere = []place{
	{"notes.txt", "%s"},
	{"main.go", "\tconst x = \"%s\"\n"},
	{"app.js", "fetch(u, {a: '%s'})"},
	{"README.md", "Use `%s` for the demo."},
	{"build.log", "2026-11-01T08:00:00Z using %s for upload"},
	{"data.json", `{"a":{"b":["%s"]}}`},
	{"dump.json", `{"log":"first line\n%s\nlast"}`},
	{"run.sh", "curl -sS https://api.example/v1 -d x=%s\n"},
	{"page.html", `<input type="hidden" value="%s">`},
	{"mail.eml", "Here it is: <%s>, keep it."},
	{"list.csv", "a,%s,b\n"},
	{"url.txt", "https://x.example/cb?code=%s&state=1"},
	{"access.log", `GET /cb?next=https%%3A%%2F%%2Fx.example%%2F%%3Fa%%3D%u HTTP/1.1`},
	{"secret.yaml", "kind: Secret\ndata:\n  blob: %b\n"},
}

// named are contexts in which a name tells.
var named = []place{
	{".env", "DB_PASSWORD=%s\n"},
	{".env.production", "export SMTP_PASSWORD=\"%s\"\n"},
	{"deploy.sh", "export API_TOKEN='%s'\n"},
	{"values.yaml", "redis:\n  password: %s\n"},
	{"values.yml", "  clientSecret: \"%s\"\n"},
	{"app.properties", "spring.datasource.password=%s\n"},
	{"config.ini", "secret_key = %s\n"},
	{"config.toml", "auth_token = \"%s\"\n"},
	{"config.json", "{\n  \"apiKey\": \"%s\"\n}\n"},
	{"nested.json", `{"env":"{\"API_SECRET\":\"%s\"}"}`},
	{"main.tf", "  access_key = \"%s\"\n"},
	{"settings.py", "SECRET_KEY = '%s'\n"},
	{"dict.py", "conn = {'password': '%s', 'port': 5432}\n"},
	{"main.go", "\tclient.Token = \"%s\"\n"},
	{"short.go", "\tapiKey := \"%s\"\n"},
	{"setenv.go", "\tos.Setenv(\"DB_PASSWORD\", \"%s\")\n"},
	{"App.java", "ds.setPassword(\"%s\");\n"},
	{"app.ts", "const authToken: string = \"x\"; const apiSecret = `%s`;\n"},
	{"config.rb", "  :password => '%s',\n"},
	{"wp-config.php", "define('DB_PASSWORD', '%s');\n"},
	{"app.cs", "var secretKey = \"%s\";\n"},
	{"Dockerfile", "ENV API_TOKEN %s\n"},
	{"compose.yml", "    environment:\n      - POSTGRES_PASSWORD=%s\n"},
	{"deploy.yaml", "        - name: DB_PASSWORD\n          value: %s\n"},
	{"task.json", `{"name":"DB_PASSWORD","value":"%s"}`},
	{"nuget.config", `<add key="ClearTextPassword" value="%s" />`},
	{"settings.xml", "<server><password>%s</password></server>"},
	{".npmrc", "//registry.example/:_authToken=%s\n"},
	{".netrc", "machine api.example login care password %s\n"},
	{"job.sh", "mytool --api-token %s --verbose\n"},
	{"call.sh", "curl -H \"X-Api-Key: %s\" https://api.example/\n"},
	{"auth.sh", "curl -H \"Authorization: Bearer %s\" https://api.example/\n"},
	{"web.config", "Server=db;User Id=care;Password=%s;Encrypt=true\n"},
	{"dsn.go", "\tdsn := \"host=db user=care password=%s sslmode=require\"\n"},
	{"init.sql", "CREATE USER care WITH PASSWORD '%s';\n"},
	{"ci.yml", "  variables:\n    SONAR_TOKEN: %s\n"},
	{"algolia.js", "const algolia = \"%s\"\n"},
	{"notes.md", "The admin password: %s\n"},
	{"url.go", "\tdb := \"postgres://care:%s@db.internal/portal\"\n"},
	{"redis.env", "REDIS_URL=rediss://:%s@cache:6379/0\n"},
	{"secret.yaml", "kind: Secret\ndata:\n  password: %b\n"},
}

// innocent lines hold no secret, though they look the part.
var innocent = []place{
	{"go.sum", "golang.org/x/crypto v0.58.0 h1:2ATKMV4gqWZ0ZzKsnC7hxFrQaYkJ8pn3lx0eyOhAzZk=\n"},
	{"package-lock.json", `"integrity": "sha512-9mkFDBSpMQNgSjKgrmdCf9lWpS6DjF8Sg1j7WzCjWnrRqmJrR0PZ0zvb1dRzqqnq9zIE0jpdNq1pM5kbbiEnJg=="`},
	{"deploy.yaml", "image: registry.example/api@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\n"},
	{"log.txt", "commit 8d3f2c1a9b7e6d5c4b3a29180f7e6d5c4b3a2918\n"},
	{"a.json", `{"id":"3f2a9c71-77b1-4d0e-9a55-0d5c5e2f8b11"}`},
	{"a.yaml", "password: ${DB_PASSWORD}\n"},
	{"b.yaml", "password: {{ .Values.password }}\n"},
	{"c.yaml", "password: changeme\n"},
	{"d.yaml", "secretName: portal-tls-2026\n"},
	{"e.yaml", "      secretKeyRef:\n        name: portal-db\n        key: password\n"},
	{".env.example", "API_KEY=your-api-key-here\nDB_PASSWORD=changeme-changeme\n"},
	{"main.go", "\ttoken, err := lexer.Next()\n"},
	{"auth.go", "\tpassword := os.Getenv(\"DB_PASSWORD\")\n"},
	{"keys.go", "const sessionKey = \"session_user_v2\"\n"},
	{"url.go", "\tdsn := fmt.Sprintf(\"postgres://%%s:%%s@%%s/portal\", user, password, host)\n"},
	{"doc.md", "Connect with `postgres://user:password@localhost:5432/db`.\n"},
	{"doc2.md", "Authorization: Bearer <token>\n"},
	{"known_hosts", "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n"},
	{"cert.pem", "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUZ0nG7m0oU9x1yTz0Jf3Kc8D2Lw4wCgYIKoZIzj0EAwIw\n-----END CERTIFICATE-----\n"},
	{"style.css", ".token { color: #a1b2c3; background: url(data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==) }\n"},
	{"assembly.xml", "<dependency name=\"System\" publicKeyToken=\"b77a5c561934e089\" />\n"},
	{"aws.md", "aws_access_key_id = AKIA" + "IOSFODNN7EXAMPLE\n"},
	{"ci.yml", "  GITHUB_TOKEN: ${{ secrets.GITHUB_TOKEN }}\n"},
	{"run.sh", "export API_TOKEN=\"$(vault kv get -field=token secret/api)\"\n"},
	{"i18n.json", `{"password_label":"Wachtwoord","token_help":"Vul de code uit de e-mail in"}`},
	{"reader.go", "\tif !bytes.HasPrefix(b, []byte(\"-----BEGIN RSA " + "PRIVATE KEY-----\")) {\n"},
	{"csp.txt", "Content-Security-Policy: script-src 'nonce-r4nd0mN0nc3V4lu3' 'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='\n"},
	{"ttl.conf", "token_ttl = 1234567890123\n"},
	{"jwks.json", `{"kty":"EC","crv":"P-256","kid":"2026-11-key-1","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`},
}

type generator struct{ r *rand.Rand }

func (g *generator) of(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[g.r.IntN(len(alphabet))]
	}
	return string(b)
}

func (g *generator) jwt() string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc([]byte(`{"sub":"`+g.of(digits, 10)+`","exp":1798761600}`)) + "." + g.of(words, 43)
}

func (c place) with(secret string) string {
	if strings.Contains(c.text, "%b") {
		return strings.ReplaceAll(c.text, "%b", base64.StdEncoding.EncodeToString([]byte("token="+secret)))
	}
	return strings.NewReplacer("%%", "%", "%u", url.QueryEscape(secret), "%s", secret).Replace(c.text)
}

// sample is one file of the corpus.
type sample struct{ what, file, text string }

// corpus makes all shapes in all contexts, then all values in all named ones,
// then what needs contexts of its own.
func corpus(g *generator) []sample {
	var out []sample
	for _, t := range tokens {
		for _, c := range append(append([]place(nil), anywhere...), named...) {
			out = append(out, sample{t.name + " in " + c.file, c.file, c.with(t.make(g))})
		}
	}
	for _, v := range secretsWithoutShape {
		for _, c := range named {
			if strings.Contains(c.file, "algolia") && v.name == "a UUID" {
				continue // an id as often as not
			}
			out = append(out, sample{v.name + " in " + c.file, c.file, c.with(v.make(g))})
		}
	}
	for _, kind := range []string{"", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH ", "DSA "} {
		var body strings.Builder
		for range 12 {
			body.WriteString(g.of(alnums, 64) + "\n")
		}
		if kind == "OPENSSH " {
			body.Reset()
			body.WriteString("b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n" + g.of(alnums, 70) + "\n" + g.of(alnums, 70) + "\n")
		}
		block := "-----BEGIN " + kind + "PRIVATE KEY-----\n" + body.String() + "-----END " + kind + "PRIVATE KEY-----\n"
		quoted, _ := json.Marshal(block)
		out = append(out,
			sample{kind + "key alone", "server.key", block},
			sample{kind + "key in YAML", "values.yaml", "tls:\n  data: |\n    " + strings.ReplaceAll(block, "\n", "\n    ") + "\n"},
			sample{kind + "key in JSON", "sa.json", `{"data":` + string(quoted) + "}"},
			sample{kind + "key in base64", "secret.yaml", "kind: Secret\ndata:\n  tls: " + base64.StdEncoding.EncodeToString([]byte(block)) + "\n"},
		)
	}
	return out
}

// Both scanners get the same files. gitleaks runs with its default rules and,
// as its command line does, decodes five layers deep.
func TestScanFindsAtLeastWhatGitleaksFinds(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.1")
	theirs, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		t.Fatal(err)
	}
	theirs.MaxDecodeDepth = 5
	g := &generator{rand.New(rand.NewPCG(2026, 11))} // the same corpus each run
	all := corpus(g)
	shapes := len(tokens)
	if contexts := len(anywhere) + len(named); shapes < 40 || contexts < 20 || len(all) < 40*20 {
		t.Fatalf("%d shapes in %d contexts", shapes, contexts)
	}
	found := map[string]int{}
	lost := map[string]int{}
	for _, s := range all {
		ours := len(ourHits(t, s.file, s.text)) > 0
		his := len(theirs.DetectString(s.text)) > 0
		switch {
		case ours && his:
			found["both"]++
		case ours:
			found["only ours"]++
		case his:
			found["only gitleaks"]++
			_, in, _ := strings.Cut(s.what, " in ")
			lost[in]++
			t.Logf("only gitleaks finds: %s: %.120q", s.what, s.text)
		default:
			found["neither"]++
			t.Logf("neither finds: %s: %.120q", s.what, s.text)
		}
	}
	recall := func(n int) float64 { return 100 * float64(n) / float64(len(all)) }
	our, their := found["both"]+found["only ours"], found["both"]+found["only gitleaks"]
	t.Logf("%d secrets of %d shapes: hardening finds %d (%.1f %%), gitleaks 8.30.1 %d (%.1f %%); both %d, neither %d", len(all), shapes, our, recall(our), their, recall(their), found["both"], found["neither"])
	if our < their {
		t.Errorf("hardening finds %d, gitleaks %d", our, their)
	}
	if their < len(all)/2 {
		t.Errorf("gitleaks finds only %d of %d: it is not set up as it should be", their, len(all))
	}
	if recall(our) < 98 {
		t.Errorf("recall is %.1f %%, it was 98 %%", recall(our))
	}
	names := make([]string, 0, len(lost))
	for in, n := range lost {
		names = append(names, fmt.Sprintf("%s %d", in, n))
	}
	sort.Strings(names)
	t.Logf("only gitleaks, by file: %v", names)
}

func TestScanHitsNoInnocentLine(t *testing.T) {
	theirs, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range innocent {
		text := strings.ReplaceAll(c.text, "%%", "%")
		for _, l := range ourHits(t, c.file, text) {
			t.Errorf("%v in %q", l, text)
		}
		n += len(theirs.DetectString(text))
	}
	t.Logf("%d innocent files: hardening hits none, gitleaks %d", len(innocent), n)
}

func ourHits(t *testing.T, file, text string) []secrets.Leak {
	t.Helper()
	r, err := secrets.Scan(t.Context(), fstest.MapFS{file: {Data: []byte(text)}}, secrets.ScanOptions{})
	if err != nil || r.Files != 1 {
		t.Fatalf("%s: %+v, %v", file, r, err)
	}
	return r.Leaks
}
