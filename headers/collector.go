package headers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

// ReportCollectorConfig says how many reports are taken. The zero value suits
// most services.
type ReportCollectorConfig struct {
	_ [0]func()

	// Name is the Component of findings and the instance of events. Default:
	// "reports".
	Name string

	// Routes are paths of pages as patterns of net/http.ServeMux, without
	// method and host: "/patients/{id}/records/{record}". A report about a page
	// names its pattern. Of a page that matches none, only the first part of
	// the path is kept, because the others may name people. Default: none.
	Routes []string

	// MaxBytes bounds one request's body. Default: 64 KiB.
	MaxBytes int64

	// PerMinute bounds the reports of one client address (of one /64 network
	// of IPv6) within any minute. A request without one counts as one.
	// Default: 60.
	PerMinute int

	// OnReport gets what an event is emitted for, at the same moment: the first
	// of its kind within an hour. It must not block. Default: none.
	OnReport func(context.Context, Report)

	// Logger gets malicious_csp_violation events, and browser_report for what
	// is not about a content security policy. nil = slog.Default() at the
	// moment of the event.
	Logger *slog.Logger
}

// The bounds of a collector's memory and of what can be configured.
const (
	maxReportKeys      = 10_000 // kinds of reports that are told apart
	maxReportAddresses = 10_000 // clients that are counted apart
	maxReportBytes     = 1 << 20
	maxReportsMinute   = 6000
)

// Report is what is kept of a browser's report. Queries, nonces, policies,
// samples of code and parts of paths that may name people are not.
type Report struct {
	Type        string // "csp-violation", "permissions-policy-violation", ...; "other" if unknown
	Directive   string // the directive or feature that was violated
	Blocked     string // "inline", "eval", a scheme such as "data:", or the origin of a URL
	Document    string // pattern of Routes, or the first part of the path
	Disposition string // "enforce", "report" or ""
	Line        int    // in the page or script; 0 if unknown
	Count       int64  // how many reports this one stands for
}

// ReportCollector is the handler that [ReportEndpoint]s point to. It takes
// application/csp-report and application/reports+json, answers the preflight
// of browsers whose page has another origin, and emits one event an hour for
// each directive, blocked origin and page, with their count. Its memory is
// bounded, whatever it is sent. It is safe for concurrent use.
type ReportCollector struct {
	cfg    ReportCollectorConfig
	routes *http.ServeMux // nil if there are none
	seen   reportMemory
	rate   reportRate
}

