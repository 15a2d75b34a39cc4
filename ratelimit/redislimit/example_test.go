package redislimit_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/redislimit"
)

// Two nodes share what one address may ask for.
func Example() {
	server, err := miniredis.Run() // in place of a Redis
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = client.Close() }()

	node := func() (*ratelimit.Limiter, error) {
		store, err := redislimit.New(redislimit.Config{
			Client:    client,
			Namespace: "portal",
			Keys:      ring{}, // a *secrets.Ring, the same on every node
			Nodes:     2,
		})
		if err != nil {
			return nil, err // every fault, with its fix
		}
		return ratelimit.New(ratelimit.Config{Store: store, Nodes: 2, IP: []ratelimit.Limit{ratelimit.PerHour(3)}})
	}
	a, err := node()
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := node()
	if err != nil {
		fmt.Println(err)
		return
	}
	request := ratelimit.Request{Addr: netip.MustParseAddr("192.0.2.1")}
	for _, limits := range []*ratelimit.Limiter{a, b, a, b} {
		d, err := limits.Take(context.Background(), request)
		fmt.Println(d.Allowed, d.Remaining, err)
	}
	// Output:
	// true 2 <nil>
	// true 1 <nil>
	// true 0 <nil>
	// false 0 <nil>
}
