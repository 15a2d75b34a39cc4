package headers

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/inovy/hardening/internal/faults"
)

// validate names faults of the Config's field called name. A policy that is not
// enforced may be a part of one.
func (c *CSP) validate(name string, enforced bool, f *faults.Collector) {
	used := map[string]map[Source]bool{}
	for _, d := range c.directives() {
		used[d.name] = map[Source]bool{}
		d.required = d.required && enforced
		c.validateList(name, d, used[d.name], f)
	}
	c.validateAllowed(name, used, f)
	c.validateSandbox(name, f)
	c.validateTrustedTypes(name, f)
	c.validateReporting(name, f)
}

func (c *CSP) validateList(name string, d directive, used map[Source]bool, f *faults.Collector) {
	field, list := name+"."+d.field, *d.list
	switch {
	case list == nil && d.required:
		f.Missing(field, "is missing: "+d.name+" must be stated", "write []headers.Source{headers.None}, or what the pages need")
		return
	case list == nil:
		return
	case len(list) == 0:
		f.Missing(field, "is empty but not nil", "write []headers.Source{headers.None}, or leave it nil to fall back to DefaultSrc")
		return
	}
	var none, dynamic, trusted bool
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if slices.Contains(list[:i], s) {
			f.Add(at, s, "is listed twice", "keep one")
			continue
		}
		none = none || s == None
		dynamic = dynamic || s == StrictDynamic
		trusted = trusted || s == NonceSource || isHash(s)
		v := judge(s, d.kind)
		if v.unsafe {
			used[s] = true
			if slices.Contains(c.DangerouslyAllow[d.name], s) {
				continue
			}
			v.fix += fmt.Sprintf("; to keep it, list it in %s.DangerouslyAllow[%q]", name, d.name)
		}
		if v.reason != "" {
			f.Add(at, s, v.reason, v.fix)
		}
	}
	if none && len(list) > 1 {
		f.Add(field, list, "has 'none' beside other sources, which browsers then ignore", "keep 'none' alone, or drop it")
	}
	if dynamic && !trusted {
		f.Add(field, list, "has 'strict-dynamic' without a nonce or hash, so that no script runs", "add headers.NonceSource")
	}
}

func (c *CSP) validateAllowed(policy string, used map[string]map[Source]bool, f *faults.Collector) {
	if c.DangerouslyAllow != nil && len(c.DangerouslyAllow) == 0 {
		f.Missing(policy+".DangerouslyAllow", "is empty but not nil", "leave it nil")
	}
	for _, name := range slices.Sorted(maps.Keys(c.DangerouslyAllow)) {
		field := fmt.Sprintf("%s.DangerouslyAllow[%q]", policy, name)
		sources := c.DangerouslyAllow[name]
		known, ok := used[name]
		switch {
		case !ok:
			fix := "name a directive that has sources"
			if n := nearest(name, slices.Sorted(maps.Keys(used))); n != "" {
				fix = fmt.Sprintf("write %q", n)
			}
			f.Add(field, name, "is not a directive with sources", fix)
			continue
		case len(sources) == 0:
			f.Missing(field, "is empty", "list the sources, or drop the entry")
		}
		for i, s := range sources {
			if !known[s] {
				f.Add(fmt.Sprintf("%s[%d]", field, i), s, "allows what the directive does not list, or what needs no leave", "drop it")
			}
		}
	}
}

// verdict is what is wrong with a source. An unsafe one is well formed and can
// be allowed by name.
type verdict struct {
	reason, fix string
	unsafe      bool
}

// judge says what is wrong with a source in a directive of this kind; an empty
// reason means nothing is.
func judge(s Source, kind directiveKind) verdict {
	text := string(s)
	if s == NonceSource {
		if kind == kindScript || kind == kindStyle || kind == kindDefault {
			return verdict{}
		}
		return verdict{reason: "has no effect in this directive", fix: "use it in ScriptSrc or StyleSrc"}
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`;,"<>\^{|}`+"`", r) }); i >= 0 || text == "" {
		return verdict{reason: "is not one source: spaces, control characters, ';', ',' and non-ASCII text cannot stand in it", fix: "write one source per element, host names in punycode"}
	}
	if text[0] == '\'' {
		return judgeQuoted(text, kind)
	}
	if slices.Contains(keywords, "'"+text+"'") || strings.HasPrefix(text, "nonce-") || hashAlgorithm("'"+text) != 0 {
		return verdict{reason: "lacks its quotes, and would be read as a host name", fix: "write '" + text + "'"}
	}
	if scheme, ok := strings.CutSuffix(text, ":"); ok && !strings.ContainsAny(scheme, "./") {
		return judgeScheme(scheme, kind)
	}
	return judgeHost(text)
}

