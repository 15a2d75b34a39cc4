package cors_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers/cors"
)

func Example() {
	shared, err := cors.New(cors.Config{
		Origins:     []string{"https://app.example"},
		Credentials: true,
		Methods:     []string{"PUT"},
	})
	if err != nil {
		log.Fatal(err)
	}
	h := shared.Wrap(http.NotFoundHandler())

	r := httptest.NewRequest("OPTIONS", "https://api.example/records/1", nil)
	r.Header.Set("Origin", "https://app.example")
	r.Header.Set("Access-Control-Request-Method", "PUT")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Access-Control-Allow-Origin"))
	// Output: 204 https://app.example
}

// What is refused, and what to write instead.
func ExampleNew_faults() {
	_, err := cors.New(cors.Config{Origins: []string{"*", "https://app.example:443"}, Credentials: true})
	for fault := range hardening.Faults(err) {
		fmt.Println(fault.Field + ": " + fault.Fix)
	}
	// Output:
	// Origins[0]: write "*" alone, or drop it
	// Origins[0]: name the origins, or drop Credentials
	// Origins[1]: write https://app.example
}
