package headers

import (
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/inovy/hardening"
)

// Config says which headers responses carry. The zero value behaves as
// [Web]. A zero field means its default; a non-zero struct or slice is taken
// whole and never merged with the default.
type Config struct {
	_ [0]func()

	// Name is the Component of findings and the instance of events. Default:
	// "headers".
	Name string

	// HSTS is sent on requests that arrived over TLS (RFC 6797 section 7.2).
	// Default: one year, subdomains included.
	HSTS HSTS

	// CSP is the enforced Content-Security-Policy. Default: that of [Web]:
	// nothing but same-origin resources and scripts with the nonce.
	CSP CSP

	// ReportOnly is a second policy that browsers do not enforce, and whose
	// violations they report: a stricter one, before it becomes CSP. It must
	// say where to, and may be a part of a policy. Default: not sent.
	ReportOnly CSP

	// ReportEndpoints are the names that ReportTo refers to
	// (Reporting-Endpoints). An endpoint called "default" also gets the
	// browser's other reports, such as deprecations. Default: none.
	ReportEndpoints []ReportEndpoint

	// FrameOptions is X-Frame-Options, for browsers older than
	// frame-ancestors. It must agree with CSP.FrameAncestors. Default: DENY.
	FrameOptions FrameOptions

	// ReferrerPolicy is what a followed link tells the other site. Default:
	// strict-origin-when-cross-origin.
	ReferrerPolicy ReferrerPolicy

	// Permissions is Permissions-Policy, in this order. Default: geolocation,
	// microphone and camera for nobody.
	Permissions []Permission

	// COOP is Cross-Origin-Opener-Policy. Default: same-origin.
	COOP OpenerPolicy

	// CORP is Cross-Origin-Resource-Policy. Default: same-origin.
	CORP ResourcePolicy

	// COEP is Cross-Origin-Embedder-Policy. Default: not sent, because
	// require-corp blocks images and scripts of others that do not opt in. It
	// isolates only beside COOP same-origin, and one-sidedly beside CORP
	// cross-origin; Check notes both.
	COEP EmbedderPolicy

	// CacheControl is set before the handler runs, so a handler may replace
	// it. Default: "no-store, max-age=0". A policy with a nonce needs
	// no-store: a page kept by a cache would carry a nonce that the next
	// response's policy does not know.
	CacheControl string

	// NoDNSPrefetch sends X-DNS-Prefetch-Control: off, so that a page's links
	// are not resolved before anyone follows them. Default: not sent.
	NoDNSPrefetch bool

	// DangerouslyOmitFrameOptions sends no X-Frame-Options. It is for pages
	// that listed other sites may frame, which that header cannot express;
	// CSP.FrameAncestors still holds.
	DangerouslyOmitFrameOptions bool

	// DangerouslyAllowSniffing sends no X-Content-Type-Options: nosniff.
	DangerouslyAllowSniffing bool

	// DangerouslyLeakReferrer accepts a ReferrerPolicy that shows paths or
	// origins to plain-HTTP or foreign sites.
	DangerouslyLeakReferrer bool

	// Logger gets the events of Recover. nil = slog.Default() at the moment of
	// the event.
	Logger *slog.Logger

	// OnDeny answers a request whose handler panicked. The policy's headers
	// are set before it runs. Default: hardening.WriteProblem.
	OnDeny func(http.ResponseWriter, *http.Request, *hardening.Problem)

	derived bool // by With: what is unusual for a whole site can be right for one route
}

// HSTS is Strict-Transport-Security (RFC 6797).
type HSTS struct {
	// MaxAge is how long browsers insist on HTTPS, in whole seconds. At least
	// one year (ASVS v5.0.0-3.4.1).
	MaxAge time.Duration
	// IncludeSubDomains extends it to every subdomain.
	IncludeSubDomains bool
	// Preload asks browser makers to ship the rule. It needs one year and
	// IncludeSubDomains, and cannot be taken back within months.
	Preload bool
	// DangerouslyShort accepts a MaxAge under one year, for a staged rollout.
	// With MaxAge zero, browsers forget the rule.
	DangerouslyShort bool
}

const year = 365 * 24 * time.Hour

// String is the value of the header (RFC 6797 section 6.1).
func (s HSTS) String() string {
	v := "max-age=" + strconv.FormatInt(int64(s.MaxAge/time.Second), 10)
	if s.IncludeSubDomains {
		v += "; includeSubDomains"
	}
	if s.Preload {
		v += "; preload"
	}
	return v
}

