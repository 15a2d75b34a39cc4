// Package redisconf holds what every store in Redis asks of its configuration.
package redisconf

import (
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/internal/faults"
)

// Check adds the faults of the fields Client and Namespace to c. stale says
// what a replica may not know yet.
func Check(c *faults.Collector, client redis.UniversalClient, namespace, stale string) {
	switch {
	case client == nil:
		c.Missing("Client", "is nil", "pass a client from redis.NewClient or redis.NewClusterClient")
	case c.NilInside("Client", client, "pass a client that was made"):
	default:
		if cc, ok := client.(*redis.ClusterClient); ok && cc.Options().ReadOnly {
			c.Add("Client", "ReadOnly true", "asks replicas, which may not know "+stale+", and waits for seconds when a server hangs", "clear ReadOnly, RouteByLatency and RouteRandomly in its options")
		}
		heeds, untimed := deadlines(client)
		if !heeds {
			c.Add("Client", "ContextTimeoutEnabled false", "waits for seconds when Redis hangs, whatever the deadline", "set ContextTimeoutEnabled in its options")
		}
		if untimed {
			c.Add("Client", "ReadTimeout or WriteTimeout -2", "sets no deadline on its connections, and waits for ever when Redis hangs", "leave them 0, or use -1 for none but that of the call")
		}
	}
	switch {
	case namespace == "":
		c.Missing("Namespace", "is empty", "name the service, so that two that share a Redis keep apart")
	case len(namespace) > 64 || strings.Trim(namespace, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "":
		c.Add("Namespace", namespace, "is not 1 to 64 letters, digits, dots, dashes and underscores", "use the service's name")
	}
}

// deadlines reports whether calls heed the deadline of their context, and whether
// the client was told to set none on its connections, which is -2 to go-redis and
// kept as -1 by a Client. Of a client that is none of go-redis's own it must be
// believed.
func deadlines(c redis.UniversalClient) (heeds, untimed bool) {
	switch c := c.(type) {
	case *redis.Client:
		o := c.Options()
		return o.ContextTimeoutEnabled, min(o.ReadTimeout, o.WriteTimeout) < 0
	case *redis.ClusterClient:
		o := c.Options()
		return o.ContextTimeoutEnabled, min(o.ReadTimeout, o.WriteTimeout) < -1
	case *redis.Ring:
		o := c.Options()
		return o.ContextTimeoutEnabled, min(o.ReadTimeout, o.WriteTimeout) < -1
	}
	return true, false
}
