package headers

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// ObservatoryScore is what the MDN HTTP Observatory (algorithm 4) gives a site
// that answers so: 100, less its published penalties, plus its bonuses if at
// least 90 are left. It takes for granted what one response cannot show: a
// valid certificate, a redirect from plain HTTP, a host that is not on the
// preload list, and a page whose scripts change nothing, which
// [ObservatoryPageScore] looks at. 100 and more is an A+; the most that can be
// reached here is 140.
func ObservatoryScore(res *http.Response) int { return observatory(res, 0) }

func observatory(res *http.Response, integrity int) int {
	base, all := 100, 100
	for _, modifier := range []int{
		scoreCSP(res), scoreCookies(res), scoreCORS(res), scoreReferrer(res), scoreHSTS(res),
		scoreSniffing(res), scoreFraming(res), scoreResource(res), integrity,
	} {
		all += modifier
		base += min(modifier, 0)
	}
	if base < 90 {
		return max(base, 0)
	}
	return all
}

// joined is a header as clients see it that join repetitions.
func joined(res *http.Response, key string) (string, bool) {
	v, ok := res.Header[http.CanonicalHeaderKey(key)]
	return strings.Join(v, ", "), ok && len(v) > 0
}

func lowered(res *http.Response, key string, most int) string {
	s, _ := joined(res, key)
	return strings.ToLower(strings.TrimSpace(s[:min(len(s), most)]))
}

// sourceLists are a policy's directives; those that fall back to another share
// its set.
type sourceLists map[string]map[string]bool

// readPolicy returns nil for a policy that the Observatory calls invalid.
func readPolicy(text string) (lists sourceLists, repeated bool) {
	text = strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(text))
	if len(text) < len("img-src")-1 {
		return nil, false
	}
	lists = sourceLists{}
	for part := range strings.SplitSeq(text, ";") {
		words := strings.Fields(part)
		if len(words) == 0 {
			continue
		}
		name := strings.ToLower(words[0])
		if lists[name] != nil {
			if name != "report-uri" && name != "report-to" {
				return nil, false
			}
			repeated = true
		}
		sources := words[1:]
		for i := range sources {
			sources[i] = strings.ToLower(sources[i])
		}
		if slices.Sort(sources); len(sources) == 0 {
			sources = []string{"'none'"}
		}
		set := map[string]bool{}
		for i, s := range sources {
			if i == 0 || !strings.HasPrefix(s, sources[i-1]) { // covered by the shorter one
				set[s] = true
			}
		}
		lists[name] = set
	}
	return lists, repeated
}

var broadSources = []string{"ftp:", "http:", "https:", "*", "http://*", "http://*.*", "https://*", "https://*.*"}

func (l sourceLists) orDefault(name string) map[string]bool {
	for _, n := range []string{name, "default-src"} {
		if l[n] != nil {
			return l[n]
		}
	}
	return map[string]bool{"*": true}
}

func hasAny(set map[string]bool, match func(string) bool) bool {
	for s := range set {
		if match(s) {
			return true
		}
	}
	return false
}

func trusts(s string) bool {
	return strings.HasPrefix(s, "'nonce-") || strings.HasPrefix(s, "'sha256-") || strings.HasPrefix(s, "'sha384-") || strings.HasPrefix(s, "'sha512-")
}

func isBroad(s string) bool { return slices.Contains(broadSources, s) }

func isBroadOrInline(s string) bool { return isBroad(s) || s == "'unsafe-inline'" || s == "data:" }

func isInsecure(s string) bool {
	return strings.HasPrefix(s, "http:") || strings.HasPrefix(s, "ftp:")
}

func scoreCSP(res *http.Response) int {
	text, ok := joined(res, "Content-Security-Policy")
	if !ok {
		return -25
	}
	lists, repeated := readPolicy(text)
	if len(lists) == 0 {
		return -25
	}
	scripts, styles, objects := lists.orDefault("script-src"), lists.orDefault("style-src"), lists.orDefault("object-src")
	for _, set := range []map[string]bool{scripts, styles} {
		if hasAny(set, trusts) {
			delete(set, "'unsafe-inline'")
		}
	}
	if scripts["'strict-dynamic'"] {
		if !hasAny(scripts, trusts) {
			return -25
		}
		for s := range scripts {
			if s == "'self'" || s == "'unsafe-inline'" || slices.ContainsFunc(broadSources, func(b string) bool { return strings.HasPrefix(s, b) }) {
				delete(scripts, s)
			}
		}
	}
	active := hasAny(scripts, isInsecure)
	for name, set := range lists {
		if name != "img-src" && name != "media-src" && name != "script-src" {
			active = active || hasAny(set, isInsecure)
		}
	}
	passive := hasAny(lists.orNothing("img-src"), isInsecure) || hasAny(lists.orNothing("media-src"), isInsecure)
	score := 5
	switch {
	case hasAny(scripts, isBroadOrInline) || hasAny(objects, isBroad), active:
		return -20
	case scripts["'unsafe-eval'"] || styles["'unsafe-eval'"]:
		return -10
	case passive:
		score = -10
	case hasAny(styles, isBroadOrInline):
		score = 0
	case len(lists["default-src"]) == 1 && lists["default-src"]["'none'"]:
		score = 10
	}
	if repeated {
		return 0
	}
	return score
}

