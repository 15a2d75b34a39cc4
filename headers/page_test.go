package headers_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

const someHash = "sha384-oqVuAfXRKap7fdgcCY5uykM6+R9GqQ8K/uxy9rx7HNQlGYl1kPzQho1wx4JwY8wC"

// pages are what the Observatory's rule tells apart. change is what it adds to
// the score of the headers alone; integration/ asks the judge itself. passes
// says whether every script and style of other hosts is pinned.
var pages = map[string]struct {
	page   string
	change int
	passes bool
}{
	"nothing":                            {"<!doctype html><title>x</title>", 0, true},
	"no page at all":                     {"", 0, true},
	"an inline script":                   {"<script nonce=a>1</script>", 0, true},
	"an own script":                      {`<script src="/app.js"></script>`, 0, true},
	"an own script with its hash":        {`<script src="/app.js" integrity="` + someHash + `"></script>`, 5, true},
	"a sibling's script":                 {`<script src="https://static.app.example/app.js"></script>`, 0, false},
	"a foreign script with its hash":     {`<script src="https://cdn.test/a.js" integrity="` + someHash + `" crossorigin></script>`, 5, true},
	"a foreign script without":           {`<script src="https://cdn.test/a.js"></script>`, -5, false},
	"a hash that is none":                {`<script src="https://cdn.test/a.js" integrity="yes"></script>`, 5, false},
	"a script over HTTP with its hash":   {`<script src="http://cdn.test/a.js" integrity="` + someHash + `"></script>`, -20, false},
	"a script over HTTP":                 {`<script src="http://cdn.test/a.js"></script>`, -50, false},
	"a script over whatever":             {`<script src="//cdn.test/a.js"></script>`, -50, false},
	"the worst counts":                   {`<script src=//cdn.test/a.js></script><script src=https://cdn.test/b.js></script>`, -50, false},
	"the order of the judge":             {`<script src="http://cdn.test/a.js" integrity=x></script><script src=https://cdn.test/b.js></script>`, -5, false},
	"one of two is pinned":               {`<script src="/a.js" integrity="` + someHash + `"></script><script src=/b.js></script>`, 5, true},
	"capitals, spaces and single quotes": {"<SCRIPT\n async SRC = ' HTTPS://CDN.test/a.js ' ></SCRIPT >", -5, false},
	"an escaped URL":                     {`<script src="https&#58;//cdn.test/a.js"></script>`, -5, false},
	"the first of two attributes":        {`<script src="/a.js" src="https://cdn.test/a.js"></script>`, 0, true},
	"in a comment":                       {`<!-- <script src="http://cdn.test/a.js"></script> -->`, 0, true},
	"after a short comment":              {`<!--><script src="https://cdn.test/a.js"></script>`, -5, false},
	"in a script":                        {`<script>"<script src=http://cdn.test/a.js>"</script>`, 0, true},
	"in a title":                         {`<title><script src=http://cdn.test/a.js></title>`, 0, true},
	"in a template":                      {`<template><script src=http://cdn.test/a.js></script></template>`, 0, true},
	"in an attribute":                    {`<p title="<script src=http://cdn.test/a.js>">`, 0, true},
	"after an attribute with quotes":     {`<p title='">'><script src=https://cdn.test/a.js></script>`, -5, false},
	"behind another base":                {`<base href="https://cdn.test/lib/"><script src="a.js"></script>`, -5, false},
	"a foreign style":                    {`<link rel="preload stylesheet" href="https://cdn.test/a.css">`, 0, false},
	"a foreign style with its hash":      {`<link rel=stylesheet href="https://cdn.test/a.css" integrity="` + someHash + `">`, 0, true},
	"a link that loads nothing":          {`<link rel=author href="https://cdn.test/">`, 0, true},
	"a tag that never ends":              {`<script src="http://cdn.test/a.js"`, 0, true},
	"backslashes, which browsers turn":   {`<script src="\\cdn.test/a.js"></script>`, 0, false},
	"a data URL":                         {`<script src="data:,1"></script>`, 0, true},
	"self-closing":                       {`<script src=https://cdn.test/a.js integrity=` + someHash + ` />`, 5, true},
	"an empty src":                       {`<script src=""></script>`, 0, true},
}

func TestAPageIsJudgedByWhatItLoads(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.6.1")
	for name, c := range pages {
		res := good()
		res.Request.Host = "app.example"
		res.Request.URL.Host = ""
		if got, want := headers.ObservatoryPageScore(res, []byte(c.page)), headers.ObservatoryScore(res); c.change >= -10 && got != want+c.change || c.change < -10 && got != 100+c.change {
			t.Errorf("%s: score %d, headers alone %d", name, got, want)
		}
		passed, found := true, 0
		for _, f := range headers.AuditPage(res, []byte(c.page)) {
			if f.ID == "HDN-HEADERS-128" {
				passed, found = f.Passed, found+1
				if len(f.Controls) == 0 || f.Remedy == "" {
					t.Errorf("%+v", f)
				}
			}
		}
		if passed != c.passes || found != 1 {
			t.Errorf("%s: passes %t, %d findings", name, passed, found)
		}
	}
}

func TestWhatIsNoPageIsNotJudgedAsOne(t *testing.T) {
	res := good()
	res.Header.Set("Content-Type", "application/json")
	page := []byte(pages["a script over HTTP"].page)
	if headers.ObservatoryPageScore(res, page) != headers.ObservatoryScore(res) {
		t.Error("JSON is scored as a page")
	}
	if slices.ContainsFunc(headers.AuditPage(res, page), func(f hardening.Finding) bool { return f.ID == "HDN-HEADERS-128" && !f.Passed }) {
		t.Error("JSON is judged as a page")
	}
}

func FuzzAuditPage(f *testing.F) {
	for _, c := range pages {
		f.Add(c.page)
	}
	f.Fuzz(func(t *testing.T, page string) {
		res := &http.Response{Header: http.Header{"Content-Type": {"text/html"}}}
		for _, f := range headers.AuditPage(res, []byte(page)) {
			if f.ID == "HDN-HEADERS-128" && !f.Passed && !strings.Contains(strings.ToLower(page), "<script") && !strings.Contains(strings.ToLower(page), "<link") {
				t.Fatalf("a page without scripts and links fails: %v", f)
			}
		}
		// What stands in a comment is never seen.
		if !strings.Contains(page, "-") && !strings.HasPrefix(page, ">") {
			hidden := "<!--" + page + "--><script src=https://cdn.test/a.js></script>"
			if got, want := headers.ObservatoryPageScore(res, []byte(hidden)), max(headers.ObservatoryScore(res)-5, 0); got != want {
				t.Fatalf("%q: %d, want %d", hidden, got, want)
			}
		}
	})
}
