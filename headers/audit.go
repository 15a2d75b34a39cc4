package headers

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/inovy/hardening"
)

// Audit judges the headers of a response, whoever sent it, by published rules:
// OWASP ASVS 5.0 section V3.4, the OWASP Secure Headers Project, internet.nl
// and the MDN HTTP Observatory. It returns a finding for each rule, passed or
// failed, and does not read the body: [AuditPage] does. Package headerstest
// asserts them in the tests of a service.
func Audit(res *http.Response) []hardening.Finding {
	return auditHeaders(res, ObservatoryScore(res)).findings
}

func auditHeaders(res *http.Response, score int) *audit {
	a := &audit{res: res}
	if text, ok := joined(res, "Content-Security-Policy"); ok {
		a.csp, _ = readPolicy(text)
	}
	a.transport()
	a.policy()
	a.nonces()
	a.document()
	a.leaks()
	a.owasp()
	a.add("HDN-HEADERS-119", hardening.Medium, score >= 100, "The MDN Observatory's score is an A+",
		fmt.Sprint(score), "at least 100", "mend what fails above", supports(hardening.ASVS, "v5.0.0-3.4.3"), supports(hardening.ISO27002, "8.26"))
	return a
}

// audit gathers the findings about one response.
type audit struct {
	res      *http.Response
	csp      sourceLists // nil if there is none, or an invalid one
	findings []hardening.Finding
}

func (a *audit) add(id string, severity hardening.Severity, passed bool, title, observed, expected, remedy string, controls ...hardening.Control) {
	if observed == "" {
		observed = "not sent"
	}
	a.findings = append(a.findings, hardening.Finding{
		ID: id, Component: "response", Severity: severity, Passed: passed, Title: title,
		Observed: clip(observed), Expected: expected, Remedy: remedy, Controls: controls,
	})
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}

// value is a header's only value; a header that stands twice has none that
// clients agree on.
func (a *audit) value(key string) string {
	if v := a.res.Header[http.CanonicalHeaderKey(key)]; len(v) == 1 {
		return strings.TrimSpace(v[0])
	}
	return ""
}

func (a *audit) sent(key string) string { s, _ := joined(a.res, key); return s }

func (a *audit) transport() {
	hsts := a.value("Strict-Transport-Security")
	age, subdomains := readHSTS(hsts)
	const why = "send Strict-Transport-Security once, over HTTPS, as headers.Web() does"
	a.add("HDN-HEADERS-100", hardening.High, age >= 31536000, "Browsers insist on HTTPS for a year",
		a.sent("Strict-Transport-Security"), "max-age of at least 31536000, once", why, implements(hardening.ASVS, "v5.0.0-3.4.1"), supports(hardening.RFC, "6797-7.2"))
	a.add("HDN-HEADERS-101", hardening.Medium, age >= 31536000 && subdomains, "Browsers insist on HTTPS for subdomains too",
		a.sent("Strict-Transport-Security"), "includeSubDomains", why, implements(hardening.ASVS, "v5.0.0-3.4.1"))
	allowed := strings.Trim(a.sent("Access-Control-Allow-Origin"), " \t")
	reflected := a.res.Request != nil && allowed != "" && allowed == a.res.Request.Header.Get("Origin")
	a.add("HDN-HEADERS-102", hardening.High, allowed != "*" && allowed != "null" && !(reflected && scoreCORS(a.res) < 0), "Answers are shared with named sites only",
		allowed, "not sent, or a listed origin", "use headers/cors", implements(hardening.ASVS, "v5.0.0-3.4.2"))
}

// readHSTS reads the header as browsers do, which ignore one that breaks the
// grammar or says a thing twice (RFC 6797 section 6.1); age is then -1.
func readHSTS(text string) (age int, subdomains bool) {
	age = -1
	seen := map[string]bool{}
	for part := range strings.SplitSeq(strings.ToLower(text), ";") {
		name, value, _ := strings.Cut(part, "=")
		name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
		if name == "" {
			continue
		}
		if seen[name] || strings.ContainsAny(name, ", \t") {
			return -1, false
		}
		seen[name] = true
		switch name {
		case "includesubdomains":
			subdomains = true
		case "max-age":
			if len(value) > 2 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil && !errors.Is(err, strconv.ErrRange) {
				return -1, false
			}
			age = int(min(n, 1<<31-1))
		}
	}
	return age, subdomains
}