func (l sourceLists) orNothing(name string) map[string]bool {
	if l[name] == nil && l["default-src"] == nil {
		return nil
	}
	return l.orDefault(name)
}

const sixMonths = 15552000

// secondsOf reads the leading digits of a max-age, as JavaScript does.
func secondsOf(s string) (n int, isNumber bool) {
	s = strings.TrimLeft(s, " \t")
	end := 0
	if s != "" && (s[0] == '-' || s[0] == '+') {
		end++
	}
	for end < len(s) && '0' <= s[end] && s[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(s[:min(end, 18)])
	return n, err == nil
}

func scoreHSTS(res *http.Response) int {
	text, ok := joined(res, "Strict-Transport-Security")
	if !ok || strings.Contains(text, ",") {
		return -20
	}
	score := -20
	for part := range strings.SplitSeq(text[:min(len(text), 1024)], ";") {
		if age, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(part)), "max-age="); ok {
			score = 0
			if n, isNumber := secondsOf(age); isNumber && n < sixMonths {
				score = -10
			}
		}
	}
	return score
}

func scoreSniffing(res *http.Response) int {
	if lowered(res, "X-Content-Type-Options", 256) != "nosniff" {
		return -5
	}
	return 0
}

func scoreFraming(res *http.Response) int {
	if text, ok := joined(res, "Content-Security-Policy"); ok {
		if lists, _ := readPolicy(text); lists["frame-ancestors"] != nil {
			return 5
		}
	}
	switch v := lowered(res, "X-Frame-Options", 1024); {
	case v == "deny", v == "sameorigin", strings.HasPrefix(v, "allow-from"):
		return 0
	}
	return -20
}

func scoreReferrer(res *http.Response) int {
	text, ok := joined(res, "Referrer-Policy")
	if !ok {
		return 0
	}
	score := -5
	for part := range strings.SplitSeq(text, ",") { // the last known one counts
		switch p := strings.ToLower(strings.TrimSpace(part)); {
		case slices.Contains(leaky, p):
			score = -5
		case slices.Contains([]string{"no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin"}, p):
			score = 5
		}
	}
	return score
}

func scoreResource(res *http.Response) int {
	switch lowered(res, "Cross-Origin-Resource-Policy", 256) {
	case "same-origin", "same-site":
		return 10
	case "cross-origin", "":
		return 0
	}
	return -5
}

func scoreCORS(res *http.Response) int {
	allowed, _ := joined(res, "Access-Control-Allow-Origin")
	if res.Request == nil || allowed == "" || allowed == "*" {
		return 0
	}
	if allowed == res.Request.Header.Get("Origin") && lowered(res, "Access-Control-Allow-Credentials", 16) == "true" {
		return -50
	}
	return 0
}

func scoreCookies(res *http.Response) int {
	const none = -1
	// The Observatory keeps the worst result in an order of its own, which is
	// not that of the penalties.
	penalties := []int{-5, -20, -10, -20, -20, -30, -40}
	found := none
	hsts := scoreHSTS(res) == 0
	everywhere := true
	note := func(i int) { found = max(found, i) }
	for _, raw := range res.Header["Set-Cookie"] {
		for part := range strings.SplitSeq(raw, ";") {
			k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
			if strings.EqualFold(strings.TrimSpace(k), "samesite") && !slices.Contains([]string{"lax", "strict", "none"}, strings.ToLower(strings.TrimSpace(v))) {
				note(3)
			}
		}
	}
	cookies := map[string]*http.Cookie{} // those that browsers keep; of a name, the last one
	for _, c := range res.Cookies() {
		host := strings.HasPrefix(c.Name, "__Host-")
		if (host || strings.HasPrefix(c.Name, "__Secure-")) && !c.Secure || host && (c.Path != "/" || c.Domain != "") {
			continue
		}
		cookies[c.Name+" "+c.Domain+" "+c.Path] = c
	}
	if len(cookies) == 0 {
		return 0
	}
	for _, c := range cookies {
		name := strings.ToLower(c.Name)
		session := strings.Contains(name, "login") || strings.Contains(name, "sess")
		sameSite := c.SameSite == http.SameSiteLaxMode || c.SameSite == http.SameSiteStrictMode || c.SameSite == http.SameSiteNoneMode
		everywhere = everywhere && sameSite
		switch {
		case c.Secure:
		case hsts:
			note(0)
		default:
			note(1)
		}
		if !c.Secure && c.SameSite == http.SameSiteNoneMode {
			note(3)
		}
		if strings.Contains(name, "csrf") && !sameSite {
			note(4)
		}
		if session && !c.Secure && hsts {
			note(2)
		} else if session && !c.Secure {
			note(6)
		}
		if session && !c.HttpOnly {
			note(5)
		}
	}
	switch {
	case found != none:
		return penalties[found]
	case everywhere:
		return 5
	}
	return 0
}