// FrameOptions is a value of X-Frame-Options (RFC 7034).
type FrameOptions string

// The values of X-Frame-Options.
const (
	FrameDeny       FrameOptions = "DENY"
	FrameSameOrigin FrameOptions = "SAMEORIGIN"
)

// ReferrerPolicy is a token of the W3C Referrer Policy.
type ReferrerPolicy string

// The policies that tell no other site a path, and no plain-HTTP site anything.
const (
	NoReferrer                  ReferrerPolicy = "no-referrer"
	ReferrerSameOrigin          ReferrerPolicy = "same-origin"
	ReferrerStrictOrigin        ReferrerPolicy = "strict-origin"
	StrictOriginWhenCrossOrigin ReferrerPolicy = "strict-origin-when-cross-origin"
)

// OpenerPolicy is a value of Cross-Origin-Opener-Policy (HTML standard).
type OpenerPolicy string

// The values of Cross-Origin-Opener-Policy. UnsafeNone is the browser's own
// default and makes a failing finding.
const (
	COOPSameOrigin            OpenerPolicy = "same-origin"
	COOPSameOriginAllowPopups OpenerPolicy = "same-origin-allow-popups"
	COOPNoopenerAllowPopups   OpenerPolicy = "noopener-allow-popups"
	COOPUnsafeNone            OpenerPolicy = "unsafe-none"
)

// EmbedderPolicy is a value of Cross-Origin-Embedder-Policy (HTML standard).
type EmbedderPolicy string

// The values of Cross-Origin-Embedder-Policy.
const (
	COEPRequireCORP    EmbedderPolicy = "require-corp"
	COEPCredentialless EmbedderPolicy = "credentialless"
	COEPUnsafeNone     EmbedderPolicy = "unsafe-none"
)

// ResourcePolicy is a value of Cross-Origin-Resource-Policy (Fetch standard).
type ResourcePolicy string

// The values of Cross-Origin-Resource-Policy. CORPCrossOrigin is for public
// assets that other sites embed, and makes a failing finding.
const (
	CORPSameOrigin  ResourcePolicy = "same-origin"
	CORPSameSite    ResourcePolicy = "same-site"
	CORPCrossOrigin ResourcePolicy = "cross-origin"
)

// resolve fills zero fields with the defaults and copies everything that the
// caller could still change.
func (c Config) resolve() Config {
	web := Web()
	if c.Name == "" {
		c.Name = "headers"
	}
	if c.HSTS == (HSTS{}) {
		c.HSTS = web.HSTS
	}
	if reflect.ValueOf(c.CSP).IsZero() {
		c.CSP = web.CSP
	}
	if c.FrameOptions == "" && !c.DangerouslyOmitFrameOptions {
		c.FrameOptions = web.FrameOptions
	}
	if c.ReferrerPolicy == "" {
		c.ReferrerPolicy = web.ReferrerPolicy
	}
	if c.Permissions == nil {
		c.Permissions = web.Permissions
	}
	if c.COOP == "" {
		c.COOP = web.COOP
	}
	if c.CORP == "" {
		c.CORP = web.CORP
	}
	if c.CacheControl == "" {
		c.CacheControl = web.CacheControl
	}
	return c.clone()
}

func (c Config) clone() Config {
	c.CSP, c.ReportOnly = c.CSP.clone(), c.ReportOnly.clone()
	c.ReportEndpoints = slices.Clone(c.ReportEndpoints)
	c.Permissions = slices.Clone(c.Permissions)
	for i := range c.Permissions {
		c.Permissions[i].Allow = slices.Clone(c.Permissions[i].Allow)
	}
	return c
}

func (c CSP) clone() CSP {
	for _, d := range c.directives() {
		*d.list = slices.Clone(*d.list)
	}
	c.Sandbox.Allow = slices.Clone(c.Sandbox.Allow)
	c.TrustedTypes, c.ReportURI = slices.Clone(c.TrustedTypes), slices.Clone(c.ReportURI)
	c.DangerouslyAllow = maps.Clone(c.DangerouslyAllow)
	for k, v := range c.DangerouslyAllow {
		c.DangerouslyAllow[k] = slices.Clone(v)
	}
	return c
}
