package main

import (
	"net/http"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/auditlog"
	"github.com/inovy/hardening/session"
)

// action is one route to patient data or to the trail: who may take it, how it
// stands in the audit log, and what it does.
type action struct {
	pattern string
	kind    string // OWASP vocabulary name of the event
	code    auditlog.Action
	object  string // type of the object
	may     func(p *portal, r *http.Request, u *user) bool
	do      func(p *portal, w http.ResponseWriter, r *http.Request, u *user)
}

var actions = []action{
	{"GET /patients", auditlog.SensitiveRead, auditlog.Read, "patient_list", (*portal).isDoctor, (*portal).listPatients},
	{"GET /patients/{patient}", auditlog.SensitiveRead, auditlog.Read, "patient_file", (*portal).mayRead, (*portal).showFile},
	{"GET /patients/{patient}/export", auditlog.Export, auditlog.Execute, "patient_file", (*portal).mayRead, (*portal).exportFile},
	{"GET /patients/{patient}/access", auditlog.SensitiveRead, auditlog.Read, "audit_trail", (*portal).mayRead, (*portal).showAccess},
	{"GET /patients/{patient}/emergency", auditlog.SensitiveRead, auditlog.Read, "emergency_form", (*portal).isDoctor, (*portal).askEmergency},
	{"POST /patients/{patient}/emergency", auditlog.AuthzChange, auditlog.Execute, "emergency_access", (*portal).isDoctor, (*portal).startEmergency},
	{"GET /patients/{patient}/records/{record}", auditlog.SensitiveRead, auditlog.Read, "record", (*portal).mayRead, (*portal).showRecord},
	{"GET /patients/{patient}/records/{record}/edit", auditlog.SensitiveRead, auditlog.Read, "record", (*portal).mayWrite, (*portal).editRecord},
	{"POST /patients/{patient}/records/{record}/edit", auditlog.SensitiveUpdate, auditlog.Update, "record", (*portal).mayWrite, (*portal).saveRecord},
	{"GET /admin/trail", auditlog.AuthzAdmin, auditlog.Read, "audit_trail", (*portal).isAdmin, (*portal).showTrail},
	{"GET /admin/checks", auditlog.AuthzAdmin, auditlog.Read, "checks", (*portal).isAdmin, (*portal).showChecks},
}

func (p *portal) isDoctor(_ *http.Request, u *user) bool { return u.Role == doctor }
func (p *portal) isAdmin(_ *http.Request, u *user) bool  { return u.Role == admin }

// mayRead holds for patients in their own file, and for whoever may write.
func (p *portal) mayRead(r *http.Request, u *user) bool {
	return u.Role == patient && u.ID == r.PathValue("patient") || p.mayWrite(r, u)
}

// mayWrite holds for doctors who treat the patient or broke the glass.
func (p *portal) mayWrite(r *http.Request, u *user) bool {
	id := r.PathValue("patient")
	return u.treats(id) || u.Role == doctor && p.emergency(r, id) != nil
}

// guarded puts an action behind a login, the audit log and its permission, in
// this order: a refusal is an access that is recorded as denied.
func (p *portal) guarded(a action) (http.Handler, error) {
	access, err := p.trail.Access(auditlog.AccessConfig{
		Describe: func(r *http.Request) (auditlog.Event, error) { return p.describe(a, r) },
		OnDeny:   p.deny,
	})
	if err != nil {
		return nil, err
	}
	return p.sessions.Require(session.Need{AAL: 1})(access.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch u, err := p.user(r); {
		case err != nil:
			p.unavailable(w, r, err)
		case !a.may(p, r, u):
			p.forbid(w, r, a)
		case r.PathValue("patient") != "" && p.users.patient(r.PathValue("patient")) == nil:
			p.notFound(w, r)
		default:
			a.do(p, w, r, u)
		}
	}))), nil
}

// forbid refuses the action and says so in the log as what it is: besides the
// access that was denied, an event for those who watch for abuse.
func (p *portal) forbid(w http.ResponseWriter, r *http.Request, a action) {
	ev, err := p.describe(a, r)
	if err == nil {
		ev.Type, ev.Outcome = auditlog.AuthzFail, auditlog.Denied
		err = p.trail.Record(r.Context(), ev)
	}
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	p.deny(w, r, &hardening.Problem{Status: http.StatusForbidden, Detail: "You may not open this. The attempt was recorded."})
}

// describe tells the audit log, before the action runs, who wants to do what
// to whose file and why.
func (p *portal) describe(a action, r *http.Request) (auditlog.Event, error) {
	u, err := p.user(r)
	if err != nil {
		return auditlog.Event{}, err
	}
	ev := eventOf(r, u)
	ev.Type, ev.Action = a.kind, a.code
	ev.Object = auditlog.Object{Type: a.object}
	ev.Controls.Authorisation = result(a.may(p, r, u))
	id, record := r.PathValue("patient"), r.PathValue("record")
	if p.users.patient(id) == nil {
		return ev, nil // not the name of anyone: it stays out of the log
	}
	if _, err := p.records.get(id, record); err == nil { // likewise what names no record
		ev.Object.ID = record
	}
	ev.Subject = auditlog.Subject{ID: id}
	if u.Role == doctor {
		ev.Controls.Relation = result(u.treats(id))
	}
	switch g := p.emergency(r, id); {
	case u.Role == patient:
		ev.Purpose = "PATRQT" // HL7 PurposeOfUse: at the patient's request
	case u.treats(id):
		ev.Purpose = "TREAT"
	case g != nil:
		ev.Purpose, ev.BreakGlass, ev.Reason = "BTG", true, g.Reason // break the glass
	case a.kind == auditlog.AuthzChange && emergencyReason(r) != "":
		ev.Purpose, ev.BreakGlass, ev.Reason = "BTG", true, firstRunes(emergencyReason(r), maxReason)
	}
	return ev, nil
}

func result(ok bool) auditlog.Check {
	if ok {
		return auditlog.Passed
	}
	return auditlog.Failed
}

// eventOf is what every event of the portal says: from where and, if known, who.
func eventOf(r *http.Request, u *user) auditlog.Event {
	c := hardening.ClientOf(r)
	ev := auditlog.Event{Origin: auditlog.Origin{IP: c.Addr, Service: "portal"}, RequestID: c.RequestID, TraceParent: c.TraceParent}
	if u != nil {
		ev.Actor = actorOf(u)
	}
	return ev
}

func actorOf(u *user) auditlog.Actor {
	return auditlog.Actor{ID: u.ID, Role: string(u.Role), Org: "portal-demo"}
}
