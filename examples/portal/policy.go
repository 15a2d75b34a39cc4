package main

import (
	"html/template"
	"io/fs"
	"strings"
	"time"

	"github.com/inovy/hardening/headers"
)

// hosts are the names of the certificate, and the only ones that are answered.
var hosts = []string{"localhost", "127.0.0.1", "::1"}

// reportPath takes what browsers report about the policy.
const reportPath = "/_reports"

// openHeaders builds the policy of the pages, that of the static files, and
// what refuses requests before a handler sees them.
func (p *portal) openHeaders() (err error) {
	cfg := headers.Web()
	cfg.Logger, cfg.OnDeny = p.logger(), p.deny
	cfg.ReportEndpoints = []headers.ReportEndpoint{{Name: "csp", URL: reportPath}}
	cfg.CSP.ReportTo, cfg.CSP.ReportURI = "csp", []string{reportPath}
	if p.policy, err = headers.New(cfg); err != nil {
		return err
	}
	p.assets, err = p.policy.With("assets", func(c *headers.Config) {
		c.CSP = headers.API().CSP // no file is a page, so none runs anything by itself
		c.CacheControl = "public, max-age=300"
	})
	if err != nil {
		return err
	}
	if p.reports, err = headers.NewReportCollector(headers.ReportCollectorConfig{Routes: pagePaths(), Logger: p.logger()}); err != nil {
		return err
	}
	if p.hosts, err = headers.NewHostCheck(headers.HostCheckConfig{Hosts: hosts, Logger: p.logger(), OnDeny: p.deny}); err != nil {
		return err
	}
	if p.isolation, err = headers.NewIsolation(headers.IsolationConfig{RequireOrigin: true, Logger: p.logger(), OnDeny: p.deny}); err != nil {
		return err
	}
	p.contact, err = headers.SecurityTxt(headers.SecurityTxtConfig{
		Contact: []string{"mailto:security@hospital.example"},
		// A demo is young at every start. Yours has a date that somebody sets
		// after checking that the contact still answers.
		Expires:            time.Now().AddDate(0, 6, 0),
		PreferredLanguages: []string{"nl", "en"},
		Logger:             p.logger(),
	})
	return err
}

// pagePaths are the patterns by which a report names a page, so that it names
// no patient.
func pagePaths() []string {
	var paths []string
	for _, a := range actions {
		if path, ok := strings.CutPrefix(a.pattern, "GET "); ok {
			paths = append(paths, path)
		}
	}
	return paths
}

// script is the one file of code that every page loads.
type script struct {
	Integrity string // its digest: a browser runs no other file under this name
	Path      string // holds the digest too, so that no cache answers with the file of another version
}

func scriptOf(assets fs.FS) (script, error) {
	sum, err := headers.SRI(assets, "portal.js")
	return script{Integrity: sum, Path: "/static/portal.js?" + template.URLQueryEscaper(sum)}, err
}
