package main

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/auditlog"
)

// trailLength is how many entries a page shows.
const trailLength = 200

type trailPage struct {
	Filter         bool // whether the form and the addresses are shown
	Subject, Actor string
	Entries        []line
	More           bool
}

// line is one entry of the audit log as people read it.
type line struct {
	Seq                                                 int64
	Time                                                time.Time
	Type, Action, Outcome, Mark                         string
	Actor, Role, Subject, Object, Purpose, Reason, From string
	BreakGlass                                          bool
	attempt                                             int64
}

var words = map[auditlog.Action]string{
	auditlog.Create: "create", auditlog.Read: "read", auditlog.Update: "update", auditlog.Delete: "delete", auditlog.Execute: "execute",
}

func lineOf(e auditlog.Entry) line {
	l := line{
		Seq: e.Seq, Time: e.Time.UTC(), Type: e.Type, Action: words[e.Action], Outcome: string(e.Outcome),
		Actor: e.Actor.ID, Role: e.Actor.Role, Subject: e.Subject.ID, Object: strings.TrimSpace(e.Object.Type + " " + e.Object.ID),
		Purpose: e.Purpose, Reason: e.Reason, BreakGlass: e.BreakGlass, attempt: e.Attempt,
	}
	if e.Origin.IP.IsValid() {
		l.From = e.Origin.IP.String()
	}
	switch e.Outcome {
	case auditlog.Success:
		l.Mark = "good"
	case auditlog.Denied, auditlog.Failure:
		l.Mark = "bad"
	}
	return l
}

// showTrail shows the audit log to its keeper.
func (p *portal) showTrail(w http.ResponseWriter, r *http.Request, _ *user) {
	q := r.URL.Query()
	p.writeTrail(w, r, "Audit trail", trailPage{Filter: true, Subject: strings.TrimSpace(q.Get("subject")), Actor: strings.TrimSpace(q.Get("actor"))})
}

// showAccess shows a patient who opened the file (NEN 7513 chapter 9).
func (p *portal) showAccess(w http.ResponseWriter, r *http.Request, _ *user) {
	p.writeTrail(w, r, "Who opened this file", trailPage{Subject: r.PathValue("patient")})
}

func (p *portal) writeTrail(w http.ResponseWriter, r *http.Request, title string, data trailPage) {
	for entry, err := range p.trail.Query(r.Context(), auditlog.Filter{Subject: data.Subject, Actor: data.Actor}) {
		if err != nil {
			p.unavailable(w, r, err)
			return
		}
		data.Entries = append(data.Entries, lineOf(entry))
		if len(data.Entries) >= 2*trailLength { // keeps the newest without keeping all
			data.Entries, data.More = slices.Delete(data.Entries, 0, trailLength), true
		}
	}
	ended := map[int64]bool{} // an outcome says all that its attempt said
	for _, l := range data.Entries {
		ended[l.attempt] = true
	}
	data.Entries = slices.DeleteFunc(data.Entries, func(l line) bool { return ended[l.Seq] })
	slices.Reverse(data.Entries)
	if len(data.Entries) > trailLength {
		data.Entries, data.More = data.Entries[:trailLength], true
	}
	p.render(w, r, http.StatusOK, "trail", title, data)
}

// showChecks shows what every room reports about itself.
func (p *portal) showChecks(w http.ResponseWriter, r *http.Request, _ *user) {
	type group struct {
		Component string
		Findings  []hardening.Finding
	}
	var data struct {
		Passed, Failed int
		Groups         []group
	}
	for _, c := range p.checkers() {
		for _, f := range c.Check() {
			if f.Passed {
				data.Passed++
			} else {
				data.Failed++
			}
			i := slices.IndexFunc(data.Groups, func(g group) bool { return g.Component == f.Component })
			if i < 0 {
				i = len(data.Groups)
				data.Groups = append(data.Groups, group{Component: f.Component})
			}
			data.Groups[i].Findings = append(data.Groups[i].Findings, f)
		}
	}
	for _, g := range data.Groups {
		slices.SortStableFunc(g.Findings, func(a, b hardening.Finding) int { return cmp.Compare(a.ID, b.ID) })
	}
	p.render(w, r, http.StatusOK, "checks", "Checks", data)
}
