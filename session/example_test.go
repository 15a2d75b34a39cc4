package session_test

import (
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/session"
)

type Basket struct {
	Items []string `json:"items"`
}

// In a service, Keys comes from secrets.Load and Audit from auditlog.Open.
func Example() {
	sessions, err := session.New[Basket](session.Config{})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add", func(w http.ResponseWriter, r *http.Request) {
		s, _ := sessions.Get(r.Context()) // on an error the room answers 503
		if err := s.Update(func(b *Basket) { b.Items = append(b.Items, r.FormValue("item")) }); err != nil {
			return
		}
		fmt.Fprintf(w, "%d items", len(s.Data().Items))
	})
	http.Handle("/", sessions.Wrap(mux))
}

// Login and Logout return an error only when the room answers the request
// itself, or when the user has to begin anew.
func ExampleManager_Login() {
	sessions, err := session.New[Basket](session.Config{Policy: session.PolicyAAL2()})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		user := "the id of a user whose password and code were checked"
		if err := sessions.Login(r.Context(), user, session.Auth{Methods: []string{"pwd", "otp"}, AAL: 2}); err != nil {
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		_ = sessions.Logout(r.Context())
		http.Redirect(w, r, "/goodbye", http.StatusSeeOther)
	})
	http.Handle("/", sessions.Wrap(sessions.CSRF(mux)))
}

// A route that needs a strong and recent login, and where to send others.
func ExampleManager_Require() {
	sessions, err := session.New[Basket](session.Config{
		OnDeny: func(w http.ResponseWriter, r *http.Request, p *hardening.Problem) {
			if p.Status == http.StatusUnauthorized {
				http.Redirect(w, r, "/login", http.StatusSeeOther)
				return
			}
			hardening.WriteProblem(w, r, p)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	changePassword := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	strict := sessions.Require(session.Need{AAL: 2, Fresh: 5 * time.Minute})
	http.Handle("POST /password", sessions.Wrap(strict(changePassword)))
}

// A stream that ends when the session does.
func ExampleSession_Done() {
	sessions, err := session.New[Basket](session.Config{})
	if err != nil {
		log.Fatal(err)
	}
	events := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := sessions.Get(r.Context())
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case <-s.Done():
				return // logged out, revoked or expired
			case <-r.Context().Done():
				return
			case now := <-time.After(time.Second):
				fmt.Fprintf(w, "data: %s\n\n", now)
				if http.NewResponseController(w).Flush() != nil {
					return
				}
			}
		}
	})
	loggedIn := sessions.Require(session.Need{}) // Done is nil if nothing is stored
	http.Handle("GET /events", sessions.Wrap(loggedIn(events)))
}

func ExampleManager_Check() {
	sessions, err := session.New[Basket](session.Config{})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range sessions.Check() {
		if !f.Passed {
			fmt.Println(f.ID, f.Severity, f.Observed)
		}
	}
	// Output:
	// HDN-SESSION-003 medium a random key of this process
	// HDN-SESSION-006 low absolute 168h0m0s, idle 24h0m0s, persistent true
	// HDN-SESSION-007 medium audit handler set false
}

// The page on which users see where they are logged in. Without Require it would
// ask for the sessions of nobody, which is session.ErrInvalid.
func ExampleManager_List() {
	sessions, err := session.New[Basket](session.Config{})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /devices", func(w http.ResponseWriter, r *http.Request) {
		s, _ := sessions.Get(r.Context()) // on an error the room answers 503
		devices, err := sessions.List(r.Context(), s.User())
		if err != nil {
			return // likewise
		}
		for _, d := range devices {
			fmt.Fprintln(w, d.Handle, d.Device, d.AuthTime, d.Current)
		}
	})
	mux.HandleFunc("POST /devices/end", func(w http.ResponseWriter, r *http.Request) {
		s, _ := sessions.Get(r.Context())
		if _, err := sessions.RevokeOne(r.Context(), s.User(), r.PostFormValue("handle")); err != nil {
			return
		}
		http.Redirect(w, r, "/devices", http.StatusSeeOther)
	})
	loggedIn := sessions.Require(session.Need{})
	http.Handle("/", sessions.Wrap(sessions.CSRF(loggedIn(mux))))
}

// A form carries the token of its session, and CSRF asks for it.
func ExampleManager_CSRF() {
	sessions, err := session.New[Basket](session.Config{})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		s, _ := sessions.Get(r.Context())
		token, err := s.CSRFToken()
		if err != nil {
			return // the room answers 503
		}
		fmt.Fprintf(w, `<form method="post"><input type="hidden" name="%s" value="%s"><button>Buy</button></form>`, session.CSRFField, token)
	})
	http.Handle("/", sessions.Wrap(sessions.CSRF(mux)))
}

// Sessions that travel in their cookies, for a service that can keep nothing
// but a list of those that ended.
func ExampleNewCookieStore() {
	ended, err := session.NewMemoryStore(session.MemoryConfig{}) // of several nodes: a redissession.Store
	if err != nil {
		log.Fatal(err)
	}
	store, err := session.NewCookieStore(session.CookieStoreConfig{Ended: ended})
	if err != nil {
		log.Fatal(err)
	}
	sessions, err := session.New[Basket](session.Config{Store: store})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range sessions.Check() {
		if f.ID == "HDN-SESSION-008" {
			fmt.Println(f.Passed, f.Observed)
		}
	}
	// Output: false cookies, of which older copies show older states
}
