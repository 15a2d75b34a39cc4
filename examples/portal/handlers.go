package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/auditlog"
	"github.com/inovy/hardening/headers"
	"github.com/inovy/hardening/session"
)

func (p *portal) home(w http.ResponseWriter, r *http.Request) {
	u, err := p.user(r)
	switch {
	case err != nil:
		p.unavailable(w, r, err)
	case u == nil:
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	case u.Role == patient:
		http.Redirect(w, r, "/patients/"+u.ID, http.StatusSeeOther)
	case u.Role == doctor:
		http.Redirect(w, r, "/patients", http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/admin/trail", http.StatusSeeOther)
	}
}

// user returns who is logged in, or nil.
func (p *portal) user(r *http.Request) (*user, error) {
	s, err := p.sessions.Get(r.Context())
	if err != nil || s.User() == "" {
		return nil, err
	}
	return p.users.byID[s.User()], nil
}

type loginPage struct{ User, Error, Field, Token string }

func (p *portal) showLogin(w http.ResponseWriter, r *http.Request) {
	p.askLogin(w, r, http.StatusOK, loginPage{})
}

// askLogin shows the form with a token of an anonymous session, so that nobody
// can log a visitor in under another's name.
func (p *portal) askLogin(w http.ResponseWriter, r *http.Request, status int, data loginPage) {
	s, err := p.sessions.Get(r.Context())
	if err == nil {
		data.Field = session.CSRFField
		data.Token, err = s.CSRFToken()
	}
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	p.render(w, r, status, "login", "Log in", data)
}

func (p *portal) login(w http.ResponseWriter, r *http.Request) {
	id, candidate := strings.TrimSpace(r.PostForm.Get("user")), r.PostForm.Get("password")
	u, err := p.users.verify(r.Context(), id, candidate)
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	if u == nil {
		if err := p.recordFailedLogin(r, id); err != nil {
			p.unavailable(w, r, err)
			return
		}
		p.askLogin(w, r, http.StatusUnauthorized, loginPage{User: id, Error: "The user name or the password is wrong."})
		return
	}
	if err := p.sessions.Login(r.Context(), u.ID, session.Auth{Methods: []string{"pwd"}, AAL: 1, Device: deviceOf(r)}); err != nil {
		p.unavailable(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// recordFailedLogin names the account only if it exists: what people type into
// the wrong field is often their password.
func (p *portal) recordFailedLogin(r *http.Request, id string) error {
	ev := eventOf(r, nil)
	ev.Type, ev.Action, ev.Outcome = auditlog.AuthnLoginFail, auditlog.Execute, auditlog.Failure
	ev.Reason = "wrong password"
	if u := p.users.byID[id]; u != nil {
		ev.Actor = actorOf(u)
	} else {
		ev.Reason = "unknown user"
	}
	return p.trail.Record(r.Context(), ev)
}

func (p *portal) logout(w http.ResponseWriter, r *http.Request) {
	if err := p.sessions.Logout(r.Context()); err != nil {
		p.unavailable(w, r, err)
		return
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func (p *portal) listPatients(w http.ResponseWriter, r *http.Request, u *user) {
	var data struct{ Treating, Others []*user }
	for _, patient := range p.users.patients() {
		if u.treats(patient.ID) {
			data.Treating = append(data.Treating, patient)
		} else {
			data.Others = append(data.Others, patient)
		}
	}
	p.render(w, r, http.StatusOK, "patients", "Patients", data)
}

func (p *portal) showFile(w http.ResponseWriter, r *http.Request, u *user) {
	patient := p.users.patient(r.PathValue("patient"))
	p.render(w, r, http.StatusOK, "file", patient.Name, struct {
		Patient   *user
		Records   []record
		Emergency *grant
	}{patient, p.records.of(patient.ID), p.emergency(r, patient.ID)})
}

func (p *portal) showRecord(w http.ResponseWriter, r *http.Request, u *user) {
	rec, err := p.records.get(r.PathValue("patient"), r.PathValue("record"))
	if err != nil {
		p.notFound(w, r)
		return
	}
	p.render(w, r, http.StatusOK, "record", rec.Title, struct {
		Patient *user
		Record  record
		MayEdit bool
	}{p.users.patient(rec.Patient), rec, p.mayWrite(r, u)})
}

type editPage struct {
	Patient *user
	Record  record
	Error   string
}

func (p *portal) editRecord(w http.ResponseWriter, r *http.Request, _ *user) {
	rec, err := p.records.get(r.PathValue("patient"), r.PathValue("record"))
	if err != nil {
		p.notFound(w, r)
		return
	}
	p.render(w, r, http.StatusOK, "edit", "Edit "+rec.ID, editPage{Patient: p.users.patient(rec.Patient), Record: rec})
}

func (p *portal) saveRecord(w http.ResponseWriter, r *http.Request, u *user) {
	patientID, id := r.PathValue("patient"), r.PathValue("record")
	rec, err := p.records.get(patientID, id)
	if err != nil {
		p.notFound(w, r)
		return
	}
	version, _ := strconv.Atoi(r.PostForm.Get("version")) // 0 is no record's version
	title := strings.TrimSpace(r.PostForm.Get("title"))
	body := strings.ReplaceAll(r.PostForm.Get("body"), "\r\n", "\n")
	again := func(status int, text string) {
		rec.Title, rec.Body, rec.Version = title, body, version
		p.render(w, r, status, "edit", "Edit "+id, editPage{p.users.patient(patientID), rec, text})
	}
	if n := utf8.RuneCountInString(title); n == 0 || n > 120 || !utf8.ValidString(title) {
		again(http.StatusUnprocessableEntity, "The title needs 1 to 120 characters.")
		return
	}
	if n := utf8.RuneCountInString(body); n == 0 || n > 8000 || !utf8.ValidString(body) {
		again(http.StatusUnprocessableEntity, "The text needs 1 to 8000 characters.")
		return
	}
	switch _, err := p.records.change(patientID, id, version, title, body, u.Name); {
	case errors.Is(err, errConflict):
		again(http.StatusConflict, "Someone changed this record since you opened it. Open it again in another tab, compare, and enter your change there.")
	case err != nil:
		p.unavailable(w, r, err)
	default:
		p.leaveNotice(w, r, "The record is saved.", "/patients/"+rec.Patient+"/records/"+rec.ID)
	}
}

func (p *portal) exportFile(w http.ResponseWriter, r *http.Request, _ *user) {
	id := r.PathValue("patient")
	text, err := json.MarshalIndent(struct {
		Patient  string    `json:"patient"`
		Name     string    `json:"name"`
		Exported time.Time `json:"exported"`
		Records  []record  `json:"records"`
	}{id, p.users.patient(id).Name, time.Now().UTC(), p.records.of(id)}, "", "  ")
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Disposition", headers.ContentDisposition("records-"+id+".json"))
	_, _ = w.Write(append(text, '\n')) // the client is gone if this fails
}

// emergencyTime is how long a file stays open after the glass was broken.
const emergencyTime = 15 * time.Minute

type emergencyPage struct {
	Patient *user
	Error   string
}

func (p *portal) askEmergency(w http.ResponseWriter, r *http.Request, _ *user) {
	p.render(w, r, http.StatusOK, "emergency", "Emergency access", emergencyPage{Patient: p.users.patient(r.PathValue("patient"))})
}

func (p *portal) startEmergency(w http.ResponseWriter, r *http.Request, _ *user) {
	patient, reason := p.users.patient(r.PathValue("patient")), emergencyReason(r)
	if n := utf8.RuneCountInString(reason); n < 10 || n > maxReason {
		p.render(w, r, http.StatusUnprocessableEntity, "emergency", "Emergency access", emergencyPage{patient, fmt.Sprintf("The reason needs 10 to %d characters.", maxReason)})
		return
	}
	s, err := p.sessions.Get(r.Context())
	if err == nil {
		err = s.Update(func(v *visit) {
			if v.Emergency == nil {
				v.Emergency = map[string]grant{}
			}
			v.Emergency[patient.ID] = grant{Reason: reason, Until: time.Now().Add(emergencyTime).UTC()}
		})
	}
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	http.Redirect(w, r, "/patients/"+patient.ID, http.StatusSeeOther)
}

// maxReason is how many characters a reason may have. A longer one is refused,
// and the attempt is recorded with its beginning.
const maxReason = 300

func emergencyReason(r *http.Request) string { return strings.TrimSpace(r.PostForm.Get("reason")) }

func firstRunes(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// emergency returns the running emergency access to the patient's file, or nil.
func (p *portal) emergency(r *http.Request, patientID string) *grant {
	s, err := p.sessions.Get(r.Context())
	if err != nil {
		return nil
	}
	if g, ok := s.Data().Emergency[patientID]; ok && time.Now().Before(g.Until) {
		return &g
	}
	return nil
}

// leaveNotice sends the browser to another page, which shows the notice once.
func (p *portal) leaveNotice(w http.ResponseWriter, r *http.Request, text, path string) {
	s, err := p.sessions.Get(r.Context())
	if err == nil {
		err = s.Update(func(v *visit) { v.Notice = text })
	}
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	http.Redirect(w, r, path, http.StatusSeeOther)
}

func (p *portal) notFound(w http.ResponseWriter, r *http.Request) {
	p.deny(w, r, &hardening.Problem{Status: http.StatusNotFound, Detail: "There is nothing at this address."})
}

func (p *portal) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	p.logger().ErrorContext(r.Context(), "request failed", "path", r.Pattern, "error", err)
	p.deny(w, r, &hardening.Problem{Status: http.StatusServiceUnavailable, Detail: "Please try again in a moment.", Err: err})
}
