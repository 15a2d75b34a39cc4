package headers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/inovy/hardening/internal/faults"
)

func (c *Config) validate(f *faults.Collector) {
	f.Name("Name", c.Name)
	c.HSTS.validate(f)
	c.CSP.validate("CSP", true, f)
	c.validateReportOnly(f)
	c.validateEndpoints(f)
	c.validateFraming(f)
	c.validateReferrer(f)
	validatePermissions(c.Permissions, f)
	oneOf(f, "COOP", string(c.COOP), string(COOPSameOrigin), string(COOPSameOriginAllowPopups), string(COOPNoopenerAllowPopups), string(COOPUnsafeNone))
	oneOf(f, "CORP", string(c.CORP), string(CORPSameOrigin), string(CORPSameSite), string(CORPCrossOrigin))
	if c.COEP != "" {
		oneOf(f, "COEP", string(c.COEP), string(COEPRequireCORP), string(COEPCredentialless), string(COEPUnsafeNone))
	}
	c.validateCacheControl(f)
}

func (s HSTS) validate(f *faults.Collector) {
	switch {
	case s.MaxAge < 0:
		f.Add("HSTS.MaxAge", s.MaxAge, "is negative", "set at least 8760h, or leave HSTS zero for the default")
	case s.MaxAge > 0 && s.MaxAge < time.Second:
		f.Add("HSTS.MaxAge", s.MaxAge, "is less than a second", fmt.Sprintf("write %d * time.Second, if seconds were meant", int64(s.MaxAge)))
	case s.MaxAge%time.Second != 0:
		f.Add("HSTS.MaxAge", s.MaxAge, "is not a number of whole seconds", "round it")
	case s.MaxAge < year && !s.DangerouslyShort:
		f.Add("HSTS.MaxAge", s.MaxAge, "is shorter than one year", "set at least 8760h; during a rollout, set HSTS.DangerouslyShort")
	case s.MaxAge >= year && s.DangerouslyShort:
		f.Add("HSTS.DangerouslyShort", true, "is set although MaxAge is a year or more", "drop it")
	}
	if s.Preload && (!s.IncludeSubDomains || s.MaxAge < year) {
		f.Add("HSTS.Preload", true, "needs IncludeSubDomains and one year, or browser makers refuse the host", "set both, or drop Preload")
	}
}

// validateFraming keeps the old header and the new directive from
// contradicting each other: browsers then differ in who may frame a page.
func (c *Config) validateFraming(f *faults.Collector) {
	if c.DangerouslyOmitFrameOptions {
		if c.FrameOptions != "" {
			f.Add("FrameOptions", c.FrameOptions, "is set although DangerouslyOmitFrameOptions leaves the header out", "keep one of the two")
		}
		return
	}
	if !oneOf(f, "FrameOptions", string(c.FrameOptions), string(FrameDeny), string(FrameSameOrigin)) || len(c.CSP.FrameAncestors) == 0 {
		return
	}
	want := []Source{None}
	if c.FrameOptions == FrameSameOrigin {
		want = []Source{Self}
	}
	if !slices.Equal(c.CSP.FrameAncestors, want) {
		f.Add("FrameOptions", c.FrameOptions, "disagrees with CSP.FrameAncestors",
			"pair DENY with 'none' and SAMEORIGIN with 'self'; where other sites may frame, set DangerouslyOmitFrameOptions")
	}
}

// leaky are the valid referrer policies that tell other sites too much.
var leaky = []string{"unsafe-url", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin"}

func (c *Config) validateReferrer(f *faults.Collector) {
	leaks := slices.Contains(leaky, string(c.ReferrerPolicy))
	switch {
	case leaks && !c.DangerouslyLeakReferrer:
		f.Add("ReferrerPolicy", c.ReferrerPolicy, "tells plain-HTTP or foreign sites where the user came from",
			"use strict-origin-when-cross-origin, or set DangerouslyLeakReferrer")
	case !leaks && c.DangerouslyLeakReferrer:
		f.Add("DangerouslyLeakReferrer", true, "is set although ReferrerPolicy leaks nothing", "drop it")
	}
	if !leaks {
		oneOf(f, "ReferrerPolicy", string(c.ReferrerPolicy), string(NoReferrer), string(ReferrerSameOrigin), string(ReferrerStrictOrigin), string(StrictOriginWhenCrossOrigin))
	}
}

// cacheDirectives are those of RFC 9111, RFC 5861 and RFC 8246 for responses.
var cacheDirectives = []string{
	"no-store", "no-cache", "private", "public", "max-age", "s-maxage", "must-revalidate", "proxy-revalidate",
	"must-understand", "no-transform", "immutable", "stale-while-revalidate", "stale-if-error",
}

func (c *Config) validateCacheControl(f *faults.Collector) {
	var names []string
	for part := range strings.SplitSeq(c.CacheControl, ",") {
		name, value, hasValue := strings.Cut(strings.Trim(part, " "), "=")
		switch {
		case !slices.Contains(cacheDirectives, name):
			fix := "write directives of RFC 9111, separated by commas"
			if n := nearest(name, cacheDirectives); n != "" {
				fix = fmt.Sprintf("write %q", n)
			}
			f.Add("CacheControl", c.CacheControl, "has a part that is not a directive", fix)
		case slices.Contains(names, name):
			f.Add("CacheControl", c.CacheControl, "names "+name+" twice", "keep one")
		case takesSeconds(name) && (value == "" || len(value) > 10 || strings.Trim(value, "0123456789") != ""),
			hasValue && !takesSeconds(name):
			f.Add("CacheControl", c.CacheControl, "gives "+name+" a wrong value or none", "give seconds to ages, and no value to the rest")
		}
		names = append(names, name)
	}
	switch {
	case slices.Contains(names, "no-store"):
	case c.CSP.hasNonce():
		f.Add("CacheControl", c.CacheControl, "lets a cache keep a page whose nonce the next policy does not know, so that its scripts stop running",
			"add no-store, or give cacheable routes a CSP without a nonce, such as headers.API().CSP")
	case c.ReportOnly.hasNonce():
		f.Add("CacheControl", c.CacheControl, "lets a cache keep a page whose nonce the next ReportOnly policy does not know, so that its own scripts are reported",
			"add no-store, or set ReportOnly to headers.CSP{} on cacheable routes")
	}
}

func takesSeconds(name string) bool {
	return name == "max-age" || name == "s-maxage" || strings.HasPrefix(name, "stale-")
}

// oneOf reports whether value is one of the valid ones, and adds a fault if
// it is not.
func oneOf(f *faults.Collector, field, value string, valid ...string) bool {
	if slices.Contains(valid, value) {
		return true
	}
	fix := "use one of " + strings.Join(valid, ", ")
	if n := nearest(strings.ToLower(value), lower(valid)); n != "" {
		fix = fmt.Sprintf("write %q", valid[slices.Index(lower(valid), n)])
	}
	f.Add(field, value, "is not a value of this header", fix)
	return false
}

func lower(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strings.ToLower(w)
	}
	return out
}

func (c *CSP) hasNonce() bool {
	for _, d := range c.directives() {
		if slices.Contains(*d.list, NonceSource) {
			return true
		}
	}
	return false
}
