package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/inovy/hardening/session"
)

// devices adds the page on which users see where they are logged in, and end
// what is not theirs. Its forms carry a token of the session, and its event
// stream ends with the session.
func (p *portal) devices(mux *http.ServeMux) {
	anyone := p.sessions.Require(session.Need{})
	mux.Handle("GET /account/devices", anyone(http.HandlerFunc(p.showDevices)))
	mux.Handle("GET /account/events", anyone(http.HandlerFunc(p.streamEvents)))
	mux.Handle("POST /account/devices/end", anyone(p.sessions.CSRF(http.HandlerFunc(p.endDevice))))
	mux.Handle("POST /account/devices/others", anyone(p.sessions.CSRF(http.HandlerFunc(p.endOthers))))
}

type devicesPage struct {
	Devices []session.Info
	Field   string
	Token   string
	Others  bool
}

func (p *portal) showDevices(w http.ResponseWriter, r *http.Request) {
	s, err := p.sessions.Get(r.Context())
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	all, err := p.sessions.List(r.Context(), s.User())
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	token, err := s.CSRFToken()
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	p.render(w, r, http.StatusOK, "devices", "My devices", devicesPage{all, session.CSRFField, token, len(all) > 1})
}

func (p *portal) endDevice(w http.ResponseWriter, r *http.Request) {
	s, err := p.sessions.Get(r.Context())
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	user := s.User() // RevokeOne may end this very session
	found, err := p.sessions.RevokeOne(r.Context(), user, r.PostForm.Get("device"))
	switch {
	case err != nil:
		p.unavailable(w, r, err)
	case s.User() == "":
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	case found:
		p.leaveNotice(w, r, "That device is logged out.", "/account/devices")
	default:
		p.leaveNotice(w, r, "That device was logged out already.", "/account/devices")
	}
}

func (p *portal) endOthers(w http.ResponseWriter, r *http.Request) {
	n, err := p.sessions.RevokeOthers(r.Context())
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	p.leaveNotice(w, r, fmt.Sprintf("Other devices that are logged out: %d.", n), "/account/devices")
}

// streamEvents stays open until the session ends, and says so: the page that
// listens leaves at once.
func (p *portal) streamEvents(w http.ResponseWriter, r *http.Request) {
	s, err := p.sessions.Get(r.Context())
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	ended := s.Done()
	c := http.NewResponseController(w)
	if err := c.SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		p.unavailable(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	if _, err := fmt.Fprint(w, "event: open\ndata:\n\n"); err != nil || c.Flush() != nil {
		return // the client is gone
	}
	select {
	case <-ended:
		_, _ = fmt.Fprint(w, "event: ended\ndata:\n\n") // the client is gone if this fails
		_ = c.Flush()
	case <-r.Context().Done():
	case <-p.stopping:
	}
}

// deviceOf names the browser and the system of a request, for the user to
// recognise. It is what the browser says, and proves nothing.
func deviceOf(r *http.Request) string {
	agent := r.UserAgent()
	first := func(names [][2]string, otherwise string) string {
		for _, n := range names {
			if strings.Contains(agent, n[0]) {
				return n[1]
			}
		}
		return otherwise
	}
	browser := first([][2]string{{"Edg/", "Edge"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}}, "A program")
	system := first([][2]string{{"Android", "Android"}, {"iPhone", "an iPhone"}, {"iPad", "an iPad"}, {"Windows", "Windows"}, {"Mac OS", "a Mac"}, {"Linux", "Linux"}}, "an unknown system")
	return browser + " on " + system
}
