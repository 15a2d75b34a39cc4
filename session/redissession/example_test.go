package redissession_test

import (
	"log"
	"net/http"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/session"
	"github.com/inovy/hardening/session/redissession"
)

type Visit struct {
	Pages int `json:"pages"`
}

// Every node has the same namespace and the same keys.
func Example() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true}) // in a service, with TLS and a user of its own
	store, err := redissession.New(redissession.Config{Client: client, Namespace: "portal"})
	if err != nil {
		log.Fatal(err)
	}
	var keys session.KeySource // a *secrets.Ring from secrets.Load; nil is a key that other nodes do not have
	sessions, err := session.New[Visit](session.Config{Keys: keys, Store: store})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/", sessions.Wrap(http.NotFoundHandler()))
}
