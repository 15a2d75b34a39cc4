package headers_test

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

func prefixes(texts ...string) []netip.Prefix {
	ps := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		ps[i] = netip.MustParsePrefix(t)
	}
	return ps
}

func complete(t *testing.T, e *hardening.ConfigError) {
	t.Helper()
	if e.Room != "headers" || e.Field == "" || e.Reason == "" || e.Fix == "" || strings.ContainsAny(e.Error(), "\r\n\x00") || len(e.Error()) > 700 {
		t.Errorf("incomplete, forgeable or endless: %.800q", e.Error())
	}
}

// faulty are changes of Web, each of which New must refuse with a fault in the
// named field. Fix, if given, is a part of what the fault must propose.
var faulty = []struct {
	name, field, fix string
	change           func(*headers.Config)
}{
	{"a name with a line break", "Name", "", func(c *headers.Config) { c.Name = "a\nb" }},
	{"HSTS under a year", "HSTS.MaxAge", "8760h", func(c *headers.Config) { c.HSTS.MaxAge = year - time.Second }},
	{"HSTS without an age", "HSTS.MaxAge", "8760h", func(c *headers.Config) { c.HSTS = headers.HSTS{IncludeSubDomains: true} }},
	{"seconds without their unit", "HSTS.MaxAge", "31536000 * time.Second", func(c *headers.Config) { c.HSTS.MaxAge = 31536000 }},
	{"a negative age", "HSTS.MaxAge", "", func(c *headers.Config) { c.HSTS.MaxAge = -year }},
	{"half a second", "HSTS.MaxAge", "", func(c *headers.Config) { c.HSTS.MaxAge = year + time.Second/2 }},
	{"preload without subdomains", "HSTS.Preload", "", func(c *headers.Config) { c.HSTS = headers.HSTS{MaxAge: year, Preload: true} }},
	{"preload in a rollout", "HSTS.Preload", "", func(c *headers.Config) {
		c.HSTS = headers.HSTS{MaxAge: time.Hour, Preload: true, IncludeSubDomains: true, DangerouslyShort: true}
	}},
	{"a rollout that is over", "HSTS.DangerouslyShort", "", func(c *headers.Config) { c.HSTS.DangerouslyShort = true }},
	{"a frame option that no browser knows", "FrameOptions", "", func(c *headers.Config) { c.FrameOptions = "ALLOW-FROM https://x.example" }},
	{"a frame option in lower case", "FrameOptions", `"DENY"`, func(c *headers.Config) { c.FrameOptions = "deny" }},
	{"frame options against frame-ancestors", "FrameOptions", "", func(c *headers.Config) { c.FrameOptions = headers.FrameSameOrigin }},
	{"frame options both ways", "FrameOptions", "", func(c *headers.Config) { c.DangerouslyOmitFrameOptions = true }},
	{"a referrer policy that leaks", "ReferrerPolicy", "DangerouslyLeakReferrer", func(c *headers.Config) { c.ReferrerPolicy = "unsafe-url" }},
	{"a referrer policy with a typo", "ReferrerPolicy", `"no-referrer"`, func(c *headers.Config) { c.ReferrerPolicy = "no-referer" }},
	{"a leave to leak that nothing needs", "DangerouslyLeakReferrer", "", func(c *headers.Config) { c.DangerouslyLeakReferrer = true }},
	{"a header injection", "ReferrerPolicy", "", func(c *headers.Config) { c.ReferrerPolicy = "no-referrer\r\nSet-Cookie: a=b" }},
	{"COOP with a typo", "COOP", `"same-origin"`, func(c *headers.Config) { c.COOP = "same-orgin" }},
	{"CORP with a typo", "CORP", `"cross-origin"`, func(c *headers.Config) { c.CORP = "crossorigin" }},
	{"COEP with a typo", "COEP", `"require-corp"`, func(c *headers.Config) { c.COEP = "require-cors" }},
	{"no permission at all", "Permissions", "", func(c *headers.Config) { c.Permissions = []headers.Permission{} }},
	{"a feature with a typo", "Permissions[0].Feature", `"geolocation"`, func(c *headers.Config) { c.Permissions[0].Feature = "geo-location" }},
	{"a feature twice", "Permissions[1].Feature", "", func(c *headers.Config) { c.Permissions[1].Feature = "geolocation" }},
	{"a feature that injects", "Permissions[0].Feature", "", func(c *headers.Config) { c.Permissions[0] = headers.Permission{Feature: "a=(), b", Unlisted: true} }},
	{"an empty feature", "Permissions[0].Feature", "", func(c *headers.Config) { c.Permissions[0].Feature = "" }},
	{"nobody written as an empty list", "Permissions[0].Allow", "", func(c *headers.Config) { c.Permissions[0].Allow = []string{} }},
	{"everyone and others", "Permissions[0].Allow[0]", "", func(c *headers.Config) { c.Permissions[0].Allow = []string{"*", "self"} }},
	{"a quoted self", "Permissions[0].Allow[0]", "", func(c *headers.Config) { c.Permissions[0].Allow = []string{"'self'"} }},
	{"an origin that ends the string", "Permissions[0].Allow[0]", "", func(c *headers.Config) { c.Permissions[0].Allow = []string{`https://x.example" "https://y.example`} }},
	{"Cache-Control with a typo", "CacheControl", `"no-store"`, func(c *headers.Config) { c.CacheControl = "nostore" }},
	{"Cache-Control twice", "CacheControl", "", func(c *headers.Config) { c.CacheControl = "no-store, no-store" }},
	{"an age without seconds", "CacheControl", "", func(c *headers.Config) { c.CacheControl = "no-store, max-age" }},
	{"an age of a day", "CacheControl", "", func(c *headers.Config) { c.CacheControl = "no-store, max-age=1d" }},
	{"a value where none belongs", "CacheControl", "", func(c *headers.Config) { c.CacheControl = "no-store=1" }},
	{"a line break in Cache-Control", "CacheControl", "", func(c *headers.Config) { c.CacheControl = "no-store\r\nX: y" }},
	{"a cached nonce", "CacheControl", "no-store", func(c *headers.Config) { c.CacheControl = "public, max-age=60" }},
	{"a cached nonce of a policy on trial", "CacheControl", "ReportOnly to headers.CSP{}", func(c *headers.Config) {
		c.CSP, c.ReportOnly, c.CacheControl = headers.API().CSP, c.CSP, "public, max-age=60"
	}},
	{"a nonce that a cache revalidates", "CacheControl", "no-store", func(c *headers.Config) { c.CacheControl = "no-cache" }},
}