// NewReportCollector returns a ReportCollector, or every fault of cfg at once
// as hardening.ConfigErrors.
func NewReportCollector(cfg ReportCollectorConfig) (*ReportCollector, error) {
	if cfg.Name == "" {
		cfg.Name = "reports"
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 64 << 10
	}
	if cfg.PerMinute == 0 {
		cfg.PerMinute = 60
	}
	cfg.Routes = slices.Clone(cfg.Routes)
	f := faults.For("headers")
	f.Name("Name", cfg.Name)
	if cfg.MaxBytes < 1024 || cfg.MaxBytes > maxReportBytes {
		f.Add("MaxBytes", cfg.MaxBytes, "is no size for reports", "set 1024 to 1048576, or leave it zero for 65536")
	}
	if cfg.PerMinute < 1 || cfg.PerMinute > maxReportsMinute {
		f.Add("PerMinute", cfg.PerMinute, "is no limit for reports", "set 1 to 6000, or leave it zero for 60")
	}
	if cfg.Routes != nil && len(cfg.Routes) == 0 {
		f.Missing("Routes", "is empty but not nil", "leave it nil")
	}
	c := &ReportCollector{cfg: cfg}
	for i, pattern := range cfg.Routes {
		if c.routes == nil {
			c.routes = http.NewServeMux()
		}
		if err := register(c.routes, pattern); err != nil {
			f.Add(fmt.Sprintf("Routes[%d]", i), pattern, "is no pattern, or in conflict with another", `write a path as net/http.ServeMux takes it, as in "/patients/{id}"`)
		}
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// register adds a pattern, and returns what ServeMux panics with.
func register(mux *http.ServeMux, pattern string) (err error) {
	if !strings.HasPrefix(pattern, "/") || strings.ContainsFunc(pattern, unicode.IsControl) {
		return errors.New("no path")
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%v", v)
		}
	}()
	mux.Handle(pattern, http.NotFoundHandler())
	return nil
}

// ServeHTTP takes a report: 204, or a problem with 400, 405, 413, 415 or 429.
func (c *ReportCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	// Nothing can be read here, so every origin may report.
	h.Set("Access-Control-Allow-Origin", "*")
	switch r.Method {
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "POST")
		h.Set("Access-Control-Allow-Headers", "Content-Type")
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return
	case http.MethodPost:
	default:
		h.Set("Allow", "POST, OPTIONS")
		hardening.WriteProblem(w, r, &hardening.Problem{Status: http.StatusMethodNotAllowed})
		return
	}
	if p := c.collect(r); p != nil {
		if p.Status == http.StatusTooManyRequests {
			h.Set("Retry-After", "60")
		}
		hardening.WriteProblem(w, r, p)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (c *ReportCollector) collect(r *http.Request) *hardening.Problem {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/csp-report" && media != "application/reports+json" {
		return &hardening.Problem{Status: http.StatusUnsupportedMediaType, Detail: "Send application/csp-report or application/reports+json."}
	}
	address := hardening.ClientOf(r).Addr
	// Before anything is read, and for the first report: one that is none costs
	// us as much as one that is.
	if !c.rate.take(address, c.cfg.PerMinute) {
		return &hardening.Problem{Status: http.StatusTooManyRequests}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, c.cfg.MaxBytes+1))
	switch {
	case err != nil:
		return &hardening.Problem{Status: http.StatusBadRequest, Detail: "The report could not be read.", Err: err}
	case int64(len(body)) > c.cfg.MaxBytes:
		return &hardening.Problem{Status: http.StatusRequestEntityTooLarge}
	}
	var reports []rawReport
	if media == "application/csp-report" {
		var legacy struct {
			Report map[string]any `json:"csp-report"`
		}
		if err := json.Unmarshal(body, &legacy); err != nil || legacy.Report == nil {
			return malformed(err)
		}
		reports = []rawReport{{Type: "csp-violation", Body: legacy.Report}}
	} else if err := json.Unmarshal(body, &reports); err != nil {
		return malformed(err)
	}
	for i := range reports {
		if i > 0 && !c.rate.take(address, c.cfg.PerMinute) {
			return &hardening.Problem{Status: http.StatusTooManyRequests}
		}
		c.keep(r.Context(), c.parse(&reports[i]))
	}
	return nil
}

func malformed(err error) *hardening.Problem {
	return &hardening.Problem{Status: http.StatusBadRequest, Detail: "The report is not in the format of its Content-Type.", Err: err}
}

func (c *ReportCollector) keep(ctx context.Context, report Report) {
	if report.Count = c.seen.add(&report); report.Count == 0 {
		return
	}
	if c.cfg.OnReport != nil {
		c.cfg.OnReport(ctx, report)
	}
	name := "browser_report"
	if report.Type == "csp-violation" {
		name = event.MaliciousCSPViolation
	}
	sink := event.Sink{Logger: c.cfg.Logger, Room: "headers", Name: c.cfg.Name}
	// No client: the record stands for many, and the sender is a visitor whose
	// browser did its duty.
	_ = sink.Emit(ctx, name,
		slog.String("report_type", report.Type), slog.String(event.KeyReason, report.Directive), slog.String("blocked", report.Blocked),
		slog.String(event.KeyObjectType, "page"), slog.String(event.KeyObject, report.Document),
		slog.String("disposition", report.Disposition), slog.Int("line", report.Line), slog.Int64(event.KeyCount, report.Count))
}

// Check reports the bounds that hold.
func (c *ReportCollector) Check() []hardening.Finding {
	return []hardening.Finding{{
		ID: "HDN-HEADERS-040", Component: c.cfg.Name, Severity: hardening.Low,
		Title:    "Browsers' reports are collected within narrow bounds",
		Passed:   c.cfg.MaxBytes <= 64<<10 && c.cfg.PerMinute <= 60,
		Observed: fmt.Sprintf("%d bytes, %d reports a minute and address", c.cfg.MaxBytes, c.cfg.PerMinute),
		Expected: "at most 65536 bytes and 60 reports",
		Remedy:   "leave MaxBytes and PerMinute zero",
		Controls: []hardening.Control{supports(hardening.ASVS, "v5.0.0-3.4.7"), supports(hardening.ISO27002, "8.16"), supports(hardening.GDPR, "5(1)(c)"), supports(hardening.NIS2, "b")},
	}}
}
