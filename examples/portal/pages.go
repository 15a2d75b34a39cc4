package main

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"strings"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

//go:embed templates static
var files embed.FS

// page is what the layout shows around every content.
type page struct {
	Title  string
	Nonce  template.HTMLAttr // for the scripts
	Script script
	User   *user
	Nav    []link
	Notice string
	Data   any
}

type link struct {
	Path, Text string
	Here       bool
}

// parsePages gives every page a template of its own, because each defines
// the same "content".
func parsePages() (map[string]*template.Template, error) {
	pages := map[string]*template.Template{}
	for _, name := range []string{"login", "patients", "file", "record", "edit", "emergency", "trail", "checks", "devices", "refused"} {
		t, err := template.ParseFS(files, "templates/layout.html", "templates/"+name+".html")
		if err != nil {
			return nil, err
		}
		pages[name] = t
	}
	return pages, nil
}

func (p *portal) routes() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("/", p.notFound)
	mux.HandleFunc("GET /{$}", p.home)
	assets, err := fs.Sub(files, "static") // nothing of files outside it can be asked for
	if err != nil {
		return nil, err
	}
	if p.script, err = scriptOf(assets); err != nil {
		return nil, err
	}
	mux.Handle("GET /static/", p.assets.Enforce(http.StripPrefix("/static", headers.Static(assets))))
	mux.Handle("GET /.well-known/security.txt", p.contact)
	mux.Handle(reportPath, p.reports)
	mux.HandleFunc("GET /login", p.showLogin)
	mux.Handle("POST /login", p.sessions.CSRF(http.HandlerFunc(p.login)))
	mux.HandleFunc("POST /logout", p.logout)
	p.devices(mux)
	for _, a := range actions {
		h, err := p.guarded(a)
		if err != nil {
			return nil, err
		}
		mux.Handle(a.pattern, h)
	}
	return mux, nil
}

// forms refuses forms that cannot be read whole, so that no handler takes a
// part of one for an empty field.
func (p *portal) forms(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			problem := &hardening.Problem{Status: http.StatusBadRequest, Detail: "The form cannot be read.", Err: err}
			if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
				problem.Status, problem.Detail = http.StatusRequestEntityTooLarge, "The form is too large."
			}
			p.deny(w, r, problem)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// render writes the page once it is complete: a fault in a template becomes a
// refusal and not half a page.
func (p *portal) render(w http.ResponseWriter, r *http.Request, status int, name, title string, data any) {
	d := page{Title: title, Nonce: headers.NonceAttr(r.Context()), Script: p.script, Data: data}
	if s, err := p.sessions.Get(r.Context()); err == nil && s.User() != "" {
		d.User = p.users.byID[s.User()]
		d.Nav = navigation(d.User, r.URL.Path)
		if d.Notice = s.Data().Notice; d.Notice != "" {
			if err := s.Update(func(v *visit) { v.Notice = "" }); err != nil {
				p.logger().WarnContext(r.Context(), "the notice will be shown again", "error", err)
			}
		}
	}
	var b bytes.Buffer
	if err := p.pages[name].ExecuteTemplate(&b, "layout", d); err != nil {
		p.logger().ErrorContext(r.Context(), "template failed", "page", name, "error", err)
		hardening.WriteProblem(w, r, &hardening.Problem{Status: http.StatusInternalServerError, Err: err})
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client is gone if this fails
}

func navigation(u *user, path string) []link {
	var nav []link
	switch u.Role {
	case patient:
		nav = []link{{Path: "/patients/" + u.ID, Text: "My file"}, {Path: "/patients/" + u.ID + "/access", Text: "Who opened it"}}
	case doctor:
		nav = []link{{Path: "/patients", Text: "Patients"}}
	case admin:
		nav = []link{{Path: "/admin/trail", Text: "Audit trail"}, {Path: "/admin/checks", Text: "Checks"}}
	}
	nav = append(nav, link{Path: "/account/devices", Text: "My devices"})
	for i := range nav {
		nav[i].Here = nav[i].Path == path
	}
	return nav
}

// deny is the one answer to every refusal, of the portal and of the rooms: a
// page for people, a problem document for programs. Somebody who has to log
// in first is sent to do so.
func (p *portal) deny(w http.ResponseWriter, r *http.Request, problem *hardening.Problem) {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		hardening.WriteProblem(w, r, problem)
		return
	}
	if problem.Status == http.StatusUnauthorized && r.Method == http.MethodGet {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	title := problem.Title
	if title == "" {
		title = http.StatusText(problem.Status)
	}
	w.Header().Set("Cache-Control", "no-store")
	p.render(w, r, problem.Status, "refused", title, struct {
		Status                        int
		Detail, RetryAfter, RequestID string
	}{problem.Status, problem.Detail, w.Header().Get("Retry-After"), hardening.ClientOf(r).RequestID})
}
