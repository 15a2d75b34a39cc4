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
		if !keepsDeadlines(client) {
			c.Add("Client", "ContextTimeoutEnabled false", "waits for seconds when Redis hangs, whatever the deadline", "set ContextTimeoutEnabled in its options")
		}
	}
	switch {
	case namespace == "":
		c.Missing("Namespace", "is empty", "name the service, so that two that share a Redis keep apart")
	case len(namespace) > 64 || strings.Trim(namespace, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "":
		c.Add("Namespace", namespace, "is not 1 to 64 letters, digits, dots, dashes and underscores", "use the service's name")
	}
}

// keepsDeadlines reports whether calls end with their context. Of a client
// that is none of go-redis's own it must be believed.
func keepsDeadlines(c redis.UniversalClient) bool {
	switch c := c.(type) {
	case *redis.Client:
		return c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return c.Options().ContextTimeoutEnabled
	case *redis.Ring:
		return c.Options().ContextTimeoutEnabled
	}
	return true
}