func only(set map[string]bool, words ...string) bool {
	for s := range set {
		if !slices.Contains(words, s) {
			return false
		}
	}
	return len(set) > 0
}

func (a *audit) policy() {
	text := a.sent("Content-Security-Policy")
	asvs := implements(hardening.ASVS, "v5.0.0-3.4.3")
	objects := a.csp["object-src"]
	if objects == nil {
		objects = a.csp["default-src"]
	}
	a.add("HDN-HEADERS-103", hardening.High, only(objects, "'none'") && only(a.csp["base-uri"], "'none'"), "The policy switches plug-ins and other base URLs off",
		text, "object-src 'none'; base-uri 'none'", "use the policy of headers.Web()", asvs)
	scripts := a.csp["script-src"]
	if scripts == nil {
		scripts = a.csp["default-src"]
	}
	byNonce := len(scripts) > 0
	for _, set := range []map[string]bool{scripts, a.csp["script-src-elem"], a.csp["script-src-attr"]} {
		byNonce = byNonce && !hasAny(set, func(s string) bool {
			return !trusts(s) && s != "'none'" && s != "'strict-dynamic'" && s != "'report-sample'"
		})
	}
	a.add("HDN-HEADERS-104", hardening.Medium, byNonce, "Scripts run only by nonce or hash",
		text, "nonces, hashes or 'none' in script-src", "use headers.NonceSource and headers.NonceAttr", asvs)
	unsafe := a.csp == nil
	for name, set := range a.csp {
		unsafe = unsafe || hasAny(set, func(s string) bool {
			return strings.HasPrefix(s, "'unsafe-") || isBroad(s) || isInsecure(s) || hasHosts(name) && isLooseHost(s) ||
				s == "data:" && slices.Contains([]string{"default-src", "script-src", "object-src", "frame-src"}, name)
		})
	}
	a.add("HDN-HEADERS-105", hardening.High, !unsafe, "The policy has no unsafe source",
		text, "no 'unsafe-...', whole schemes, '*', hosts without https:// or data: for code", "name the hosts", asvs)
	own := []string{"'none'", "'self'"}
	a.add("HDN-HEADERS-106", hardening.Medium, only(a.csp["default-src"], own...) && only(a.csp["base-uri"], own...) && only(a.csp["form-action"], own...),
		"What the policy does not name comes from here", text, "default-src, base-uri and form-action of 'none' or 'self'", "use the policy of headers.Web()", asvs)
	a.add("HDN-HEADERS-107", hardening.Medium, only(a.csp["frame-ancestors"], own...), "No other site may frame the response",
		text, "frame-ancestors 'none' or 'self'", "use the policy of headers.Web()", implements(hardening.ASVS, "v5.0.0-3.4.6"), supports(hardening.CWE, "1021"))
	a.add("HDN-HEADERS-108", hardening.Info, a.csp["report-to"] != nil || a.csp["report-uri"] != nil, "Violations are reported",
		text, "report-to or report-uri", "set CSP.ReportTo and serve a ReportCollector", implements(hardening.ASVS, "v5.0.0-3.4.7"))
}

// nonces judges how long the nonces of script-src and style-src are, and what
// they are made of: internet.nl and the grammar of CSP Level 2 know no '-' and
// '_', and anything shorter can be guessed (CSP Level 3 section 7.1).
func (a *audit) nonces() {
	var weak []string
	for name, set := range a.csp {
		for s := range set {
			nonce, ok := strings.CutPrefix(s, "'nonce-")
			if nonce = strings.TrimRight(strings.TrimSuffix(nonce, "'"), "="); ok &&
				(len(nonce) < 22 || strings.Trim(nonce, "abcdefghijklmnopqrstuvwxyz0123456789+/") != "") {
				weak = append(weak, name)
			}
		}
	}
	slices.Sort(weak)
	a.add("HDN-HEADERS-129", hardening.Medium, len(weak) == 0, "Nonces are too long to guess, and every judge can read them",
		fmt.Sprintf("weak: %v", slices.Compact(weak)), "weak: []; 22 characters of base64 (128 bits) or more, without '-' and '_'",
		"use headers.NonceSource", implements(hardening.ASVS, "v5.0.0-3.4.3"))
}

// hasHosts reports whether a directive's words are sources.
func hasHosts(name string) bool {
	return strings.Contains(name, "-src") || name == "base-uri" || name == "form-action" || name == "frame-ancestors"
}

