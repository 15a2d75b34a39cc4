package ratelimit_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/inovy/hardening/ratelimit"
)

// Whichever of the limits of a request refuses, it is named, and none of the
// others has consumed anything: what two nodes share in one store tells.
func TestALimitThatRefusesConsumesNothingFromTheOthers(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-2.4.1")
	for tight, policy := range map[string]string{
		"global": "global-1h", "ip": "ip-1h", "tier's ip": "t-ip-1h", "user": "user-1h", "org": "org-1h", "route": "route-1h",
	} {
		t.Run(tight, func(t *testing.T) {
			store := memoryStore(t)
			node := func(tight string) *ratelimit.Limiter {
				limits := func(kind string) []ratelimit.Limit {
					if kind == tight {
						return []ratelimit.Limit{ratelimit.PerHour(2)}
					}
					return []ratelimit.Limit{ratelimit.PerHour(100)}
				}
				return newLimiter(t, ratelimit.Config{
					Store: store, Global: limits("global"), IP: limits("ip"),
					Tiers:  []ratelimit.Tier{{Name: "t", IP: limits("tier's ip"), User: limits("user"), Org: limits("org")}},
					Routes: []ratelimit.Route{{Pattern: "POST /login", Limits: limits("route")}},
				})
			}
			strict := node(tight)
			for i := range 20 {
				d := mustTake(t, strict, alice)
				if d.Allowed != (i < 2) || d.Policy != policy || !d.Allowed && !slices.Equal(d.Violated, []string{policy}) {
					t.Fatalf("request %d: %+v", i+1, d)
				}
			}
			if d, err := node("none").Peek(t.Context(), alice); err != nil || d.Remaining != 98 {
				t.Errorf("after two of 100 and 18 refusals: %+v, %v", d, err)
			}
		})
	}
}

func TestWhatCountsAsOneAddress(t *testing.T) {
	for name, tt := range map[string]struct {
		prefix int
		a, b   string
		one    bool
	}{
		"two addresses of a /64":                   {64, "2001:db8::1", "2001:db8::ffff:0:0:1", true},
		"two /64":                                  {64, "2001:db8::1", "2001:db8:0:1::1", false},
		"two /64 of a /56, where that counts":      {56, "2001:db8::1", "2001:db8:0:ff::1", true},
		"two /56":                                  {56, "2001:db8::1", "2001:db8:0:100::1", false},
		"two /64 of a /32, where that counts":      {32, "2001:db8::1", "2001:db8:ffff:ffff::1", true},
		"two addresses of a /64 where /128 counts": {128, "2001:db8::1", "2001:db8::2", false},
		"a zone says nothing about who it is":      {64, "fe80::1%eth0", "fe80::1%eth1", true},
		"IPv4 mapped into IPv6 is IPv4":            {64, "192.0.2.1", "::ffff:192.0.2.1", true},
		"neighbours of IPv4 mapped into IPv6":      {32, "::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
		"two senders without an address":           {64, "", "", true},
		"a sender without an address and ::":       {64, "", "::", false},
		"a sender without an address and 0.0.0.0":  {64, "", "0.0.0.0", false},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimiter(t, ratelimit.Config{IP: []ratelimit.Limit{ratelimit.PerHour(1)}, IPv6Prefix: tt.prefix, DangerouslyLongIPv6Prefix: tt.prefix > 64})
			of := func(s string) ratelimit.Request {
				a, _ := netip.ParseAddr(s)
				return ratelimit.Request{Addr: a}
			}
			if !mustTake(t, l, of(tt.a)).Allowed {
				t.Fatal("the first one was refused")
			}
			if shared := !mustTake(t, l, of(tt.b)).Allowed; shared != tt.one {
				t.Errorf("%s and %s share a counter: %t", tt.a, tt.b, shared)
			}
		})
	}
}
