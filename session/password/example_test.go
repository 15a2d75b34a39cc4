package password_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/inovy/hardening/session/password"
)

// In a service, Pepper comes from secrets.Load.
func Example() {
	passwords, err := password.New(password.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	stored, err := passwords.Hash(ctx, "correct horse battery staple")
	if err != nil {
		log.Fatal(err)
	}
	res, err := passwords.Verify(ctx, stored, "correct horse battery staple")
	fmt.Println(res.OK, err)
	res, err = passwords.Verify(ctx, "", "no such user") // the same work
	fmt.Println(res.OK, err)
	// Output:
	// true <nil>
	// false <nil>
}

// users is the application's table.
type users interface {
	Hash(ctx context.Context, user string) string // "" for an unknown user
	// UPDATE users SET hash = fresh WHERE id = user AND hash = old
	Replace(ctx context.Context, user, old, fresh string) error
}

// A login: a wrong password is no error, a stored hash that cannot be checked
// looks like one to the client, and everything else is worth a second attempt.
func ExampleHasher_Verify() {
	passwords, err := password.New(password.Config{})
	if err != nil {
		log.Fatal(err)
	}
	var table users // the application's
	http.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		user, typed := r.PostFormValue("user"), r.PostFormValue("password")
		stored := table.Hash(r.Context(), user)
		res, err := passwords.Verify(r.Context(), stored, typed)
		switch {
		case errors.Is(err, password.ErrHash):
			log.Printf("the hash of %q: %v", user, err) // and go on: the answer is the same
		case err != nil && !errors.Is(err, password.ErrTooLong): // ErrBusy, ErrPepper, the client left
			w.Header().Set("Retry-After", "5")
			http.Error(w, "Try again in a moment.", http.StatusServiceUnavailable)
			return
		}
		if !res.OK {
			http.Error(w, "Wrong user or password.", http.StatusUnauthorized)
			return
		}
		if res.NewHash != "" {
			if err := table.Replace(r.Context(), user, stored, res.NewHash); err != nil {
				log.Print(err) // the next login tries again
			}
		}
		// sessions.Login(r.Context(), user, session.Auth{Methods: []string{"pwd"}})
	})
}

// Which new passwords are good enough, and all that is wrong with one.
func ExamplePolicy_Accept() {
	policy, err := password.NewPolicy(password.PolicyConfig{Words: []string{"zonnehuis"}})
	if err != nil {
		log.Fatal(err)
	}
	for _, chosen := range []string{"welcome", "zonnehuis-zonnehuis", "green lemons at nine"} {
		fmt.Println(policy.Accept(context.Background(), chosen, "ada@example.com"))
	}
	// Output:
	// password: too short: it needs 15 characters
	// password: made of the user's or the service's own name
	// <nil>
}