// keywords are the quoted sources of CSP Level 3 but for nonces and hashes.
var keywords = []string{
	"'self'", "'none'", "'strict-dynamic'", "'report-sample'",
	"'unsafe-inline'", "'unsafe-eval'", "'unsafe-hashes'", "'wasm-unsafe-eval'",
	"'trusted-types-eval'", "'inline-speculation-rules'",
}

func judgeQuoted(text string, kind directiveKind) verdict {
	script := kind == kindScript || kind == kindScriptAttr || kind == kindDefault
	style := kind == kindStyle || kind == kindStyleAttr || kind == kindDefault
	misplaced := verdict{reason: "has no effect in this directive", fix: "move it to a script or style directive, or drop it"}
	switch text {
	case string(Self), string(None):
		return verdict{}
	case string(StrictDynamic):
		if kind == kindScript || kind == kindDefault {
			return verdict{}
		}
		return misplaced
	case string(ReportSample):
		if script || style {
			return verdict{}
		}
		return misplaced
	case "'unsafe-inline'", "'unsafe-hashes'":
		if script || style {
			return verdict{reason: "lets injected markup run", fix: "use headers.NonceSource or a hash", unsafe: true}
		}
		return misplaced
	case "'unsafe-eval'", "'wasm-unsafe-eval'", "'trusted-types-eval'", "'inline-speculation-rules'":
		if script {
			return verdict{reason: "runs code that is not in a script file", fix: "change the code that needs it", unsafe: true}
		}
		return misplaced
	}
	if strings.HasPrefix(text, "'nonce-") {
		return verdict{reason: "is a nonce that never changes, which an attacker reads once and uses for ever", fix: "write headers.NonceSource: Wrap draws a new one per response"}
	}
	if size := hashAlgorithm(text); size != 0 {
		if !script && !style {
			return misplaced
		}
		if !isHash(Source(text)) {
			return verdict{reason: fmt.Sprintf("is not a hash: after the dash, the base64 of %d bytes and a quote must stand", size), fix: "copy the value the browser's console proposes"}
		}
		return verdict{}
	}
	fix := "write one of the quoted sources of CSP Level 3"
	if n := nearest(text, keywords); n != "" {
		fix = "write " + n
	}
	return verdict{reason: "is not a known quoted source", fix: fix}
}

// hashAlgorithm returns the digest size in bytes if text begins as a hash.
func hashAlgorithm(text string) int {
	switch {
	case strings.HasPrefix(text, "'sha256-"):
		return 32
	case strings.HasPrefix(text, "'sha384-"):
		return 48
	case strings.HasPrefix(text, "'sha512-"):
		return 64
	}
	return 0
}

func isHash(s Source) bool {
	size := hashAlgorithm(string(s))
	if size == 0 || !strings.HasSuffix(string(s), "'") {
		return false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(string(s[len("'sha256-") : len(s)-1]))
	return err == nil && len(b) == size
}

// localSchemes are those of what a page makes itself.
var localSchemes = []string{"data", "blob", "mediastream"}

func judgeScheme(scheme string, kind directiveKind) verdict {
	if strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-") != "" || scheme == "" {
		return verdict{reason: "is not a scheme", fix: `write it in lower case, as in "data:"`}
	}
	if slices.Contains(localSchemes, scheme) {
		if kind == kindPassive {
			return verdict{}
		}
		return verdict{reason: "lets the page's own content be code or a document", fix: "serve it from a URL", unsafe: true}
	}
	return verdict{reason: "allows every host of the scheme", fix: "name the hosts", unsafe: true}
}