// isLooseHost reports whether a source is a host that says no scheme, so that
// plain HTTP matches, or this machine's address, which is whoever visits
// (internet.nl refuses both).
func isLooseHost(s string) bool {
	scheme, host, ok := strings.Cut(s, "://")
	if !ok {
		return !strings.HasPrefix(s, "'") && !strings.HasSuffix(s, ":")
	}
	host, _, _ = strings.Cut(host, "/")
	host, _, _ = strings.Cut(host, ":")
	return host == "127.0.0.1" || scheme == ""
}

func (a *audit) document() {
	frame := strings.ToUpper(a.value("X-Frame-Options"))
	a.add("HDN-HEADERS-109", hardening.Low, frame == "DENY" || frame == "SAMEORIGIN", "Old browsers do not let others frame it either",
		a.sent("X-Frame-Options"), "DENY or SAMEORIGIN, once", "send X-Frame-Options", supports(hardening.ASVS, "v5.0.0-3.4.6"))
	a.add("HDN-HEADERS-110", hardening.Medium, strings.EqualFold(a.value("X-Content-Type-Options"), "nosniff"), "Browsers do not guess its type",
		a.sent("X-Content-Type-Options"), "nosniff, once", "send X-Content-Type-Options", implements(hardening.ASVS, "v5.0.0-3.4.4"))
	a.add("HDN-HEADERS-111", hardening.Low, scoreReferrer(a.res) > 0, "Other sites do not learn its path",
		a.sent("Referrer-Policy"), "strict-origin-when-cross-origin or stricter", "send Referrer-Policy", implements(hardening.ASVS, "v5.0.0-3.4.5"))
	opener, _, _ := strings.Cut(strings.ToLower(a.value("Cross-Origin-Opener-Policy")), ";") // report-to may follow
	opener = strings.TrimSpace(opener)
	html := strings.HasPrefix(strings.ToLower(a.value("Content-Type")), "text/html")
	a.add("HDN-HEADERS-112", hardening.Low, !html || slices.Contains([]string{"same-origin", "same-origin-allow-popups", "noopener-allow-popups"}, opener), "A page shares no window with the site that opened it",
		a.sent("Cross-Origin-Opener-Policy"), "same-origin on documents", "send Cross-Origin-Opener-Policy", implements(hardening.ASVS, "v5.0.0-3.4.8"))
	resource := strings.ToLower(a.value("Cross-Origin-Resource-Policy"))
	a.add("HDN-HEADERS-113", hardening.Low, resource == "same-origin" || resource == "same-site", "Other sites cannot embed it",
		a.sent("Cross-Origin-Resource-Policy"), "same-origin or same-site", "send Cross-Origin-Resource-Policy", implements(hardening.ASVS, "v5.0.0-3.5.8"))
	permissions := a.value("Permissions-Policy")
	a.add("HDN-HEADERS-114", hardening.Low, permissions != "" && !strings.Contains(permissions, "*"), "Browser features are off unless named",
		a.sent("Permissions-Policy"), "a list without \"=*\"", "send Permissions-Policy", supports(hardening.ISO27002, "8.26"))
	kind := strings.ToLower(a.value("Content-Type"))
	textual := strings.HasPrefix(kind, "text/") || strings.Contains(kind, "xml")
	a.add("HDN-HEADERS-115", hardening.Low, !textual || strings.Contains(kind, "charset="), "Text says how it is encoded",
		a.sent("Content-Type"), "a charset for text and XML", "write Content-Type with its charset", supports(hardening.ASVS, "v5.0.0-4.1.1"))
	var weak []string
	for _, c := range a.res.Cookies() {
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode && c.SameSite != http.SameSiteStrictMode {
			weak = append(weak, c.Name)
		}
	}
	// What Go does not take for a cookie, browsers may.
	if n := len(a.res.Header["Set-Cookie"]) - len(a.res.Cookies()); n > 0 {
		weak = append(weak, fmt.Sprintf("%d malformed", n))
	}
	a.add("HDN-HEADERS-116", hardening.High, len(weak) == 0, "Cookies are Secure, HttpOnly and SameSite",
		fmt.Sprintf("weak: %q", weak), "no weak cookie", "set all three", supports(hardening.ASVS, "v5.0.0-3.3.1"), supports(hardening.ASVS, "v5.0.0-3.3.2"), supports(hardening.ASVS, "v5.0.0-3.3.4"))
}

