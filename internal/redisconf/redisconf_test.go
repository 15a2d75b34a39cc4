package redisconf

import (
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/faults"
)

// believed is a client of somebody's own.
type believed struct{ redis.UniversalClient }

func TestEveryFaultIsNamed(t *testing.T) {
	cluster := func(o redis.ClusterOptions) redis.UniversalClient {
		o.Addrs = []string{"127.0.0.1:1"}
		return redis.NewClusterClient(&o)
	}
	for name, c := range map[string]struct {
		client    redis.UniversalClient
		namespace string
		want      []string
	}{
		"nothing":              {nil, "", []string{"Client", "Namespace"}},
		"a nil client":         {(*redis.Client)(nil), "n", []string{"Client"}},
		"a nil Cluster client": {(*redis.ClusterClient)(nil), "n", []string{"Client"}},
		"keeps no deadline":    {redis.NewClient(&redis.Options{}), "n", []string{"Client"}},
		"a Cluster likewise":   {cluster(redis.ClusterOptions{}), "n", []string{"Client"}},
		"a Ring likewise":      {redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}}), "n", []string{"Client"}},
		"reads replicas":       {cluster(redis.ClusterOptions{ContextTimeoutEnabled: true, ReadOnly: true}), "n", []string{"Client"}},
		"by latency":           {cluster(redis.ClusterOptions{ContextTimeoutEnabled: true, RouteByLatency: true}), "n", []string{"Client"}},
		"at random":            {cluster(redis.ClusterOptions{ContextTimeoutEnabled: true, RouteRandomly: true}), "n", []string{"Client"}},
		"no deadline to read":  {redis.NewClient(&redis.Options{ContextTimeoutEnabled: true, ReadTimeout: -2}), "n", []string{"Client"}},
		"none to write":        {redis.NewClient(&redis.Options{ContextTimeoutEnabled: true, WriteTimeout: -2}), "n", []string{"Client"}},
		"none on a Cluster":    {cluster(redis.ClusterOptions{ContextTimeoutEnabled: true, ReadTimeout: -2}), "n", []string{"Client"}},
		"none on a Ring":       {redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}, ContextTimeoutEnabled: true, WriteTimeout: -2}), "n", []string{"Client"}},
		"no time of its own":   {redis.NewClient(&redis.Options{ContextTimeoutEnabled: true, ReadTimeout: -1, WriteTimeout: -1}), "n", nil},
		"nor a Cluster":        {cluster(redis.ClusterOptions{ContextTimeoutEnabled: true, ReadTimeout: -1, WriteTimeout: -1}), "n", nil},
		"both":                 {cluster(redis.ClusterOptions{ReadOnly: true}), "n", []string{"Client", "Client"}},
		"a space":              {believed{}, "a b", []string{"Namespace"}},
		"braces":               {believed{}, "a{b}", []string{"Namespace"}},
		"too long":             {believed{}, strings.Repeat("n", 65), []string{"Namespace"}},
		"nothing wrong":        {redis.NewClient(&redis.Options{ContextTimeoutEnabled: true}), strings.Repeat("n", 64), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if closer, ok := c.client.(interface{ Close() error }); ok && !slices.Contains([]string{"a nil client", "a nil Cluster client", "a space", "braces", "too long"}, name) {
				t.Cleanup(func() { _ = closer.Close() })
			}
			f := faults.For("test")
			Check(f, c.client, c.namespace, "of it")
			var got []string
			for fault := range hardening.Faults(f.Err()) {
				got = append(got, fault.Field)
				if fault.Reason == "" || fault.Fix == "" {
					t.Errorf("%+v says not what to do", fault)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
