package headers

import "strings"

// CSP is a Content Security Policy (W3C CSP Level 3), a field per directive. A
// nil list leaves the directive out, so that browsers fall back to
// DefaultSrc. [New] refuses a policy without DefaultSrc, ObjectSrc, BaseURI,
// FormAction and FrameAncestors, because those either have no fallback or are
// what ASVS v5.0.0-3.4.3 and 3.4.6 ask for.
type CSP struct {
	DefaultSrc     []Source // every fetch that no other directive names
	ScriptSrc      []Source
	ScriptSrcElem  []Source // <script> elements alone
	ScriptSrcAttr  []Source // inline event handlers alone
	StyleSrc       []Source
	StyleSrcElem   []Source
	StyleSrcAttr   []Source
	ImgSrc         []Source
	FontSrc        []Source
	ConnectSrc     []Source // fetch, XMLHttpRequest, WebSocket, EventSource
	MediaSrc       []Source
	ManifestSrc    []Source
	WorkerSrc      []Source
	ChildSrc       []Source
	FrameSrc       []Source // what our pages may frame
	ObjectSrc      []Source
	BaseURI        []Source
	FormAction     []Source
	FrameAncestors []Source // who may frame our pages

	// Sandbox treats the response as if in a sandboxed iframe.
	Sandbox Sandbox

	// RequireTrustedTypes refuses strings in script-running DOM sinks.
	RequireTrustedTypes bool
	// TrustedTypes names the policies that pages may create. nil = any.
	TrustedTypes []string

	// UpgradeInsecureRequests loads http: resources over https:. It is sent on
	// HTTPS responses only: on plain HTTP it breaks pages served from a
	// developer's machine.
	UpgradeInsecureRequests bool

	// ReportTo names the endpoint of Config.ReportEndpoints that browsers send
	// violations to. Chromium then ignores ReportURI; Firefox and Safari use
	// it. Default: not sent.
	ReportTo string
	// ReportURI are the paths or https URLs that violations are posted to.
	// Default: not sent.
	ReportURI []string

	// DangerouslyAllow lists, per directive ("style-src"), sources that New
	// would refuse as unsafe, such as 'unsafe-inline' or data:. Each must also
	// stand in the directive itself. Malformed sources stay refused.
	DangerouslyAllow map[string][]Source
}

// Source is one source expression of a directive: one of the constants, a
// hash such as "'sha256-...'", an origin such as "https://cdn.example", or a
// scheme such as "data:".
type Source string

// The sources that are words. NonceSource stands for the nonce, which is new
// in every response.
const (
	Self          Source = "'self'"
	None          Source = "'none'"
	NonceSource   Source = "'nonce-{}'"
	StrictDynamic Source = "'strict-dynamic'"
	ReportSample  Source = "'report-sample'"
)

// Sandbox is the sandbox directive.
type Sandbox struct {
	On bool
	// Allow are tokens such as "allow-forms". nil = nothing is allowed.
	Allow []string
}

type directiveKind uint8

const (
	kindDefault directiveKind = iota
	kindScript
	kindScriptAttr
	kindStyle
	kindStyleAttr
	kindPassive // images, fonts, media: data: and blob: run no code
	kindFetch
	kindDocument // where the page itself may lead, or be framed
)

// directive is one list of a CSP by both of its names.
type directive struct {
	name, field string
	kind        directiveKind
	required    bool
	list        *[]Source
}

// directives returns the lists of c in the order in which they are written.
func (c *CSP) directives() []directive {
	return []directive{
		{"default-src", "DefaultSrc", kindDefault, true, &c.DefaultSrc},
		{"script-src", "ScriptSrc", kindScript, false, &c.ScriptSrc},
		{"script-src-elem", "ScriptSrcElem", kindScript, false, &c.ScriptSrcElem},
		{"script-src-attr", "ScriptSrcAttr", kindScriptAttr, false, &c.ScriptSrcAttr},
		{"style-src", "StyleSrc", kindStyle, false, &c.StyleSrc},
		{"style-src-elem", "StyleSrcElem", kindStyle, false, &c.StyleSrcElem},
		{"style-src-attr", "StyleSrcAttr", kindStyleAttr, false, &c.StyleSrcAttr},
		{"img-src", "ImgSrc", kindPassive, false, &c.ImgSrc},
		{"font-src", "FontSrc", kindPassive, false, &c.FontSrc},
		{"connect-src", "ConnectSrc", kindFetch, false, &c.ConnectSrc},
		{"media-src", "MediaSrc", kindPassive, false, &c.MediaSrc},
		{"manifest-src", "ManifestSrc", kindFetch, false, &c.ManifestSrc},
		{"worker-src", "WorkerSrc", kindFetch, false, &c.WorkerSrc},
		{"child-src", "ChildSrc", kindFetch, false, &c.ChildSrc},
		{"frame-src", "FrameSrc", kindFetch, false, &c.FrameSrc},
		{"object-src", "ObjectSrc", kindFetch, true, &c.ObjectSrc},
		{"base-uri", "BaseURI", kindDocument, true, &c.BaseURI},
		{"form-action", "FormAction", kindDocument, true, &c.FormAction},
		{"frame-ancestors", "FrameAncestors", kindDocument, true, &c.FrameAncestors},
	}
}

const upgradeInsecure = "upgrade-insecure-requests"

// String is the policy as an HTTPS response carries it, with 'nonce-{}' where
// the nonce stands. [ParseCSP] reads it back.
func (c CSP) String() string {
	var b strings.Builder
	add := func(name string, words ...string) {
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(name)
		for _, w := range words {
			b.WriteByte(' ')
			b.WriteString(w)
		}
	}
	for _, d := range c.directives() {
		if len(*d.list) == 0 {
			continue
		}
		add(d.name)
		for _, s := range *d.list {
			b.WriteByte(' ')
			b.WriteString(string(s))
		}
	}
	if c.Sandbox.On {
		add("sandbox", c.Sandbox.Allow...)
	}
	if c.RequireTrustedTypes {
		add("require-trusted-types-for", "'script'")
	}
	if len(c.TrustedTypes) > 0 {
		add("trusted-types", c.TrustedTypes...)
	}
	if c.UpgradeInsecureRequests {
		add(upgradeInsecure)
	}
	if len(c.ReportURI) > 0 {
		add("report-uri", c.ReportURI...)
	}
	if c.ReportTo != "" {
		add("report-to", c.ReportTo)
	}
	return b.String()
}

// scripts returns the lists that decide whether a script element runs.
func (c *CSP) scripts() [][]Source {
	base := c.ScriptSrc
	if base == nil {
		base = c.DefaultSrc
	}
	lists := [][]Source{base}
	if c.ScriptSrcElem != nil {
		lists = append(lists, c.ScriptSrcElem)
	}
	if c.ScriptSrcAttr != nil {
		lists = append(lists, c.ScriptSrcAttr)
	}
	return lists
}