func (a *audit) leaks() {
	var told, twice []string
	for _, k := range append(slices.Clone(telltale), obsolete...) {
		if v := a.res.Header.Values(k); len(v) > 0 && v[0] != "" && !(strings.EqualFold(k, "X-Xss-Protection") && strings.TrimSpace(v[0]) == "0") && k != "Report-To" {
			told = append(told, http.CanonicalHeaderKey(k))
		}
	}
	slices.Sort(told)
	a.add("HDN-HEADERS-117", hardening.Low, len(told) == 0, "No header tells what runs here, and none is obsolete",
		fmt.Sprint(told), "[]", "remove them; in front of others' code, use Middleware.SanitizeUpstream", supports(hardening.ASVS, "v5.0.0-13.4.6"), supports(hardening.OWASP, "A05:2021"))
	for _, k := range managed {
		if len(a.res.Header[k]) > 1 {
			twice = append(twice, k)
		}
	}
	a.add("HDN-HEADERS-118", hardening.Medium, len(twice) == 0, "No policy header stands twice",
		fmt.Sprint(twice), "[]", "use Middleware.Enforce", supports(hardening.ISO27002, "8.26"))
}

// owasp has what the tests of the OWASP Secure Headers Project ask for beyond
// the rules above, and internet.nl's wish for answers that are not compressed.
// headers.Strict meets them all.
func (a *audit) owasp() {
	const strict = "use headers.Strict()"
	hardened := supports(hardening.ISO27002, "8.26")
	a.add("HDN-HEADERS-120", hardening.Low, strings.EqualFold(a.value("X-Permitted-Cross-Domain-Policies"), "none"), "No plug-in reads it from another site",
		a.sent("X-Permitted-Cross-Domain-Policies"), "none, once", "send X-Permitted-Cross-Domain-Policies", hardened)
	a.add("HDN-HEADERS-121", hardening.Info, strings.EqualFold(a.value("X-Dns-Prefetch-Control"), "off"), "Links are not resolved before anyone follows them",
		a.sent("X-Dns-Prefetch-Control"), "off, once", strict, hardened)
	a.add("HDN-HEADERS-122", hardening.Info, strings.EqualFold(a.value("Cross-Origin-Embedder-Policy"), "require-corp"), "A page embeds only what consents to it",
		a.sent("Cross-Origin-Embedder-Policy"), "require-corp, once", strict, hardened)
	cache := strings.ToLower(a.value("Cache-Control"))
	a.add("HDN-HEADERS-123", hardening.Low, cacheHas(cache, "no-store") && cacheHas(cache, "max-age=0"), "No cache keeps it",
		a.sent("Cache-Control"), "no-store, max-age=0", "send Cache-Control, but for public assets", supports(hardening.ASVS, "v5.0.0-14.3.2"))
	a.add("HDN-HEADERS-124", hardening.Info, strings.EqualFold(a.value("Referrer-Policy"), "no-referrer"), "No site learns that a link stood here",
		a.sent("Referrer-Policy"), "no-referrer, once", strict, supports(hardening.ASVS, "v5.0.0-3.4.5"))
	age, subdomains := readHSTS(a.value("Strict-Transport-Security"))
	a.add("HDN-HEADERS-125", hardening.Info, age >= 63072000 && subdomains, "Browsers insist on HTTPS for two years",
		a.sent("Strict-Transport-Security"), "max-age of at least 63072000; includeSubDomains", strict, supports(hardening.ASVS, "v5.0.0-3.4.1"))
	var open []string
	denied := map[string]string{}
	for part := range strings.SplitSeq(a.value("Permissions-Policy"), ",") {
		name, list, _ := strings.Cut(strings.Trim(part, " \t"), "=")
		denied[name] = list
	}
	for _, p := range Strict().Permissions {
		if list, ok := denied[string(p.Feature)]; !ok || list != "()" && (p.Feature != "sync-xhr" || list != "(self)") {
			open = append(open, string(p.Feature))
		}
	}
	a.add("HDN-HEADERS-126", hardening.Info, len(open) == 0, "The browser features of the OWASP Secure Headers Project are off",
		fmt.Sprintf("open: %v", open), "open: []", strict, hardened)
	packed := a.res.Uncompressed || a.sent("Content-Encoding") != ""
	a.add("HDN-HEADERS-127", hardening.Info, !packed, "It is not compressed, so that its length tells nothing of a secret in it",
		fmt.Sprintf("compressed: %t", packed), "compressed: false", "compress only what holds no secret (BREACH)", hardened)
}