// judgeHost judges a host-source: [scheme "://"] host [":" port] [path].
func judgeHost(text string) verdict {
	scheme, rest, hasScheme := strings.Cut(text, "://")
	if !hasScheme {
		scheme, rest = "", text
	} else if strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" || scheme == "" {
		return verdict{reason: "has no valid scheme", fix: `write it in lower case, as in "https://cdn.example"`}
	}
	host, path, hasPath := strings.Cut(rest, "/")
	if strings.ContainsAny(text, "?#@") || hasPath && !validPath(path) {
		return verdict{reason: "has parts that a source cannot have, or a broken %-escape", fix: "write scheme, host, port and path only"}
	}
	host, port, hasPort := strings.Cut(host, ":")
	if hasPort && port != "*" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
			return verdict{reason: "has no valid port", fix: "write a number from 1 to 65535"}
		}
	}
	if host == "*" {
		return verdict{reason: "allows every host", fix: "name the hosts", unsafe: true}
	}
	base, wild := strings.CutPrefix(host, "*.")
	if reason := hostFault(base); reason != "" {
		return verdict{reason: reason, fix: `write the host in lower case, as in "https://cdn.example"`}
	}
	switch {
	case wild && !strings.Contains(base, "."):
		return verdict{reason: "allows a whole top-level domain", fix: "name the hosts", unsafe: true}
	case wild && publicSuffix(base):
		return verdict{reason: "allows a domain below which strangers register names", fix: "name the hosts", unsafe: true}
	case isIP(base):
		return verdict{reason: "names an address, which browsers do not match but for 127.0.0.1", fix: "name the host", unsafe: true}
	case !hasScheme && slices.Contains(localSchemes, text):
		return verdict{reason: "lacks its colon, and would be read as a host name", fix: "write " + text + ":"}
	case !hasScheme:
		return verdict{reason: "has no scheme, so that plain HTTP can match", fix: "write https://" + text, unsafe: true}
	case scheme != "https" && scheme != "wss":
		return verdict{reason: "is not encrypted", fix: "use https or wss", unsafe: true}
	case port == "*":
		return verdict{reason: "allows every port", fix: "name the port", unsafe: true}
	}
	return verdict{}
}

func validPath(path string) bool {
	for i := range len(path) {
		if path[i] == '%' && (i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2])) {
			return false
		}
	}
	return !strings.ContainsAny(path, "'[]")
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// hostFault says what is wrong with a host name in lower case, without port;
// "" means nothing is. IPv4 addresses pass, as they have the same shape.
func hostFault(host string) string {
	if host == "" || len(host) > 253 {
		return "has no host name, or one over 253 bytes"
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "has a host name with a bad label: lower-case letters, digits, '-' and '_' only, no wildcard but a leading \"*.\" where sources have one"
		}
	}
	return ""
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// originFault says what is wrong with an origin that must be scheme://host,
// with a port if it is not the scheme's own.
func originFault(s, scheme string) string {
	rest, ok := strings.CutPrefix(s, scheme+"://")
	if !ok {
		return "is not an " + scheme + " origin"
	}
	host, port, hasPort := strings.Cut(rest, ":")
	if reason := hostFault(host); reason != "" {
		return reason
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port[0] == '0' {
			return "has no valid port"
		}
		if scheme == "https" && n == 443 {
			return "names the scheme's own port, which browsers leave out"
		}
	}
	return ""
}

// sandboxTokens are the tokens of the HTML standard.
var sandboxTokens = []string{
	"allow-downloads", "allow-forms", "allow-modals", "allow-orientation-lock", "allow-pointer-lock", "allow-popups",
	"allow-popups-to-escape-sandbox", "allow-presentation", "allow-same-origin", "allow-scripts",
	"allow-storage-access-by-user-activation", "allow-top-navigation", "allow-top-navigation-by-user-activation",
	"allow-top-navigation-to-custom-protocols",
}

func (c *CSP) validateSandbox(name string, f *faults.Collector) {
	allow := c.Sandbox.Allow
	if !c.Sandbox.On && allow != nil {
		f.Add(name+".Sandbox.Allow", allow, "is set while the sandbox is off", "set Sandbox.On, or drop it")
	}
	if allow != nil && len(allow) == 0 {
		f.Missing(name+".Sandbox.Allow", "is empty but not nil", "leave it nil to allow nothing")
	}
	for i, token := range allow {
		at := fmt.Sprintf("%s.Sandbox.Allow[%d]", name, i)
		switch {
		case !slices.Contains(sandboxTokens, token):
			fix := `write a token of the HTML standard, as in "allow-forms"`
			if n := nearest(token, sandboxTokens); n != "" {
				fix = fmt.Sprintf("write %q", n)
			}
			f.Add(at, token, "is not a sandbox token", fix)
		case slices.Contains(allow[:i], token):
			f.Add(at, token, "is listed twice", "keep one")
		}
	}
}

func (c *CSP) validateTrustedTypes(policy string, f *faults.Collector) {
	names := c.TrustedTypes
	if names != nil && len(names) == 0 {
		f.Missing(policy+".TrustedTypes", "is empty but not nil", `leave it nil for any policy, or write "'none'"`)
	}
	for i, name := range names {
		at := fmt.Sprintf("%s.TrustedTypes[%d]", policy, i)
		switch {
		case slices.Contains(names[:i], name):
			f.Add(at, name, "is listed twice", "keep one")
		case name == "'allow-duplicates'":
		case name == "'none'":
			if len(names) > 1 {
				f.Add(at, name, "stands beside other names, and is then ignored", "keep 'none' alone, or drop it")
			}
		case name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-#=_/@.%") != "":
			f.Add(at, name, "is not a policy name", "use letters, digits and -#=_/@.% only")
		}
	}
}
