package headers

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/faults"
)

// SecurityTxtConfig is what finders of vulnerabilities need (RFC 9116).
type SecurityTxtConfig struct {
	_ [0]func()

	// Name is the Component of findings. Default: "security.txt".
	Name string

	// Contact are the ways to reach you, best first: "mailto:security@...",
	// "https://..." or "tel:+31...". Required.
	Contact []string

	// Expires is when the file must no longer be believed: in the future, and
	// within a year (RFC 9116 section 2.5.5). Required.
	Expires time.Time

	// Canonical are the https URLs under which the file is served. Default: not
	// stated.
	Canonical []string

	// Encryption, Acknowledgments, Policy, Hiring and CSAF are https URLs
	// (Encryption also dns: and openpgp4fpr:). Default: not stated.
	Encryption, Acknowledgments, Policy, Hiring, CSAF []string

	// PreferredLanguages are language tags: "nl", "en". Default: not stated.
	PreferredLanguages []string

	// Logger gets a warning once a day from 30 days before Expires. nil =
	// slog.Default() at that moment.
	Logger *slog.Logger
}

// SecurityTxtFile serves one security.txt. It is safe for concurrent use.
type SecurityTxtFile struct {
	cfg    SecurityTxtConfig
	body   []byte
	warned atomic.Int64 // unix time of the last warning
}

// warnBefore is how long before its end a file counts as expiring.
const warnBefore = 30 * 24 * time.Hour

// securityTxtPath is where the file must be (RFC 9116 section 3).
const securityTxtPath = "/.well-known/security.txt"

// SecurityTxt returns a handler for "GET /.well-known/security.txt", or every
// fault of cfg at once as hardening.ConfigErrors. After Expires it answers 404:
// an outdated contact is worse than none.
func SecurityTxt(cfg SecurityTxtConfig) (*SecurityTxtFile, error) {
	if cfg.Name == "" {
		cfg.Name = "security.txt"
	}
	f := faults.For("headers")
	f.Name("Name", cfg.Name)
	if len(cfg.Contact) == 0 {
		f.Missing("Contact", "is empty", `name a way to reach you, as in "mailto:security@example.org"`)
	}
	now := time.Now()
	switch left := cfg.Expires.Sub(now); {
	case cfg.Expires.IsZero():
		f.Missing("Expires", "is missing", "set a date within a year")
	case left <= 0:
		f.Add("Expires", cfg.Expires.UTC().Format(time.RFC3339), "is in the past", "check the file's content, and set a new date")
	case left > 366*24*time.Hour:
		f.Add("Expires", cfg.Expires.UTC().Format(time.RFC3339), "is more than a year away, and nobody believes that", "set a date within a year")
	}
	var b strings.Builder
	line := func(name, value string) { b.WriteString(name + ": " + value + "\n") }
	for _, field := range []struct {
		name, line string
		values     *[]string
		schemes    []string
	}{
		{"Contact", "Contact", &cfg.Contact, []string{"mailto", "https", "tel"}},
		{"Canonical", "Canonical", &cfg.Canonical, []string{"https"}},
		{"Encryption", "Encryption", &cfg.Encryption, []string{"https", "dns", "openpgp4fpr"}},
		{"Acknowledgments", "Acknowledgments", &cfg.Acknowledgments, []string{"https"}},
		{"Policy", "Policy", &cfg.Policy, []string{"https"}},
		{"Hiring", "Hiring", &cfg.Hiring, []string{"https"}},
		{"CSAF", "CSAF", &cfg.CSAF, []string{"https"}},
	} {
		*field.values = slices.Clone(*field.values)
		if *field.values != nil && len(*field.values) == 0 && field.name != "Contact" {
			f.Missing(field.name, "is empty but not nil", "leave it nil")
		}
		for i, v := range *field.values {
			at := fmt.Sprintf("%s[%d]", field.name, i)
			reason, fix := uriFault(v, field.schemes), "write a URI with one of the schemes "+strings.Join(field.schemes, ", ")
			switch {
			case reason == "" && field.name == "Canonical" && !isSecurityTxt(v):
				reason, fix = "is not where the file must be", "make its path "+securityTxtPath
			case reason != "" && len(v) < 256 && strings.Contains(v, "@") && !strings.Contains(v, ":") && uriFault("mailto:"+v, field.schemes) == "":
				fix = fmt.Sprintf("write %q", "mailto:"+v)
			}
			if reason != "" {
				f.Add(at, v, reason, fix)
			}
			line(field.line, v)
		}
	}
	line("Expires", cfg.Expires.UTC().Format(time.RFC3339))
	for i, l := range cfg.PreferredLanguages {
		if strings.Trim(l, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" || l == "" {
			f.Add(fmt.Sprintf("PreferredLanguages[%d]", i), l, "is no language tag", `write it as in "nl"`)
		}
	}
	if cfg.PreferredLanguages != nil {
		if len(cfg.PreferredLanguages) == 0 {
			f.Missing("PreferredLanguages", "is empty but not nil", "leave it nil")
		}
		line("Preferred-Languages", strings.Join(cfg.PreferredLanguages, ", "))
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return &SecurityTxtFile{cfg: cfg, body: []byte(b.String())}, nil
}

// isSecurityTxt reports whether the file can be at this https URL.
func isSecurityTxt(s string) bool {
	u, err := url.Parse(s)
	return err == nil && s == "https://"+u.Host+securityTxtPath
}

func uriFault(s string, schemes []string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "has spaces, control characters or non-ASCII text"
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || !slices.Contains(schemes, u.Scheme):
		return "has none of the schemes that are known here"
	case u.User != nil:
		return "has a user"
	case u.Scheme == "https" && hostFaultOfURL(u) != "":
		return "has no valid host"
	case u.Scheme != "https" && u.Opaque == "" && u.Host == "":
		return "says nothing after its scheme"
	}
	return ""
}