const year = 365 * 24 * time.Hour

func TestNewRefusesEachFault(t *testing.T) {
	for _, c := range faulty {
		t.Run(c.name, func(t *testing.T) {
			cfg := headers.Web()
			c.change(&cfg)
			m, err := headers.New(cfg)
			if m != nil || err == nil {
				t.Fatalf("passed: %v", err)
			}
			for e := range hardening.Faults(err) {
				complete(t, e)
				if e.Field == c.field && strings.Contains(e.Fix, c.fix) {
					return
				}
			}
			t.Errorf("no fault in %s that proposes %q: %v", c.field, c.fix, err)
		})
	}
}

// Any set of faults must be reported whole: for every subset of changes that
// touch different fields, each field has its fault.
func TestNewReportsEveryFaultAtOnce(t *testing.T) {
	all := append([]struct {
		name, field, fix string
		change           func(*headers.Config)
	}{}, faulty...)
	for _, c := range faultyCSP {
		all = append(all, struct {
			name, field, fix string
			change           func(*headers.Config)
		}{c.name, c.field, c.fix, func(cfg *headers.Config) { c.change(&cfg.CSP) }})
	}
	top := func(field string) string { // changes of one top-level field overwrite each other
		name, _, _ := strings.Cut(field, ".")
		name, _, _ = strings.Cut(name, "[")
		switch name {
		case "FrameOptions", "DangerouslyOmitFrameOptions":
			return "framing"
		case "ReferrerPolicy", "DangerouslyLeakReferrer":
			return "referrer"
		}
		return name
	}
	rng := rand.New(rand.NewPCG(8, 8))
	for range 500 {
		cfg, want, used := headers.Web(), map[string]bool{}, map[string]bool{}
		for _, i := range rng.Perm(len(all)) {
			c := all[i]
			// Framing and the nonce rule look at the CSP, which others replace.
			if g := top(c.field); used[g] || strings.Contains(c.name, "nonce") || strings.Contains(c.name, "frame") {
				continue
			} else {
				used[g] = true
			}
			c.change(&cfg)
			want[c.field] = true
		}
		_, err := headers.New(cfg)
		for e := range hardening.Faults(err) {
			complete(t, e)
			delete(want, e.Field)
		}
		if len(used) < 8 || len(want) > 0 {
			t.Fatalf("of %d faults these are missing: %v\n%v", len(used), want, err)
		}
	}
}

func TestLoggerAndOnDenyAreOptional(t *testing.T) {
	old := slog.Default()
	defer slog.SetDefault(old)
	var log strings.Builder
	policy := must(headers.New(headers.Config{}))
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	h := policy.Recover(panicking)
	get(h, "https")
	if !strings.Contains(log.String(), "sys_crash") {
		t.Errorf("slog.Default() at the moment of the event got %q", log.String())
	}
}
