package headers

import (
	"hash/maphash"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// rawReport is one report of the Reporting API. Fields of other types than the
// specification says are read as empty, not refused.
type rawReport struct {
	Type any            `json:"type"`
	URL  any            `json:"url"`
	Body map[string]any `json:"body"`
}

// reportTypes are those of the Reporting API and the specifications that use
// it.
var reportTypes = []string{
	"csp-violation", "permissions-policy-violation", "coep", "coop", "integrity-violation", "document-policy-violation",
	"deprecation", "intervention", "crash", "network-error", "csp-hash",
}

func (c *ReportCollector) parse(raw *rawReport) Report {
	field := func(names ...string) string {
		for _, n := range names {
			if s, ok := raw.Body[n].(string); ok && s != "" {
				return s
			}
		}
		return ""
	}
	report := Report{Type: "other"}
	if t, ok := raw.Type.(string); ok && slices.Contains(reportTypes, t) {
		report.Type = t
	}
	directive := field("effectiveDirective", "effective-directive", "violated-directive", "featureId", "policyId", "id", "reason")
	directive, _, _ = strings.Cut(directive, " ") // violated-directive may carry its sources
	report.Directive = word(directive)
	report.Blocked = blocked(field("blockedURL", "blocked-uri"))
	document := field("documentURL", "document-uri")
	if document == "" {
		document, _ = raw.URL.(string)
	}
	report.Document = c.page(document)
	if d := field("disposition"); d == "enforce" || d == "report" || d == "reporting" {
		report.Disposition = strings.TrimSuffix(d, "ing")
	}
	for _, n := range []string{"lineNumber", "line-number"} {
		if v, ok := raw.Body[n].(float64); ok && v >= 1 && v <= math.MaxInt32 {
			report.Line = int(v)
		}
	}
	return report
}

// word keeps names that specifications give to things, and nothing else.
func word(s string) string {
	if s == "" || len(s) > 64 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
		return "other"
	}
	return s
}

// blockedWords stand for what has no URL (CSP Level 3 section 5.2).
var blockedWords = []string{"inline", "eval", "wasm-eval", "trusted-types-policy", "trusted-types-sink", "self"}

// blocked reduces what was blocked to its origin or scheme.
func blocked(s string) string {
	switch {
	case s == "":
		return ""
	case slices.Contains(blockedWords, s):
		return s
	case slices.Contains([]string{"data", "blob", "filesystem", "about"}, s):
		return s + ":"
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || len(u.Scheme) > 24 {
		return "other"
	}
	switch u.Scheme {
	case "http", "https", "ws", "wss":
		host := strings.ToLower(u.Hostname())
		// Zones and long ports would hold any text.
		if hostFault(host) != "" && !isIP(host) || strings.Contains(host, "%") || !isPort(u.Port()) {
			return "other"
		}
		return u.Scheme + "://" + strings.ToLower(u.Host)
	}
	return u.Scheme + ":"
}

// page names the document without saying whose it is.
func (c *ReportCollector) page(document string) string {
	if len(document) > 8<<10 {
		return "other"
	}
	u, err := url.Parse(document)
	if err != nil || u.Opaque != "" || u.Path != "" && !strings.HasPrefix(u.Path, "/") {
		return "other"
	}
	if u.Path == "" || u.Path == "/" {
		return "/"
	}
	if c.routes != nil && isClean(u.Path) {
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: u.Path}}
		if _, pattern := c.routes.Handler(r); pattern != "" {
			return pattern
		}
	}
	first, _, more := strings.Cut(u.Path[1:], "/")
	if len(first) > 32 || strings.Trim(first, "abcdefghijklmnopqrstuvwxyz-_") != "" {
		first, more = "*", false
	}
	if more {
		return "/" + first + "/*"
	}
	return "/" + first
}

// reportMemory tells kinds of reports apart, and lets each through once an
// hour.
type reportMemory struct {
	mu       sync.Mutex
	seed     maphash.Seed
	kinds    map[uint64]*kind
	overflow kind      // all kinds that there is no room for; guarded by mu, as are the others
	swept    time.Time // when the old ones were last removed
}

type kind struct {
	spoken time.Time // when an event was last emitted; zero before
	count  int64     // reports since
}

// add counts a report. It returns how many an event now stands for, or 0 if
// none is due. A kind that there is no room for becomes "other".
func (m *reportMemory) add(r *Report) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kinds == nil {
		m.kinds, m.seed = make(map[uint64]*kind), maphash.MakeSeed()
	}
	now := time.Now()
	var h maphash.Hash
	h.SetSeed(m.seed)
	for _, s := range []string{r.Type, r.Directive, r.Blocked, r.Document, r.Disposition} {
		_, _ = h.WriteString(s) // never fails
		_ = h.WriteByte(0)
	}
	k := m.kinds[h.Sum64()]
	if k == nil {
		if len(m.kinds) >= maxReportKeys {
			m.sweep(now)
		}
		if len(m.kinds) < maxReportKeys {
			k = new(kind)
			m.kinds[h.Sum64()] = k
		} else {
			k = &m.overflow
			r.Directive, r.Blocked, r.Document, r.Line = "other", "other", "other", 0
		}
	}
	k.count++
	if !k.spoken.IsZero() && now.Sub(k.spoken) < time.Hour {
		return 0
	}
	n := k.count
	k.spoken, k.count = now, 0
	return n
}

// sweep removes kinds that have been silent for an hour, at most once a
// minute: a flood must not make every report walk through all of them.
func (m *reportMemory) sweep(now time.Time) {
	if now.Sub(m.swept) < time.Minute {
		return
	}
	m.swept = now
	for key, k := range m.kinds {
		if now.Sub(k.spoken) >= time.Hour {
			m.overflow.count += k.count // what it still stood for is not forgotten
			delete(m.kinds, key)
		}
	}
}

// reportRate counts reports per address in slices of ten seconds. A minute
// touches at most seven of them, so that their sum bounds every minute.
type reportRate struct {
	mu    sync.Mutex
	swept int64 // slice of the last sweep; guarded by mu, as is the map
	byKey map[netip.Prefix]*slices10
}

type slices10 struct {
	last   int64 // number of the newest slice
	counts [7]uint16
}

func (s *slices10) sum(now int64) int {
	for ; s.last < now && now-s.last <= 7; s.last++ {
		s.counts[(s.last+1)%7] = 0
	}
	if s.last < now { // everything is older than a minute
		s.counts, s.last = [7]uint16{}, now
	}
	total := 0
	for _, n := range s.counts {
		total += int(n)
	}
	return total
}

// take counts a report of the address if the limit has room for it.
func (l *reportRate) take(addr netip.Addr, limit int) bool {
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	key, _ := addr.Prefix(bits) // the zero Prefix for peers without address: they share one
	now := time.Now().Unix() / 10
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.byKey[key]
	if s == nil {
		if l.byKey == nil {
			l.byKey = make(map[netip.Prefix]*slices10)
		}
		if len(l.byKey) >= maxReportAddresses {
			l.sweep(now)
		}
		if len(l.byKey) >= maxReportAddresses {
			key = netip.Prefix{} // no room: strangers share what nobodies have
			s = l.byKey[key]
		}
		if s == nil {
			s = &slices10{last: now}
			l.byKey[key] = s
		}
	}
	if s.sum(now) >= limit {
		return false
	}
	s.counts[s.last%7]++
	return true
}

func (l *reportRate) sweep(now int64) {
	if now == l.swept {
		return
	}
	l.swept = now
	for key, s := range l.byKey {
		if now-s.last >= 7 {
			delete(l.byKey, key)
		}
	}
}
