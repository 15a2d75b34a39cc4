package ratelimit

import (
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/ulule/limiter/v3/drivers/store/memory"

	"github.com/inovy/hardening"
)

// Check reports how the limits are configured.
func (l *Limiter) Check() []hardening.Finding {
	c := &l.cfg
	abuse := []hardening.Control{
		{Framework: hardening.BIO, ID: "12.1.3.1", Relation: hardening.Supports},
		{Framework: hardening.BIO2, ID: "8.21.01", Relation: hardening.Supports},
		{Framework: hardening.ISO27002, ID: "8.6", Relation: hardening.Supports},
		{Framework: hardening.NIS2, ID: "c", Relation: hardening.Supports},
		{Framework: hardening.GDPR, ID: "32(1)(b)", Relation: hardening.Supports},
	}
	with := func(controls ...hardening.Control) []hardening.Control { return append(controls, abuse...) }
	asvs := func(id string) hardening.Control {
		return hardening.Control{Framework: hardening.ASVS, ID: "v5.0.0-" + id, Relation: hardening.Implements}
	}
	rate := 0.0
	for _, p := range l.ip { // New refuses a Config whose limits are all shadows
		if r := p.perSecond(); !p.Shadow && (rate == 0 || r < rate) {
			rate = r
		}
	}
	ours, isMemory := l.store.(*MemoryStore)
	var bytes int64
	if isMemory {
		bytes = ours.maxBytes
	}
	strict := 0
	for _, r := range l.routes {
		for _, p := range r.limits {
			if !p.Shadow && p.perSecond() <= 1 {
				strict++
				break
			}
		}
	}
	store := "shared"
	inProcess := isMemory
	if u, ok := l.store.(fromUlule); ok {
		_, inProcess = u.store.(*memory.Store)
	}
	if inProcess {
		store = "in memory"
	}
	findings := []hardening.Finding{
		{
			ID: "HDN-RATELIMIT-001", Severity: hardening.High,
			Title:    "Every address is limited before anything expensive runs",
			Passed:   rate <= 500,
			Observed: fmt.Sprintf("%.6g requests a second", rate), Expected: "at most 500 requests a second",
			Remedy:   "lower Config.IP",
			Controls: with(asvs("2.4.1"), asvs("15.3.4")),
		},
		{
			ID: "HDN-RATELIMIT-002", Severity: hardening.Low,
			Title:    "Users are limited wherever they come from",
			Passed:   c.Identify != nil,
			Observed: fmt.Sprintf("Identify set: %t", c.Identify != nil), Expected: "Identify set: true",
			Remedy:   "set Config.Identify to name the user of a request",
			Controls: with(asvs("2.4.1")),
		},
		{
			ID: "HDN-RATELIMIT-003", Severity: hardening.Medium,
			Title:    "Limits hold over all nodes together",
			Passed:   !inProcess || c.Nodes == 1,
			Observed: fmt.Sprintf("%d nodes, store %s", c.Nodes, store), Expected: "one node, or a shared store",
			Remedy:   "use a store that the nodes share",
			Controls: with(),
		},
		{
			ID: "HDN-RATELIMIT-004", Severity: hardening.High,
			Title:    "One customer's IPv6 network counts as one address",
			Passed:   c.IPv6Prefix <= 64,
			Observed: fmt.Sprintf("/%d", c.IPv6Prefix), Expected: "/64 or shorter",
			Remedy:   "leave Config.IPv6Prefix at 64",
			Controls: with(asvs("15.3.4")),
		},
		{
			ID: "HDN-RATELIMIT-005", Severity: hardening.Medium,
			Title:    "Counters cannot exhaust the memory",
			Passed:   !isMemory || bytes <= 2<<30,
			Observed: fmt.Sprintf("%d MiB, store %s", bytes>>20, store), Expected: "at most 2048 MiB",
			Remedy:   "lower MemoryConfig.MaxBytes",
			Controls: with(asvs("15.2.2")),
		},
		{
			ID: "HDN-RATELIMIT-006", Severity: hardening.Medium,
			Title:    "At least one route, such as the login, is limited to one request a second or less",
			Passed:   strict > 0,
			Observed: fmt.Sprintf("%d such routes", strict), Expected: "at least 1",
			Remedy:   `add Config.Routes, such as {Pattern: "POST /login", Limits: []ratelimit.Limit{ratelimit.PerMinute(10)}, ByAddress: true}`,
			Controls: with(asvs("6.3.1")),
		},
		{
			ID: "HDN-RATELIMIT-007", Severity: hardening.High,
			Title:    "Requests over a limit are refused",
			Passed:   !c.DangerouslyReportOnly,
			Observed: fmt.Sprintf("DangerouslyReportOnly %t", c.DangerouslyReportOnly), Expected: "DangerouslyReportOnly false",
			Remedy:   "clear Config.DangerouslyReportOnly once its events look right",
			Controls: with(asvs("2.4.1"), asvs("16.5.3")),
		},
		{
			ID: "HDN-RATELIMIT-008", Severity: hardening.Low,
			Title:    "No window is longer than a day",
			Passed:   l.longest() <= 24*time.Hour,
			Observed: l.longest().String(), Expected: "at most 24h0m0s",
			Remedy:   "count longer quotas in a database: these counters end with the process or its store",
			Controls: with(),
		},
	}
	var unlimited []string
	for _, r := range l.routes {
		if r.unlimited {
			unlimited = append(unlimited, r.pattern)
		}
	}
	findings = append(findings, hardening.Finding{
		ID: "HDN-RATELIMIT-009", Severity: hardening.Low,
		Title:    "Every route is counted",
		Passed:   len(unlimited) == 0,
		Observed: fmt.Sprintf("%d routes without limits: %s", len(unlimited), strings.Join(unlimited, ", ")), Expected: "0 routes without limits",
		Remedy:   "clear Route.DangerouslyUnlimited, or accept the finding for routes that are cheap, such as a logout",
		Controls: with(asvs("2.4.1")),
	})
	var shadows []string
	for p := range l.policiesOf() {
		if p.Shadow {
			shadows = append(shadows, p.Name)
		}
	}
	findings = append(findings, hardening.Finding{
		ID: "HDN-RATELIMIT-010", Severity: hardening.Low,
		Title:    "Every limit refuses",
		Passed:   len(shadows) == 0,
		Observed: fmt.Sprintf("%d limits that are tried out: %s", len(shadows), strings.Join(shadows, ", ")), Expected: "0 limits that are tried out",
		Remedy:   "clear Limit.Shadow once its events look right",
		Controls: with(asvs("2.4.1")),
	})
	open := l.openInOutage()
	findings = append(findings, hardening.Finding{
		ID: "HDN-RATELIMIT-011", Severity: hardening.Medium,
		Title:    "Limits hold while a shared store is away",
		Passed:   len(open) == 0,
		Observed: fmt.Sprintf("%d limits open in an outage: %s", len(open), strings.Join(open, ", ")), Expected: "0 limits open in an outage",
		Remedy:   "leave Limit.OnOutage at Local, or set Closed",
		Controls: with(asvs("2.4.1"), asvs("16.5.3")),
	})
	for i := range findings {
		findings[i].Component = c.Name
		findings[i].Observed = strings.TrimSpace(findings[i].Observed)
	}
	return findings
}

// openInOutage names the limits that an outage lifts.
func (l *Limiter) openInOutage() []string {
	var open []string
	for p := range l.policiesOf() {
		if p.OnOutage == DangerouslyOpen {
			open = append(open, p.Name)
		}
	}
	return open
}

func (l *Limiter) longest() time.Duration {
	var longest time.Duration
	for p := range l.policiesOf() {
		longest = max(longest, p.Per)
	}
	return longest
}

// policiesOf goes over every limit.
func (l *Limiter) policiesOf() iter.Seq[*policy] {
	return func(yield func(*policy) bool) {
		lists := [][]policy{l.global, l.ip}
		for _, t := range l.tiers {
			lists = append(lists, t.user, t.ip, t.org)
		}
		for _, r := range l.routes {
			lists = append(lists, r.limits)
		}
		for _, list := range lists {
			for i := range list {
				if !yield(&list[i]) {
					return
				}
			}
		}
	}
}