// ServeHTTP answers GET and HEAD.
func (s *SecurityTxtFile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		hardening.WriteProblem(w, r, &hardening.Problem{Status: http.StatusMethodNotAllowed})
		return
	}
	left := time.Until(s.cfg.Expires)
	if left <= warnBefore {
		s.warn(r, left)
	}
	if left <= 0 {
		hardening.WriteProblem(w, r, &hardening.Problem{Status: http.StatusNotFound})
		return
	}
	h := w.Header()
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["Content-Length"] = []string{strconv.Itoa(len(s.body))}
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(s.body) // #nosec G705 -- the owner's own configuration, as text/plain; the client is gone if this fails
	}
}

func (s *SecurityTxtFile) warn(r *http.Request, left time.Duration) {
	now, last := time.Now().Unix(), s.warned.Load()
	if last != 0 && now-last < 24*60*60 || !s.warned.CompareAndSwap(last, now) {
		return
	}
	log := s.cfg.Logger
	if log == nil {
		log = slog.Default()
	}
	log.LogAttrs(r.Context(), slog.LevelWarn, "security.txt expires", slog.String("instance", s.cfg.Name),
		slog.Time("expires", s.cfg.Expires), slog.Int("days", int(left.Hours()/24)))
}

// Check reports whether the file will still be believed in 30 days.
func (s *SecurityTxtFile) Check() []hardening.Finding {
	return []hardening.Finding{{
		ID: "HDN-HEADERS-050", Component: s.cfg.Name, Severity: hardening.Low,
		Title:    "Finders of vulnerabilities know whom to tell",
		Passed:   time.Until(s.cfg.Expires) > warnBefore,
		Observed: "expires " + s.cfg.Expires.UTC().Format(time.RFC3339),
		Expected: "more than 30 days from now",
		Remedy:   "check that the contacts are right, and set Expires anew",
		Controls: []hardening.Control{implements(hardening.RFC, "9116-2.5.5"), supports(hardening.ISO27002, "8.8"), supports(hardening.BIO2, "8.08.01")},
	}}
}
